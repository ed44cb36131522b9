// SPDX-License-Identifier: Apache-2.0
//! What security modules, qemu.conf's switches, ACLs and tmpfiles.d do to the accord; and the field's workarounds, which
//! open more than they need to.

use super::{Case, Evidence};
use crate::access::{Perm, Tag};
use crate::base::paths::{PROGRAM, QEMU_CONF};
use crate::base::shell;
use crate::config::PortType;
use crate::edit::virconf::Value;
use crate::facts::surroundings::{DAC_BOOLEAN, SeLinux, TmpfilesLine};
use crate::fixes;
use crate::items::Item;

rules! {
    Broken "selinux-label" [Once(selinux_label)]
        cause: "owner and mode are right, but SELinux does not allow QEMU to create a socket in a directory of this type",
        effect: "the VM does not start: 'Permission denied' although owner and mode are right; 'avc: denied { create }'",
        see: "ls -Zd /var/lib/vhost_sockets; ausearch -m avc -ts recent",
        fix: "load the policy module of vhost-accord, then restorecon; do not use setenforce 0",
        source: "openstack-selinux tests/bz1431556, module os-ovs",
    Advice "selinux-hook-confined" [Once(selinux_hook)]
        cause: "the hook runs in the SELinux domain of libvirt's daemon and may be unable to read what it checks",
        effect: "the hook reports unknown for what it cannot read, and a VM that will fail may start",
        see: "ls -Z /usr/bin/vhost-accord; getsebool virt_hooks_unconfined",
        fix: "load the policy module of vhost-accord, then restorecon; the boolean does not help",
        source: "fedora-selinux/selinux-policy 2195, rhbz 2276917; virt.te names virtnetworkd alone",
    Advice "selinux-dac-override" [Once(selinux_dac_override)]
        cause: "with os_openvswitch_dac_override off, OVS as root can open only what owner and mode allow",
        effect: "OVS as root cannot connect to a socket: 'avc: denied { dac_override }'",
        see: "getsebool os_openvswitch_dac_override; ausearch -m avc -ts recent",
        fix: "setsebool -P os_openvswitch_dac_override on, or run OVS as the user of its package",
        source: "openstack-selinux local_settings.sh.in, os-ovs.te",
    Advice "apparmor-profile-disabled" [Node(apparmor_disabled)]
        cause: "old guides recommend this workaround; sockets do not need it, and no VM of this node is confined",
        effect: "nothing; VMs work, but unconfined",
        see: "aa-status; ls /etc/apparmor.d/disable",
        fix: "load the profile again; virt-aa-helper allows each VM its own sockets",
        source: "libvirt a188c57d; guides for OVS-DPDK on Ubuntu",
    Advice "qemu-runs-as-root" [Once(runs_as_root)]
        cause: "OVS's manual recommends this workaround; a guest that breaks out of QEMU is root on the node",
        effect: "VMs work; images and sockets belong to root",
        see: "grep -E '^(user|group)' /etc/libvirt/qemu.conf",
        fix: "remove the lines, run vhost-accord apply, restart libvirt's daemon, then start the VMs again when possible",
        source: "OVS Documentation/topics/dpdk/vhost-user.rst recommends it; not needed",
    Advice "qemu-security-driver-off" [Once(security_driver)]
        cause: "no VM of this node is confined; sockets do not need this workaround",
        effect: "nothing; VMs work, but unconfined",
        see: "grep security_driver /etc/libvirt/qemu.conf",
        fix: "remove the line, then restart libvirt's daemon",
        source: "libvirt src/qemu/qemu.conf.in",
    Advice "qemu-dynamic-ownership-off" [Once(|case| switched_off(case, "dynamic_ownership"))]
        cause: "libvirt does not give QEMU the owner of its disks and memory files: VMs fail with 'Permission denied' on them",
        effect: "a VM may fail with 'Permission denied' on its disk or memory",
        see: "grep dynamic_ownership /etc/libvirt/qemu.conf",
        fix: "remove the line, unless another program manages the owner of images",
        source: "libvirt src/qemu/qemu.conf.in",
    Advice "qemu-capabilities-kept" [Once(|case| switched_off(case, "clear_emulator_capabilities"))]
        cause: "a QEMU that runs as root keeps all capabilities, so owner and mode do not restrict a guest",
        effect: "nothing; VMs work",
        see: "grep ^CapEff /proc/PID/status",
        fix: "remove the line, then restart libvirt's daemon",
        source: "libvirt src/qemu/qemu.conf.in",
    Advice "qemu-namespaces-off" [Once(namespaces)]
        cause: "this workaround for containers gives every QEMU the node's whole /dev",
        effect: "nothing; VMs work",
        see: "grep namespaces /etc/libvirt/qemu.conf",
        fix: "remove the line; share the mounts that a container needs instead",
        source: "kubevirt/libvirt 8; nixpkgs 22823",
    Broken "socket-directory-default-acl" [Once(default_acl)]
        cause: "a default ACL replaces the umask: new sockets lack write permission for the group that has to connect",
        effect: "the VM hangs while it starts: its socket lacks write permission for the group",
        see: "getfacl -d /var/lib/vhost_sockets",
        fix: "setfacl -k DIRECTORY; setgid and QEMU's umask suffice",
        source: "acl(5); seen with QEMU 7.2",
    Broken "tmpfiles-undoes" [Node(tmpfiles)]
        cause: "systemd-tmpfiles resets the owner or mode at the next boot, or when a package is installed",
        effect: "VMs work until the next boot, then fail as before apply",
        see: "systemd-tmpfiles --cat-config | grep vhost",
        fix: "override the file with one of the same name in /etc/tmpfiles.d",
        source: "tmpfiles.d(5); the neutron-openvswitch charm writes such a line",
}

/// Types that systems give what nobody made a rule for: QEMU's svirt_t may make no socket in any of them.
const GENERIC_TYPES: [&str; 7] =
    ["default_t", "unlabeled_t", "var_t", "var_lib_t", "var_run_t", "tmp_t", "openvswitch_var_run_t"];

/// Types, and the place of the file, of packaging/selinux/vhost_accord.cil.
const SOCKET_TYPE: &str = "vhost_accord_socket_t";
const PROGRAM_TYPE: &str = "vhost_accord_exec_t";
const SELINUX_MODULE: &str = "/usr/share/selinux/packages/vhost_accord.cil";
/// What the module labels.
const DEFAULT_DIRECTORY: &str = "/var/lib/vhost_sockets";

fn selinux_label(case: &Case<'_>) -> Option<Evidence> {
    let selinux = enforcing(case)?;
    let kind = selinux.socket_directory_type.as_deref().unwrap_or_default();
    if !GENERIC_TYPES.contains(&kind) || !case.accord.has(PortType::Dpdkvhostuserclient) {
        return None;
    }
    let directory = case.accord.socket_directory.display().to_string();
    let fcontext = match directory.as_str() {
        DEFAULT_DIRECTORY => String::new(),
        _ => format!("semanage fcontext -a -t {SOCKET_TYPE} '{directory}(/.*)?' && "),
    };
    let fix = format!("{}{fcontext}restorecon -RF {}", load(selinux), shell::quote(&directory));
    Some(Evidence::fixed_by(directory, format!("its SELinux type is {kind}"), fix))
}

fn enforcing<'a>(case: &Case<'a>) -> Option<&'a SeLinux> {
    case.surroundings.selinux.as_ref().filter(|selinux| selinux.enforcing)
}

/// The step that loads our policy module, unless it is loaded.
fn load(selinux: &SeLinux) -> String {
    if selinux.module == Some(true) { String::new() } else { format!("semodule -i {SELINUX_MODULE} && ") }
}

/// A policy that has the boolean has a domain for hooks, and libvirt's daemon goes there only by a label of ours: the
/// boolean is about what has libvirt's own label for hooks, and the link to the program is not what is executed.
fn selinux_hook(case: &Case<'_>) -> Option<Evidence> {
    let selinux = enforcing(case)?;
    let boolean = selinux.hooks_unconfined?;
    let kind = selinux.program_type.as_deref().filter(|kind| *kind != PROGRAM_TYPE)?;
    let seen = format!(
        "its SELinux type is {kind} (virt_hooks_unconfined is {}, and does not matter for this hook)",
        if boolean { "on" } else { "off" }
    );
    let fix = format!("{}restorecon -F {PROGRAM}", load(selinux));
    Some(Evidence::fixed_by(PROGRAM, seen, fix))
}

fn selinux_dac_override(case: &Case<'_>) -> Option<Evidence> {
    let is_off = enforcing(case)?.dac_override == Some(false);
    let runs_as_root = case.live?.dataplane.iter().any(|process| process.status.uid.effective == 0);
    let fix = format!("setsebool -P {DAC_BOOLEAN} on");
    (is_off && runs_as_root).then(|| Evidence::fixed_by(DAC_BOOLEAN, "off, and OVS runs as root", fix))
}

fn apparmor_disabled(case: &Case<'_>) -> Vec<Evidence> {
    let evidence = |name: &String| {
        let (off, on) = (format!("/etc/apparmor.d/disable/{name}"), format!("/etc/apparmor.d/{name}"));
        let fix = format!("rm {} && apparmor_parser -r {}", shell::quote(&off), shell::quote(&on));
        Evidence::fixed_by(format!("/etc/apparmor.d/disable/{name}"), "the profile is disabled", fix)
    };
    case.surroundings.apparmor_disabled.iter().map(evidence).collect()
}

/// A finding about one line of qemu.conf.
pub fn line(case: &Case<'_>, seen: impl Into<String>, key: &str) -> Evidence {
    let unit = case.profile.hypervisor.as_ref().map_or("libvirtd", |found| found.daemon_unit.as_str());
    Evidence::fixed_by(QEMU_CONF, seen, fixes::take_from_qemu_conf(key, unit))
}

/// Only the user: a group that is not the accord's is a finding of its own.
fn runs_as_root(case: &Case<'_>) -> Option<Evidence> {
    let is_root = match case.surroundings.qemu_conf.get("user") {
        Some(Value::Text(name)) => matches!(name.as_str(), "root" | "0" | "+0"),
        Some(Value::Integer(number)) => *number == 0,
        Some(Value::List(_)) | None => false,
    };
    is_root.then(|| line(case, "user = \"root\"", "user"))
}

fn security_driver(case: &Case<'_>) -> Option<Evidence> {
    let (key, none) = ("security_driver", Value::Text("none".to_string()));
    match case.surroundings.qemu_conf.get(key)? {
        value if *value == none => Some(line(case, "security_driver = \"none\"", key)),
        Value::List(drivers) if *drivers == [none] => Some(line(case, "security_driver = [ \"none\" ]", key)),
        _ => None,
    }
}

/// A switch that is set to 0.
fn switched_off(case: &Case<'_>, key: &str) -> Option<Evidence> {
    let is_off = *case.surroundings.qemu_conf.get(key)? == Value::Integer(0);
    is_off.then(|| line(case, format!("{key} = 0"), key))
}

fn namespaces(case: &Case<'_>) -> Option<Evidence> {
    let is_empty = *case.surroundings.qemu_conf.get("namespaces")? == Value::List(Vec::new());
    is_empty.then(|| line(case, "namespaces = [ ]", "namespaces"))
}

fn default_acl(case: &Case<'_>) -> Option<Evidence> {
    let acl = case.surroundings.socket_directory_default_acl.as_ref()?;
    let find = |tag: Tag| acl.entries().iter().find(|entry| entry.tag == tag);
    let limits = [Tag::OwningGroup, Tag::Mask].into_iter().filter_map(find);
    let gid = case.accord.group.gid;
    // An entry of its own for the shared group is as good as the owning group's, if the mask lets it.
    let named = find(Tag::Group(gid)).is_some_and(|entry| entry.perm.contains(Perm::WRITE));
    let refuses = limits
        .filter(|entry| !entry.perm.contains(Perm::WRITE))
        .find(|entry| !(named && entry.tag == Tag::OwningGroup));
    let entry = refuses.filter(|_| case.accord.has(PortType::Dpdkvhostuserclient))?;
    let directory = case.accord.socket_directory.display().to_string();
    let fix = format!("setfacl -k {}", shell::quote(&directory));
    Some(Evidence::fixed_by(directory, format!("its default ACL has {}", entry.text(case.names)), fix))
}

fn tmpfiles(case: &Case<'_>) -> Vec<Evidence> {
    let differs = |line: &&TmpfilesLine| {
        let mut owners = case.accord.items.iter().filter_map(|item| match item {
            Item::Owner(owner) if owner.path == line.path => Some(owner),
            _ => None,
        });
        owners.any(|owner| {
            let is_other =
                |(theirs, gid): (&str, u32)| theirs != case.accord.group.name && theirs != gid.to_string();
            let mode = line.mode.zip(owner.mode).is_some_and(|(theirs, ours)| theirs != ours);
            mode || line.group.as_deref().zip(owner.gid).is_some_and(is_other)
        })
    };
    let evidence = |line: &TmpfilesLine| {
        let dash = || "-".to_string();
        let mode = line.mode.map_or_else(dash, |mode| format!("{mode:04o}"));
        let (user, group) = (line.user.clone().unwrap_or_else(dash), line.group.clone().unwrap_or_else(dash));
        let seen = format!("sets {} to {user}:{group} {mode} at boot", line.path.display());
        let fix = fixes::take_from_tmpfiles(&line.file, &line.path).unwrap_or_else(|| {
            "hide it with an edited copy in /etc/tmpfiles.d, without this line".to_string()
        });
        Evidence::at(&line.file, seen, fix)
    };
    case.surroundings.tmpfiles.iter().filter(differs).map(evidence).collect()
}
