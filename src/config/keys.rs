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
    meaning: "VMs that are migrated to this node or restored on it: keep, or the port type they go over to; one of modes",
}];

const ACCORD: &[Key] = &[
    Key {
        name: "modes",
        default: "dpdkvhostuserclient",
        meaning: "port types that must work: dpdkvhostuserclient, dpdkvhostuser, or both",
    },
    Key { name: "group", default: "hugetlbfs", meaning: "the group dataplane and QEMU share" },
    Key { name: "gid", default: "42477", meaning: "its number, the contract with containers" },
    Key {
        name: "gid-mismatch",
        default: "report",
        meaning: "the group exists with another number: keep it, report (keep it and advise), or renumber it with its files",
    },
    Key {
        name: "socket-directory",
        default: "/var/lib/vhost_sockets",
        meaning: "where QEMU makes the sockets of dpdkvhostuserclient ports",
    },
    Key {
        name: "server-access",
        default: "grant",
        meaning: "dpdkvhostuser sockets: grant each to QEMU's group, or umask (the classical recipe: QEMU can then drive OVS)",
    },
    Key {
        name: "dataplane-user",
        default: "keep",
        meaning: "keep what the distribution runs, or root, or USER[:GROUP]",
    },
    Key {
        name: "qemu-group",
        default: "shared",
        meaning: "the group in qemu.conf: shared, keep (the setgid directory alone does it), or a group's name",
    },
    Key {
        name: "qemu-ids",
        default: "look",
        meaning: "whom QEMU runs as: look (at libvirt here), or UID:GID where libvirt is in a container and not on this node",
    },
    Key {
        name: "manage",
        default: "all",
        meaning: "what apply may touch: all, or a list of accounts sockets hugepages dataplane qemu-conf hook legacy",
    },
    Key {
        name: "on-problem",
        default: "refuse",
        meaning: "a VM that would not work: refuse its start or warn, also per family: refuse memory=warn (paths, ports, sockets, memory)",
    },
    Key {
        name: "on-error",
        default: "warn",
        meaning: "the check itself failed or took too long: warn (the VM starts) or refuse; refuse holds for the dataplane's start, too, after apply",
    },
    Key {
        name: "hook-deadline",
        default: "2",
        meaning: "seconds that a check at a VM's start may take, 0.1 to 30",
    },
    Key {
        name: "service-deadline",
        default: "10",
        meaning: "seconds that an entry in the dataplane's units may take, 0.1 to 30",
    },
    Key {
        name: "restart-deadline",
        default: "30",
        meaning: "seconds that a restarted switch may take to run, and VMs then to reconnect, before --restart puts back what was there; 5 to 600",
    },
    Key {
        name: "auto-apply",
        default: "yes",
        meaning: "apply when this package, Open vSwitch or libvirt is installed: yes, or no (say how to); restarts nothing",
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
