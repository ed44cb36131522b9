// SPDX-License-Identifier: Apache-2.0
//! qemu.conf and the daemon that read it.

use super::{Case, Evidence};
use crate::base::paths::QEMU_CONF;
use crate::base::shell;
use crate::edit::virconf::{Value, VirConf};
use crate::items::{Change, FileState, Held, Setting};
use crate::profile::QemuConf;

rules! {
    Broken "qemu-conf-invalid" [Once(invalid)]
        cause: "libvirt cannot parse this file, or a user or group in it does not exist",
        effect: "libvirt does not start, so no VM can be started or managed",
        see: "journalctl -u libvirtd -u virtqemud",
        fix: "correct the line, then restart libvirt's daemon",
        source: "libvirt 9.0: 'Failed to parse group'; src/util/virconf.c",
    Broken "qemu-conf-group" [Change(group)]
        cause: "QEMU's group differs from the group that the dataplane expects on sockets",
        effect: "the VM hangs or has no network",
        see: "grep ^group /etc/libvirt/qemu.conf",
        fix: "vhost-accord apply, then restart libvirt's daemon",
        source: "libvirt src/qemu/qemu.conf.in",
    Advice "libvirt-older-than-qemu-conf" [Once(older)]
        cause: "libvirt reads qemu.conf when it starts, not on reload; running VMs continue to run as they are",
        effect: "new VMs still start with the old group",
        see: "systemctl show -p ActiveEnterTimestamp libvirtd; stat /etc/libvirt/qemu.conf",
        fix: "restart libvirt's daemon; running VMs continue to run",
        source: "seen with libvirt 9.0: a reload does not read it",
}

fn invalid(case: &Case<'_>) -> Option<Evidence> {
    let hypervisor = case.profile.hypervisor.as_ref()?;
    let QemuConf::Invalid(why) = &hypervisor.conf else { return None };
    let fix = format!("correct the line, then systemctl restart {}", shell::quote(&hypervisor.daemon_unit));
    Some(Evidence::fixed_by(QEMU_CONF, why, fix))
}

fn group(case: &Case<'_>, change: &Change) -> Option<Evidence> {
    let Change::Setting(Held { item: Setting { path, key, value }, before }) = change else { return None };
    let now = VirConf::parse(FileState::text_of(before.as_ref())).ok().and_then(|conf| conf.get(key));
    let now = match now {
        Some(Value::Text(now)) => format!("{key} = \"{now}\""),
        Some(Value::Integer(now)) => format!("{key} = {now}"),
        Some(Value::List(_)) => format!("{key} is a list"),
        None => format!("{key} is not set"),
    };
    let seen = format!("{now}, expected {key} = \"{value}\"");
    invalid(case).is_none().then(|| Evidence::applies(path.display().to_string(), seen))
}

fn older(case: &Case<'_>) -> Option<Evidence> {
    let unit = &case.profile.hypervisor.as_ref()?.daemon_unit;
    let (daemon, modified) = (case.live?.libvirt.as_ref()?, case.live?.qemu_conf_modified?);
    // A wrong qemu.conf is the finding; a restart would only make it count.
    let is_wrong = || invalid(case).is_some() || case.missing().any(|change| group(case, change).is_some());
    if daemon.started.at >= modified || is_wrong() {
        return None;
    }
    let seen = format!("pid {} was started before qemu.conf was changed", daemon.pid);
    Some(Evidence::waits(unit, seen, unit))
}
