// SPDX-License-Identifier: Apache-2.0
//! What a denial of AppArmor means: by whose profile it is, and by its operation (kernel, security/apparmor/audit.c).

use super::audit::field;
use super::denial::{Denied, Who};
use super::object::holds;
use super::{Event, tables};

const PROFILES: &[(Who, &str)] = &[
    (Who::Switch, "ovs, openvswitch, vpp, dpdk"),
    (Who::BackEnd, "virtiofsd, swtpm, passt, spdk"),
    (Who::Helper, "virt-aa-helper"),
    (Who::Libvirt, "libvirtd, virtqemud, libvirt"),
    (Who::Container, "docker, containerd, crio, podman, lxc, lxd, incus, kube"),
];

fn whose(profile: &str) -> Who {
    match profile.starts_with("libvirt-") {
        true => Who::Qemu,
        false => holds(PROFILES, |word| profile.contains(word)).unwrap_or(Who::Anyone),
    }
}

const DECIDE: &str = "aa-status; dmesg | grep -E 'apparmor=\"(DENIED|ALLOWED)\"'";
const SOURCE: &str = "AppArmor (kernel security/apparmor; libvirt src/security/virt-aa-helper.c)";

pub(super) fn recognise(text: &str) -> Option<Event> {
    let logged = text.contains("apparmor=\"ALLOWED\"");
    if !logged && !text.contains("apparmor=\"DENIED\"") {
        return None;
    }
    let profile = field(text, "profile").unwrap_or_default();
    let comm = field(text, "comm").unwrap_or_default();
    let operation = field(text, "operation").unwrap_or_default();
    let mask = field(text, "denied_mask").or_else(|| field(text, "requested_mask")).unwrap_or_default();
    let whose = whose(&profile);
    let denied = Denied { asked: vec![&operation], ..Denied::default() };
    let rule = tables::APPARMOR.iter().find(|rule| rule.applies(whose, &denied))?;
    let event = rule.event(logged);
    let mut cause = String::new();
    if logged {
        cause.push_str("ALLOWED: the profile only complains, nothing was blocked: ");
    }
    let subject = field(text, "path").or_else(|| field(text, "name")).or_else(|| field(text, "capname"));
    let is_memory = subject
        .as_deref()
        .is_some_and(|path| ["huge", "memfd", "/ram"].iter().any(|word| path.contains(word)));
    if whose == Who::Qemu && is_memory {
        cause.push_str(
            "guest memory, no socket: libvirt has a rule for mounts that it knew when it started; ",
        );
    }
    cause.push_str(&format!("{} ({operation} {mask}, profile {profile}, by {comm})", event.causes.concat()));
    if field(text, "fsuid").as_deref() == Some("0") && !logged && whose != Who::Anyone {
        cause.push_str("; it was refused as root (fsuid 0), so owner and mode are not the reason");
    }
    let key = format!("{profile} {operation} {mask} {}", subject.clone().unwrap_or_default());
    let causes = vec![cause];
    Some(Event { subject, key, causes, decide: DECIDE, source: SOURCE, ..event })
}
