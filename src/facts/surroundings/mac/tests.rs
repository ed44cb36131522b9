// SPDX-License-Identifier: Apache-2.0
use std::fs;

use super::{SeLinux, selinux};
use crate::base::root::Root;

fn node(files: &[(&str, &str)]) -> Option<SeLinux> {
    let node = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = node.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    selinux(&Root::open(node.path()).unwrap(), None).unwrap()
}

#[test]
fn without_selinux_nothing_is_said() {
    assert_eq!(node(&[("var/lib/selinux/targeted/active/modules/400/vhost_accord/cil", "")]), None);
}

#[test]
fn booleans_that_a_policy_has_not_are_not_off() {
    let found = node(&[("sys/fs/selinux/enforce", "1")]).unwrap();
    assert_eq!(found, SeLinux { enforcing: true, module: Some(false), ..SeLinux::default() });
}

#[test]
fn booleans_and_the_module_are_seen() {
    let found = node(&[
        ("sys/fs/selinux/enforce", "0"),
        ("sys/fs/selinux/booleans/virt_hooks_unconfined", "0 1"),
        ("sys/fs/selinux/booleans/os_openvswitch_dac_override", "1 1"),
        ("var/lib/selinux/final/targeted/policy", ""),
        ("var/lib/selinux/targeted/active/modules/100/virt/cil", ""),
        ("var/lib/selinux/targeted/active/modules/400/vhost_accord/cil", ""),
    ])
    .unwrap();
    assert!(!found.enforcing);
    assert_eq!((found.hooks_unconfined, found.dac_override), (Some(false), Some(true)));
    assert_eq!(found.module, Some(true));
}
