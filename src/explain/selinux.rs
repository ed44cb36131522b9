// SPDX-License-Identifier: Apache-2.0
//! What a denial of SELinux means: the pair of types says what it is. Pairs of the tests of openstack-selinux, of
//! selinux-policy (virt.te, container.te), and of reports about them.

use super::audit::{Denial, denied};
use super::object::{self, Thing};
use super::{Class, Event};

/// Who was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Qemu,
    Switch,
    SwitchTool,
    Libvirt,
    BackEnd,
    Tpm,
    Container,
    Anyone,
}

/// Types of the object, its classes, permissions of which one is asked for; empty: any. A word that ends with `*` is the
/// beginning of one.
type Object = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// Who, on what, a part of its path; then id, cause, fix.
type Rule = (Who, Object, &'static str, &'static str, &'static str, &'static str);

const MODULE: &str = "semodule -i /usr/share/selinux/packages/vhost_accord.cil (this program's module), or a current openstack-selinux; no chmod helps, and not setenforce 0";
const LABEL: &str = "label the directory: semodule -i /usr/share/selinux/packages/vhost_accord.cil, then restorecon -RF /var/lib/vhost_sockets; not setenforce 0";
const OPENSTACK: &str = "openstack-selinux of 2019-05 or newer has the rule; else a local module with the rule above; no chmod helps";
const POLICY: &str = "update selinux-policy; until then a local module with the rule above; no chmod helps, and not setenforce 0";
const NOTHING: &str = "nothing for vhost-user; look at it apart if something else fails";
/// What libvirt starts, or labels, gets a type that QEMU may use.
const BY_LIBVIRT: &str = "let libvirt start the back end (it gets QEMU's label), or update selinux-policy; <seclabel type='none'/> works too, and takes confinement from that VM";

/// How it is confirmed.
const DECIDE: &str = "ausearch -m avc,user_avc -ts recent | audit2why; for what is hidden: semodule -DB, once more, semodule -B";
const SOURCE: &str =
    "SELinux policy (selinux-policy virt.te, openvswitch.te, container.te; openstack-selinux os-ovs.te)";

const SOCKET: &[&str] = &["unix_stream_socket"];
const FILE: &[&str] = &["file"];
const VMS: &[&str] = &["svirt*", "qemu_t"];
const CONTAINERS: &[&str] =
    &["spc_t", "container_t", "container_runtime_t", "container_kvm_t", "container_engine_t"];
const UNCONFINED: &[&str] = &["unconfined*", "init_t", "initrc_t", "kernel_t", "sshd_t"];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    // The switch.
    (Who::Switch, (&[], FILE, &[]), "vhost-log", "selinux-migration-log",
        "only at live migration: QEMU hands the switch the log of changed pages (memfd:vhost-log), and the switch may not use it. Socket, owner and huge pages are as they should", MODULE),
    (Who::Switch, (CONTAINERS, SOCKET, &[]), "", "selinux-vm-in-container",
        "the VM's QEMU (or libvirt) runs in a privileged container, and the switch's policy knows only VMs that libvirt labelled", OPENSTACK),
    (Who::Switch, (VMS, SOCKET, &[]), "", "selinux-ovs-connect",
        "the switch may not use the socket that QEMU listens on (port type dpdkvhostuserclient)", MODULE),
    (Who::Switch, (&[""], SOCKET, &[]), "", "selinux-ovs-connect",
        "the switch may not use this socket (of QEMU's, if it is a vhost-user port's)", MODULE),
    (Who::Switch, (&[""], FILE, &[]), "huge", "selinux-ovs-memory",
        "the switch may not use a file of huge pages: the guest's memory, or its own", MODULE),
    (Who::Switch, (&[""], &["chr_file"], &[]), "vfio", "selinux-ovs-vfio",
        "the switch may not open the VFIO device of a physical card; vhost-user ports are not concerned", MODULE),
    (Who::Switch, (&[""], FILE, &[]), "memfd", "selinux-ovs-memory",
        "the switch may not use a memory file of QEMU's", MODULE),
    (Who::Switch, (VMS, &["fd"], &[]), "", "selinux-ovs-memory",
        "the switch may not use descriptors that QEMU hands it: guest memory, and the events of its rings", MODULE),
    (Who::Switch, (&["hugetlbfs_t"], &["dir", "filesystem"], &[]), "", "selinux-ovs-memory",
        "the switch may not use the mount of its own huge pages: DPDK does not come up", MODULE),
    (Who::Switch, (&[], FILE, &[]), "/proc/", "selinux-parent-name",
        "harmless by itself: an ovs tool asks for the name of its parent process, for the comment in its log. It stops no VM", NOTHING),
    (Who::Switch, (&["container_file_t", "container_ro_file_t"], &[], &[]), "", "selinux-relabelled",
        "the switch's directory carries a container's label: it was mounted into a container with :z or :Z, which relabels it on the host. In enforcing mode DPDK does not come up", "restorecon -RF /run/openvswitch, and mount it into containers without :z and :Z; openstack-selinux of 2019-11 or newer allows it"),
    (Who::Switch, (&["svirt*", "hugetlbfs_t", "virt_cache_t", "qemu_var_run_t"], FILE, &["map"]), "", "selinux-ovs-memory",
        "the switch may not map this memory (guest's or its own huge pages): its policy is older than the kernel's check", MODULE),
    (Who::Switch, (&["svirt_tmpfs_t"], FILE, &[]), "", "selinux-ovs-memory",
        "the switch may not use a memory file of QEMU's (memfd): the guest's memory, or at migration the log of changed pages. The VM boots and has no network", MODULE),
    (Who::Switch, (&["svirt*", "hugetlbfs_t", "qemu_var_run_t"], FILE, &[]), "", "selinux-ovs-memory",
        "the switch may not read and write the file that is the guest's memory: the VM boots and has no network", MODULE),
    (Who::Switch, (&[], &["sock_file"], &[]), ".ctl", "selinux-control-socket",
        "a control socket of the switch, not a vhost-user port: it stops no VM", NOTHING),
    (Who::Switch, (&[], &["sock_file"], &["write", "getattr"]), "", "selinux-ovs-connect",
        "the switch may not write this socket file, which connecting takes", MODULE),
    (Who::Switch, (&[], &["dir"], &["search", "getattr", "read", "open"]), "", "selinux-ovs-search",
        "the switch may not search this directory: a socket of QEMU's below it cannot be reached", MODULE),
    (Who::Switch, (&["vfio_device_t"], &["chr_file"], &[]), "", "selinux-ovs-vfio",
        "the switch may not open the VFIO device of a physical card; vhost-user ports are not concerned", MODULE),
    (Who::Switch, (&[], &["capability", "capability2", "cap_userns"], &[]), "", "selinux-ovs-capability",
        "the switch's policy lacks a capability. dac_override: it runs as root and meets files that are another's", "setsebool -P os_openvswitch_dac_override on (openstack-selinux), or run the switch as its own user"),
    (Who::Switch, (&[], &["dir", "file", "sock_file"], &["create", "write", "add_name", "unlink", "remove_name"]), "", "selinux-ovs-create",
        "the switch may not create or remove files in a directory of this type", "restorecon -RF on the directory; a directory elsewhere than /run/openvswitch needs a label of its own (semanage fcontext)"),
    (Who::Switch, (&[], &[], &[]), "", "selinux-ovs",
        "SELinux denied the switch something of its own (netlink, its files, the kernel): no socket of a VM and no guest memory. Its policy is older than this Open vSwitch", POLICY),
    (Who::SwitchTool, (&[], &[], &[]), "", "selinux-control-socket",
        "a tool of the switch (ovs-appctl of logrotate, ovs-vsctl) may not use a control socket or file of it. It is no vhost-user port, and stops no VM", NOTHING),
    // QEMU.
    (Who::Qemu, (&[], &["tun_socket"], &[]), "", "selinux-tap",
        "a tap card with several queues, not a vhost-user port", NOTHING),
    (Who::Qemu, (&["tun_tap_device_t", "vhost_device_t"], &[], &[]), "", "selinux-tap",
        "a tap card or the kernel's vhost-net, not a vhost-user port", NOTHING),
    (Who::Qemu, (&["openvswitch_t"], &["unix_stream_socket", "fd"], &[]), "", "selinux-qemu-connect",
        "QEMU may not connect to the switch's socket (port type dpdkvhostuser)", "the policy needs openvswitch_stream_connect(svirt_t): selinux-policy or openstack-selinux; or dpdkvhostuserclient ports with this program's module"),
    (Who::Qemu, (UNCONFINED, SOCKET, &["connectto"]), "", "selinux-qemu-connect-unlabelled",
        "QEMU may not connect to this back end (virtiofsd, SPDK, ...), which runs unconfined: somebody started it by hand or by a unit without a label of its own", BY_LIBVIRT),
    (Who::Qemu, (CONTAINERS, SOCKET, &[]), "", "selinux-qemu-connect-container",
        "QEMU may not connect to a back end that runs in a container", "a local module with the rule above, or the back end outside the container"),
    (Who::Qemu, (VMS, SOCKET, &[]), "", "selinux-qemu-categories",
        "QEMU may not connect to a process of its own type: it carries the categories of another VM", "let libvirt start or label it for this VM, or give both the same <seclabel type='static'>"),
    (Who::Qemu, (&[], SOCKET, &[]), "", "selinux-qemu-connect-unlabelled",
        "QEMU may not connect to a process of this type", BY_LIBVIRT),
    (Who::Qemu, (&[], &["sock_file"], &["create", "add_name", "setattr"]), "", "selinux-qemu-create",
        "QEMU may not create a socket in a directory of this type: owner and mode may be right", LABEL),
    (Who::Qemu, (&[], &["sock_file"], &["unlink", "remove_name"]), "", "selinux-qemu-unlink",
        "QEMU may not remove its old socket in a directory of this type", LABEL),
    (Who::Qemu, (&[], &["sock_file"], &[]), "", "selinux-qemu-socket-label",
        "QEMU may not use a socket file of this type, which connecting takes: it has the label of its directory, not one for VMs", "chcon -t svirt_image_t on the socket for now; for good semanage fcontext on its directory, or let libvirt start the back end"),
    (Who::Qemu, (&["hugetlbfs_t"], &[], &[]), "", "selinux-qemu-hugepages",
        "QEMU may not use files on hugetlbfs of this label", "restorecon -RF on libvirt's directory there, restart libvirt's daemon; a mount with context= needs hugetlbfs_t and a policy for it"),
    (Who::Qemu, (&[], FILE, &["map"]), "", "selinux-qemu-memory-map",
        "QEMU opened the file of its memory and may not map it. 'unable to map backing store: Permission denied' is this, not too few huge pages", "setsebool -P domain_can_mmap_files 1, or memory on hugetlbfs or memfd"),
    (Who::Qemu, (&["nfs_t", "fusefs_t", "cifs_t"], &[], &[]), "", "selinux-qemu-file",
        "QEMU may not use files on a filesystem of the network without the boolean for it", "setsebool -P virt_use_nfs 1 (virt_use_fusefs, virt_use_samba)"),
    (Who::Qemu, (&[], &["dir"], &["write", "add_name", "create", "remove_name"]), "", "selinux-qemu-create",
        "QEMU may not create or remove anything in a directory of this type", LABEL),
    (Who::Qemu, (&[], &["dir"], &[]), "", "selinux-qemu-search",
        "QEMU may not search a directory of this type", "restorecon -RF on the directory; a place of your own needs semanage fcontext"),
    (Who::Qemu, (&[], &["chr_file", "blk_file"], &[]), "", "selinux-qemu-device",
        "QEMU may not use a device; vhost-user sockets are not concerned", "name it in the domain, so that libvirt labels it"),
    (Who::Qemu, (&[], FILE, &[]), "", "selinux-qemu-file",
        "QEMU may not use a file of this type (an image, a memory file): libvirt did not label it", "restorecon, or name the file in the domain so that libvirt labels it; svirt_image_t is the type"),
    (Who::Qemu, (&[], &[], &[]), "", "selinux-qemu",
        "SELinux denied QEMU something that has nothing to do with sockets or memory", POLICY),
    // libvirt and its hooks.
    (Who::Libvirt, (&["openvswitch_exec_t"], &[], &[]), "", "selinux-libvirt-ovs-vsctl",
        "libvirt's daemon, or a hook that it runs, may not run ovs-vsctl: ports are not plugged, and a hook cannot ask the switch", "selinux-policy with RHEL-65322 (2025-06) or newer; until then a local module with the rule above"),
    (Who::Libvirt, (&["openvswitch*"], &[], &[]), "", "selinux-libvirt-ovsdb",
        "libvirt's daemon, or a hook that it runs, may not ask the switch's database", POLICY),
    (Who::Libvirt, (&["virt_hook*", "bin_t", "etc_t", "virt_etc*", "unlabeled_t", "usr_t", "user_home*"], &[], &["execute", "execute_no_trans", "entrypoint", "map"]), "", "selinux-hook",
        "libvirt's daemon may not run this hook or helper: VMs start without it, or not at all", "restorecon -RF /etc/libvirt/hooks; helpers outside need a label too; semodule -i /usr/share/selinux/packages/vhost_accord.cil for this program's hook"),
    (Who::Libvirt, (&[], &["dbus"], &[]), "", "selinux-unrelated", "a message on D-Bus (virtlogd asks systemd not to shut down): not about vhost-user", NOTHING),
    (Who::Libvirt, (&[], &[], &[]), "", "selinux-libvirt",
        "SELinux denied libvirt's daemon something. It is no socket of a vhost-user port", POLICY),
    (Who::Tpm, (&[], &[], &[]), "", "selinux-tpm",
        "swtpm, which serves a virtual TPM: no vhost-user port", "let libvirt start swtpm, update swtpm-selinux or selinux-policy"),
    // Other back ends, and what runs in containers.
    (Who::BackEnd, (&["tmp_t", "tmpfs_t"], &[], &[]), "", "selinux-back-end",
        "the back end (virtiofsd) may not create its files in a tmpfs (name \"/\" is the root of that mount, not the host's): it exits, and QEMU only says 'Failed to read msg header' or 'Connection refused'", "a policy for its domain: update container-selinux or kata's; the socket's mode is not the point"),
    (Who::BackEnd, (&[], &[], &[]), "", "selinux-back-end",
        "SELinux denied the back end something: it may exit, and then QEMU only says 'Failed to read msg header' or 'Connection refused'", "a policy for its domain (container-selinux, selinux-policy); the socket's mode is not the point"),
    (Who::Container, (&["openvswitch*", "var_run_t", "virt_var_run_t", "vhost_accord_socket_t", "virt_cache_t"], &["sock_file", "unix_stream_socket", "dir"], &[]), "", "selinux-container",
        "a confined container may not use the host's sockets, whatever their mode", "run it as spc_t (privileged), or a local module with the rule above (udica makes one); not :Z on the host's directory"),
    (Who::Container, (&[], &[], &[]), "", "selinux-container", "SELinux denied a container something", "a policy for that container (udica makes one)"),
    (Who::Anyone, (&[], &[], &[]), "", "selinux-unrelated", "a denial of a program that has nothing to do with VMs or the dataplane", NOTHING),
];

fn who(denial: &Denial) -> Who {
    let comm = denial.comm.as_str();
    let begins = |words: &[&str]| words.iter().any(|word| comm.starts_with(word));
    let source = denial.source.as_str();
    if begins(&["swtpm"]) || source.starts_with("swtpm") {
        return Who::Tpm;
    }
    if begins(&["qemu-ga", "qemu-img"]) || source.contains("qemu_ga") {
        return Who::Anyone;
    }
    if begins(&["virtiofsd", "vhost-device", "spdk", "passt"]) {
        return Who::BackEnd;
    }
    match source {
        _ if source.starts_with("svirt") || source == "qemu_t" => Who::Qemu,
        "openvswitch_t" => Who::Switch,
        _ if begins(&["ovs-appctl", "ovs-vsctl", "ovs-ofctl", "ovn-"]) => Who::SwitchTool,
        _ if source.starts_with("virt") || begins(&["virt", "libvirt", "rpc-virt", "rpc-libvirt"]) => {
            Who::Libvirt
        }
        _ if begins(&["qemu", "CPU "]) => Who::Qemu,
        _ if begins(&["ovs-vswitchd", "ovsdb-server", "vhost", "pmd-c", "dpdk-", "vhost-events"]) => {
            Who::Switch
        }
        "vpp_t" => Who::Switch,
        _ if source.starts_with("container") || source == "spc_t" => Who::Container,
        _ => Who::Anyone,
    }
}

fn fits(word: &str, text: &str) -> bool {
    word.strip_suffix('*').map_or(word == text, |start| text.starts_with(start))
}

fn applies((whose, (target, class, permissions), part, ..): &Rule, who: Who, denial: &Denial) -> bool {
    let object = denial.object.as_deref().unwrap_or_default();
    let any = |words: &[&str], text: &str| words.is_empty() || words.iter().any(|word| fits(word, text));
    (*whose == who || *whose == Who::Anyone)
        && any(target, &denial.target)
        && any(class, &denial.class)
        && denial.may(permissions)
        && object.contains(part)
}

pub(super) fn explain(denial: &Denial) -> Event {
    let who = who(denial);
    // The last rule applies to anything.
    let rule = RULES.iter().find(|rule| applies(rule, who, denial)).unwrap_or(&RULES[RULES.len() - 1]);
    let &(.., id, rule_cause, fix) = rule;
    let permissions = denial.permissions.join(" ");
    let or_unknown = |text: &str| if text.is_empty() { "(not said)".to_string() } else { text.to_string() };
    let (source, target) = (or_unknown(&denial.source), or_unknown(&denial.target));
    let mut cause = String::new();
    if denial.permissive {
        cause.push_str("permissive=1: this was only logged, so it is not what failed then; in enforcing mode it would be blocked: ");
    }
    let comm = or_unknown(&denial.comm);
    cause.push_str(&format!("{} (by {comm}", rule_cause));
    cause.push_str(&match fix != NOTHING && !denial.source.is_empty() {
        true => format!(
            "; the rule that is missing: allow {source} {target}:{} {{ {permissions} }};)",
            denial.class
        ),
        false => format!(": {permissions} on a {})", denial.class),
    });
    let path = denial.object.as_deref().unwrap_or_default();
    let thing = object::of_socket(path);
    let is_socket = matches!(denial.class.as_str(), "sock_file" | "unix_stream_socket");
    if who == Who::Qemu && is_socket && !thing.is_vhost_user() && thing != Thing::Socket {
        cause.push_str(&format!("; by its path it is {}", thing.name()));
    }
    if denial.other_categories && matches!(who, Who::Qemu) && id == "selinux-qemu-file" {
        cause.push_str("; its categories are another VM's, too");
    }
    let class = match (id, denial.permissive) {
        ("selinux-unrelated" | "selinux-tap" | "selinux-tpm" | "selinux-control-socket", _) => {
            Class::Unrelated
        }
        ("selinux-parent-name", _) => Class::Harmless,
        (_, true) => Class::Logged,
        (_, false) => Class::SecurityModule,
    };
    let key = format!("{source} {target} {} {permissions} {comm} {}", denial.class, denial.permissive);
    let findings = if fix == LABEL { vec!["selinux-label"] } else { Vec::new() };
    let (subject, causes) = (denial.object.clone(), vec![cause]);
    let (decide, source) = (DECIDE, SOURCE);
    Event { subject, key, causes, decide, fix, source, findings, ..denied(id, class) }
}

pub(super) fn ids() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.3)
}
