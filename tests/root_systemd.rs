// SPDX-License-Identifier: Apache-2.0
//! Against the systemd of the machine this runs on, which has OVS and libvirt: both ways to it say the same.
#![cfg(feature = "dbus")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vhost_accord::base::root::Root;
use vhost_accord::systemd::dbus::Bus;
use vhost_accord::systemd::image::Image;
use vhost_accord::systemd::systemctl::Systemctl;
use vhost_accord::systemd::{Act, ServiceManager, UnitFact, Units, connect};

const DIR: &str = "/run/systemd/system";
/// Where zbus looks for the system bus first.
const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
/// For a start or a stop.
const LIMIT: Duration = Duration::from_secs(60);

/// A unit of our own that goes when the test ends.
struct Unit<'a> {
    name: &'a str,
    manager: &'a dyn ServiceManager,
}

impl<'a> Unit<'a> {
    fn new(manager: &'a dyn ServiceManager, name: &'a str, text: &str) -> Unit<'a> {
        fs::write(Path::new(DIR).join(name), text).unwrap();
        manager.reload().unwrap();
        Unit { name, manager }
    }

    fn fact(&self) -> UnitFact {
        self.manager.unit(self.name).unwrap().unwrap()
    }
}

impl Drop for Unit<'_> {
    fn drop(&mut self) {
        self.manager.act(Act::Stop(LIMIT), self.name).ok();
        fs::remove_file(Path::new(DIR).join(self.name)).unwrap();
        fs::remove_dir_all(Path::new(DIR).join(format!("{}.d", self.name))).ok();
        self.manager.reload().unwrap();
    }
}

#[test]
#[ignore = "needs a node with systemd, OVS and libvirt: make test"]
fn dbus_and_systemctl_say_the_same() {
    let (bus, systemctl) = (Bus::system().unwrap(), Systemctl);
    let names = [
        "ovsdb-server.service",
        "ovs-vswitchd.service",
        "libvirtd.service",
        "dev-hugepages.mount",
        "libvirtd.socket",
        "-.mount",
    ];
    for name in names {
        let fact = bus.unit(name).unwrap().unwrap();
        assert_eq!(fact.name, name);
        assert_eq!(Some(fact), systemctl.unit(name).unwrap());
    }
    assert_eq!(bus.unit("vhost-accord-none.service").unwrap(), None);
    assert_eq!(systemctl.unit("vhost-accord-none.service").unwrap(), None);
    assert!(bus.unit("no-suffix").is_err());
    assert!(
        bus.unit("ovs-vswitchd.service").unwrap().unwrap().active_enter_timestamp.unwrap()
            > 1_600_000_000_000_000
    );
}

#[test]
#[ignore = "needs a node with systemd, OVS and libvirt: make test"]
fn the_files_say_what_systemd_says() {
    let root = Root::open(Path::new("/")).unwrap();
    let (bus, image) = (Bus::system().unwrap(), Image(&root));
    for name in ["ovsdb-server.service", "ovs-vswitchd.service", "libvirtd.service", "dev-hugepages.mount"] {
        let (mut live, mut written) = (bus.unit(name).unwrap().unwrap(), image.unit(name).unwrap().unwrap());
        // What only a running systemd knows, and two names of one directory.
        live.active_state.clone_from(&written.active_state);
        (live.main_pid, live.active_enter_timestamp, live.state_change_timestamp) = (None, None, None);
        (live.mount_options, written.mount_options) = (None, None);
        live.fragment = live.fragment.map(|path| fs::canonicalize(path).unwrap());
        assert_eq!(live, written);
    }
}

#[test]
#[ignore = "needs a node with systemd, OVS and libvirt: make test"]
fn a_unit_with_everything_in_it_reads_the_same_both_ways() {
    let (bus, systemctl) = (Bus::system().unwrap(), Systemctl);
    let unit = Unit::new(
        &bus,
        "vhost-accord-a.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nUMask=0002\nGroup=daemon\nEnvironment=\"A=b c\" 'D=\"e\"' F=g\\\\h\n\
         EnvironmentFile=-/etc/default/none\nEnvironmentFile=/etc/os-release\nRuntimeDirectory=va/a va/b\n\
         RuntimeDirectoryPreserve=restart\nExecStartPre=-/bin/sh -c 'true; : \"a b\"'\nExecStart=/bin/true one ; /bin/true two\n\
         ExecStartPost=@/bin/true name 'x y'\n",
    );
    unit.manager.act(Act::Start(LIMIT), unit.name).unwrap();
    let fact = unit.fact();
    assert_eq!(Some(&fact), systemctl.unit(unit.name).unwrap().as_ref());
    assert_eq!(fact.exec_start, [["/bin/true", "one"], ["/bin/true", "two"]]);
    assert_eq!(fact.exec_start_pre, [["/bin/sh", "-c", "true; : \"a b\""]]);
    assert_eq!((fact.umask, fact.group.as_deref(), fact.is_active()), (0o002, Some("daemon"), true));
    assert!(!fact.need_daemon_reload);

    let drop_ins = Path::new(DIR).join("vhost-accord-a.service.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(drop_ins.join("x.conf"), "[Service]\nUMask=0077\n").unwrap();
    assert_eq!(unit.fact().umask, 0o002);
    assert!(unit.fact().need_daemon_reload && systemctl.unit(unit.name).unwrap().unwrap().need_daemon_reload);
    systemctl.reload().unwrap();
    assert_eq!((unit.fact().umask, unit.fact().drop_ins), (0o077, vec![drop_ins.join("x.conf")]));
}

#[test]
#[ignore = "needs a node with systemd, OVS and libvirt: make test"]
fn starting_and_stopping_wait_and_say_why_not() {
    let (bus, systemctl) = (Bus::system().unwrap(), Systemctl);
    for manager in [&bus as &dyn ServiceManager, &systemctl] {
        let good = Unit::new(
            manager,
            "vhost-accord-b.service",
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 0.5\nExecStop=/bin/sleep 0.3\n",
        );
        for _ in 0..2 {
            manager.act(Act::Restart, good.name).unwrap();
            assert!(good.fact().is_active());
        }
        manager.act(Act::Stop(LIMIT), good.name).unwrap();
        assert_eq!(good.fact().active_state, "inactive");
        let bad = Unit::new(
            manager,
            "vhost-accord-c.service",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'exit 7'\n",
        );
        for result in [manager.act(Act::Restart, bad.name), manager.act(Act::Start(LIMIT), bad.name)] {
            let error = format!("{:#}", result.unwrap_err());
            assert!(error.contains("vhost-accord-c.service did not start"), "{error}");
        }
        let error = format!("{:#}", manager.act(Act::Start(LIMIT), "vhost-accord-none.service").unwrap_err());
        assert!(error.contains("not found"), "{error}");
    }
}

#[test]
#[ignore = "needs a node with systemd, OVS and libvirt: make test"]
fn the_bus_is_preferred_and_one_that_hangs_is_given_up() {
    // This test as run by itself, below.
    if std::env::var_os(BUS).is_some() {
        let error = format!("{:#}", Bus::system().map(drop).unwrap_err());
        assert!(error.ends_with("no answer in time"), "{error}");
        return;
    }
    let root = Root::open(Path::new("/")).unwrap();
    assert!(format!("{:?}", connect(&root).unwrap()).starts_with("Bus"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bus");
    let _silent = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let silent = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "the_bus_is_preferred_and_one_that_hangs_is_given_up"])
        .env(BUS, format!("unix:path={}", path.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&silent.stdout);
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "needs a node with systemd, OVS and libvirt: make test"]
fn a_question_without_an_answer_does_not_end_a_job() {
    let bus = Bus::system().unwrap();
    let slow = Unit::new(
        &bus,
        "vhost-accord-d.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 25\n",
    );
    // Longer than one question may take, shorter than the job.
    let silent =
        "sleep 2; pid=$(systemctl show -P MainPID dbus.service); kill -STOP $pid; sleep 14; kill -CONT $pid";
    let mut silence = Command::new("sh").args(["-c", silent]).spawn().unwrap();
    let started = slow.manager.act(Act::Start(LIMIT), slow.name);
    silence.wait().unwrap();
    started.unwrap();
    assert!(slow.fact().is_active());
}

#[test]
#[ignore = "needs a node with systemd, OVS and libvirt: make test"]
fn a_job_that_hangs_or_fails_is_told() {
    let (bus, systemctl) = (Bus::system().unwrap(), Systemctl);
    for manager in [&bus as &dyn ServiceManager, &systemctl] {
        let hangs = Unit::new(
            manager,
            "vhost-accord-e.service",
            "[Service]\nExecStartPre=/bin/sh -c 'trap \"\" TERM; sleep 600; sleep 600'\nExecStart=/bin/sleep 600\nTimeoutSec=300\n",
        );
        let error = format!("{:#}", manager.act(Act::Start(Duration::from_secs(2)), hangs.name).unwrap_err());
        assert!(error.contains("not done after 2 s"), "{error}");
        let error = format!("{:#}", manager.act(Act::Stop(Duration::from_secs(2)), hangs.name).unwrap_err());
        assert!(error.contains("not done after 2 s"), "{error}");
        manager.act(Act::Kill, hangs.name).unwrap();
        manager.act(Act::Stop(LIMIT), hangs.name).unwrap();

        let reload = Unit::new(
            manager,
            "vhost-accord-f.service",
            "[Service]\nExecStart=/bin/sleep 600\nExecReload=/bin/false\nTimeoutStopSec=1\n",
        );
        manager.act(Act::Start(LIMIT), reload.name).unwrap();
        let error = format!("{:#}", manager.act(Act::Reload, reload.name).unwrap_err());
        assert!(error.contains("did not reload"), "{error}");

        // Five failures in a row make systemd refuse a sixth start by others.
        let fails =
            Unit::new(manager, "vhost-accord-g.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n");
        for _ in 0..7 {
            let _ = manager.act(Act::Forgive, fails.name);
            let error = format!("{:#}", manager.act(Act::Start(LIMIT), fails.name).unwrap_err());
            assert!(!error.contains("too quickly") && !error.contains("start-limit-hit"), "{error}");
        }
    }
}
