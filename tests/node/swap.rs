// SPDX-License-Identifier: Apache-2.0
//! The attacker: swaps what the program looks at for something else, as fast as it can.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
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
/// Once in so many swaps something is taken that is to be there for the rest of the time.
const SELDOM: usize = 5000;

/// What is contested: names that the program looks at.
fn contested(area: &str) -> &'static [&'static str] {
    match area {
        "/var/lib/vhost_sockets" => &["vhus0", "vhus1", "sub", "old"],
        "/dev/hugepages" => &["a", "b"],
        "/var/log/libvirt/qemu" => &["vms.log", "vmc.log", "new.log"],
        _ => &["vhuc0", "vhuc1", "sub", "dpdk"],
    }
}

/// What is there again at once: without the database's answer the program does not go far.
fn borrowed(area: &str) -> Option<&'static str> {
    match area {
        "/dev/hugepages" => Some("libvirt"),
        "/run/openvswitch" => Some("db.sock"),
        _ => None,
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

/// One directory under attack.
struct Ground {
    area: &'static str,
    area_fd: OwnedFd,
    kit: PathBuf,
    kit_fd: OwnedFd,
    things: Vec<PathBuf>,
    /// What is looked at longest: sockets and links to sockets, directories and links to directories.
    apt: [Vec<PathBuf>; 2],
    dice: Dice,
}

fn attack(area: &'static str, role: &str) {
    let mut ground = Ground::prepare(area);
    let (mut count, out) = (0, format!("/run/race/swaps.{role}.{}", area.replace('/', "_")));
    while !Path::new("/run/race/stop").exists() {
        count += (0..BATCH).filter(|_| ground.swap()).count();
        fs::write(&out, format!("{area} {count}\n")).unwrap();
    }
}

impl Ground {
    fn prepare(area: &'static str) -> Ground {
        let kit = Path::new(area).join(KIT);
        for number in 0..2 * MAKES {
            // Some filesystems have not all kinds of things.
            let _ = make(number, &kit.join(format!("own-{number}")));
        }
        let apt = [[1, 2, 3, 7, 9, 12].as_slice(), &[6, 10, 13]].map(|kinds| {
            let numbers = (0..2 * MAKES).filter(|number| kinds.contains(&(number % MAKES)));
            numbers.map(|number| PathBuf::from(format!("own-{number}"))).collect()
        });
        let things: Vec<PathBuf> =
            fs::read_dir(&kit).unwrap().map(|entry| entry.unwrap().file_name().into()).collect();
        let open = |path: &Path| OwnedFd::from(File::open(path).unwrap());
        let (area_fd, kit_fd) = (open(Path::new(area)), open(&kit));
        Ground {
            area,
            area_fd,
            kit,
            kit_fd,
            things,
            apt,
            dice: Dice(0x9e37_79b9_7f4a_7c15 ^ area.len() as u64),
        }
    }

    /// True when something came to be where something else was.
    fn swap(&mut self) -> bool {
        let names = contested(self.area);
        let name = names[self.dice.throw(names.len())];
        let things =
            if self.dice.throw(2) == 0 { &self.things } else { &self.apt[usize::from(name == "sub")] };
        let thing = things[self.dice.throw(things.len())].clone();
        if let Some(name) = borrowed(self.area).filter(|_| self.dice.throw(SELDOM) == 0) {
            return self.borrow(name, &thing);
        }
        match self.exchange(name, &thing) {
            Ok(()) => true,
            Err(Errno::ENOENT) => self.replace(name, &thing),
            Err(_) => false,
        }
    }

    fn exchange(&self, name: &str, thing: &Path) -> nix::Result<()> {
        renameat2(&self.area_fd, name, &self.kit_fd, thing, RenameFlags::RENAME_EXCHANGE)
    }

    fn borrow(&self, name: &str, thing: &Path) -> bool {
        if self.exchange(name, thing).is_err() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
        self.exchange(name, thing).is_ok()
    }

    /// The program took a stale socket away, as it should: there is another one.
    fn replace(&mut self, name: &str, thing: &Path) -> bool {
        let (there, spare) = (Path::new(self.area).join(name), self.kit.join(thing));
        if fs::symlink_metadata(&there).is_err() {
            let _ = make(self.dice.throw(3), &there);
        }
        if fs::symlink_metadata(&spare).is_err() {
            let _ = make(self.dice.throw(MAKES), &spare);
        }
        self.exchange(name, thing).is_ok()
    }
}

/// Root, when all is over. The services make again what is missing when they start.
fn tidy(area: &Path) {
    for path in contested(area.to_str().unwrap()).iter().map(|name| area.join(name)).chain([area.join(KIT)]) {
        match fs::symlink_metadata(&path) {
            Ok(state) if state.is_dir() => fs::remove_dir_all(&path).unwrap(),
            Ok(_) => fs::remove_file(&path).unwrap(),
            Err(_) => {}
        }
    }
}
