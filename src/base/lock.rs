// SPDX-License-Identifier: Apache-2.0
//! One change of the node at a time.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat, major, minor};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::base::paths;
use crate::base::root::{Handle, Root};

/// The holder writes this behind its pid when it restarts services.
const RESTARTS: &str = "restarts";
/// And this if it is the watch service, which fixes what others changed.
const FIXES: &str = "fixes";
/// How long such a fix takes at most.
const FIX_LIMIT: Duration = Duration::from_secs(20);
/// How often to look again at a holder that did not write its pid: it just took the lock, or is about to release it.
const SILENT: u32 = 4;
/// Time between two attempts: flock(2) has no time limit.
const PAUSE: Duration = Duration::from_millis(50);

/// Another run holds the lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Busy {
    holder: String,
    /// [`RESTARTS`]: it waits for the commands in the units of services; [`FIXES`]; or empty.
    does: String,
}

impl Busy {
    fn by(text: &str) -> Busy {
        let mut words = text.split_whitespace();
        let pid = words.next().and_then(|word| word.parse::<u32>().ok());
        let holder = pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
        Busy { holder, does: words.next().unwrap_or_default().to_string() }
    }

    fn is_silent(&self) -> bool {
        self.holder.is_empty()
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: another vhost-accord{} is running; try again when it has ended",
            paths::LOCK,
            self.holder
        )
    }
}

impl std::error::Error for Busy {}

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    /// Closing unlocks: an explicit unlock can fail, and nix then panics.
    held: File,
    /// The directory in an image, from which the lock file must be removed.
    image: Option<Handle>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // So that the next holder, before it writes its pid, is not taken for this one.
        let _ = self.held.set_len(0);
        // Ignored: an earlier error matters more, and the next holder removes the file.
        let _ = self.remove();
    }
}

impl Lock {
    /// Takes the lock, or waits for it as long as `limit`: for callers that nobody runs again, such as scripts of packages.
    pub fn wait(root: &Root, limit: Duration) -> Result<Lock> {
        Lock::ask_again(root, limit, |_| true)
    }

    /// The same in a unit of the node. Returns none at once if the holder restarts services: it does the work itself, and waits
    /// for this unit. Returns none after the limit as well.
    pub fn wait_in_unit(root: &Root, limit: Duration) -> Result<Option<Lock>> {
        match Lock::ask_again(root, limit, |busy| busy.does != RESTARTS) {
            Err(error) if error.is::<Busy>() => {
                tracing::warn!("{error:#}; what it does is not done here as well");
                Ok(None)
            }
            taken => taken.map(Some),
        }
    }

    fn ask_again(root: &Root, limit: Duration, wait_for: fn(&Busy) -> bool) -> Result<Lock> {
        let (end, hint) = (Instant::now() + limit, std::process::id().to_string());
        let mut silent = SILENT;
        loop {
            match Lock::obtain(root, &hint) {
                Err(error) if Instant::now() < end && error.downcast_ref().is_some_and(wait_for) => {}
                Err(error) if silent > 0 && error.downcast_ref().is_some_and(Busy::is_silent) => silent -= 1,
                taken => return taken,
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Notes that services are restarted from now on. Their units run commands that wait for this lock.
    pub fn restarts(&mut self) {
        self.tell(&format!("{} {RESTARTS}", std::process::id()));
    }

    /// Writes a hint for others; only the lock itself decides.
    fn tell(&mut self, text: &str) {
        let file = &mut self.held;
        let _ = file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(text.as_bytes()));
    }

    /// Releases it. An error if the lock file of an image could not be removed.
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

    /// When a run last took the lock. Does not take it, so it blocks nobody. If the time is equal before and after a look, no other
    /// run changed the node meanwhile.
    ///
    /// # Errors
    /// [`Busy`] if another run has it now.
    pub fn last(root: &Root) -> Result<Option<i128>> {
        Lock::last_of(root, Path::new(paths::LOCK))
    }

    fn last_of(root: &Root, path: &Path) -> Result<Option<i128>> {
        let Some(file) = root.find_nofollow(path)? else { return Ok(None) };
        let (device, inode) = file.id();
        // Of each lock: number, class, kind, access, pid, then device and inode (fs/locks.c, lock_get_status).
        let name = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
        let locks = root.read_text(Path::new("/proc/locks"))?.unwrap_or_default();
        let is_ours = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.contains(&"FLOCK") && words.contains(&name.as_str())
        };
        match locks.lines().find(is_ours) {
            Some(line) => Err(Busy::by(line.split_whitespace().nth(4).unwrap_or_default()).into()),
            None => Ok(Some(file.modified())),
        }
    }

    /// Takes the lock, or says which run has it. Waits only for the watch service, which has it for a short time.
    pub fn take(root: &Root) -> Result<Lock> {
        Lock::ask_again(root, FIX_LIMIT, |busy| busy.does == FIXES)
    }

    /// The same for the watch service. Never waits.
    pub fn take_to_fix(root: &Root) -> Result<Lock> {
        Lock::obtain(root, &format!("{} {FIXES}", std::process::id()))
    }

    fn obtain(root: &Root, hint: &str) -> Result<Lock> {
        let path = Path::new(paths::LOCK);
        let (parent, name) = root.place(path)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let context = || format!("opening {}", path.display());
        let open = || openat(parent.fd(), name, flags, Mode::from_bits_truncate(0o600));
        let mut file = File::from(open().with_context(context)?);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = (&mut file).take(32).read_to_string(&mut holder);
                return Err(Busy::by(&holder).into());
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
        // The previous holder may have removed the file after it was opened here; the next run would lock another file.
        let held = fstat(&file).with_context(|| format!("reading {}", path.display()))?;
        if parent.entry(name)?.is_none_or(|entry| entry.id() != (held.st_dev, held.st_ino)) {
            return Err(Busy::by("").into());
        }
        let mut lock = Lock { held: file, image: (!root.is_live()).then_some(parent) };
        lock.tell(hint);
        Ok(lock)
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
                let Ok(lock) = Lock::obtain(&root, "") else { continue };
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

    fn image() -> (tempfile::TempDir, Root) {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir(image.path().join("run")).unwrap();
        let root = Root::open(image.path()).unwrap();
        (image, root)
    }

    #[test]
    fn who_waits_gets_it_and_who_takes_does_not() {
        let (_image, root) = image();
        let held = Lock::take(&root).unwrap();
        let told = Lock::take(&root).unwrap_err().to_string();
        assert!(told.contains(&format!("(pid {})", std::process::id())), "{told}");
        assert!(Lock::wait(&root, Duration::ZERO).is_err());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| Lock::wait(&root, Duration::from_secs(60)).map(drop));
            std::thread::sleep(2 * PAUSE);
            assert!(!waiting.is_finished());
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }

    /// The machine's own: the kernel's list of locks is in no image.
    #[test]
    fn who_only_asks_sees_each_run_and_keeps_nobody_out() {
        let file =
            tempfile::NamedTempFile::new_in("/run").or_else(|_| tempfile::NamedTempFile::new()).unwrap();
        let is_busy = |taken: Result<Option<i128>>| taken.is_err_and(|error| error.is::<Busy>());
        let root = Root::open(Path::new("/")).unwrap();
        let first = Lock::last_of(&root, file.path()).unwrap();
        file.as_file().try_lock().unwrap();
        assert!(is_busy(Lock::last_of(&root, file.path())));
        file.as_file().write_all(b"1").unwrap();
        file.as_file().unlock().unwrap();
        assert!(Lock::last_of(&root, file.path()).unwrap() > first);
    }

    /// An operator who runs apply did not start the other run, and does not know of it.
    #[test]
    fn who_takes_waits_for_the_service_that_watches() {
        let (_image, root) = image();
        let held = Lock::take_to_fix(&root).unwrap();
        assert!(Lock::take_to_fix(&root).is_err(), "which itself does not wait");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| Lock::take(&root).map(drop));
            std::thread::sleep(2 * PAUSE);
            assert!(!waiting.is_finished());
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }

    /// Who restarts a unit waits for it: what the unit runs must not wait for who restarts it.
    #[test]
    fn a_unit_does_not_wait_for_who_restarts_it() {
        let (_image, root) = image();
        let mut held = Lock::take(&root).unwrap();
        assert!(Lock::wait_in_unit(&root, PAUSE).unwrap().is_none(), "a limit is one");
        held.restarts();
        let forever = Duration::from_secs(3600);
        assert!(Lock::wait_in_unit(&root, forever).unwrap().is_none());
        drop(held);
        assert!(Lock::wait_in_unit(&root, Duration::ZERO).unwrap().is_some());
    }
}
