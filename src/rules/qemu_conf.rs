// SPDX-License-Identifier: Apache-2.0
//! qemu.conf and the daemon that read it.

use super::{Case, Evidence, Level, Rule};
use crate::edit::virconf::{Value, VirConf};
use crate::items::{Change, FileState, Held, Setting};
use crate::profile::QemuConf;

pub const RULES: &[Rule] = &[
    Rule {
        id: "qemu-conf-invalid",
        level: Level::Broken,
        cause: "libvirt cannot parse this file, or a user or group in it does not exist",
        check: invalid,
    },
    Rule {
        id: "qemu-conf-group",
        level: Level::Broken,
        cause: "QEMU's group differs from the group that the dataplane expects on sockets",
        check: group,
    },
    Rule {
        id: "libvirt-older-than-qemu-conf",
        level: Level::Advice,
        cause: "libvirt reads qemu.conf when it starts, not on reload; running VMs continue to run as they are",
        check: older,
    },
];

fn invalid(case: &Case<'_>) -> Vec<Evidence> {
    let Some(hypervisor) = &case.profile.hypervisor else { return Vec::new() };
    match &hypervisor.conf {
        QemuConf::Invalid(why) => {
            let fix = format!(
                "correct the line, then systemctl restart {}",
                crate::base::shell::quote(&hypervisor.daemon_unit)
            );
            vec![Evidence::fixed_by(crate::base::paths::QEMU_CONF, why.clone(), fix)]
        }
        QemuConf::Missing | QemuConf::Valid(_) => Vec::new(),
    }
}

fn group(case: &Case<'_>) -> Vec<Evidence> {
    if !invalid(case).is_empty() {
        return Vec::new();
    }
    let mut evidence = Vec::new();
    for change in case.observed.iter().filter(|change| !change.holds()) {
        let Change::Setting(Held { item: Setting { path, key, value }, before }) = change else { continue };
        let now = VirConf::parse(FileState::text_of(before.as_ref())).ok().and_then(|conf| conf.get(key));
        let now = match now {
            Some(Value::Text(now)) => format!("{key} = \"{now}\""),
            Some(Value::Integer(now)) => format!("{key} = {now}"),
            Some(Value::List(_)) => format!("{key} is a list"),
            None => format!("{key} is not set"),
        };
        evidence.push(Evidence::applies(
            path.display().to_string(),
            format!("{now}, expected {key} = \"{value}\""),
        ));
    }
    evidence
}

fn older(case: &Case<'_>) -> Vec<Evidence> {
    let (Some(live), Some(hypervisor)) = (case.live, &case.profile.hypervisor) else { return Vec::new() };
    let (Some(daemon), Some(modified)) = (&live.libvirt, live.qemu_conf_modified) else { return Vec::new() };
    // A wrong qemu.conf is the finding; a restart would only make it count.
    if daemon.started.at >= modified || !invalid(case).is_empty() || !group(case).is_empty() {
        return Vec::new();
    }
    let seen = format!("pid {} was started before qemu.conf was changed", daemon.pid);
    vec![Evidence::waits(hypervisor.daemon_unit.clone(), seen, &hypervisor.daemon_unit)]
}
