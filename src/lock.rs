// SPDX-License-Identifier: Apache-2.0
//! One change of the node at a time.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::paths;
use crate::root::{Handle, Root};

/// Another run holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    holder: String,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: another vhost-accord{} is changing this node; try again when it is done",
            paths::LOCK,
            self.holder
        )
    }
}

impl std::error::Error for Busy {}

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    /// Closed is unlocked: an explicit unlock can fail, which nix answers with a panic.
    _held: File,
    /// An image shall not be left with a lock file in it.
    image: Option<Handle>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The error that brought us here is the one to tell; the next holder removes it.
        let _ = self.remove();
    }
}

impl Lock {
    /// Gives it up; an error where an image is left with its file.
    pub fn release(mut self) -> Result<()> {
        let removed = self.remove();
        self.image = None;
        removed
            .with_context(|| format!("all is done, but {} could not be removed from the image", paths::LOCK))
    }

    fn remove(&self) -> Result<(), Errno> {
        let name = Path::new(paths::LOCK).file_name().unwrap_or_default();
        match &self.image {
            Some(directory) => unlinkat(directory.fd(), name, UnlinkatFlags::NoRemoveDir),
            None => Ok(()),
        }
    }

    /// Takes the lock or says who has it. Never waits.
    pub fn take(root: &Root) -> Result<Lock> {
        let path = Path::new(paths::LOCK);
        let (parent, name) = crate::change::place(root, path)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let context = || format!("opening {}", path.display());
        let open = || openat(parent.fd(), name, flags, Mode::from_bits_truncate(0o600));
        let mut file = File::from(open().with_context(context)?);
        let mut holder = String::new();
        let _ = (&mut file).take(32).read_to_string(&mut holder);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder =
                    holder.trim().parse::<u32>().map_or(String::new(), |pid| format!(" (pid {pid})"));
                return Err(Busy { holder }.into());
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
        // The run that had it may have removed it between the two: the next one would lock another file.
        let held = fstat(&file).with_context(|| format!("reading {}", path.display()))?;
        if parent.entry(name)?.is_none_or(|entry| entry.id() != (held.st_dev, held.st_ino)) {
            return Err(Busy { holder: String::new() }.into());
        }
        // Only a hint for people; the lock itself is what counts.
        let _ = file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        Ok(Lock { _held: file, image: (!root.is_live()).then_some(parent) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// The file of an image goes with each holder: who opened it before that must not believe to hold what others look for.
    #[test]
    fn one_at_a_time_in_an_image() {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir(image.path().join("run")).unwrap();
        let (holders, turns) = (AtomicU32::new(0), AtomicU32::new(0));
        let compete = || {
            let root = Root::open(image.path()).unwrap();
            for _ in 0..2000 {
                let Ok(lock) = Lock::take(&root) else { continue };
                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                turns.fetch_add(1, Ordering::SeqCst);
                std::thread::yield_now();
                holders.fetch_sub(1, Ordering::SeqCst);
                drop(lock);
            }
        };
        std::thread::scope(|scope| (0..8).map(|_| scope.spawn(compete)).for_each(drop));
        assert!(turns.into_inner() > 0);
    }
}
