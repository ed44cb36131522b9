// SPDX-License-Identifier: Apache-2.0
//! `check --against`, on two nodes that agree and one thing that they do not: each is named by its own id.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::node::Node;
use super::pair::{self, OFF, OVS_MAKES, Pair};
use vhost_accord::arrivals::{Arrival, look};
use vhost_accord::base::root::Root;
use vhost_accord::config::PortType;
use vhost_accord::convert::Held;
use vhost_accord::dataplane::ovs::ovsdb::VhostPort;
use vhost_accord::facts::Known;
use vhost_accord::facts::domains::{
    Account as LabelAccount, DacLabel, Domain, LabelKind, SocketMode, parse_domain,
};
use vhost_accord::facts::sockets::Liveness;
use vhost_accord::fingerprint::{Account, Fingerprint, Identity, Pages, Versions, Vm};
use vhost_accord::node::endpoints::place::Place;
use vhost_accord::rules;
use vhost_accord::rules::Level;
use vhost_accord::rules::peer::{Compared, Comparison, judge};

const UUID: &str = "11111111-2222-4333-8444-555555555555";

/// A VM runs there; here is all that it needs.
struct Nodes {
    pair: Pair,
    here: Fingerprint,
    there: Fingerprint,
    domains: Vec<Domain>,
    held: Vec<Held>,
    turned: Vec<PathBuf>,
}

fn fingerprint(pair: &Pair, host: &str) -> Fingerprint {
    let account = |name: &str, id| Account { name: name.to_string(), id };
    let qemu = pair.node.accord.qemu.as_ref().unwrap();
    let text = |version: &str| Some(version.to_string());
    Fingerprint {
        version: 1,
        program: "0.1.0".to_string(),
        host: text(host),
        modes: vec!["dpdkvhostuserclient".to_string(), "dpdkvhostuser".to_string()],
        incoming: None,
        socket_directory: PathBuf::from("/var/lib/vhost_sockets"),
        server_directory: Some(PathBuf::from("/run/openvswitch")),
        group: account("hugetlbfs", 42477),
        qemu: Some(Identity {
            user: account("libvirt-qemu", qemu.uid),
            group: account("hugetlbfs", 42477),
            groups: Vec::new(),
        }),
        dataplane: None,
        default_page_size: None,
        pages: vec![Pages {
            size: 2 << 20,
            total: 100,
            available: 100,
            mounts: vec!["/dev/hugepages".into()],
            on_demand: 0,
            nodes: vec![(0, 100)],
        }],
        versions: Versions {
            libvirt: text("9.0.0"),
            qemu: text("7.2.22"),
            ovs: text("3.1.0"),
            dpdk: text("DPDK 22.11.11"),
        },
        agreed: pair.start.agreed.clone(),
        place: Place::default(),
        vms: Vec::new(),
    }
}

impl Nodes {
    fn sound() -> Nodes {
        let pair = Pair::sound();
        let (here, mut there) = (fingerprint(&pair, "target"), fingerprint(&pair, "source"));
        let mut domain = pair.endpoints.machines[OFF].domain.clone();
        (domain.running, domain.uuid) = (true, Some(UUID.to_string()));
        there.vms = vec![Vm { domain, nova_ports: Vec::new() }];
        Nodes { pair, here, there, domains: Vec::new(), held: Vec::new(), turned: Vec::new() }
    }

    fn compared(&mut self) -> Compared {
        let arrival = |vm: &Vm| Arrival {
            domain: vm.domain.clone(),
            facts: self.pair.endpoints.machines[OFF].start.clone(),
            held: self.held.clone(),
            turned: self.turned.clone(),
        };
        let arrivals: Vec<Arrival> = self.there.vms.iter().map(arrival).collect();
        judge(Comparison {
            here: &self.here,
            there: &self.there,
            domains: &self.domains.iter().collect::<Vec<_>>(),
            arrivals: &arrivals,
            start: &mut self.pair.start,
            configured: Some(self.pair.configured),
        })
    }

    fn ids(&mut self) -> Vec<&'static str> {
        self.compared().findings.iter().map(|finding| finding.id).collect()
    }

    fn vm(&mut self) -> &mut Domain {
        &mut self.there.vms[0].domain
    }

    fn ports(&mut self) -> &mut Vec<VhostPort> {
        &mut self.pair.join(OFF).ports
    }

    /// The `dpdkvhostuser` port and its socket are not there.
    fn without_server_port(&mut self) {
        self.ports().remove(1);
        let socket = self.pair.socket(OFF, OVS_MAKES);
        (socket.node, socket.liveness) = (None, Liveness::Missing);
    }

    /// As `Nodes::vm`, defined here.
    fn defined(&mut self, change: impl FnOnce(&mut Domain)) {
        let mut domain = self.vm().clone();
        domain.running = false;
        change(&mut domain);
        self.domains.push(domain);
    }
}

type Breakage = (&'static str, fn(&mut Nodes));

const BREAKAGES: &[Breakage] = &[
    ("peer-newer", |nodes| nodes.there.version = 2),
    ("peer-unknown", |nodes| {
        nodes.pair.endpoints.machines[OFF].start.switch = Known::Unknown("no answer in 2 s".to_string());
    }),
    ("peer-modes-differ", |nodes| drop(nodes.here.modes.pop())),
    ("peer-directory-differs", |nodes| nodes.here.socket_directory = "/var/run/sockets".into()),
    ("peer-directory-differs", |nodes| nodes.there.server_directory = Some("/run/openvswitch/x".into())),
    ("peer-gid-differs", |nodes| nodes.here.group.id = 995),
    ("peer-qemu-identity-differs", |nodes| nodes.there.qemu.as_mut().unwrap().user.id = 107),
    ("peer-page-size-missing", |nodes| {
        let pages = Pages { size: 1 << 30, total: 4, available: 0, ..nodes.there.pages[0].clone() };
        nodes.there.pages.push(Pages { mounts: Vec::new(), ..pages });
    }),
    ("peer-page-size-missing", |nodes| nodes.here.pages[0].mounts.clear()),
    ("peer-page-size-missing", |nodes| {
        (nodes.here.pages[0].total, nodes.here.pages[0].available) = (0, 0);
    }),
    ("peer-pages-short", |nodes| {
        nodes.pair.need(OFF).pages = 60;
        let vm = nodes.there.vms[0].clone();
        nodes.there.vms.push(vm);
    }),
    ("peer-older", |nodes| nodes.there.versions.qemu = Some("8.0.0".to_string())),
    ("peer-older", |nodes| nodes.there.versions.dpdk = Some("DPDK 23.11".to_string())),
    ("peer-vm-exists", |nodes| nodes.defined(|domain| domain.running = true)),
    ("peer-vm-exists", |nodes| nodes.defined(|domain| domain.uuid = Some(UUID.replace('1', "9")))),
    ("peer-vm-exists", |nodes| nodes.defined(|domain| domain.name = "another".to_string())),
    // What the hook would say.
    ("port-missing", |nodes| drop(nodes.ports().remove(0))),
    ("both-ends-server", |nodes| {
        nodes.ports()[0] = pair::port("vhus0", PortType::Dpdkvhostuser, None);
    }),
    ("both-ends-client", |nodes| {
        let path = nodes.pair.socket(OFF, OVS_MAKES).path.clone();
        nodes.without_server_port();
        nodes.ports().push(pair::port("vhuc0", PortType::Dpdkvhostuserclient, Some(&path)));
    }),
    ("hugepages-not-enough", |nodes| nodes.pair.need(OFF).pages = 101),
    ("hugepages-not-mounted", |nodes| nodes.pair.need(OFF).mounted = false),
    ("memory-not-shared", |nodes| nodes.vm().memory.access = None),
    ("socket-directory-refuses-qemu", |nodes| {
        let owner = Some((LabelAccount::Id(107), LabelAccount::Id(107)));
        nodes.vm().dac = Some(DacLabel { kind: LabelKind::Static, relabel: true, owner });
    }),
];

#[test]
fn between_nodes_that_agree_nothing_is_in_the_way() {
    let compared = Nodes::sound().compared();
    assert_eq!(compared.findings, []);
    assert_eq!((compared.vms[0].name.as_str(), compared.vms[0].starts_here.as_str()), ("off", "yes"));
}

#[test]
fn each_difference_is_named() {
    for (id, breaks) in BREAKAGES {
        let mut nodes = Nodes::sound();
        breaks(&mut nodes);
        let compared = nodes.compared();
        let ids: BTreeSet<&str> = compared.findings.iter().map(|finding| finding.id).collect();
        assert!(ids.contains(id), "{id}: {:#?}", compared.findings);
        // Only the socket that is missing, or another's label, has more than one side.
        assert!(
            ids.len() == 1 || ["both-ends-client", "socket-directory-refuses-qemu"].contains(id),
            "{ids:?}"
        );
        for finding in &compared.findings {
            let texts = [&finding.subject, &finding.seen, &finding.fix];
            assert!(texts.iter().all(|text| !text.is_empty() && !text.contains('\n')), "{finding:?}");
        }
    }
}

#[test]
fn every_rule_is_tested() {
    // It takes two things: the mode is not agreed on, and the VM is kept out.
    let tested = BREAKAGES.iter().map(|(id, _)| *id).chain(["peer-mode-not-here"]).collect::<BTreeSet<_>>();
    let rules: BTreeSet<&str> =
        rules::all().map(|rule| rule.id).filter(|id| id.starts_with("peer-")).collect();
    assert_eq!(rules.difference(&tested).count(), 0, "{rules:?}");
}

#[test]
fn a_mode_that_keeps_a_vm_out_is_broken_and_comes_first() {
    let mut nodes = Nodes::sound();
    nodes.here.modes.pop();
    nodes.pair.socket(OFF, OVS_MAKES).node.as_mut().unwrap().gid = 0;
    nodes.pair.before_apply();
    assert_eq!(nodes.ids(), ["peer-mode-not-here", "server-socket-refuses-qemu"]);
    let compared = nodes.compared();
    assert_eq!(compared.findings[0].subject, "off");
    assert!(compared.findings[0].fix.contains("'modes = dpdkvhostuserclient dpdkvhostuser'"));
    assert_eq!(compared.vms[0].starts_here, "server-socket-refuses-qemu");
    nodes.here.incoming = Some("dpdkvhostuserclient".to_string());
    assert_eq!(nodes.ids(), ["server-socket-refuses-qemu"], "the hook turns it to what is agreed on");
}

#[test]
fn what_the_hook_refuses_would_fail() {
    let mut nodes = Nodes::sound();
    nodes.pair.need(OFF).pages = 101;
    let findings = nodes.compared().findings;
    assert_eq!(findings[0].level, Level::Broken, "check has it as advice: a VM that is off may never start");
    assert_eq!(findings[0].subject, "off: huge pages of 2 MiB");
}

#[test]
fn what_novas_os_vif_makes_is_not_missed() {
    let mut nodes = Nodes::sound();
    nodes.without_server_port();
    assert!(nodes.ids().contains(&"port-missing"));
    nodes.there.vms[0].nova_ports = vec!["vhuc0".to_string()];
    assert_eq!(nodes.ids(), [""; 0]);
    nodes.ports().remove(0);
    assert_eq!(nodes.ids(), ["port-missing"], "the other one is made by hand");
}

#[test]
fn one_cause_is_told_once_and_names_its_vms() {
    let mut nodes = Nodes::sound();
    let vm = nodes.there.vms[0].clone();
    for number in 1..7 {
        let mut vm = vm.clone();
        vm.domain.name = format!("vm{number}");
        nodes.there.vms.push(vm);
    }
    nodes.ports().remove(0);
    let findings = nodes.compared().findings;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(findings[0].subject, "off, vm1, vm2, vm3, vm4 and 2 more: /var/lib/vhost_sockets/vhus0");
}

#[test]
fn what_the_hook_would_convert_is_judged_as_it_would_be_then() {
    let mut nodes = Nodes::sound();
    let path = nodes.pair.socket(OFF, OVS_MAKES).path.clone();
    let socket = nodes.pair.socket(OFF, OVS_MAKES);
    (socket.node, socket.liveness) = (None, Liveness::Missing);
    assert_eq!(nodes.ids(), ["server-socket-missing"]);
    nodes.turned = vec![path.clone()];
    assert_eq!(nodes.ids(), [""; 0], "the switch makes it when the port is turned");
    let path = path.display().to_string();
    nodes.held = vec![Held { path, port: "vhuc0".to_string(), by: "VM other".to_string() }];
    nodes.turned.clear();
    assert_eq!(nodes.ids(), ["conversion-port-in-use", "server-socket-missing"]);
}

#[test]
fn a_fix_is_for_this_node_or_says_where() {
    let mut nodes = Nodes::sound();
    nodes.vm().memory.access = None;
    let fix = nodes.compared().findings[0].fix.clone();
    assert!(fix.starts_with("virsh ") && fix.ends_with("  # on source"), "{fix}");
    nodes.there.host = Some("x\nreboot".to_string());
    let fix = nodes.compared().findings[0].fix.clone();
    assert!(fix.ends_with("  # on the other node"), "{fix}");

    // A VM that runs well there is not turned over: the port here is.
    let mut nodes = Nodes::sound();
    let path = nodes.pair.socket(OFF, OVS_MAKES).path.clone();
    nodes.without_server_port();
    nodes.ports().push(pair::port("vhuc0", PortType::Dpdkvhostuserclient, Some(&path)));
    let findings = nodes.compared().findings;
    let clash = findings.iter().find(|finding| finding.id == "both-ends-client").unwrap();
    assert_eq!(clash.fix, "ovs-vsctl set Interface vhuc0 type=dpdkvhostuser");
}

#[test]
fn what_is_as_new_or_unknown_is_not_older() {
    for (here, there) in
        [("9.10.0", "9.9.0"), ("9.0.0", "9.0.0"), ("unreadable", "9.0.0"), ("22.11", "22.11")]
    {
        let mut nodes = Nodes::sound();
        nodes.here.versions.libvirt = Some(here.to_string());
        nodes.there.versions.libvirt = Some(there.to_string());
        assert_eq!(nodes.ids(), [""; 0], "{here} {there}");
    }
    let mut nodes = Nodes::sound();
    nodes.here.versions = Versions::default();
    (nodes.there.qemu, nodes.here.server_directory) = (None, None);
    assert_eq!(nodes.ids(), [""; 0]);
}

#[test]
fn without_libvirt_here_nothing_is_promised() {
    let mut nodes = Nodes::sound();
    nodes.here.qemu = None;
    let compared = nodes.compared();
    assert_eq!((compared.findings[0].id, compared.vms[0].starts_here.as_str()), ("peer-unknown", "unknown"));
}

#[test]
fn the_definition_of_an_earlier_stay_is_in_nobodys_way() {
    let mut nodes = Nodes::sound();
    nodes.defined(|_| {});
    assert_eq!(nodes.ids(), [""; 0]);
}

/// A card at the other kind of port, with what libvirt fills in while it runs.
const COMING: &str = "<domstatus state='running' pid='7'><domain id='1'><name>coming</name><devices>\
    <interface type='vhostuser'><source type='unix' path='/run/openvswitch/vhuc0' mode='client'/>\
    <target dev='vhuc0'/></interface></devices>\
    <seclabel type='dynamic' model='dac' relabel='yes'><label>+107:+107</label></seclabel></domain></domstatus>";

#[test]
fn a_vm_is_looked_at_as_it_would_be_here() {
    let mut node = Node::sound();
    let image = node.image.path().to_path_buf();
    let root = Root::open(&image).unwrap();
    let Known::Known(switch) = &mut node.live.as_mut().unwrap().switch else { panic!("no switch") };
    switch.ports = vec![pair::port("vhuc0", PortType::Dpdkvhostuser, None)];
    let live = node.live.as_ref().unwrap();
    let coming = parse_domain(COMING).unwrap();
    let directory = PathBuf::from("/var/lib/vhost_sockets");
    let mut here = fingerprint(&Pair::sound(), "target");
    here.agreed.as_mut().unwrap().socket_directory = directory.clone();
    let place = |converts| Place::look(&root, live, converts, &[&directory]);
    here.place = place(false);
    let kept = &look(&here, [&coming])[0];
    assert_eq!((kept.domain.pid, kept.domain.endpoints[0].target.as_deref()), (None, None));
    assert_eq!(kept.domain.dac.as_ref().unwrap().owner, None, "it is the source's own");
    assert_eq!(kept.domain.endpoints[0].path, coming.endpoints[0].path);

    (here.incoming, here.place) = (Some("dpdkvhostuserclient".to_string()), place(true));
    let turned = &look(&here, [&coming])[0];
    let at = directory.join("vhuc0");
    assert_eq!(turned.domain.endpoints[0].mode, SocketMode::Server);
    assert_eq!(
        (turned.domain.endpoints[0].path.as_ref(), turned.turned.as_slice()),
        (Some(&at), &[at.clone()][..])
    );
    let Known::Known(join) = &turned.facts.switch else { panic!("no switch") };
    assert_eq!(
        (join.ports[0].kind, join.ports[0].server_path.as_ref()),
        (PortType::Dpdkvhostuserclient, Some(&at))
    );
    assert_eq!(turned.facts.sockets[0].path, at);

    // Another VM has the port.
    let running = image.join("run/libvirt/qemu");
    std::fs::create_dir_all(&running).unwrap();
    std::fs::write(running.join("other.xml"), COMING.replace("coming", "other")).unwrap();
    here.place = place(true);
    let held = &look(&here, [&coming])[0];
    assert_eq!((held.held.len(), held.held[0].by.as_str()), (1, "VM other"));
    assert_eq!(held.domain.endpoints[0].mode, SocketMode::Client, "it is left as it is");
}
