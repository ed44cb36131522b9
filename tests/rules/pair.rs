// SPDX-License-Identifier: Apache-2.0
//! Both sides of a sound node as values: a VM that runs and one that is off, each with a card of either port type, and a
//! port that something else than a VM uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use vhost_accord::access::Node as PathNode;
use vhost_accord::base::root::{Kind, Root};
use vhost_accord::config::{Config, PortType, Raw};
use vhost_accord::dataplane::ovs::control::Control;
use vhost_accord::dataplane::ovs::ovsdb::{Join, SwitchConfig, VhostPort};
use vhost_accord::dataplane::ovs::vswitchd::Vswitchd;
use vhost_accord::facts::Known;
use vhost_accord::facts::domains::{Domain, parse_domain};
use vhost_accord::facts::hugepages::Pool;
use vhost_accord::facts::paths::PathFact;
use vhost_accord::facts::sockets::Liveness;
use vhost_accord::node::endpoints::needs::Need;
use vhost_accord::node::endpoints::start::Facts;
use vhost_accord::node::endpoints::{Directory, End, Endpoints, FreePort, Link, Machine, Owner, Socket};
use vhost_accord::rules::endpoints::{Judged, Matter, judge};
use vhost_accord::rules::start::Start;

use super::node::{Node, present, process};

pub const SWITCH: u32 = 10;
pub const QEMU: u32 = 30;
pub const STRANGER: u32 = 66;
const APPLICATION: u32 = 40;
const MINUTE: u64 = 60_000_000_000;

/// The VM that is off.
pub const OFF: usize = 0;
/// The VM that runs.
pub const ON: usize = 1;
/// The card whose socket QEMU makes (`dpdkvhostuserclient`).
pub const QEMU_MAKES: usize = 0;
/// The card whose socket OVS makes (`dpdkvhostuser`).
pub const OVS_MAKES: usize = 1;

#[derive(Debug)]
pub struct Pair {
    pub node: Node,
    pub endpoints: Endpoints,
    pub start: Start,
    pub configured: (u32, u32),
}

fn paths(number: usize) -> [PathBuf; 2] {
    [format!("/var/lib/vhost_sockets/vhus{number}"), format!("/run/openvswitch/vhuc{number}")]
        .map(PathBuf::from)
}

fn domain(name: &str, number: usize) -> Domain {
    let [server, client] = paths(number);
    let card = |path: &Path, mode: &str| {
        let source = format!("<source type='unix' path='{}' mode='{mode}'/>", path.display());
        format!("<interface type='vhostuser'>{source}</interface>")
    };
    parse_domain(&format!(
        "<domain><name>{name}</name><memory>4096</memory>\
         <memoryBacking><hugepages/><access mode='shared'/></memoryBacking>\
         <devices>{}{}</devices></domain>",
        card(&server, "server"),
        card(&client, "client")
    ))
    .unwrap()
}

pub fn port(name: &str, kind: PortType, server_path: Option<&Path>) -> VhostPort {
    VhostPort {
        uuid: name.to_string(),
        name: name.to_string(),
        kind,
        server_path: server_path.map(Path::to_path_buf),
        socket: None,
        connected: None,
        ofport: Some(1),
        error: None,
        admin_state: None,
        link_state: None,
        vm_uuid: None,
    }
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn config() -> SwitchConfig {
    SwitchConfig {
        other_config: BTreeMap::from([("dpdk-init".to_string(), "true".to_string())]),
        dpdk_initialized: Some(true),
        ..SwitchConfig::default()
    }
}

pub fn end(pid: u32) -> End {
    End { inode: u64::from(pid), owner: Some(Owner { pid, name: format!("p{pid}"), unit: None }) }
}

pub fn at(path: &Path, (uid, gid, mode): (u32, u32, u32)) -> PathNode {
    PathNode { path: path.to_path_buf(), kind: Kind::Socket, uid, gid, mode, acl: None, read_only: false }
}

/// The numbers by which the node agrees.
struct Numbers {
    dataplane: (u32, u32),
    qemu: u32,
    grant: u32,
    shared: u32,
}

impl Numbers {
    fn facts(&self, domain: &Domain, number: usize, runs: bool, vswitchd: &Vswitchd) -> Facts {
        let [server, client] = paths(number);
        let directory = |path: &str, owner| Directory {
            path: PathBuf::from(path),
            fact: Known::Known(present(Vec::new(), path, Kind::Directory, owner)),
            default_acl: None,
        };
        let of_ovs = at(&client, (self.dataplane.0, self.grant, 0o775));
        let of_qemu = runs.then(|| at(&server, (self.qemu, self.shared, 0o775)));
        let living = if runs { Liveness::Listening } else { Liveness::Missing };
        let sockets = [(of_qemu, living), (Some(of_ovs), Liveness::Listening)];
        let sockets = sockets.into_iter().enumerate().map(|(card, (node, liveness))| Socket {
            path: domain.endpoints[card].path.clone().unwrap(),
            endpoint: domain.endpoints[card].clone(),
            directory: card,
            node,
            id: Some((1, 2)),
            liveness,
            other: None,
        });
        let ports = vec![
            port(name(&server), PortType::Dpdkvhostuserclient, Some(&server)),
            port(name(&client), PortType::Dpdkvhostuser, None),
        ];
        let pool = Pool { page_size: 2 << 20, available: 100, on_demand: 0, nodes: vec![] };
        Facts {
            seconds: Vec::new(),
            second: None,
            switch: Known::Known(Join { config: config(), ports, others: Vec::new() }),
            asks_switch: true,
            vswitchd: vswitchd.clone(),
            directories: vec![
                directory("/var/lib/vhost_sockets", (self.qemu, self.shared, 0o2775)),
                directory("/run/openvswitch", (self.dataplane.0, self.dataplane.1, 0o755)),
            ],
            sockets: sockets.collect(),
            memory: Known::Known(vec![Need {
                page_size: 2 << 20,
                pages: 2,
                nodes: vec![],
                mounted: true,
                pool: Some(pool),
            }]),
        }
    }
}

impl Pair {
    pub fn sound() -> Pair {
        let node = Node::sound();
        let (dataplane, qemu) = (node.accord.dataplane.as_ref().unwrap(), node.accord.qemu.as_ref().unwrap());
        let numbers = Numbers {
            dataplane: (dataplane.uid, dataplane.gid),
            qemu: qemu.uid,
            grant: qemu.grant_gid,
            shared: node.accord.group.gid,
        };
        let started = |pid, since, uid, gid| {
            let mut process = process(pid, "p", uid, gid, 0o002);
            process.started.since_boot = since;
            process
        };
        let switch = started(SWITCH, MINUTE, dataplane.uid, dataplane.gid);
        let vswitchd = Vswitchd::Running(Some(Box::new(switch)));
        let machine = |number: usize| {
            let mut domain = domain(["off", "on"][number], number);
            domain.running = number == ON;
            let start = numbers.facts(&domain, number, domain.running, &vswitchd);
            let connection = |listener, other| Link {
                listener: Some(end(listener)),
                connections: vec![(end(listener), end(other))],
            };
            let made = Link { listener: Some(end(SWITCH)), connections: Vec::new() };
            let links = match domain.running {
                true => vec![connection(QEMU, SWITCH), connection(SWITCH, QEMU)],
                false => vec![Link::default(), made],
            };
            let process = domain.running.then(|| started(QEMU, 2 * MINUTE, qemu.uid, qemu.gid));
            Machine { domain, process, start, links, next: None }
        };
        let machines = vec![machine(OFF), machine(ON)];
        let path = PathBuf::from("/run/openvswitch/vhuf");
        let mut socket = machines[OFF].start.sockets[OVS_MAKES].clone();
        socket.path.clone_from(&path);
        socket.endpoint.path = Some(path);
        let used = Link { listener: Some(end(SWITCH)), connections: vec![(end(SWITCH), end(APPLICATION))] };
        let free = FreePort { port: port("vhuf", PortType::Dpdkvhostuser, None), socket, link: used };
        let root = Root::open(node.image.path()).unwrap();
        let mut wanted = Config::from_raw(&Raw::defaults()).unwrap();
        wanted.socket_directory.clone_from(&node.accord.socket_directory);
        let mut start = Start::of_node(&root, &wanted).unwrap();
        // Without root the file is not root's, and does not count when it is read.
        let agreed = fs::read(node.image.path().join("etc/vhost-accord/agreed.json")).unwrap();
        start.agreed = Some(serde_json::from_slice(&agreed).unwrap());
        Pair {
            configured: (qemu.uid, qemu.gid),
            endpoints: Endpoints {
                machines,
                free: vec![free],
                switch: Known::Known(config()),
                vswitchd,
                control: Control::NotAsked,
                unmade: Vec::new(),
                waiting: Vec::new(),
                peers: Known::Known(()),
                unread: Vec::new(),
                now: 10 * MINUTE,
            },
            start,
            node,
        }
    }

    pub fn judged(&mut self) -> Judged {
        let named = self.node.findings();
        let ground = Matter {
            endpoints: &self.endpoints,
            start: &mut self.start,
            configured: Some(self.configured),
            named: &named,
        };
        judge(&self.node.case(), ground)
    }

    /// Nothing was applied yet: the hook will fix nothing.
    pub fn before_apply(&mut self) -> &mut Self {
        self.start.agreed = None;
        self
    }

    /// The switch's daemon, as everybody sees it.
    pub fn vswitchd(&mut self, vswitchd: &Vswitchd) {
        self.endpoints.vswitchd = vswitchd.clone();
        for machine in &mut self.endpoints.machines {
            machine.start.vswitchd = vswitchd.clone();
        }
    }

    /// What OVSDB says for a VM.
    pub fn join(&mut self, machine: usize) -> &mut Join {
        match &mut self.endpoints.machines[machine].start.switch {
            Known::Known(join) => join,
            Known::Unknown(why) => panic!("{why}"),
        }
    }

    pub fn socket(&mut self, machine: usize, card: usize) -> &mut Socket {
        &mut self.endpoints.machines[machine].start.sockets[card]
    }

    pub fn link(&mut self, machine: usize, card: usize) -> &mut Link {
        &mut self.endpoints.machines[machine].links[card]
    }

    /// The directory of a card's socket.
    pub fn directory(&mut self, machine: usize, card: usize) -> &mut PathNode {
        match &mut self.endpoints.machines[machine].start.directories[card].fact {
            Known::Known(PathFact::Present { chain, .. }) => chain.last_mut().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub fn need(&mut self, machine: usize) -> &mut Need {
        match &mut self.endpoints.machines[machine].start.memory {
            Known::Known(needs) => &mut needs[0],
            Known::Unknown(why) => panic!("{why}"),
        }
    }

    /// A card's path, where the port and the VM have it.
    pub fn rename(&mut self, machine: usize, path: &str) {
        let socket = self.socket(machine, QEMU_MAKES);
        socket.path = PathBuf::from(path);
        socket.endpoint.path = Some(PathBuf::from(path));
        self.join(machine).ports[0].server_path = Some(PathBuf::from(path));
    }
}
