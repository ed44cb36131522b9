// SPDX-License-Identifier: Apache-2.0
//! What is outside, and must stay as it is: made, and watched, by root inside the node.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// One on each filesystem that attackers can link into their directories.
pub const CANARIES: [&str; 2] = ["/canary", "/run/canary"];
/// Names of what is attacked, so that a directory that is a link leads to something of that name.
const NAMES: [&str; 8] = ["vhus0", "vhus1", "vhus2", "vhuc0", "vhuc1", "vhuc2", "vms.log", "qemu"];

/// Each kind of thing there is, in each place.
pub fn make() {
    for place in CANARIES.map(Path::new) {
        fs::create_dir_all(place.join("linked")).unwrap();
        fs::create_dir_all(place.join("dir")).unwrap();
        for directory in ["", "linked", "dir"].map(|name| place.join(name)) {
            things(&directory);
            // Whoever looks may look: what matters is what is done.
            fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        }
        for name in NAMES {
            // Proven stale, as what the program removes; and with its own owner, as what it gives away.
            drop(UnixListener::bind(place.join("dir").join(name)).unwrap());
        }
        fs::create_dir(place.join("dir/sub")).unwrap();
        drop(UnixListener::bind(place.join("dir/sub/vhus2")).unwrap());
    }
    reach();
}

fn things(directory: &Path) {
    fs::write(directory.join("file"), "a secret").unwrap();
    fs::set_permissions(directory.join("file"), Permissions::from_mode(0o600)).unwrap();
    fs::write(directory.join("setuid"), "a program").unwrap();
    fs::set_permissions(directory.join("setuid"), Permissions::from_mode(0o4755)).unwrap();
    drop(UnixListener::bind(directory.join("stale")).unwrap());
    let read_write = Mode::from_bits_truncate(0o600);
    mknod(&directory.join("fifo"), SFlag::S_IFIFO, read_write, 0).unwrap();
    mknod(&directory.join("null"), SFlag::S_IFCHR, read_write, makedev(1, 3)).unwrap();
}

/// What an attacker may not make, put where it may swap it.
fn reach() {
    for (area, role) in super::races::AREAS {
        let place = if area.starts_with("/run") { CANARIES[1] } else { CANARIES[0] };
        let kit = Path::new(area).join(super::swap::KIT);
        fs::create_dir(&kit).unwrap();
        if !area.starts_with("/dev") {
            for name in ["file", "setuid", "stale", "fifo", "null"] {
                fs::hard_link(Path::new(place).join("linked").join(name), kit.join(format!("root-{name}")))
                    .unwrap();
            }
        }
        let everybody = Mode::from_bits_truncate(0o666);
        mknod(&kit.join("root-device"), SFlag::S_IFCHR, everybody, makedev(1, 7)).unwrap();
        let users = if role == "qemu" { ["libvirt-qemu", "qemu"] } else { ["openvswitch"; 2] };
        let uid =
            users.iter().find_map(|user| nix::unistd::User::from_name(user).unwrap()).unwrap().uid.as_raw();
        chown(&kit, Some(uid), None).unwrap();
    }
}

/// Writes down each event that is more than a look.
pub fn watch() {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
    let changes = AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE_SELF;
    let mut watched: Vec<(nix::sys::inotify::WatchDescriptor, PathBuf)> = Vec::new();
    let mut todo: Vec<PathBuf> = CANARIES.map(PathBuf::from).to_vec();
    while let Some(path) = todo.pop() {
        let state = fs::symlink_metadata(&path).unwrap();
        // Opening a FIFO or a device can block or act: it must not even be opened.
        let special = !state.is_file() && !state.is_dir();
        let events = if special { changes | AddWatchFlags::IN_OPEN } else { changes };
        watched.push((inotify.add_watch(&path, events).unwrap(), path.clone()));
        if state.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    let names_of = |(_, path): &(_, PathBuf)| Some((path.clone(), fs::symlink_metadata(path).ok()?.nlink()));
    let mut links: HashMap<PathBuf, u64> = watched.iter().filter_map(names_of).collect();
    let mut seen = String::new();
    fs::write("/run/race/seen", "").unwrap();
    fs::write("/run/race/watch.ready", "").unwrap();
    loop {
        let last = Path::new("/run/race/stop").exists();
        match inotify.read_events() {
            Ok(events) => {
                for event in events {
                    let path = watched.iter().find(|(wd, _)| *wd == event.wd).map(|(_, path)| path.clone());
                    // A name that it has in an attacker's directory may go: that is a link less, and no more.
                    if event.mask == AddWatchFlags::IN_ATTRIB
                        && path.as_deref().is_some_and(|path| unlinked(&mut links, path))
                    {
                        continue;
                    }
                    seen.push_str(&format!("{path:?} {:?} {:?}\n", event.name, event.mask));
                }
                fs::write("/run/race/seen", &seen).unwrap();
                continue;
            }
            Err(Errno::EAGAIN) => {}
            Err(errno) => panic!("{errno}"),
        }
        if last {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether it has fewer names than it had.
fn unlinked(links: &mut HashMap<PathBuf, u64>, path: &Path) -> bool {
    let Ok(now) = fs::symlink_metadata(path).map(|state| state.nlink()) else { return false };
    links.insert(path.to_path_buf(), now).is_some_and(|before| now < before)
}
