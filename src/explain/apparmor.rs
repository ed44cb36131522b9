// SPDX-License-Identifier: Apache-2.0
//! What a denial of AppArmor means: by whose profile it is, and by its operation (kernel, security/apparmor/audit.c).

use super::audit::{denied, field};
use super::object::holds;
use super::{Class, Event};

/// Whose profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Vm,
    Daemon,
    Switch,
    Container,
    BackEnd,
    Helper,
    Other,
}

const PROFILES: &[(Whose, &[&str])] = &[
    (Whose::Switch, &["ovs", "openvswitch", "vpp", "dpdk"]),
    (Whose::BackEnd, &["virtiofsd", "swtpm", "passt", "spdk"]),
    (Whose::Helper, &["virt-aa-helper"]),
    (Whose::Daemon, &["libvirtd", "virtqemud", "libvirt"]),
    (Whose::Container, &["docker", "containerd", "crio", "podman", "lxc", "lxd", "incus", "kube"]),
];

fn whose(profile: &str) -> Whose {
    match profile.starts_with("libvirt-") {
        true => Whose::Vm,
        false => holds(PROFILES, |word| profile.contains(word)).unwrap_or(Whose::Other),
    }
}

const VM_RULE: &str = "name the socket or file in the domain's XML (libvirt adds a rule for <interface>, not for <qemu:commandline>), or add a line for its real path (/run, not /var/run) with rwk to /etc/apparmor.d/local/abstractions/libvirt-qemu and start the VM again; no chmod, and not user = \"root\"";
const DAEMON_RULE: &str = "add the rule to /etc/apparmor.d/local/usr.sbin.libvirtd (virtqemud: usr.sbin.virtqemud), systemctl reload apparmor, restart the daemon";
const SWITCH_RULE: &str = "add a rule to the profile's file in /etc/apparmor.d/local, then apparmor_parser -r; of a snap: report it, or connect its interface";
const CONTAINER_RULE: &str = "run that container with a profile that allows it (securityContext.appArmorProfile, --security-opt apparmor=...), or use a mode of the program that does not need it";

/// Whose, one of these operations (none: any), then id, cause, fix.
type Rule = (Whose, &'static [&'static str], &'static str, &'static str, &'static str);

#[rustfmt::skip]
const RULES: &[Rule] = &[
    (Whose::Vm, &["mknod", "bind"], "apparmor-vm-bind",
        "the VM's profile does not let QEMU create this socket or file: bind() of a server's socket is 'mknod'", VM_RULE),
    (Whose::Vm, &["connect", "file_perm", "sendmsg", "recvmsg", "getattr", "file_receive", "file_inherit"], "apparmor-vm",
        "the VM's profile does not let QEMU use this socket or file", VM_RULE),
    (Whose::Vm, &["unlink", "rename_src", "rename_dest"], "apparmor-vm",
        "the VM's profile does not let QEMU remove this file or socket", VM_RULE),
    (Whose::Vm, &["exec"], "apparmor-vm",
        "the VM's profile does not let QEMU run this program", "add a line for it to /etc/apparmor.d/local/abstractions/libvirt-qemu, or let libvirt start it"),
    (Whose::Vm, &["capable"], "apparmor-vm-capability",
        "QEMU asked for a capability that it does not need with files and sockets of its own", "nothing, unless the VM fails: then the owner of the file beside it is wrong"),
    (Whose::Vm, &["ptrace", "signal"], "apparmor-vm-capability",
        "another process looked at, or signalled, QEMU; no socket or memory is concerned", "nothing, unless something fails: then add a rule for it to the profile that the line names"),
    (Whose::Vm, &[], "apparmor-vm",
        "the VM's profile does not have this file: libvirt adds what the XML names as a device, not what <qemu:commandline> does", VM_RULE),
    (Whose::Helper, &[], "apparmor-helper",
        "virt-aa-helper, which writes the VM's profile, may not read this file (an image behind another, a device): the VM's profile then lacks it. Harmless for files that the VM does not use", "a rule in /etc/apparmor.d/local/usr.lib.libvirt.virt-aa-helper, systemctl reload apparmor, start the VM again"),
    (Whose::Daemon, &["exec"], "apparmor-hook",
        "libvirt's daemon may not run this program: a QEMU outside of its profile's paths, a hook, or a helper that a hook calls", "put the hook below /etc/libvirt/hooks and helpers into /usr/bin or /usr/libexec, or add a rule (PUx) to /etc/apparmor.d/local/usr.sbin.libvirtd; systemctl reload apparmor"),
    (Whose::Daemon, &[], "apparmor-daemon",
        "the profile of libvirt's daemon does not allow it; its hooks are confined by the same profile, as root too", DAEMON_RULE),
    (Whose::Switch, &[], "apparmor-switch",
        "the switch's profile does not allow it (huge pages without a name show as \"/\")", SWITCH_RULE),
    (Whose::BackEnd, &[], "apparmor-back-end",
        "the back end's profile does not allow it: it may exit, and then QEMU only says that the connection was closed", SWITCH_RULE),
    (Whose::Container, &["mount", "umount", "pivotroot", "remount"], "apparmor-container",
        "the container's profile does not allow mounting, which virtiofsd's sandbox and libvirt's mount namespaces need", CONTAINER_RULE),
    (Whose::Container, &[], "apparmor-container",
        "the container's profile does not allow it", CONTAINER_RULE),
    (Whose::Other, &[], "apparmor-unrelated",
        "a denial of a program that has nothing to do with VMs or the dataplane", "nothing for vhost-user; look at it apart if something else fails"),
];

const DECIDE: &str = "aa-status; dmesg | grep -E 'apparmor=\"(DENIED|ALLOWED)\"'";
const SOURCE: &str = "AppArmor (kernel security/apparmor; libvirt src/security/virt-aa-helper.c)";

pub(super) fn explain(text: &str) -> Option<Event> {
    let profile = field(text, "profile").unwrap_or_default();
    let comm = field(text, "comm").unwrap_or_default();
    let operation = field(text, "operation").unwrap_or_default();
    let mask = field(text, "denied_mask").or_else(|| field(text, "requested_mask")).unwrap_or_default();
    let (whose, logged) = (whose(&profile), text.contains("apparmor=\"ALLOWED\""));
    let rule = RULES
        .iter()
        .find(|rule| rule.0 == whose && (rule.1.is_empty() || rule.1.contains(&operation.as_str())))?;
    let mut cause = String::new();
    if logged {
        cause.push_str("ALLOWED: the profile only complains, nothing was blocked: ");
    }
    let subject = field(text, "path").or_else(|| field(text, "name")).or_else(|| field(text, "capname"));
    let is_memory = subject
        .as_deref()
        .is_some_and(|path| ["huge", "memfd", "/ram"].iter().any(|word| path.contains(word)));
    if whose == Whose::Vm && is_memory {
        cause.push_str(
            "guest memory, no socket: libvirt has a rule for mounts that it knew when it started; ",
        );
    }
    cause.push_str(&format!("{} ({operation} {mask}, profile {profile}, by {comm})", rule.3));
    if field(text, "fsuid").as_deref() == Some("0") && !logged && whose != Whose::Other {
        cause.push_str("; it was refused as root (fsuid 0), so owner and mode are not the reason");
    }
    let class = match (rule.2, logged) {
        ("apparmor-unrelated", _) => Class::Unrelated,
        ("apparmor-vm-capability", _) => Class::Harmless,
        (_, true) => Class::Logged,
        (_, false) => Class::SecurityModule,
    };
    let key = format!("{profile} {operation} {mask} {}", subject.clone().unwrap_or_default());
    let causes = vec![cause];
    let (decide, fix, source) = (DECIDE, rule.4, SOURCE);
    Some(Event { subject, key, causes, decide, fix, source, ..denied(rule.2, class) })
}

pub(super) fn ids() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.2)
}
