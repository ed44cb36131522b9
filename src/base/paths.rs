// SPDX-License-Identifier: Apache-2.0
//! Every fixed path on the node, except those of a dataplane.

use std::path::{Path, PathBuf};

/// Where the distribution, or a site's own package, keeps its defaults for this program.
pub const VENDOR_CONFIG: &str = "/usr/lib/vhost-accord";
/// Where the administrator configures this program.
pub const ADMIN_CONFIG: &str = "/etc/vhost-accord";
/// The main configuration file's name in either place; drop-ins are in `<name>.d`.
pub const CONFIG_NAME: &str = "vhost-accord.conf";

/// Variables handed to the dataplane's units by a drop-in.
pub const DATAPLANE_ENVIRONMENT: &str = "/etc/vhost-accord/dataplane.env";
/// The journal of `apply`; only root may read it.
pub const STATE: &str = "/var/lib/vhost-accord";
/// Held by whoever changes the node.
pub const LOCK: &str = "/run/vhost-accord.lock";
/// Counters of the hook and the watch service since boot, for metrics.
pub const COUNTERS: &str = "/run/vhost-accord.counters";
/// What the hook must know of the accord.
pub const AGREED: &str = "/etc/vhost-accord/agreed.json";
/// The name of our hook among those of others in libvirt's `qemu.d`.
pub const HOOK_NAME: &str = "50-vhost-accord";
/// Where libvirt looks for hooks.
pub const HOOKS: &str = "/etc/libvirt/hooks";
/// Where packages put the program: what units and images name.
pub const PROGRAM: &str = "/usr/bin/vhost-accord";

/// The watch service.
pub const WATCH_UNIT: &str = "vhost-accord-watch.service";
/// The watch service's socket for `watch --settle`.
pub const WATCH_SOCKET: &str = "/run/vhost-accord-watch.sock";

/// Units of the administrator, before those of packages.
pub const UNIT_DIRECTORY: &str = "/etc/systemd/system";
/// Where packages put their units.
pub const PACKAGED_UNITS: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// The base name of every drop-in this program writes.
pub const DROP_IN: &str = "50-vhost-accord.conf";

/// The base name of those for units of dataplanes that the configuration declares.
pub const DECLARED_DROP_IN: &str = "50-vhost-accord-declared.conf";
/// tmpfiles.d of the administrator.
pub const TMPFILES: &str = "/etc/tmpfiles.d/vhost-accord.conf";

/// Accounts that an image asks for at the first boot (sysusers.d(5)).
pub const IMAGE_SYSUSERS: &str = "/usr/lib/sysusers.d/vhost-accord.conf";
/// Directories that an image asks for at the first boot (tmpfiles.d(5)).
pub const IMAGE_TMPFILES: &str = "/usr/lib/tmpfiles.d/vhost-accord-image.conf";
/// Where images of ostree and bootc have their deployments: `/etc` of those is merged into that of the node.
pub const OSTREE: &str = "/ostree";

/// libvirt's configuration of the QEMU driver.
pub const QEMU_CONF: &str = "/etc/libvirt/qemu.conf";
/// Where other programs are searched for, whatever our own environment says.
pub const SEARCH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// `/var/run` is a link to `/run` on every node there is.
pub fn same_path(one: &Path, other: &Path) -> bool {
    plain(one) == plain(other)
}

/// The path as the other spelling has it.
pub fn plain(path: &Path) -> PathBuf {
    // Splitting a path is slow, and most paths do not have this part.
    let may_be = path.as_os_str().as_encoded_bytes().windows(3).any(|part| part == b"run");
    let rest = if may_be { path.strip_prefix("/var/run").ok() } else { None };
    rest.map_or_else(|| path.to_path_buf(), |rest| Path::new("/run").join(rest))
}
