// SPDX-License-Identifier: Apache-2.0
//! Denials of SELinux (`avc:  denied  { ... }`) and AppArmor (`apparmor="DENIED"`), as auditd, the kernel and journald write
//! them. Denials of programs that have nothing to do with QEMU or the dataplane are not ours to explain.

use super::{Class, Hit};

/// What a denial means.
struct Meaning {
    /// One of the permissions.
    permission: &'static str,
    /// The class of the object; empty: any.
    object: &'static str,
    /// Of QEMU, or of the dataplane.
    qemu: bool,
    id: &'static str,
    cause: &'static str,
    mend: &'static str,
}

const LABEL: &str = "label the directory: semodule -i /usr/share/selinux/packages/vhost_accord.cil, then restorecon -RF /var/lib/vhost_sockets; not setenforce 0";
const MODULE: &str = "semodule -i /usr/share/selinux/packages/vhost_accord.cil, and the platform's module (openstack-selinux, openvswitch-custom); not setenforce 0";

const fn meaning(
    (permission, object, qemu): (&'static str, &'static str, bool),
    id: &'static str,
    cause: &'static str,
    mend: &'static str,
) -> Meaning {
    Meaning { permission, object, qemu, id, cause, mend }
}

/// The first that fits. Messages of openstack-selinux' tests, one-deploy 247 and OVS ee1c7296e.
const MEANINGS: &[Meaning] = &[
    meaning(
        ("create", "sock_file", true),
        "selinux-qemu-create",
        "QEMU may not make a socket in a directory of this type: owner and mode may be right",
        LABEL,
    ),
    meaning(
        ("unlink", "sock_file", true),
        "selinux-qemu-unlink",
        "QEMU may not remove its old socket in a directory of this type",
        LABEL,
    ),
    meaning(
        ("connectto", "", true),
        "selinux-qemu-connect",
        "QEMU may not connect to a socket of this process: client mode needs a policy module",
        MODULE,
    ),
    meaning(
        ("search", "dir", false),
        "selinux-ovs-search",
        "OVS may not search the directory of QEMU's socket",
        MODULE,
    ),
    meaning(
        ("connectto", "", false),
        "selinux-ovs-connect",
        "OVS may not connect to a socket of this process",
        MODULE,
    ),
    meaning(
        ("write", "sock_file", false),
        "selinux-ovs-connect",
        "OVS may not write QEMU's socket, which connecting takes",
        MODULE,
    ),
    meaning(
        ("map", "file", false),
        "selinux-ovs-memory",
        "OVS may not map huge pages: its policy is older than the kernel's",
        MODULE,
    ),
    meaning(("read", "chr_file", false), "selinux-ovs-vfio", "OVS may not open the device", MODULE),
    meaning(
        ("read", "file", false),
        "selinux-ovs-memory",
        "OVS may not read and write the guest's memory",
        MODULE,
    ),
    meaning(
        ("", "", true),
        "selinux-qemu",
        "SELinux denied QEMU something else",
        "ausearch -m avc -ts recent | audit2why",
    ),
    meaning(
        ("", "", false),
        "selinux-ovs",
        "SELinux denied the dataplane something else",
        "ausearch -m avc -ts recent | audit2why",
    ),
];

pub(super) fn recognise(text: &str) -> Option<Hit> {
    if text.contains("avc:") && text.contains("denied") {
        selinux(text)
    } else if text.contains("apparmor=\"DENIED\"") {
        apparmor(text)
    } else {
        None
    }
}

fn selinux(text: &str) -> Option<Hit> {
    let (comm, source) =
        (field(text, "comm").unwrap_or_default(), field(text, "scontext").unwrap_or_default());
    let qemu = comm.starts_with("qemu") || source.contains("svirt");
    let dataplane = comm.starts_with("ovs") || comm.starts_with("vhost") || source.contains("openvswitch");
    if !qemu && !dataplane {
        return None;
    }
    let denied = text.split_once('{')?.1.split_once('}')?.0;
    let object = field(text, "tclass").unwrap_or_default();
    let fits = |meaning: &&Meaning| {
        let permission =
            meaning.permission.is_empty() || denied.split(' ').any(|word| word == meaning.permission);
        permission && meaning.qemu == qemu && (meaning.object.is_empty() || meaning.object == object)
    };
    let found = MEANINGS.iter().find(fits)?;
    let kind = |context: &str| context.split(':').nth(2).unwrap_or("?").to_string();
    let target = kind(&field(text, "tcontext").unwrap_or_default());
    let cause =
        format!("{} ({} on a {object} of type {target}, by {})", found.cause, denied.trim(), kind(&source));
    let findings: &[&str] = if found.mend == LABEL { &["selinux-label"] } else { &[] };
    Some(hit(found.id, subject(text), cause, found.mend, findings))
}

fn apparmor(text: &str) -> Option<Hit> {
    let profile = field(text, "profile").unwrap_or_default();
    let ours = ["libvirt", "qemu", "ovs", "openvswitch"].iter().any(|word| profile.contains(word));
    let operation = field(text, "operation").unwrap_or_default();
    let mask = field(text, "requested_mask").or_else(|| field(text, "denied_mask")).unwrap_or_default();
    let (id, why, mend) = if profile.starts_with("libvirt-") {
        (
            "apparmor-vm",
            "the VM's profile does not have this path: libvirt adds what <interface> names, not what <qemu:commandline> does",
            "name the socket in an <interface>, or add a rule to /etc/apparmor.d/local/abstractions/libvirt-qemu",
        )
    } else {
        (
            "apparmor-daemon",
            "the daemon's profile does not allow it (huge pages without a name show as \"/\")",
            "add a rule to the profile's file in /etc/apparmor.d/local, then apparmor_parser -r",
        )
    };
    let cause = format!("{why} ({operation} {mask}, profile {profile})");
    ours.then(|| hit(id, subject(text), cause, mend, &[]))
}

fn hit(
    id: &'static str,
    subject: Option<String>,
    cause: String,
    mend: &'static str,
    findings: &'static [&'static str],
) -> Hit {
    Hit { id, class: Class::SecurityModule, subject, cause, mend, findings, asks: None }
}

fn subject(text: &str) -> Option<String> {
    field(text, "path").or_else(|| field(text, "name"))
}

/// The value of ` key=`: in quotes, bare, or (of names with blanks and the like) in hexadecimal, as the audit system writes.
fn field(text: &str, key: &str) -> Option<String> {
    let start = text.match_indices(key).map(|(at, _)| at).find(|at| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|letter| letter == ' ') && text[at + key.len()..].starts_with('=')
    })?;
    let value = &text[start + key.len() + 1..];
    if let Some(quoted) = value.strip_prefix('"') {
        return quoted.split_once('"').map(|(value, _)| value.to_string());
    }
    let word = value.split([' ', '\t']).next().filter(|word| !word.is_empty())?;
    let encoded = matches!(key, "path" | "name" | "comm" | "profile");
    Some(if encoded { unhex(word).unwrap_or_else(|| word.to_string()) } else { word.to_string() })
}

fn unhex(word: &str) -> Option<String> {
    let digits = word.as_bytes();
    if digits.len() < 4 || !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    Some(String::from_utf8_lossy(&bytes?).into_owned())
}

/// The ids of all denials that are told apart.
pub fn audit_ids() -> impl Iterator<Item = &'static str> {
    MEANINGS.iter().map(|meaning| meaning.id).chain(["apparmor-vm", "apparmor-daemon"])
}
