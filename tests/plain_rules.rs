// SPDX-License-Identifier: Apache-2.0
//! Every rule of `check` on a node that breaks it and on one that does not: the sound node has no finding, and each
//! breakage is named by its own id and accuses nothing else.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "rules/drop_ins.rs"]
mod drop_ins;
#[path = "rules/endpoints.rs"]
mod endpoints;
#[path = "rules/node.rs"]
mod node;
#[path = "rules/pair.rs"]
mod pair;
#[path = "rules/peer.rs"]
mod peer;
#[path = "rules/sections.rs"]
mod sections;
#[path = "rules/silence.rs"]
mod silence;

use std::collections::BTreeSet;
use std::path::PathBuf;

use node::{CLIENT_PORT, Node, SERVER_PORT, file, present};
use sections::{asked, problem, silent, spdk};
use vhost_accord::access::{Acl, AclEntry, Perm, Tag};
use vhost_accord::base::root::Kind;
use vhost_accord::config::PortType;
use vhost_accord::edit::virconf::Value;
use vhost_accord::facts::domains::parse_domain;
use vhost_accord::facts::sockets::Liveness;
use vhost_accord::facts::surroundings::{SeLinux, UdevRule, parse_tmpfiles};
use vhost_accord::profile::{MainHook, QemuConf};
use vhost_accord::rules::{self, Ask};

type Breakage = (&'static str, fn(&mut Node));

const SOCKETS: &str = "/var/lib/vhost_sockets";

const BREAKAGES: &[Breakage] = &[
    ("no-dataplane", |node| node.profile.dataplane = None),
    ("no-libvirt", |node| {
        node.profile.hypervisor = None;
        node.accord.qemu = None;
    }),
    ("account-missing", |node| held!(node, Member).before = None),
    ("group-renumbered", |node| held!(node, Renumber).before.gid = Some(995)),
    ("group-not-the-contract", |node| node.accord.group.contract = Some(1)),
    ("group-sources-disagree", |node| {
        let source = |name: &str, gid| vhost_accord::facts::accounts::Source { name: name.to_string(), gid };
        node.profile.accounts.sources = vec![source("files", 42477), source("altfiles", 800)];
    }),
    ("socket-directory-missing", |node| *node.found_at(SOCKETS) = None),
    ("socket-directory-owner", |node| node.owner(SOCKETS).gid = 0),
    ("socket-directory-mode", |node| node.owner(SOCKETS).mode = 0o755),
    ("hugepages-owner", |node| hugepages(node, 0, 0o775)),
    ("hugepages-mode", |node| hugepages(node, 42477, 0o700)),
    ("run-directory-owner", |node| node.owner("/run/openvswitch").uid = 0),
    ("dataplane-state-owner", |node| node.owner("/var/lib/openvswitch").uid = 0),
    ("database-socket-owner", |node| {
        node.owner("/run/openvswitch/db.sock").mode = 0o777;
        // Named once, and not by what follows from it.
        let guarded = &mut node.live().guarded[0];
        guarded.fact = present(Vec::new(), "/run/openvswitch/db.sock", Kind::Socket, (0, 42477, 0o777));
    }),
    ("file-missing", |node| *node.file("ovs-vswitchd.service.d/50-vhost-accord.conf") = None),
    ("file-differs", |node| {
        *node.file("ovs-vswitchd.service.d/50-vhost-accord.conf") = Some(file("[Service]\n"));
    }),
    ("daemon-reload-missing", |node| unit(node).need_daemon_reload = true),
    ("drop-in-without-effect", |node| unit(node).exec_start_post.clear()),
    ("unit-opens-files", |node| exec(node, &["/bin/chmod", "0777", "/run/openvswitch"])),
    ("unit-opens-files", |node| exec(node, &["/bin/sh", "-c", "sleep 1; chmod -R a+w /run/openvswitch"])),
    ("unit-masked", |node| unit(node).load_state = "masked".to_string()),
    ("rotated-logs-owner", |node| {
        held!(node, LogOwner).before = Some(file("x {\n create 640 root adm\n}\n"));
    }),
    ("packaged-file-patched", |node| {
        held!(node, Patch).before = Some(file("[Service]\nType=simple\nGroup=qemu\nUMask=0002\n"));
    }),
    ("qemu-conf-invalid", |node| {
        node.profile.hypervisor.as_mut().unwrap().conf = QemuConf::Invalid("line 1: no".to_string());
    }),
    ("qemu-conf-group", |node| {
        held!(node, Setting).before = Some(file("group = \"kvm\"\n"));
    }),
    ("libvirt-older-than-qemu-conf", |node| node.live().qemu_conf_modified = Some(5000)),
    ("dataplane-identity", |node| node.live().dataplane[1].status.uid.effective = 0),
    ("dataplane-umask", |node| node.live().dataplane[0].status.umask = Some(0o002)),
    ("guest-identity", |node| {
        node.live().guests[0].process.as_mut().unwrap().status.gid.effective = 104;
    }),
    ("server-socket-refuses-qemu", |node| {
        let socket = node.socket(PortType::Dpdkvhostuser);
        socket.fact = present(Vec::new(), SERVER_PORT, Kind::Socket, (0, 0, 0o755));
    }),
    ("client-socket-refuses-dataplane", |node| {
        let socket = node.socket(PortType::Dpdkvhostuserclient);
        socket.fact = present(Vec::new(), CLIENT_PORT, Kind::Socket, (64055, 64055, 0o775));
    }),
    ("client-socket-group", |node| {
        let socket = node.socket(PortType::Dpdkvhostuserclient);
        socket.fact = present(Vec::new(), CLIENT_PORT, Kind::Socket, (64055, 64055, 0o777));
    }),
    ("server-socket-stale", |node| node.socket(PortType::Dpdkvhostuser).liveness = Liveness::Stale),
    ("qemu-reaches-control-socket", |node| {
        let guarded = &mut node.live().guarded[0];
        guarded.fact = present(Vec::new(), "/run/openvswitch/db.sock", Kind::Socket, (0, 42477, 0o770));
    }),
    ("qemu-reads-database", |node| {
        let guarded = &mut node.live().guarded[1];
        guarded.fact = present(Vec::new(), "/var/lib/openvswitch/conf.db", Kind::File, (0, 0, 0o644));
    }),
    ("dataplane-port-refused", |node| node.live().declared = vec![asked("Permission denied")]),
    ("dataplane-ports-unknown", silent),
    ("hugepages-second-owner", |node| {
        node.profile.declared = vec![spdk()];
        mounted(node, 500, 42477, 0o775);
    }),
    ("dataplane-unit-missing", |node| problem(node, "dataplane-unit-missing")),
    ("dataplane-section-unclear", |node| problem(node, "dataplane-section-unclear")),
    ("dataplane-directory-taken", |node| problem(node, "dataplane-directory-taken")),
    ("dataplane-user-missing", |node| problem(node, "dataplane-user-missing")),
    ("group-missing", |node| problem(node, "group-missing")),
    ("watch-not-running", |node| {
        held!(node, Link, |link| vhost_accord::accord::is_watch_link(link)).before = None;
    }),
    ("watch-not-running", |node| watch(node).active_state = "failed".to_string()),
    ("watch-not-running", |node| watch(node).load_state = "masked".to_string()),
    ("hook-missing", |node| held!(node, Link).before = None),
    ("hook-not-executable", |node| node.live().hooks[0].executable = false),
    ("hook-shadowed", |node| {
        let hooks = &mut node.profile.hypervisor.as_mut().unwrap().hooks;
        (hooks.reads_directory, hooks.main) = (false, MainHook::Foreign);
    }),
    ("hook-not-picked-up", |node| node.live().hooks[0].modified = 5000),
    ("vhost-owner-option", |node| {
        set(node, "dpdk-extra", "--no-pci --vhost-owner libvirt-qemu:kvm --vhost-perm 0660");
    }),
    ("vhost-sock-dir-invalid", |node| set(node, "vhost-sock-dir", "../vhost")),
    ("vhost-iommu-support", |node| set(node, "vhost-iommu-support", "true")),
    ("socket-directory-in-run-directory", |node| {
        node.accord.socket_directory = PathBuf::from("/var/run/openvswitch/vhost");
    }),
    ("hugepages-read-only", |node| node.surroundings.hugetlb[0].read_only = true),
    ("hugepages-none", |node| node.surroundings.pools = [(2 << 20, 0)].into()),
    ("hugepages-masked", |node| {
        let over = PathBuf::from("/dev/hugepages/libvirt/qemu");
        node.surroundings.hugetlb[0].masked_by = vec![(over, "ext4".to_string())];
    }),
    ("hugepages-mount-stacked", |node| node.surroundings.hugetlb[0].hides = 1),
    ("hugepages-mount-capped", |node| cap(node, "size=512M")),
    ("dpdk-opts-ignored", |node| {
        node.surroundings.dpdk_opts = vec![PathBuf::from("/etc/default/openvswitch-switch")];
    }),
    ("hugepages-no-mount", |node| node.surroundings.hugetlb.clear()),
    ("hugepages-disabled-in-qemu-conf", |node| {
        conf(node, "hugetlbfs_mount", Value::Text(String::new()));
    }),
    ("udev-group-ignored", |node| udev(node, 258)),
    ("udev-group-deprecated", |node| udev(node, 262)),
    ("memory-limit-below-hugepages", |node| limited(node, "")),
    ("memory-limit-below-hugepages", |node| {
        limited(node, "<memtune><hard_limit unit='GiB'>1</hard_limit></memtune>");
        node.surroundings.memory_limits = Some(Vec::new());
    }),
    ("selinux-label", |node| selinux(node, "var_lib_t", None)),
    ("selinux-hook-confined", |node| selinux(node, "virt_cache_t", Some(false))),
    // The boolean is about other hooks.
    ("selinux-hook-confined", |node| selinux(node, "virt_cache_t", Some(true))),
    ("selinux-dac-override", |node| {
        selinux(node, "virt_cache_t", None);
        node.surroundings.selinux.as_mut().unwrap().dac_override = Some(false);
        node.accord.dataplane.as_mut().unwrap().uid = 0;
        node.live().dataplane.iter_mut().for_each(|process| process.status.uid.effective = 0);
    }),
    ("apparmor-profile-disabled", |node| {
        node.surroundings.apparmor_disabled.push("usr.sbin.libvirtd".to_string());
    }),
    ("qemu-runs-as-root", |node| conf(node, "user", Value::Text("root".to_string()))),
    ("qemu-security-driver-off", |node| {
        conf(node, "security_driver", Value::List(vec![Value::Text("none".to_string())]));
    }),
    ("qemu-dynamic-ownership-off", |node| conf(node, "dynamic_ownership", Value::Integer(0))),
    ("qemu-capabilities-kept", |node| conf(node, "clear_emulator_capabilities", Value::Integer(0))),
    ("qemu-namespaces-off", |node| conf(node, "namespaces", Value::List(Vec::new()))),
    ("socket-directory-default-acl", |node| default_acl(node, 0o5)),
    ("tmpfiles-undoes", |node| tmpfiles(node, "d /var/lib/vhost_sockets 0755 root root -\n")),
];

/// What looks like a breakage and is none.
const SOUND: &[Breakage] = &[
    // It is in a container, and its numbers are in the configuration.
    ("no-libvirt", |node| node.profile.hypervisor = None),
    ("group-renumbered", |node| held!(node, Renumber).before.gid = None),
    ("hook-not-picked-up", |node| {
        node.live().hooks[0].modified = 5000;
        node.live().libvirt_reloaded = Some(6000);
    }),
    ("server-socket-refuses-qemu", |node| {
        let socket = node.socket(PortType::Dpdkvhostuser);
        socket.fact = present(Vec::new(), SERVER_PORT, Kind::Socket, (64055, 0, 0o755));
    }),
    ("dataplane-umask", |node| node.live().dataplane[0].status.umask = None),
    // No VM runs.
    ("dataplane-port-refused", |node| node.live().declared = vec![asked("No such file or directory")]),
    ("hugepages-second-owner", |node| mounted(node, 500, 42477, 0o775)),
    ("vhost-owner-option", |node| set(node, "dpdk-extra", "--no-pci")),
    ("vhost-sock-dir-invalid", |node| set(node, "vhost-sock-dir", "vhost")),
    ("vhost-iommu-support", |node| set(node, "vhost-iommu-support", "false")),
    ("hugepages-none", |node| node.surroundings.pools.clear()),
    ("hugepages-mount-capped", |node| cap(node, "size=1G")),
    ("hugepages-mount-capped", |node| {
        cap(node, "size=512M");
        node.surroundings.pools.clear();
    }),
    ("unit-opens-files", |node| exec(node, &["/bin/chmod", "0775", "/dev/hugepages"])),
    ("unit-opens-files", |node| exec(node, &["/bin/chmod", "g+w", "/dev/hugepages"])),
    ("hugepages-no-mount", |node| {
        node.surroundings.pools.clear();
        node.surroundings.hugetlb.clear();
    }),
    ("hugepages-disabled-in-qemu-conf", |node| {
        conf(node, "hugetlbfs_mount", Value::Text("/dev/hugepages".to_string()));
    }),
    // A root switch opens what it likes.
    ("udev-group-ignored", |node| {
        udev(node, 258);
        let config = "[accord]\ndataplane-user = root\n";
        std::fs::write(node.image.path().join("etc/vhost-accord/vhost-accord.conf"), config).unwrap();
        node.accord = node.survey().accord;
    }),
    ("memory-limit-below-hugepages", |node| {
        limited(node, "");
        node.surroundings.memory_limits = None;
    }),
    ("memory-limit-below-hugepages", |node| {
        limited(node, "<resource><partition>/other</partition></resource>");
    }),
    ("memory-limit-below-hugepages", |node| {
        limited(node, "<memtune><hard_limit unit='GiB'>4</hard_limit></memtune>");
        node.surroundings.memory_limits.as_mut().unwrap()[0].bytes = 2 << 30;
    }),
    ("selinux-label", |node| selinux(node, "virt_cache_t", None)),
    ("selinux-label", |node| {
        selinux(node, "var_lib_t", None);
        node.surroundings.selinux.as_mut().unwrap().enforcing = false;
    }),
    ("selinux-label", |node| selinux(node, "vhost_accord_socket_t", None)),
    ("selinux-hook-confined", |node| {
        selinux(node, "virt_cache_t", Some(false));
        node.surroundings.selinux.as_mut().unwrap().program_type = Some("vhost_accord_exec_t".to_string());
    }),
    ("selinux-dac-override", |node| {
        selinux(node, "virt_cache_t", None);
        node.surroundings.selinux.as_mut().unwrap().dac_override = Some(true);
    }),
    ("qemu-runs-as-root", |node| conf(node, "user", Value::Text("libvirt-qemu".to_string()))),
    // That is qemu-conf-group's.
    ("qemu-runs-as-root", |node| conf(node, "group", Value::Text("root".to_string()))),
    ("qemu-security-driver-off", |node| conf(node, "security_driver", Value::Text("selinux".to_string()))),
    ("qemu-dynamic-ownership-off", |node| conf(node, "dynamic_ownership", Value::Integer(1))),
    ("qemu-namespaces-off", |node| {
        conf(node, "namespaces", Value::List(vec![Value::Text("mount".to_string())]));
    }),
    ("socket-directory-default-acl", |node| default_acl(node, 0o7)),
    ("tmpfiles-undoes", |node| {
        tmpfiles(
            node,
            "d /var/lib/vhost_sockets 2775 - 42477 -\nd /var/lib/other 0700\nL /var/lib/vhost_sockets - -\n",
        );
    }),
];

fn hugepages(node: &mut Node, gid: u32, mode: u32) {
    mounted(node, 0, gid, mode);
}

fn mounted(node: &mut Node, uid: u32, gid: u32, mode: u32) {
    use vhost_accord::items::{Absent, Held, Owner, OwnerState, Subject};
    let item = Owner {
        path: PathBuf::from("/dev/hugepages"),
        subject: Subject::Hugepages,
        uid: None,
        gid: Some(42477),
        mode: Some(0o775),
        absent: Absent::Fine,
    };
    let found = OwnerState { kind: Kind::Directory, uid, gid, mode };
    node.observed.push(Held { item, before: Some(found) }.into());
}

fn udev(node: &mut Node, systemd: u32) {
    let file = PathBuf::from("/usr/lib/udev/rules.d/91-vfio.rules");
    node.surroundings.udev_rules = vec![UdevRule { file, group: "hugetlbfs".to_string(), systemd }];
}

/// A VM with 2 GiB of huge pages, below a limit of 1 GiB.
fn limited(node: &mut Node, more: &str) {
    let xml = format!(
        "<domain><name>big</name><memory unit='GiB'>2</memory><memoryBacking><hugepages/></memoryBacking>{more}</domain>"
    );
    node.live().defined.domains.push(parse_domain(&xml).unwrap());
}

fn unit(node: &mut Node) -> &mut vhost_accord::systemd::UnitFact {
    node.live().units.iter_mut().find(|unit| unit.name == "ovs-vswitchd.service").unwrap()
}

fn watch(node: &mut Node) -> &mut vhost_accord::systemd::UnitFact {
    node.live().units.iter_mut().find(|unit| unit.name == "vhost-accord-watch.service").unwrap()
}

fn set(node: &mut Node, key: &str, value: &str) {
    node.switch().other_config.insert(key.to_string(), value.to_string());
}

fn exec(node: &mut Node, command: &[&str]) {
    unit(node).exec_start_pre.push(command.iter().map(|word| word.to_string()).collect());
}

/// The mount with a size; there is a pool of 1 GiB of its pages.
fn cap(node: &mut Node, size: &str) {
    node.surroundings.hugetlb[0].options.push(size.to_string());
}

fn conf(node: &mut Node, key: &str, value: Value) {
    node.surroundings.qemu_conf.insert(key.to_string(), value);
}

fn selinux(node: &mut Node, kind: &str, hooks_unconfined: Option<bool>) {
    let socket_directory_type = Some(kind.to_string());
    node.surroundings.selinux = Some(SeLinux {
        enforcing: true,
        hooks_unconfined,
        socket_directory_type,
        program_type: Some("bin_t".to_string()),
        ..SeLinux::default()
    });
}

fn default_acl(node: &mut Node, group: u32) {
    let entry = |tag, bits| AclEntry { tag, perm: Perm::from_bits(bits) };
    let entries = vec![entry(Tag::Owner, 7), entry(Tag::OwningGroup, group), entry(Tag::Other, 5)];
    node.surroundings.socket_directory_default_acl = Some(Acl::new(entries).unwrap());
}

fn tmpfiles(node: &mut Node, text: &str) {
    let file = PathBuf::from("/usr/lib/tmpfiles.d/vhost.conf");
    node.surroundings.tmpfiles = parse_tmpfiles(&file, text);
}

fn ids(node: &Node) -> BTreeSet<&'static str> {
    node.findings().into_iter().map(|finding| finding.id).collect()
}

#[test]
fn a_sound_node_has_no_finding() {
    assert_eq!(Node::sound().findings(), []);
}

#[test]
fn each_breakage_is_named_by_its_id_and_nothing_else_is_accused() {
    for (id, break_it) in BREAKAGES {
        let mut node = Node::sound();
        break_it(&mut node);
        assert_eq!(ids(&node), BTreeSet::from([*id]), "{:#?}", node.findings());
        for finding in node.findings() {
            let texts = [&finding.subject, &finding.seen, &finding.fix];
            assert!(texts.iter().all(|text| !text.is_empty() && !text.contains('\n')), "{finding:?}");
        }
    }
}

#[test]
fn what_looks_like_a_breakage_is_none() {
    for (id, change) in SOUND {
        let mut node = Node::sound();
        change(&mut node);
        assert!(!ids(&node).contains(id), "{id}: {:#?}", node.findings());
    }
}

#[test]
fn every_rule_has_its_breakage() {
    let tested: BTreeSet<&str> = BREAKAGES.iter().map(|(id, _)| *id).collect();
    let is_asked = |rule: &&rules::Rule| {
        rule.asks.iter().any(|ask| matches!(ask, Ask::Node(_) | Ask::Once(_) | Ask::Change(_)))
    };
    let rules: BTreeSet<&str> = rules::all().filter(is_asked).map(|rule| rule.id).collect();
    assert_eq!(rules, tested);
}
