// SPDX-License-Identifier: Apache-2.0
//! Processes: recorded files, and this very process.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vhost_accord::base::root::Root;
use vhost_accord::facts::processes::{Ids, by_name, by_pid, parse_start, parse_status, state};

const STATUS: &str = "Name:\tovs-vswitchd\nUmask:\t0002\nState:\tS (sleeping)\nTgid:\t281\nPid:\t281\nUid:\t103\t104\t105\t106\n\
Gid:\t42477\t42478\t42479\t42480\nFDSize:\t128\nGroups:\t36 107 42477 \nNStgid:\t281\nCapInh:\t0000000000000000\n\
CapPrm:\t0000000000007c00\nCapEff:\t0000000000007c01\nCapBnd:\t000001ffffffffff\n";

#[test]
fn reads_a_status() {
    let status = parse_status(STATUS).unwrap();
    assert_eq!(status.name, "ovs-vswitchd");
    assert_eq!(status.uid, Ids { real: 103, effective: 104, saved: 105, fs: 106 });
    assert_eq!(status.gid, Ids { real: 42477, effective: 42478, saved: 42479, fs: 42480 });
    assert_eq!((status.groups, status.umask, status.cap_eff), (vec![36, 107, 42477], Some(0o002), 0x7c01));
    assert_eq!(parse_status(&STATUS.replace("Umask:\t0002\n", "")).unwrap().umask, None);
    assert!(parse_status(&STATUS.replace("Groups:\t36 107 42477 ", "Groups:\t")).unwrap().groups.is_empty());
}

#[test]
fn a_broken_status_is_an_error_that_names_the_line() {
    for (from, to, line) in [
        ("Uid:\t103", "Uid:\tx", "Uid"),
        ("Gid:\t42477\t", "Gid:\t", "Gid"),
        ("CapEff:\t", "CapEff:\tz", "CapEff"),
        ("Groups:", "Grps:", "Groups"),
    ] {
        let error = format!("{:#}", parse_status(&STATUS.replace(from, to)).unwrap_err());
        assert!(error.contains(&format!("line {line}:")), "{error}");
    }
}

#[test]
fn a_name_in_stat_may_hold_anything() {
    let stat = b"7 (a) R 1 (\xff) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 250 20";
    assert_eq!(parse_start(stat).unwrap(), 2_500_000_000);
    for bad in [&b"7 sh S"[..], b"7 (sh) S 1 2", b"7 (sh) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x"] {
        assert!(parse_start(bad).is_err());
    }
}

#[test]
fn finds_this_process_as_it_is() {
    let root = Root::open(Path::new("/")).unwrap();
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    let long_name = format!("{}-and-what-the-kernel-cut-off", name.trim());
    let found =
        by_name(&root, &["no-such-process", if name.trim().len() == 15 { &long_name } else { name.trim() }])
            .unwrap();
    let own = found.iter().find(|process| process.pid == std::process::id()).unwrap();
    assert_eq!(own.status.uid.effective, nix::unistd::geteuid().as_raw());
    assert_eq!(own.status.gid.real, nix::unistd::getgid().as_raw());
    let mut groups: Vec<u32> =
        nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
    groups.sort_unstable();
    let mut seen = own.status.groups.clone();
    seen.sort_unstable();
    assert_eq!(seen, groups);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // Told as the end of the 10 ms in which it started, which may still come.
    let age = now.as_nanos() as i128 - own.started.at;
    assert!((-10_000_000..60_000_000_000).contains(&age), "{age}");
}

#[test]
fn an_image_has_no_processes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("proc/1")).unwrap();
    std::fs::write(dir.path().join("proc/1/comm"), "init\n").unwrap();
    std::fs::write(dir.path().join("proc/1/status"), "half a file").unwrap();
    std::fs::write(dir.path().join("proc/1/stat"), "").unwrap();
    assert_eq!(by_name(&Root::open(dir.path()).unwrap(), &["systemd", "init"]).unwrap(), []);
}

#[test]
fn processes_that_end_meanwhile_do_no_harm() {
    let root = Root::open(Path::new("/")).unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(1);
    let churn = || {
        std::thread::spawn(move || {
            while std::time::Instant::now() < end {
                std::process::Command::new("true").status().unwrap();
            }
        })
    };
    let churns = [churn(), churn(), churn(), churn()];
    while std::time::Instant::now() < end {
        by_name(&root, &["true"]).unwrap();
    }
    for churn in churns {
        churn.join().unwrap();
    }
}

/// Its parent has not waited for it yet.
#[test]
fn one_that_has_ended_runs_no_more() {
    let root = Root::open(Path::new("/")).unwrap();
    let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    assert!(by_pid(&root, child.id()).is_some());
    child.kill().unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while state(&root, child.id()) != Some('Z') {
        assert!(std::time::Instant::now() < end, "it does not end");
    }
    assert_eq!(by_pid(&root, child.id()), None);
    child.wait().unwrap();
}
