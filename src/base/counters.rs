// SPDX-License-Identifier: Apache-2.0
//! Counts what the hook and the watch service did since boot, for metrics: a line for each event, appended to a file in `/run`.
//! An append needs no lock and does not wait, so the hook can afford it; `check --prometheus` adds the lines up.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Result, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use crate::base::paths;

/// A longer file begins anew, as a Prometheus counter may: some 20,000 starts of VMs.
const LIMIT: u64 = 1 << 20;

/// Adds a line if possible: no VM and no grant may fail because of a counter.
pub fn add(line: &str) {
    let _ = add_to(Path::new(paths::COUNTERS), line);
}

/// All lines since the boot, or since the file began anew.
pub fn read() -> String {
    read_from(Path::new(paths::COUNTERS)).unwrap_or_default()
}

/// One write: lines of several processes do not mix.
fn add_to(path: &Path, line: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    let mut file = options.open(path)?;
    if file.metadata()?.len() > LIMIT {
        file.set_len(0)?;
    }
    file.write_all(format!("{line}\n").as_bytes())
}

fn read_from(path: &Path) -> Result<String> {
    let file: File = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    let mut text = String::new();
    file.take(2 * LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_at_once_lose_nothing_and_the_file_stays_small() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("counters");
        let add_many = || (0..500).for_each(|_| add_to(&path, "hook start passed 0 1834").unwrap());
        std::thread::scope(|scope| (0..8).map(|_| scope.spawn(add_many)).for_each(drop));
        let text = read_from(&path).unwrap();
        assert_eq!(text.lines().filter(|line| *line == "hook start passed 0 1834").count(), 4000);
        assert_eq!(text.lines().count(), 4000);
        File::options().write(true).open(&path).unwrap().set_len(LIMIT + 1).unwrap();
        add_to(&path, "watch fixes 1").unwrap();
        assert_eq!(read_from(&path).unwrap(), "watch fixes 1\n");
    }

    #[test]
    fn no_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, target) = (directory.path().join("counters"), directory.path().join("target"));
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(add_to(&path, "watch fixes 1").is_err());
        assert!(read_from(&path).is_err() && !target.exists());
    }
}
