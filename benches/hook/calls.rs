// SPDX-License-Identifier: Apache-2.0
//! What no hook can go below that looks at what ours looks at for two ports: the same files and directories, held and
//! opened in the same way, a thread that watches the time, and a line each for journal and counters. Nothing is made of
//! what is read. Left out is what the standard library has no words for: capabilities, ACLs and a guard of SIGABRT.
use std::fs::{File, OpenOptions};
use std::io::{Read, Write, stdin};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

const O_PATH: i32 = 0o10_000_000;
const O_NOFOLLOW: i32 = 0o400_000;
const CONFIGURATION: [&str; 4] = [
    "/usr/lib/vhost-accord/vhost-accord.conf.d",
    "/etc/vhost-accord/vhost-accord.conf.d",
    "/usr/lib/vhost-accord/vhost-accord.conf",
    "/etc/vhost-accord/vhost-accord.conf",
];
const ACCOUNTS: [&str; 4] =
    ["/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/vhost-accord/agreed.json"];
const PLACES: [&str; 6] = [
    "/",
    "/var",
    "/var/lib",
    "/var/lib/vhost_sockets",
    "/var/lib/vhost_sockets/vhu0",
    "/var/lib/vhost_sockets/vhu1",
];
const MEMORY: [&str; 6] = [
    "/proc/meminfo",
    "/proc/self/mountinfo",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages",
];

fn hold(path: &str) -> Option<File> {
    let held = OpenOptions::new().read(true).custom_flags(O_PATH | O_NOFOLLOW).open(path).ok()?;
    held.metadata().ok()?;
    Some(held)
}

fn all_of(mut file: impl Read) -> Vec<u8> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 8192]);
    while let Ok(got @ 1..) = file.read(&mut piece) {
        bytes.extend_from_slice(&piece[..got]);
    }
    bytes
}

fn read(path: &str) -> Option<Vec<u8>> {
    let held = hold(path)?;
    File::open(format!("/proc/self/fd/{}", held.as_raw_fd())).map(all_of).ok()
}

fn main() {
    let xml = all_of(stdin());
    assert!(xml.windows(9).any(|word| word == b"vhostuser"));
    assert!(CONFIGURATION.into_iter().all(|path| hold(path).is_none()));
    let watchdog = || std::thread::sleep(Duration::from_secs(2));
    std::thread::Builder::new().stack_size(128 << 10).spawn(watchdog).expect("no thread");
    assert!(ACCOUNTS.into_iter().all(|path| read(path).is_some()));
    let pid = read("/run/openvswitch/ovs-vswitchd.pid").and_then(|text| String::from_utf8(text).ok());
    let pid = pid.expect("no switch");
    for file in ["status", "stat"] {
        read(&format!("/proc/{}/{file}", pid.trim())).expect("no process");
    }
    let held: Vec<File> = PLACES.into_iter().filter_map(hold).collect();
    assert_eq!(held.len(), 4);
    assert!(MEMORY.into_iter().all(|path| read(path).is_some()));
    let log = UnixDatagram::unbound().expect("no socket");
    let _ = log.send_to(b"MESSAGE=", "/run/systemd/journal/socket");
    let counters =
        OpenOptions::new().append(true).create(true).custom_flags(O_NOFOLLOW).open("/run/counters");
    counters.and_then(|mut file| file.write_all(b"hook start passed 0 1834\n")).expect("no counters");
}
