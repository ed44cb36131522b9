// SPDX-License-Identifier: Apache-2.0
//! What an edit changes, as an independent reader sees it: Augeas, with its own grammars ("lenses") of the files. A text
//! that Augeas does not take is left out and counted. Of shell variables (`/etc/default`, `/etc/sysconfig`) nothing is
//! edited, only read: there both readers have to agree.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use vhost_accord::dataplane::ovs::legacy;
use vhost_accord::edit::virconf::{self, VirConf};
use vhost_accord::edit::{logrotate, shell, unit};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// What Augeas has for a text without any entry.
const EMPTY: &str = "#empty";

/// What Augeas reads: paths without indices, and values, in the text's order.
type Tree = Vec<(String, Option<String>)>;

/// Where packages' files and libvirt's lens are.
fn packaged() -> PathBuf {
    let output =
        Command::new(format!("{HERE}/tests/augeas/fetch")).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// What Augeas makes of each text; none where it does not take it.
fn trees(lens: &str, texts: &[String]) -> Vec<Option<Tree>> {
    let lenses = packaged().join("usr/share/augeas/lenses");
    let asked = serde_json::json!({"lens": lens, "lenses": lenses, "texts": texts}).to_string();
    // Debian's own: the module for Augeas is its package.
    let mut python = Command::new("/usr/bin/python3")
        .arg(format!("{HERE}/tests/augeas/trees.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(asked.as_bytes()).unwrap());
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Regular UTF-8 files with this end, below a directory.
fn files(directory: &Path, end: &str, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            files(&path, end, found);
        } else if path.to_str().unwrap().ends_with(end) {
            found.extend(std::fs::read_to_string(&path).ok());
        }
    }
}

fn below(directories: &[PathBuf], end: &str) -> Vec<String> {
    let mut found = Vec::new();
    directories.iter().for_each(|directory| files(directory, end, &mut found));
    found
}

fn seeds(target: &str) -> Vec<String> {
    below(&[Path::new(HERE).join("tests/fuzz/seeds").join(target)], "")
}

/// So many texts of these tokens, the same each time.
fn made_of(tokens: &'static [&'static str], most: usize, count: usize) -> Vec<String> {
    let strategy =
        prop::collection::vec(prop::sample::select(tokens), 0..most).prop_map(|tokens| tokens.concat());
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// Compares before and after an edit in all but `own` nodes, where Augeas takes the text before; at least `least` of them
/// have to be edited for the test to say something.
fn only_differs(
    lens: &str,
    texts: &[String],
    least: usize,
    edit: impl Fn(&str) -> Option<String>,
    own: fn(&str) -> bool,
) -> Vec<(String, Tree, Tree)> {
    let pairs: Vec<(&String, String)> = texts
        .iter()
        .filter_map(|text| Some((text, edit(text)?)))
        .filter(|(text, new)| *text != new)
        .collect();
    let all: Vec<String> = pairs.iter().flat_map(|(old, new)| [(*old).clone(), new.clone()]).collect();
    let mut read = trees(lens, &all).into_iter();
    let mut compared = Vec::new();
    for (old, new) in &pairs {
        let (before, after) = (read.next().unwrap(), read.next().unwrap());
        let Some(before) = before else { continue };
        let after = after.unwrap_or_else(|| panic!("{lens} reads {old:?} and not {new:?}"));
        let others = |tree: &Tree| {
            tree.iter().filter(|(path, _)| !own(path) && path != EMPTY).cloned().collect::<Tree>()
        };
        assert_eq!(others(&before), others(&after), "{lens}: {old:?} became {new:?}");
        compared.push((new.clone(), before, after));
    }
    eprintln!(
        "{lens}: {} texts, {} edited, {} of them read by Augeas",
        texts.len(),
        pairs.len(),
        compared.len()
    );
    assert!(compared.len() >= least, "{lens}: only {} were compared", compared.len());
    compared
}

const QEMU_CONF: &[&str] = &[
    "group = \"root\"\n",
    "group = \"a\"   \n",
    "group=\"\"\n",
    "  group = \"two\nlines\"\n",
    "#group = \"root\"\n",
    "# group = \"x\"\n",
    "#\n",
    "# The group for QEMU processes run by the system instance.\n",
    "user = \"libvirt-qemu\"\n",
    "#user = \"root\"\n",
    "dynamic_ownership = 1\n",
    "cgroup_device_acl = [ \"/dev/null\", \"/dev/full\" ]\n",
    "cgroup_device_acl = [\n    \"/dev/null\",\n    \"group = \"\n]\n",
    "security_driver = [ ]\n",
    "vnc_password = \"group = 'x'\"\n",
    "vnc_password = \"a # b\"\n",
    "hugetlbfs_mount = \"/dev/hugepages\"\n",
    "max_queued = 0\n",
    "\t user\t=\t\"x\"\n",
    "\n",
    "   \n",
    "max_files = 1",
    "\r\n",
    "=",
];

#[test]
#[ignore = "needs root: make test"]
fn of_qemu_conf_only_the_key_changes() {
    let mut texts = below(&[packaged().join("etc/libvirt")], "/qemu.conf");
    assert!(!texts.is_empty(), "the package has no qemu.conf");
    texts.extend(seeds("qemu_conf").iter().filter_map(|seed| Some(seed.split_once('\n')?.1.to_string())));
    texts.extend(made_of(QEMU_CONF, 12, 1500));
    let own = |path: &str| path == "group";
    let edit = |text: &str| virconf::set_text(text, "group", "hugetlbfs").ok();
    let edited = only_differs("Libvirtd_qemu.lns", &texts, 500, edit, own);
    for (text, _, after) in &edited {
        // Of several, the first counts for libvirt.
        let first = after.iter().find(|(path, _)| own(path)).and_then(|(_, value)| value.as_deref());
        assert_eq!(first, Some("hugetlbfs"), "{text:?}");
    }
    // And back: every byte, which tests/plain_fuzz.rs sees; here, that Augeas has its tree again.
    let back = |text: &str| {
        let previous = virconf::previous(text, "group").ok()?;
        virconf::restore(&edit(text)?, "group", "hugetlbfs", &previous).ok()
    };
    assert!(
        texts
            .iter()
            .filter(|text| VirConf::parse(text).is_ok())
            .all(|text| back(text).as_ref() == Some(text))
    );
}

const LOGROTATE: &[&str] = &[
    "/var/log/openvswitch/*.log {\n    create 640 root adm\n    daily\n}\n",
    "/var/log/x.log /var/log/y.log {\n\tcreate 0600 root root\n\tpostrotate\n\tcreate 1 2 3\n\tendscript\n}\n",
    "/var/log/\"a b\" {\n create\n}\n",
    "/var/log/a {\n create 640\n rotate 4\n}\n",
    "/var/log/b {\n  create   644   openvswitch   hugetlbfs\n  # create 640 root root\n}\n",
    "create 0664 root utmp\n",
    "create\n",
    "weekly\n",
    "# create 640 root adm\n",
    "include /etc/logrotate.d\n",
    "\n",
];

#[test]
#[ignore = "needs root: make test"]
fn of_logrotate_only_the_owner_changes() {
    let mut texts = below(&[packaged().join("etc/logrotate.d"), "/etc/logrotate.d".into()], "");
    texts.extend(seeds("packaged"));
    texts.extend(made_of(LOGROTATE, 8, 600));
    let edit = |text: &str| Some(logrotate::set_owner(text, "accord"));
    let edited = only_differs("Logrotate.lns", &texts, 200, edit, |path| path.ends_with("create/owner"));
    for (text, _, after) in &edited {
        let owners = after.iter().filter(|(path, _)| path.ends_with("create/owner"));
        assert!(owners.clone().all(|(_, owner)| owner.as_deref() == Some("accord")), "{text:?}");
    }
}

/// What deployers' scripts of 2016 to 2018 appended.
const PATCHES: [&str; 4] = [
    "RuntimeDirectoryMode=0775\nGroup=qemu\nUMask=0002\n",
    "Group=qemu\nUMask=0002\n",
    "UMask=0002\n",
    "Group=qemu\n",
];

fn units() -> Vec<String> {
    let mut texts = below(
        &[Path::new(HERE).join("tests/node/kinds"), packaged(), "/lib/systemd/system".into()],
        ".service",
    );
    texts.extend(seeds("unit"));
    texts
}

#[test]
#[ignore = "needs root: make test"]
fn of_a_patched_unit_only_the_patch_goes() {
    // A file that ends within a line, or in another section, has what is appended elsewhere.
    let whole = units().into_iter().filter(|text| text.ends_with('\n'));
    let texts: Vec<String> = whole.flat_map(|text| PATCHES.map(|patch| format!("{text}{patch}"))).collect();
    let own = |path: &str| {
        let keys = ["RuntimeDirectoryMode", "Group", "UMask"];
        keys.iter().any(|key| path.split('/').any(|part| part == *key))
    };
    let edited =
        only_differs("Systemd.lns", &texts, 100, |text| Some(legacy::undo(legacy::Kind::Unit, text)), own);
    for (text, before, after) in &edited {
        let count = |tree: &Tree| tree.iter().filter(|(path, _)| own(path)).count();
        assert!(count(after) < count(before), "{text:?}");
    }
}

/// Every assignment of a unit is found by both, as often.
#[test]
#[ignore = "needs root: make test"]
fn units_are_read_alike() {
    let texts = units();
    let mut compared = 0;
    for (text, tree) in texts.iter().zip(trees("Systemd.lns", &texts)) {
        let Some(tree) = tree else { continue };
        let ours = unit::UnitText::parse(text);
        let keys: Vec<(&str, &str)> = tree
            .iter()
            .filter_map(|(path, _)| path.split_once('/'))
            .filter(|(_, key)| !key.contains('/') && !key.starts_with('#'))
            .collect();
        for (section, key) in &keys {
            let theirs = keys.iter().filter(|other| *other == &(*section, *key)).count();
            assert_eq!(ours.values(section, key).len(), theirs, "{section}/{key} in {text:?}");
        }
        compared += keys.len();
    }
    eprintln!("{compared} assignments of {} units", texts.len());
    assert!(compared > 500, "only {compared} were compared");
}

const SHELL: &[&str] = &[
    "OVS_USER_ID=\"openvswitch:hugetlbfs\"\n",
    "OVS_CTL_OPTS='--no-mlockall'\n",
    "OPTIONS=\"\"\n",
    "A=b\n",
    "A=b # c\n",
    "B='it is'\n",
    "B=\"x=y\"\n",
    "# A=1\n",
    "#A=1\n",
    "\n",
    "C=\n",
    "C=a\"b\"\n",
    "D=/usr/share/x\n",
    "D=x",
    "export E=1\n",
    "\tF=1\n",
];

/// What a value is that Augeas keeps as it is written; none where quotes or expansions make it more than that.
fn plain(value: &str) -> Option<&str> {
    let inner = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value);
    (!inner.contains(['"', '\'', '\\', '$', '`', '#'])).then_some(inner)
}

#[test]
#[ignore = "needs root: make test"]
fn shell_variables_are_read_alike() {
    let mut texts = below(&[packaged().join("etc/default"), "/etc/default".into()], "");
    texts.extend(below(&[Path::new(HERE).join("tests/node/kinds")], "default.conf"));
    texts.extend(seeds("environment"));
    texts.extend(made_of(SHELL, 6, 600));
    let mut compared = 0;
    for (text, tree) in texts.iter().zip(trees("Shellvars.lns", &texts)) {
        let Some(tree) = tree else { continue };
        let ours = shell::EnvFile::parse(text);
        let exported = |name: &str| tree.iter().any(|(path, _)| *path == format!("{name}/export"));
        for (name, _) in tree.iter().filter(|(path, _)| !path.contains('/') && !path.starts_with('#')) {
            // The last one counts.
            let value =
                tree.iter().rev().find(|(path, _)| path == name).and_then(|(_, value)| value.as_deref());
            let read = ours.iter().filter(|(key, _)| key == name).last().map(|(_, value)| value);
            // To sh, and so to Augeas, "# c" behind a value is a comment; to systemd it is of the value.
            if read.is_some_and(|value| value.contains('#')) {
                continue;
            }
            let Some(value) = value.and_then(plain).filter(|_| !exported(name)) else { continue };
            assert_eq!(read, Some(value), "{name} in {text:?}");
            compared += 1;
        }
    }
    eprintln!("{compared} variables of {} files", texts.len());
    assert!(compared > 500, "only {compared} were compared");
}
