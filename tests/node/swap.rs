// SPDX-License-Identifier: Apache-2.0
//! The attacker: swaps what the program looks at for something else, as fast as it can.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::canary::CANARIES;
use super::races::AREAS;

/// Where an attacker keeps what it swaps in, inside its directory.
pub const KIT: &str = ".kit";
/// Swaps between two looks at whether it is over.
const BATCH: u64 = 500;

/// What is there again at once: without the database's answer the program does not go far.
const BORROWED: [&str; 2] = ["db.sock", "libvirt"];

/// What is contested: names that the program looks at.
fn contested(area: &str) -> &'static [&'static str] {
    match area {
        "/var/lib/vhost_sockets" => &["vhus0", "vhus1", "sub", "old"],
        "/dev/hugepages" => &["libvirt", "a"],
        "/var/log/libvirt/qemu" => &["vms.log", "vmc.log", "new.log"],
        _ => &["vhuc0", "vhuc1", "sub", "dpdk", "db.sock"],
    }
}

/// As `qemu` or `dataplane`: swaps until it is told to stop. As `tidy`: takes away what is left.
pub fn play(role: &str) {
    let own = AREAS.iter().filter(|(_, whose)| *whose == role).map(|(area, _)| *area);
    if role == "tidy" {
        return AREAS.iter().for_each(|(area, _)| tidy(Path::new(area)));
    }
    std::thread::scope(|scope| {
        for area in own {
            scope.spawn(move || attack(area, role));
        }
        fs::write(format!("/run/race/{role}.ready"), "").unwrap();
    });
}

/// Kinds of things that anybody can make.
const MAKES: usize = 15;

fn make(number: usize, path: &Path) -> std::io::Result<()> {
    let canary = CANARIES[number % 2];
    let link = |target: &str| symlink(target, path);
    match number % MAKES {
        0 => fs::write(path, "text"),
        1 | 2 => UnixListener::bind(path).map(drop),
        3 => UnixListener::bind(path).map(std::mem::forget),
        4 => Ok(mkfifo(path, Mode::from_bits_truncate(0o666))?),
        5 => link(&format!("{canary}/file")),
        6 => link(&format!("{canary}/dir")),
        7 => link(&format!("{canary}/stale")),
        8 => link(&format!("{canary}/fifo")),
        9 => link(&format!("/proc/self/root{canary}/stale")),
        10 => link(&format!("/proc/1/root{canary}/dir")),
        11 => link("/nowhere"),
        12 => link(&format!("../../..{canary}/dir/vhus0")),
        13 => {
            fs::create_dir(path)?;
            for name in ["vhus2", "vhuc2"] {
                drop(UnixListener::bind(path.join(name))?);
            }
            Ok(())
        }
        _ => fs::create_dir(path),
    }
}

/// A cheap generator (xorshift): what is swapped need not be unforeseeable.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

fn attack(area: &str, role: &str) {
    let kit = Path::new(area).join(KIT);
    for number in 0..2 * MAKES {
        // Some filesystems have not all kinds of things.
        let _ = make(number, &kit.join(format!("own-{number}")));
    }
    let names: Vec<PathBuf> =
        fs::read_dir(&kit).unwrap().map(|entry| entry.unwrap().file_name().into()).collect();
    let open = |path: &Path| OwnedFd::from(File::open(path).unwrap());
    let (area_fd, kit_fd) = (open(Path::new(area)), open(&kit));
    let (contested, mut dice) = (contested(area), Dice(0x9e37_79b9_7f4a_7c15 ^ area.len() as u64));
    let count = AtomicU64::new(0);
    let out = format!("/run/race/swaps.{role}.{}", area.replace('/', "_"));
    let exchange = |one: &Path, other: &Path, flags| renameat2(&area_fd, one, &kit_fd, other, flags);
    while !Path::new("/run/race/stop").exists() {
        for _ in 0..BATCH {
            let (name, other) =
                (Path::new(contested[dice.throw(contested.len())]), &names[dice.throw(names.len())]);
            let swapped = match exchange(name, other, RenameFlags::RENAME_EXCHANGE) {
                Ok(()) => true,
                Err(Errno::ENOENT) => replaced(area, &kit, name, other, &mut dice, &exchange),
                Err(_) => false,
            };
            count.fetch_add(u64::from(swapped), Ordering::Relaxed);
            if swapped && BORROWED.iter().any(|borrowed| name == Path::new(borrowed)) {
                std::thread::sleep(Duration::from_micros(50));
                let _ = exchange(name, other, RenameFlags::RENAME_EXCHANGE);
            }
        }
        fs::write(&out, format!("{area} {}\n", count.load(Ordering::Relaxed))).unwrap();
    }
}

/// The program took a stale socket away, as it should: there is another one.
fn replaced(
    area: &str,
    kit: &Path,
    name: &Path,
    other: &Path,
    dice: &mut Dice,
    exchange: &impl Fn(&Path, &Path, RenameFlags) -> nix::Result<()>,
) -> bool {
    let (there, spare) = (Path::new(area).join(name), kit.join(other));
    if fs::symlink_metadata(&there).is_err() {
        let _ = make(dice.throw(3), &there);
    }
    if fs::symlink_metadata(&spare).is_err() {
        let _ = make(dice.throw(MAKES), &spare);
    }
    exchange(name, other, RenameFlags::RENAME_EXCHANGE).is_ok()
}

/// Root, when all is over. The services make again what is missing when they start.
fn tidy(area: &Path) {
    let names = contested(area.to_str().unwrap()).iter().filter(|name| !BORROWED.contains(name));
    for path in names.map(|name| area.join(name)).chain([area.join(KIT)]) {
        match fs::symlink_metadata(&path) {
            Ok(state) if state.is_dir() => fs::remove_dir_all(&path).unwrap(),
            Ok(_) => fs::remove_file(&path).unwrap(),
            Err(_) => {}
        }
    }
}
