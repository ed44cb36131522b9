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
        Key {
            name: "driver",
            default: REQUIRED,
            meaning: "what need not be said below: declared (nothing: unit and sockets are required), ovs, spdk, virtiofs, or vpp",
        },
        Key {
            name: "unit",
            default: REQUIRED,
            meaning: "the service that runs the dataplane; vpp: vpp.service if not set",
        },
        Key {
            name: "user",
            default: "look",
            meaning: "user the dataplane runs as: look (the unit's), or a name or number where the program changes it itself",
        },
        Key {
            name: "group",
            default: "look",
            meaning: "group the dataplane runs with: look (the unit's, or the user's), or a name or number",
        },
        Key {
            name: "sockets",
            default: REQUIRED,
            meaning: "its vhost-user sockets: a directory for them alone, which apply creates; or DIRECTORY/PATTERN with *, in a directory that is left as it is. spdk, virtiofs, vpp: found if not set",
        },
        Key {
            name: "made-by",
            default: "dataplane",
            meaning: "who creates the sockets: dataplane (mode='client' in the VM's XML), or qemu (mode='server')",
        },
        Key {
            name: "control",
            default: "none",
            meaning: "none, or paths of control sockets and files that QEMU must not reach; ovs: the socket of its database first, found if not set",
        },
    ],
};

/// All keys of all sections, but for those of a dataplane.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.into_iter().flat_map(|section| section.keys)
}

const CONVERT: &[Key] = &[Key {
    name: "incoming",
    default: "keep",
    meaning: "the port type that VMs migrated to this node or restored on it are converted to, one of modes; or keep: convert none",
}];

const WATCH: &[Key] = &[
    Key {
        name: "enabled",
        default: "auto",
        meaning: "run the service vhost-accord-watch: auto (if dpdkvhostuser sockets are granted, or drift = fix), yes or no",
    },
    Key {
        name: "drift",
        default: "report",
        meaning: "what the service does when something else changes a setting of apply: report it, or fix it",
    },
];

const ACCORD: &[Key] = &[
    Key {
        name: "modes",
        default: "look",
        meaning: "port types that must work: dpdkvhostuserclient, dpdkvhostuser, both, or look (dpdkvhostuserclient, and dpdkvhostuser if OVS has such a port or a VM connects to one)",
    },
    Key {
        name: "group",
        default: "hugetlbfs",
        meaning: "name of the group that the dataplane and QEMU share",
    },
    Key {
        name: "gid",
        default: "42477",
        meaning: "number of the shared group; containers know the group by this number only",
    },
    Key {
        name: "gid-mismatch",
        default: "report",
        meaning: "if the group exists with another number: keep it, report (keep it and report it), or renumber the group and its files",
    },
    Key {
        name: "socket-directory",
        default: "/var/lib/vhost_sockets",
        meaning: "where QEMU creates the sockets of dpdkvhostuserclient ports",
    },
    Key {
        name: "server-access",
        default: "grant",
        meaning: "how QEMU gets access to dpdkvhostuser sockets: grant (each socket to QEMU's group), or umask (the old recipe; QEMU can then control OVS)",
    },
    Key {
        name: "dataplane-user",
        default: "keep",
        meaning: "user of the dataplane: keep (the distribution's), root, or USER[:GROUP]",
    },
    Key {
        name: "qemu-group",
        default: "shared",
        meaning: "group in qemu.conf: shared, keep (do not change qemu.conf), or the name of a group",
    },
    Key {
        name: "qemu-ids",
        default: "look",
        meaning: "user and group of QEMU: look (ask libvirt on this node), or UID:GID if libvirt runs in a container",
    },
    Key {
        name: "manage",
        default: "all",
        meaning: "what apply may change: all, or a list of accounts sockets hugepages dataplane qemu-conf hook legacy",
    },
    Key {
        name: "on-problem",
        default: "refuse",
        meaning: "what the hook does with a VM that would fail: refuse or warn; also for one family: refuse memory=warn (paths, ports, sockets, memory)",
    },
    Key {
        name: "on-error",
        default: "warn",
        meaning: "what the hook does if the check itself fails or takes too long: warn (the VM starts) or refuse; after apply, refuse also holds for the start of the dataplane",
    },
    Key {
        name: "hook-deadline",
        default: "2",
        meaning: "seconds that the check at a VM's start may take, 0.1 to 30",
    },
    Key {
        name: "service-deadline",
        default: "10",
        meaning: "seconds that each vhost-accord command in the dataplane's units may take, 0.1 to 30",
    },
    Key {
        name: "restart-deadline",
        default: "30",
        meaning: "seconds that a restarted switch may take to run, and VMs then to reconnect, before --restart puts back what was there; 5 to 600",
    },
    Key {
        name: "auto-apply",
        default: "yes",
        meaning: "run apply when this package, Open vSwitch or libvirt is installed or upgraded: yes, or no; restarts nothing",
    },
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
