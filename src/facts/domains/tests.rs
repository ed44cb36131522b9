// SPDX-License-Identifier: Apache-2.0

use std::path::Path;

use super::*;

fn domain(inside: &str) -> Result<Domain> {
    parse_domain(&format!(
        "<domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>vm</name>{inside}</domain>"
    ))
}

fn devices(inside: &str) -> Vec<Endpoint> {
    domain(&format!("<devices>{inside}</devices>")).unwrap().endpoints
}

#[test]
fn reads_an_interface_with_everything_in_it() {
    let endpoints = devices(
        "<interface type='vhostuser'><mac address='52:54:00:00:00:01'/>
           <source type='unix' path='/var/lib/vhost_sockets/a&amp;b' mode='server'/>
           <target dev=''/><model type='virtio'/><alias name='net0'/></interface>
         <interface type='bridge'><source bridge='br0'/></interface>
         <interface type='vhostuser'><source type='unix' path='/run/openvswitch/vhu1' mode='client'>
           <reconnect enabled='yes' timeout='7'/></source></interface>",
    );
    let server = Endpoint {
        device: EndpointKind::Interface,
        path: Some("/var/lib/vhost_sockets/a&b".into()),
        mode: SocketMode::Server,
        reconnect: None,
        target: Some(String::new()),
        mac: Some("52:54:00:00:00:01".to_string()),
        alias: Some("net0".to_string()),
    };
    let client = Endpoint {
        path: Some("/run/openvswitch/vhu1".into()),
        mode: SocketMode::Client,
        reconnect: Some(7),
        target: None,
        mac: None,
        alias: None,
        ..server.clone()
    };
    assert_eq!(endpoints, [server, client]);
}

#[test]
fn without_a_mode_qemu_is_the_client() {
    let endpoints = devices("<interface type='vhostuser'><source type='unix' path='/run/x'/></interface>");
    assert_eq!(endpoints[0].mode, SocketMode::Client);
    let other = "<interface type='vhostuser'><source path='/run/x' mode=''/></interface>";
    assert!(domain(&format!("<devices>{other}</devices>")).is_err());
}

#[test]
fn elements_of_another_namespace_are_another_tools() {
    let card = "<x:interface type='vhostuser'><source path='/run/x' mode='client'/></x:interface>";
    let args = "<x:arg value='-chardev'/><x:arg value='socket,id=c,path=/run/x'/>\
                <x:arg value='-netdev'/><x:arg value='vhost-user,chardev=c'/>";
    let found = domain(&format!(
        "<devices xmlns:x='urn:x'>{card}</devices>\
         <x:devices xmlns:x='urn:x'><interface type='vhostuser'><source path='/run/x' mode='client'/></interface></x:devices>\
         <x:memoryBacking xmlns:x='urn:x'><access mode='shared'/></x:memoryBacking>\
         <x:commandline xmlns:x='urn:x'>{args}</x:commandline>\
         <qemu:commandline xmlns:x='urn:x'>{args}</qemu:commandline>"
    ))
    .unwrap();
    assert_eq!((found.endpoints, found.memory.access), (vec![], None));
}

#[test]
fn finds_every_kind_of_device_and_no_other() {
    let endpoints = devices(
        "<interface type='vhostuser'><source dev='eth0'/><backend type='passt'/></interface>
         <disk type='vhostuser' device='disk'><source type='unix' path='/tmp/blk.sock'>
           <reconnect enabled='no' timeout='7'/></source><target dev='vda'/></disk>
         <disk type='file'><source file='/tmp/x'/></disk>
         <filesystem type='mount'><driver type='virtiofs'/><source dir='/srv'/><target dir='managed'/></filesystem>
         <filesystem type='mount'><driver type='virtiofs'/><source socket='/tmp/fs.sock'/><target dir='own'/></filesystem>
         <filesystem type='mount'><source dir='/srv'/><target dir='9p'/></filesystem>
         <video><driver name='vhostuser'/><model type='virtio'/></video>
         <video><model type='virtio'><driver name='vhostuser'/></model></video>
         <video><driver name='qemu'/><model type='virtio'/></video>
         <vsock model='virtio'/>",
    );
    let seen: Vec<_> = endpoints
        .iter()
        .map(|e| (e.device, e.path.as_deref().map(|path| path.to_str().unwrap()), e.target.as_deref()))
        .collect();
    use EndpointKind::*;
    assert_eq!(
        seen,
        [
            (Passt, None, None),
            (Disk, Some("/tmp/blk.sock"), Some("vda")),
            (Filesystem, None, Some("managed")),
            (Filesystem, Some("/tmp/fs.sock"), Some("own")),
            (Video, None, None),
            (Video, None, None),
        ]
    );
    assert!(
        endpoints.iter().all(|endpoint| endpoint.mode == SocketMode::Client && endpoint.reconnect.is_none())
    );
}

#[test]
fn reads_the_command_line_passed_through_to_qemu() {
    let arg = |value: &str| format!("<qemu:arg value='{value}'/>");
    let args: String = [
        "-chardev",
        "socket,id=c1,path=/run/a,,b,server",
        "-netdev",
        "type=vhost-user,id=n1,chardev=c1,vhostforce=on",
        "-chardev",
        "socket,id=c2,path=/run/blk,reconnect=2",
        "-device",
        "vhost-user-blk-pci,chardev=c2,id=b0",
        "-chardev",
        "socket,id=c3,path=/run/monitor,server=on",
        "-mon",
        "chardev=c3",
    ]
    .map(arg)
    .concat();
    let endpoints = domain(&format!("<qemu:commandline>{args}</qemu:commandline>")).unwrap().endpoints;
    let seen: Vec<_> = endpoints.iter().map(|e| (e.path.as_deref().unwrap(), e.mode, e.reconnect)).collect();
    assert_eq!(
        seen,
        [
            (Path::new("/run/a,b"), SocketMode::Server, None),
            (Path::new("/run/blk"), SocketMode::Client, Some(2))
        ]
    );
}

#[test]
fn what_libvirt_would_reject_is_an_error_that_names_the_domain() {
    let error =
        domain("<devices><interface type='vhostuser'><source path='/x' mode='both'/></interface></devices>");
    assert_eq!(
        format!("{:#}", error.unwrap_err()),
        "reading the domain 'vm': reading <interface>: mode='both' is neither server nor client"
    );
    for bad in
        ["", "<network/>", "<domain/>", "<!DOCTYPE d [<!ENTITY a 'b'>]><domain><name>&a;</name></domain>"]
    {
        assert!(parse_domain(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_status_file_tells_the_process() {
    let status = |attributes: &str| {
        parse_domain(&format!(
            "<domstatus {attributes}><monitor path='/x'/><domain id='1'><name>vm</name></domain></domstatus>"
        ))
    };
    let running = status("state='running' reason='booted' pid='4711'").unwrap();
    assert_eq!((running.running, running.pid, running.id), (true, Some(4711), Some(1)));
    assert!(status("state='paused' pid='4711'").unwrap().running);
    assert!(!status("state='shutoff' pid='0'").unwrap().running);
    assert!(status("state='running' pid='x'").is_err());
    assert!(!domain("").unwrap().running);
}

#[test]
fn what_qemu_could_do_shares_no_memory() {
    let status = |domain: &str| {
        parse_domain(&format!(
            "<domstatus state='running' pid='1'><qemuCaps><flag name='memory-backend-memfd'/></qemuCaps>\
             <domain id='1'><name>vm</name>{domain}</domain></domstatus>"
        ))
    };
    assert!(!status("").unwrap().shares_by_command_line);
    assert!(status("<commandline><arg value='x,share=on'/></commandline>").unwrap().shares_by_command_line);
}

#[test]
fn reads_dac_labels() {
    let label = |xml: &str| domain(xml).unwrap().dac;
    let ids = |user, group| Some((Account::Id(user), Account::Id(group)));
    let dac = |kind, relabel, owner| Some(DacLabel { kind, relabel, owner });
    assert_eq!(label("<seclabel type='dynamic' model='apparmor'><label>x:y</label></seclabel>"), None);
    assert_eq!(
        label("<seclabel type='dynamic' model='dac' relabel='yes'><label>+64055:+42477</label></seclabel>"),
        dac(LabelKind::Dynamic, true, ids(64055, 42477))
    );
    assert_eq!(
        label("<seclabel type='dynamic' model='dac' relabel='yes'/>"),
        dac(LabelKind::Dynamic, true, None)
    );
    assert_eq!(label("<seclabel type='none' model='dac'/>"), dac(LabelKind::None, false, None));
    assert_eq!(
        label("<seclabel type='static' model='dac' relabel='no'><label>qemu:107</label></seclabel>"),
        dac(LabelKind::Static, false, Some((Account::Name("qemu".into()), Account::Name("107".into()))))
    );
    for bad in ["107", "+x:+1", ":1", "+1:", "+4294967296:+1"] {
        assert!(
            domain(&format!("<seclabel type='static' model='dac'><label>{bad}</label></seclabel>")).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn reads_where_memory_comes_from() {
    let memory = domain(
        "<memory unit='GiB'>4</memory>
         <memoryBacking><hugepages><page size='2048' unit='KiB'/><page size='1' unit='G' nodeset='1'/></hugepages>
           <source type='memfd'/><access mode='private'/></memoryBacking>
         <numatune><memory mode='strict' nodeset='0-1'/><memnode cellid='1' mode='strict' nodeset='1'/></numatune>
         <cpu><numa><cell id='0' memory='2097152' memAccess='shared'/><cell id='1' memory='2' unit='GiB'/></numa></cpu>",
    )
    .unwrap()
    .memory;
    assert_eq!(memory.size, 4 << 30);
    assert!(memory.hugepages);
    let pages: Vec<_> = memory.pages.iter().map(|page| (page.size, page.cells.as_deref())).collect();
    assert_eq!(pages, [(2 << 20, None), (1 << 30, Some("1"))]);
    assert_eq!((memory.source.as_deref(), memory.access.as_deref()), (Some("memfd"), Some("private")));
    assert_eq!((memory.host_nodes.as_deref(), memory.placement.as_deref()), (Some("0-1"), Some("strict")));
    let cells: Vec<_> =
        memory.cells.iter().map(|cell| (cell.id, cell.size, cell.host_nodes.as_deref())).collect();
    assert_eq!(cells, [(0, 2 << 30, None), (1, 2 << 30, Some("1"))]);
    assert!(!memory.is_shared());
}

#[test]
fn knows_whether_memory_is_shared() {
    let shared = |xml: &str| domain(xml).unwrap().memory.is_shared();
    assert!(!shared(""));
    assert!(shared("<memoryBacking><access mode='shared'/></memoryBacking>"));
    assert!(!shared("<memoryBacking><hugepages/></memoryBacking>"));
    assert!(shared("<cpu><numa><cell id='0' memory='1' memAccess='shared'/></numa></cpu>"));
    assert!(!shared(
        "<memoryBacking><access mode='shared'/></memoryBacking>
         <cpu><numa><cell id='0' memory='1'/><cell id='1' memory='1' memAccess='private'/></numa></cpu>"
    ));
    let memfd = |more: &str| shared(&format!("<memoryBacking><source type='memfd'/>{more}</memoryBacking>"));
    assert!(memfd("") && memfd("<hugepages/>"), "QEMU's default for a memfd");
    assert!(!memfd("<access mode='private'/>"));
}

#[test]
fn knows_libvirts_units() {
    let size = |xml: &str| domain(xml).map(|domain| domain.memory.size).ok();
    assert_eq!(size("<memory>4</memory>"), Some(4096));
    assert_eq!(size("<memory unit='KB'>4</memory>"), Some(4000));
    assert_eq!(size("<memory unit='k'>4</memory>"), Some(4096));
    assert_eq!(size("<memory unit='bytes'>4</memory>"), Some(4));
    assert_eq!(size("<memory unit='TiB'>1</memory>"), Some(1 << 40));
    for bad in [
        "<memory unit='XB'>4</memory>",
        "<memory unit=''>4</memory>",
        "<memory>x</memory>",
        "<memory unit='EiB'>99</memory>",
        "<memory/>",
    ] {
        assert_eq!(size(bad), None, "{bad}");
    }
}
