// SPDX-License-Identifier: Apache-2.0
//! Shows what is being waited for, in one line that is overwritten, if standard error is a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::text::{cut, one_line};

/// Time between two updates. Work that ends before the first shows nothing.
const EVERY: Duration = Duration::from_millis(500);
/// The most characters, so that it fits into a line of a terminal.
const WIDTH: usize = 76;

/// Shown as long as it lives.
#[derive(Debug)]
pub struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Shows what `text` returns, which is called for each update.
    pub fn show(text: impl Fn() -> String + Send + 'static) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress(None);
        }
        let (end, ended) = channel::<()>();
        let shower = std::thread::spawn(move || {
            let mut shown = false;
            while ended.recv_timeout(EVERY) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                write(&cut(&one_line(&text()), WIDTH));
                shown = true;
            }
            if shown {
                write("");
            }
        });
        Progress(Some((end, shower)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((end, shower)) = self.0.take() {
            drop(end);
            let _ = shower.join();
        }
    }
}

/// Overwrites the line.
fn write(text: &str) {
    let _ = write!(std::io::stderr(), "\r{text}\x1b[K");
}

/// The time that is left of a limit, in words.
pub fn left(deadline: Instant) -> String {
    format!("{} s left", deadline.saturating_duration_since(Instant::now()).as_secs())
}
