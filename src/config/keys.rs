// SPDX-License-Identifier: Apache-2.0
//! Every section and key there is: name, default and meaning in one place.

/// One section of the files. No two sections have a key of the same name.
#[derive(Debug)]
pub struct Section {
    /// As written in the file, without the brackets.
    pub name: &'static str,
    /// Its keys, in the order `vhost-accord config` prints them.
    pub keys: &'static [Key],
}

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// The value when no file sets it.
    pub default: &'static str,
    /// What it may be and what it means, in a line.
    pub meaning: &'static str,
}

const fn key(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, default, meaning }
}

/// All sections, in the order `vhost-accord config` prints them.
pub const SECTIONS: [Section; 3] = [
    Section { name: "accord", keys: ACCORD },
    Section { name: "convert", keys: CONVERT },
    Section { name: "watch", keys: WATCH },
];

/// What stands for the default of a key that must be set.
pub const REQUIRED: &str = "required";

/// The section of a dataplane that is not found by looking; a node may have any number of them.
pub const DATAPLANE: Section = Section {
    name: "dataplane NAME",
    keys: &[
        key(
            "driver",
            REQUIRED,
            "the driver, which finds values that are not set: declared (finds none: unit and sockets are required), ovs, spdk, virtiofs, or vpp",
        ),
        key("unit", REQUIRED, "the service that runs the dataplane; vpp: vpp.service if not set"),
        key(
            "user",
            "look",
            "user the dataplane runs as: look (the unit's), or a name or number where the program changes it itself",
        ),
        key(
            "group",
            "look",
            "group the dataplane runs with: look (the unit's, or the user's), or a name or number",
        ),
        key(
            "sockets",
            REQUIRED,
            "its vhost-user sockets: a directory for them alone, which apply creates; or DIRECTORY/PATTERN with *, in a directory that apply does not change. spdk, virtiofs, vpp: found if not set",
        ),
        key(
            "made-by",
            "dataplane",
            "who creates the sockets: dataplane (mode='client' in the VM's XML), or qemu (mode='server')",
        ),
        key(
            "control",
            "none",
            "paths of control sockets and files that QEMU must not reach, or none; ovs, spdk, vpp: found if not set (ovs: the socket of its database comes first)",
        ),
    ],
};

/// All keys of all sections, but for those of a dataplane.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.into_iter().flat_map(|section| section.keys)
}

const CONVERT: &[Key] = &[key(
    "incoming",
    "keep",
    "port type to which VMs are converted when they are migrated to this node or restored on it: one of modes; or keep (convert none)",
)];

const WATCH: &[Key] = &[
    key(
        "enabled",
        "auto",
        "run the service vhost-accord-watch: auto (if dpdkvhostuser sockets are granted, or drift = fix), yes or no",
    ),
    key(
        "drift",
        "report",
        "what the service does when another program changes what apply set: report it, or fix it",
    ),
];

const ACCORD: &[Key] = &[
    key(
        "modes",
        "look",
        "port types that must work: dpdkvhostuserclient, dpdkvhostuser, both, or look (dpdkvhostuserclient, and dpdkvhostuser if OVS has such a port or a VM connects to one)",
    ),
    key("group", "hugetlbfs", "name of the group that the dataplane and QEMU share"),
    key("gid", "42477", "number of the shared group; containers know the group by this number only"),
    key(
        "gid-mismatch",
        "report",
        "if the group exists with another number: keep it, report (keep it and report it), or renumber the group and its files",
    ),
    key(
        "socket-directory",
        "/var/lib/vhost_sockets",
        "where QEMU creates the sockets of dpdkvhostuserclient ports",
    ),
    key(
        "server-access",
        "grant",
        "how QEMU gets access to dpdkvhostuser sockets: grant (each socket to QEMU's group), or umask (the old recipe; QEMU can then control OVS)",
    ),
    key("dataplane-user", "keep", "user of the dataplane: keep (the distribution's), root, or USER[:GROUP]"),
    key(
        "qemu-group",
        "shared",
        "group in qemu.conf: shared, keep (do not change qemu.conf), or the name of a group",
    ),
    key(
        "qemu-ids",
        "look",
        "user and group of QEMU: look (ask libvirt on this node), or UID:GID if libvirt runs in a container",
    ),
    key(
        "manage",
        "all",
        "what apply may change: all, or a list of accounts sockets hugepages dataplane qemu-conf hook legacy",
    ),
    key(
        "on-problem",
        "refuse",
        "what the hook does with a VM that would fail: refuse or warn; also for one family: refuse memory=warn (paths, ports, sockets, memory)",
    ),
    key(
        "on-error",
        "warn",
        "if a check itself fails or takes too long: warn (the VM or the dataplane starts) or refuse (it does not; for the dataplane, from the next apply on)",
    ),
    key("hook-deadline", "2", "seconds that the check at a VM's start may take, 0.1 to 30"),
    key(
        "service-deadline",
        "10",
        "seconds that each vhost-accord command in the dataplane's units may take, 0.1 to 30",
    ),
    key(
        "restart-deadline",
        "30",
        "seconds that a restarted switch may take to run, and VMs then to reconnect, before --restart restores the previous state; 5 to 600",
    ),
    key(
        "auto-apply",
        "yes",
        "run apply when this package, Open vSwitch or libvirt is installed or upgraded: yes, or no; restarts nothing",
    ),
];

/// The file that packages put to `/etc`: every key with its meaning, commented out, so that the defaults count and change
/// with the program. The first section alone is begun: what people add at the end is for that one.
pub fn commented() -> String {
    let mut text =
        "# Configuration of vhost-accord: see vhost-accord.conf(5). The values here are the defaults.\n\
        # Do not edit this file; create one in vhost-accord.conf.d beside it.\n"
            .to_string();
    for (number, section) in SECTIONS.iter().enumerate() {
        let mark = if number == 0 { "" } else { "#" };
        text.push_str(&format!("\n{mark}[{}]\n", section.name));
        for key in section.keys {
            text.push_str(&format!("\n# {}\n#{} = {}\n", key.meaning, key.name, key.default));
        }
    }
    text
}
