// SPDX-License-Identifier: Apache-2.0
//! What is being waited for, in one line that is written over itself, where standard error is a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::text::{cut, one_line};

/// Between two looks at how far it is. What is done before the first shows nothing.
const EVERY: Duration = Duration::from_millis(500);
/// So that it fits into a line of a terminal.
const WIDTH: usize = 76;

/// Shown as long as it lives.
#[derive(Debug)]
pub struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Shows what `text` says, which is asked again and again.
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

/// Writes over what is in the line.
fn write(text: &str) {
    let _ = write!(std::io::stderr(), "\r{text}\x1b[K");
}

/// The time that is left of a limit, in words.
pub fn left(deadline: Instant) -> String {
    format!("{} s left", deadline.saturating_duration_since(Instant::now()).as_secs())
}
