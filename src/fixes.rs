// SPDX-License-Identifier: Apache-2.0
//! Commands that fix what keeps the two sides of a socket apart: each can be pasted into a shell as it is. `check` and the
//! hook print the same ones.

use std::path::Path;

use crate::base::paths::{ADMIN_CONFIG, CONFIG_NAME, QEMU_CONF, UNIT_DIRECTORY};
use crate::base::root::Root;
use crate::base::shell::{is_plain, path as word, quote};
use crate::base::text::clean;
use crate::config::{Origin, PortType};
use crate::facts::domains::{Account, Domain};

/// The kernel's huge pages, wherever they are.
pub const POOLS: &str = "/sys/kernel/mm/hugepages";

/// More pages of this size, in bytes; `directory` is [`POOLS`], or a NUMA node's.
pub fn more_pages(directory: &str, page_size: u64, more: u64) -> String {
    let file = format!("{directory}/hugepages-{}kB/nr_hugepages", page_size >> 10);
    format!("echo $(($(cat {file}) + {more})) > {file}")
}

/// Whichever daemon there is: a pattern is no error where nothing has that name.
pub const RESTART_LIBVIRT: &str = "systemctl try-restart 'libvirtd*.service' 'virtqemud*.service'";

/// A hugetlbfs of this page size, in bytes. libvirt finds it when it starts.
pub fn mount_pages(page_size: u64) -> String {
    let mib = page_size >> 20;
    format!(
        "mkdir -p /dev/hugepages{mib}M && mount -t hugetlbfs -o pagesize={mib}M hugetlbfs /dev/hugepages{mib}M && {RESTART_LIBVIRT}"
    )
}

/// How virsh finds the domain: by its name, or by its UUID where the name could be taken for something else.
pub fn domain(domain: &Domain) -> String {
    let plain = !domain.name.starts_with('-') && !domain.name.chars().any(char::is_control);
    quote(domain.uuid.as_deref().filter(|_| !plain).unwrap_or(&domain.name))
}

/// A new start: the running QEMU keeps what it has.
pub fn start_again(machine: &Domain) -> String {
    let name = domain(machine);
    format!("virsh destroy --graceful {name} && virsh start {name}")
}

/// The same where nothing presses: the guest shuts itself down.
pub fn shut_off_and_start(machine: &Domain) -> String {
    let name = domain(machine);
    let wait = format!("until virsh domstate {name} | grep -q 'shut off'; do sleep 1; done");
    format!("virsh shutdown {name} && {wait} && virsh start {name}  # when it suits")
}

/// The definition of the domain with these replacements; by hand where a path is none for sed.
pub fn redefine(machine: &Domain, replacements: &[(String, String)]) -> String {
    let name = domain(machine);
    let safe = |text: &str| {
        !text.contains(['#', '"', '\\', '&', '$', '`', '*', '[', '!', '\n', '\t']) && clean(text) == text
    };
    if !replacements.iter().all(|(from, to)| safe(from) && safe(to)) {
        return format!("virsh edit {name}");
    }
    let script: Vec<String> =
        replacements.iter().map(|(from, to)| format!("-e \"s#{from}#{to}#\"")).collect();
    let define = format!(
        "virsh dumpxml --inactive --security-info {name} | sed {} | virsh define /dev/stdin",
        script.join(" ")
    );
    if machine.running { format!("{define} && {}", start_again(machine)) } else { define }
}

/// QEMU's side as the port has it.
pub fn convert_domain(machine: &Domain, path: &Path, port: PortType, at: &Path) -> String {
    let (from, to) = match port {
        PortType::Dpdkvhostuserclient => ("client", "server"),
        PortType::Dpdkvhostuser => ("server", "client"),
    };
    let side = |path: &Path, mode: &str| format!("path='{}' mode='{mode}'", path.display());
    redefine(machine, &[(side(path, from), side(at, to))])
}

/// Another path for one of the domain's sockets.
pub fn move_socket(machine: &Domain, path: &Path, to: &Path) -> String {
    let at = |path: &Path| format!("path='{}'", path.display());
    redefine(machine, &[(at(path), at(to))])
}

/// Memory that another process can map.
pub fn share_memory(machine: &Domain) -> String {
    let memory = &machine.memory;
    let replace = |from: &str, to: &str| (from.to_string(), to.to_string());
    let mut replacements = vec![
        replace("memAccess='private'", "memAccess='shared'"),
        replace("<access mode='private'/>", "<access mode='shared'/>"),
    ];
    if memory.access.is_none() {
        let access = "<access mode='shared'/></memoryBacking>";
        replacements.push(match memory.hugepages || memory.source.is_some() {
            true => replace("</memoryBacking>", access),
            false => replace("</memory>", &format!("</memory><memoryBacking><source type='memfd'/>{access}")),
        });
    }
    redefine(machine, &replacements)
}

/// The domain's own label with the shared group in it.
pub fn share_group(machine: &Domain, user: &Account, group: &Account, gid: u32) -> String {
    let text = |account: &Account| match account {
        Account::Id(number) => format!("+{number}"),
        Account::Name(name) => name.clone(),
    };
    let label = |group: &str| format!("<label>{}:{group}</label>", text(user));
    redefine(machine, &[(label(&text(group)), label(&format!("+{gid}")))])
}

/// Lets the node look for the port types that must work, in the line that left one out, or over a vendor's.
pub fn look_for_modes(set_in: &Origin) -> String {
    in_place(set_in, "s/.*/modes = look/").unwrap_or_else(|| set_key("modes", "look"))
}

/// Lets `apply` touch sockets and their directory, as the other parts that the line names.
pub fn manage_sockets(set_in: &Origin) -> String {
    in_place(set_in, "s/=[[:blank:]]*/&sockets /").unwrap_or_else(|| set_key("manage", "all"))
}

/// Edits the line of the administrator's own configuration that set a key.
fn in_place(set_in: &Origin, edit: &str) -> Option<String> {
    match set_in {
        Origin::File(path, line) if path.starts_with("/etc") => {
            Some(format!("sed -i '{line}{edit}' {}", word(path)))
        }
        Origin::File(..) | Origin::Default | Origin::Looked(_) => None,
    }
}

/// Sets a key of our own, in a file that is read after the others.
pub fn set_key(key: &str, value: &str) -> String {
    let directory = format!("{ADMIN_CONFIG}/{CONFIG_NAME}.d");
    let line = quote(&format!("{key} = {value}"));
    format!("mkdir -p {directory} && printf '%s\\n' '[accord]' {line} >{directory}/zz-{key}.conf")
}

/// Comments a setting of qemu.conf out, a list over several lines too, and lets libvirt read it again.
pub fn take_from_qemu_conf(key: &str, daemon_unit: &str) -> String {
    let script = format!("/^[[:blank:]]*{key}[[:blank:]]*=/{{:a;/\\[[^]]*$/{{N;ba;}};s/^/#/;s/\\n/\\n#/g}}");
    format!("sed -i '{script}' {QEMU_CONF} && systemctl restart {}", quote(daemon_unit))
}

/// Comments the line about a path out of a file of tmpfiles.d; of a package's there is then a copy that hides it.
pub fn take_from_tmpfiles(file: &Path, path: &Path) -> Option<String> {
    let (text, name) = (path.to_str().filter(|text| is_plain(text))?, file.file_name()?);
    let line = format!("^[^[:blank:]]*[[:blank:]]*\"*\\(/var\\)*{text}\"*\\([[:blank:]]\\|$\\)");
    let script = format!("'\\#{line}#s/^/#/'");
    Some(match file.starts_with("/etc") {
        true => format!("sed -i {script} {}", word(file)),
        false => format!("sed {script} {} > {}", word(file), word(&Path::new("/etc/tmpfiles.d").join(name))),
    })
}

/// What makes the accord hold.
pub const APPLY: &str = "vhost-accord apply";

/// A command of our own for this node, or for the image at this root.
pub fn own(command: &str, root: &Root) -> String {
    if root.runs() {
        return format!("vhost-accord {command}");
    }
    let image = root.outside(Path::new("/"));
    format!("vhost-accord {command} --root {}", word(image.components().as_path()))
}

/// Lines of a file of someone else's that take back what ours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken<'a> {
    /// All that set this key of a unit.
    Key(&'a str),
    /// Those that set it to nothing.
    Reset(&'a str),
    /// Those of an environment file that set this variable.
    Variable(&'a str),
    /// Those that set this variable by `Environment=`.
    Assignment(&'a str),
}

/// Comments these lines out. A drop-in of a package, or one for many units, stays: its namesake for this unit alone takes
/// its place (systemd.unit(5)).
pub fn take_out(unit: &str, path: &Path, taken: &Taken<'_>) -> String {
    let script = match taken {
        Taken::Key(key) => format!("'s/^[[:blank:]]*{key}[[:blank:]]*=/#&/'"),
        Taken::Reset(key) => format!("'s/^[[:blank:]]*{key}[[:blank:]]*=[[:blank:]]*$/#&/'"),
        Taken::Variable(name) => format!("'s/^[[:blank:]]*{name}[[:blank:]]*=/#&/'"),
        Taken::Assignment(name) => format!("'s/^[[:blank:]]*Environment[[:blank:]]*=.*{name}=/#&/'"),
    };
    let own = Path::new(UNIT_DIRECTORY).join(format!("{unit}.d"));
    let is_own = path.parent().is_some_and(|directory| directory.ends_with(format!("{unit}.d")));
    let in_place = matches!(taken, Taken::Variable(_))
        || (is_own && !path.starts_with("/usr") && !path.starts_with("/lib"));
    match path.file_name() {
        Some(name) if !in_place => format!("sed {script} {} > {}", word(path), word(&own.join(name))),
        _ => format!("sed -i {script} {}", word(path)),
    }
}

/// Lets a group connect to this one socket.
pub fn give_socket(path: &Path, gid: u32) -> String {
    format!("chgrp {gid} {0} && chmod g+rw {0}", word(path))
}

/// Gives this user rights on a path by an ACL.
pub fn acl(uid: u32, rights: &str, path: &Path) -> String {
    format!("setfacl -m u:{uid}:{rights} {}", word(path))
}

/// Makes room at this path.
pub fn move_away(path: &Path) -> String {
    format!("mv -T {} {}", word(path), quote(&format!("{}.moved-away", path.display())))
}

/// Removes a socket file.
pub fn remove(path: &Path) -> String {
    format!("rm -f {}", word(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the command makes of a file, with the file's place put into it.
    fn edited(command: &str, place: &str, text: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, text).unwrap();
        let edit = command.split(" && ").next().unwrap().replace(place, file.to_str().unwrap());
        assert!(std::process::Command::new("sh").args(["-c", &edit]).status().unwrap().success(), "{edit}");
        std::fs::read_to_string(&file).unwrap()
    }

    #[test]
    fn a_setting_of_qemu_conf_goes_with_all_its_lines_and_nothing_else_does() {
        let command = take_from_qemu_conf("namespaces", "libvirtd.service");
        let before = "#namespaces = [ 1 ]\nuser = \"[\"\n namespaces = [\n  \"mount\",\n]\ngroup = \"x\"\n";
        let after = "#namespaces = [ 1 ]\nuser = \"[\"\n# namespaces = [\n#  \"mount\",\n#]\ngroup = \"x\"\n";
        assert_eq!(edited(&command, QEMU_CONF, before), after);
        let one = "namespaces = [ ]\nnamespaces_x = 1\n";
        assert_eq!(edited(&command, QEMU_CONF, one), "#namespaces = [ ]\nnamespaces_x = 1\n");
    }

    #[test]
    fn a_line_of_tmpfiles_goes_alone() {
        let place = "/etc/tmpfiles.d/x.conf";
        let command = take_from_tmpfiles(Path::new(place), Path::new("/run/a")).unwrap();
        let before = "d /run/a/b 0755\nd /var/run/a 0755 - -\nz \"/run/a\" 0700\nd\t/run/a\nd /run/ab 0755\n";
        let after =
            "d /run/a/b 0755\n#d /var/run/a 0755 - -\n#z \"/run/a\" 0700\n#d\t/run/a\nd /run/ab 0755\n";
        assert_eq!(edited(&command, place, before), after);
        assert_eq!(take_from_tmpfiles(Path::new(place), Path::new("/run/a b")), None);
    }

    #[test]
    fn the_line_that_leaves_a_type_out_is_the_one_that_changes() {
        let place = "/etc/vhost-accord/vhost-accord.conf";
        let command = look_for_modes(&Origin::File(place.into(), 2));
        assert_eq!(edited(&command, place, "[accord]\nmodes = x\n"), "[accord]\nmodes = look\n");
        let vendor = look_for_modes(&Origin::File("/usr/lib/vhost-accord/vhost-accord.conf".into(), 2));
        assert!(vendor.ends_with(">/etc/vhost-accord/vhost-accord.conf.d/zz-modes.conf"), "{vendor}");
        let command = manage_sockets(&Origin::File(place.into(), 2));
        assert_eq!(
            edited(&command, place, "[accord]\nmanage = hook  # y\n"),
            "[accord]\nmanage = sockets hook  # y\n"
        );
    }
}
