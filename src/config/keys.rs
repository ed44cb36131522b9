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
pub const SECTIONS: [Section; 2] =
    [Section { name: "accord", keys: ACCORD }, Section { name: "convert", keys: CONVERT }];

/// All keys of all sections.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.into_iter().flat_map(|section| section.keys)
}

const CONVERT: &[Key] = &[Key {
    name: "incoming",
    default: "keep",
    meaning: "the port type that VMs migrated to this node or restored on it are converted to, one of modes; or keep: convert none",
}];

const ACCORD: &[Key] = &[
    Key {
        name: "modes",
        default: "dpdkvhostuserclient",
        meaning: "port types that must work: dpdkvhostuserclient, dpdkvhostuser, or both",
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
        # Better than to edit this file: one of your own in vhost-accord.conf.d, beside it.\n"
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
