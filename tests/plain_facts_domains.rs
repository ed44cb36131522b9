// SPDX-License-Identifier: Apache-2.0
//! Directories of domain files.

use std::path::Path;

use vhost_accord::base::root::Root;
use vhost_accord::facts::domains::{Endpoint, SocketMode, parse_domain, persistent, running};

#[test]
fn a_broken_file_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join("run/libvirt/qemu").join(name);
    std::fs::create_dir_all(path("autostart")).unwrap();
    std::fs::create_dir_all(path("dir.xml")).unwrap();
    let status = "<domstatus state='running' pid='42'><domain id='1'><name>a</name></domain></domstatus>";
    std::fs::write(path("a.xml"), status).unwrap();
    std::fs::write(path("b.xml"), "<domstatus").unwrap();
    std::fs::write(path("c.xml"), status.replace(">a<", ">c<")).unwrap();
    std::fs::write(path("c.xml.new"), "half").unwrap();
    std::fs::write(path("a.pid"), "42").unwrap();
    std::fs::write(path("latin.xml"), b"<domain>\xe4</domain>").unwrap();

    let found = running(&Root::open(dir.path()).unwrap()).unwrap();
    let names: Vec<_> =
        found.domains.iter().map(|domain| (domain.name.as_str(), domain.pid, domain.running)).collect();
    assert_eq!(names, [("a", Some(42), true), ("c", Some(42), true)]);
    let broken: Vec<_> = found.broken.iter().map(|file| file.path.as_path()).collect();
    assert_eq!(broken, [Path::new("/run/libvirt/qemu/b.xml"), Path::new("/run/libvirt/qemu/latin.xml")]);
    assert!(found.broken[0].error.starts_with("parsing the domain XML"), "{}", found.broken[0].error);
}

#[test]
fn without_libvirt_there_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    assert_eq!(running(&root).unwrap(), Default::default());
    assert_eq!(persistent(&root).unwrap(), Default::default());
}

/// As nova 31 has a VM with two ports, after a hard reboot: `openstack server add port`, then `virsh dumpxml --inactive`.
#[test]
fn a_vm_of_novas_has_shared_memory_and_all_its_cards() {
    let domain = parse_domain(include_str!("fuzz/seeds/domain/nova.xml")).unwrap();
    assert_eq!(domain.name, "instance-00000003");
    assert_eq!(domain.uuid.as_deref(), Some("553f5b52-d0ef-4dd3-a5ae-c983984b7d43"));
    assert!(domain.is_novas);
    // By its NUMA cell: there is no <access>.
    assert!(domain.memory.is_shared() && domain.memory.access.is_none());
    let cards = |endpoint: &Endpoint| (endpoint.mode, endpoint.path.clone().unwrap(), endpoint.reconnect);
    let expected = ["/run/openvswitch/vhu497077f9-d5", "/run/openvswitch/vhudad124d2-9c"]
        .map(|path| (SocketMode::Client, path.into(), None));
    assert_eq!(domain.endpoints.iter().map(cards).collect::<Vec<_>>(), expected);
}
