// SPDX-License-Identifier: Apache-2.0
//! Security modules, as far as `/sys` and extended attributes tell: no policy is asked.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::base::paths::PROGRAM;
use crate::base::root::{Handle, Root};

const ENFORCE: &str = "/sys/fs/selinux/enforce";
/// Booleans are "current pending", each 0 or 1 (security/selinux/selinuxfs.c).
const BOOLEANS: &str = "/sys/fs/selinux/booleans";
const HOOK_BOOLEAN: &str = "virt_hooks_unconfined";
/// openstack-selinux (local_settings.sh.in); off unless an administrator sets it.
pub const DAC_BOOLEAN: &str = "os_openvswitch_dac_override";
/// Each policy's store has its modules in `active/modules/PRIORITY/NAME` (libsemanage, semanage_store.c).
const STORES: &str = "/var/lib/selinux";
const MODULE: &str = "vhost_accord";
const LABEL: &str = "security.selinux";
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";
/// A link here keeps a profile from being loaded (apparmor's aa-disable(8)).
const DISABLED: &str = "/etc/apparmor.d/disable";
/// Profiles that libvirt's packages bring.
const LIBVIRT_PROFILES: [&str; 4] =
    ["usr.sbin.libvirtd", "usr.sbin.virtqemud", "usr.lib.libvirt.virt-aa-helper", "libvirtd"];

/// SELinux on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SeLinux {
    /// It refuses, and does not only log.
    pub enforcing: bool,
    /// `virt_hooks_unconfined`, where the policy has it (Fedora 40, EL 10).
    pub hooks_unconfined: Option<bool>,
    /// `os_openvswitch_dac_override`, where openstack-selinux has brought it.
    pub dac_override: Option<bool>,
    /// The type in the socket directory's label.
    pub socket_directory_type: Option<String>,
    /// The type in the label of the program, which libvirt's link leads to.
    pub program_type: Option<String>,
    /// Our policy module is in a store; `None` where that may not be read.
    pub module: Option<bool>,
}

pub(super) fn selinux(root: &Root, directory: Option<&Handle>) -> Result<Option<SeLinux>> {
    let Some(enforce) = root.read_text(Path::new(ENFORCE))? else { return Ok(None) };
    let program = root.find(Path::new(PROGRAM))?;
    Ok(Some(SeLinux {
        enforcing: enforce.trim() == "1",
        hooks_unconfined: boolean(root, HOOK_BOOLEAN)?,
        dac_override: boolean(root, DAC_BOOLEAN)?,
        socket_directory_type: label_type(directory)?,
        program_type: label_type(program.as_ref())?,
        module: has_module(root).ok(),
    }))
}

fn boolean(root: &Root, name: &str) -> Result<Option<bool>> {
    Ok(root.read_text(&Path::new(BOOLEANS).join(name))?.map(|text| text.starts_with('1')))
}

fn label_type(found: Option<&Handle>) -> Result<Option<String>> {
    let label = found.map(|found| found.xattr(LABEL)).transpose()?.flatten();
    Ok(label.and_then(|label| parse_label_type(&label)))
}

fn has_module(root: &Root) -> Result<bool> {
    for policy in root.list(Path::new(STORES))? {
        let modules = Path::new(STORES).join(policy).join("active/modules");
        for priority in root.list(&modules)? {
            if root.find(&modules.join(priority).join(MODULE))?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The type in `user:role:type:level`, which may end with a NUL.
pub fn parse_label_type(label: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(label.strip_suffix(b"\0").unwrap_or(label)).ok()?;
    text.split(':').nth(2).filter(|word| !word.is_empty()).map(str::to_string)
}

pub(super) fn apparmor_disabled(root: &Root) -> Result<Vec<String>> {
    let enabled = root.read_text(Path::new(APPARMOR))?.is_some_and(|text| text.trim() == "Y");
    if !enabled {
        return Ok(Vec::new());
    }
    let names = root.list(Path::new(DISABLED))?.into_iter().filter_map(|name| name.into_string().ok());
    Ok(names.filter(|name| LIBVIRT_PROFILES.contains(&name.as_str())).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
