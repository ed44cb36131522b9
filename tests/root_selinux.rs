// SPDX-License-Identifier: Apache-2.0
//! The SELinux module: it comes out of its source, no neverallow rule is against it, and it brings exactly the rules that
//! are named here. Asked of Debian's policy, with the types of Fedora's that are missing there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/selinux/vhost_accord.cil");
const FEDORA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/selinux/fedora.cil");
const POLICY: &str = "etc/selinux/default/policy";
const CONTEXTS: &str = "etc/selinux/default/contexts/files/file_contexts";

fn say(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A store with Debian's policy.
fn debian() -> PathBuf {
    let fetch = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/selinux/fetch");
    PathBuf::from(say(&mut Command::new(fetch)).trim())
}

/// A copy of it with these modules.
fn with(base: &Path, modules: &[&str]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    say(Command::new("cp").arg("-a").arg(base.join("etc")).arg(base.join("var")).arg(copy.path()));
    let mut semodule = Command::new("semodule");
    semodule.arg("--path").arg(copy.path()).args(["--store", "default", "--noreload"]);
    modules.iter().for_each(|module| {
        semodule.args(["--install", module]);
    });
    say(&mut semodule);
    copy
}

fn rules(root: &Path) -> BTreeSet<String> {
    let policy = std::fs::read_dir(root.join(POLICY)).unwrap().next().unwrap().unwrap().path();
    let ask = |kind: &str| say(Command::new("sesearch").arg(kind).arg(&policy));
    [ask("-A"), ask("-T")].concat().lines().map(str::to_string).collect()
}

/// `allow T T:class …`, which come with any type's attributes.
fn is_about_itself(rule: &str) -> bool {
    let mut words = rule.split([' ', ':']).skip(1);
    words.next() == words.next()
}

/// What the module adds to a policy with these other modules.
fn added(base: &Path, others: &[&str]) -> Vec<String> {
    let copy = with(base, &[others, &[MODULE]].concat());
    let contexts = std::fs::read_to_string(copy.path().join(CONTEXTS)).unwrap();
    let (before, after) = (rules(base), rules(copy.path()));
    let gone: Vec<_> = before.difference(&after).collect();
    assert!(gone.is_empty(), "{gone:?}");
    let new = after.difference(&before).filter(|rule| !is_about_itself(rule)).cloned();
    let labels = contexts.lines().filter(|line| line.contains("vhost_accord_"));
    new.chain(labels.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
}

const SOCKETS: [&str; 8] = [
    "allow openvswitch_t svirt_image_t:file { getattr map read write };",
    "allow openvswitch_t svirt_t:fd use;",
    "allow openvswitch_t svirt_t:unix_stream_socket { connectto read write };",
    "allow openvswitch_t svirt_tmpfs_t:file { getattr map read write };",
    "allow openvswitch_t vhost_accord_socket_t:dir { getattr search };",
    "allow openvswitch_t vhost_accord_socket_t:sock_file { getattr write };",
    "allow svirt_t vhost_accord_socket_t:dir { add_name getattr open read remove_name search write };",
    "allow svirt_t vhost_accord_socket_t:sock_file { create getattr setattr unlink write };",
];

const DIRECTORY: &str = "/var/lib/vhost_sockets(/.*)? system_u:object_r:vhost_accord_socket_t:s0";

const FEDORA_ONLY: [&str; 18] = [
    "/usr/bin/vhost-accord -- system_u:object_r:vhost_accord_exec_t:s0",
    "allow init_t unconfined_service_t:process transition;",
    "allow init_t unconfined_service_t:process2 nnp_transition;",
    "allow init_t vhost_accord_exec_t:file { execute getattr map open read };",
    "allow openvswitch_t svirt_tcg_t:fd use;",
    "allow openvswitch_t svirt_tcg_t:unix_stream_socket { connectto read write };",
    "allow svirt_tcg_t vhost_accord_socket_t:dir { add_name getattr open read remove_name search write };",
    "allow svirt_tcg_t vhost_accord_socket_t:sock_file { create getattr setattr unlink write };",
    "allow unconfined_service_t vhost_accord_exec_t:file { entrypoint execute getattr map open read };",
    "allow virt_hook_unconfined_t vhost_accord_exec_t:file { entrypoint execute getattr map open read };",
    "allow virt_hook_unconfined_t virtqemud_t:fd use;",
    "allow virt_hook_unconfined_t virtqemud_t:fifo_file { append getattr ioctl read write };",
    "allow virt_hook_unconfined_t virtqemud_t:process sigchld;",
    "allow virtqemud_t vhost_accord_exec_t:file { execute getattr map open read };",
    "allow virtqemud_t virt_hook_t:lnk_file { getattr read };",
    "allow virtqemud_t virt_hook_unconfined_t:process transition;",
    "type_transition init_t vhost_accord_exec_t:process unconfined_service_t;",
    "type_transition virtqemud_t vhost_accord_exec_t:process virt_hook_unconfined_t;",
];

fn same(mut seen: Vec<String>, mut expected: Vec<&str>, policy: &str) {
    seen.sort();
    expected.sort_unstable();
    assert_eq!(seen, expected, "in {policy}'s policy");
}

#[test]
#[ignore = "needs root: make test-all"]
fn the_module_brings_what_stock_policy_lacks_and_no_more() {
    let base = debian();
    same(added(&base, &[]), [&[DIRECTORY], &SOCKETS[..]].concat(), "Debian");
    let all = [&[DIRECTORY], &SOCKETS[..], &FEDORA_ONLY[..]].concat();
    same(added(&base, &[FEDORA]), all, "Fedora");
}
