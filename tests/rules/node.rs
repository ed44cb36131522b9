// SPDX-License-Identifier: Apache-2.0
//! A sound node as values: the accord of an image, everything of it in place, and both sides running by it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vhost_accord::access::Node as PathNode;
use vhost_accord::accord::{Accord, is_watch_link};
use vhost_accord::base::root::{Kind, Root};
use vhost_accord::config::PortType;
use vhost_accord::dataplane::ovs::ovsdb::SwitchConfig;
use vhost_accord::dataplane::ovs::sockets::Switch;
use vhost_accord::dataplane::{Guarded, PortSocket};
use vhost_accord::facts::Known;
use vhost_accord::facts::accounts::Accounts;
use vhost_accord::facts::domains::{Domains, parse_domain};
use vhost_accord::facts::hooks::Hook;
use vhost_accord::facts::mounts::HugetlbMount;
use vhost_accord::facts::paths::PathFact;
use vhost_accord::facts::processes::{Ids, Process, Started, Status};
use vhost_accord::facts::sockets::Liveness;
use vhost_accord::facts::surroundings::{MemoryLimit, Surroundings};
use vhost_accord::items::{Bytes, Change, FileState, Held, Item, LinkState, Number, OwnerState, VmState};
use vhost_accord::node::live::{Guest, Live};
use vhost_accord::profile::Profile;
use vhost_accord::rules::{self, Case, Finding};
use vhost_accord::survey::{Options, Survey};
use vhost_accord::systemd;

pub const CLIENT_PORT: &str = "/var/lib/vhost_sockets/vhus0";
pub const SERVER_PORT: &str = "/run/openvswitch/vhuc0";
const CONFIG: &str = "[accord]\nmodes = dpdkvhostuserclient dpdkvhostuser\ndataplane-user = openvswitch\n";

const WATCH_UNIT: &str = include_str!("../../units/vhost-accord-watch.service");
const SOCKET_UNIT: &str = "[Socket]\nListenStream=/run/openvswitch/db.sock\nSocketMode=0770\n";
/// The first change of a kind, or the first whose item is so.
#[macro_export]
macro_rules! held {
    ($node:expr, $kind:ident) => {
        held!($node, $kind, |_| true)
    };
    ($node:expr, $kind:ident, |$item:pat_param| $wanted:expr) => {{
        let held = $node.observed.iter_mut().find_map(|change| match change {
            vhost_accord::items::Change::$kind(held) => {
                let $item = &held.item;
                $wanted.then_some(held)
            }
            _ => None,
        });
        held.expect("the accord has such an item")
    }};
}

/// All that rules look at.
#[derive(Debug)]
pub struct Node {
    pub accord: Accord,
    pub profile: Profile,
    pub observed: Vec<Change>,
    pub live: Option<Live>,
    pub surroundings: Surroundings,
    pub names: Accounts,
    pub image: TempDir,
}

fn write(image: &Path, path: &str, text: &str) {
    let path = image.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn survey(image: &Path) -> Survey {
    let root = Root::open(image).unwrap();
    let manager = systemd::connect(&root).unwrap();
    Survey::take(&root, manager.as_ref(), Options::default()).unwrap()
}

impl Node {
    pub fn sound() -> Node {
        let image = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/image/.");
        assert!(
            std::process::Command::new("cp")
                .arg("-r")
                .arg(from)
                .arg(image.path())
                .status()
                .unwrap()
                .success()
        );
        write(image.path(), "/etc/vhost-accord/vhost-accord.conf", CONFIG);
        write(
            image.path(),
            "/etc/logrotate.d/openvswitch-switch",
            "/x.log {\n    create 640 openvswitch adm\n}\n",
        );
        write(image.path(), "/usr/lib/systemd/system/ovsdb-server.socket", SOCKET_UNIT);
        write(image.path(), "/usr/lib/systemd/system/vhost-accord-watch.service", WATCH_UNIT);
        for item in &survey(image.path()).accord.items {
            if let Item::File(file) = item {
                write(image.path(), file.path.to_str().unwrap(), &file.content);
            }
        }
        let survey = survey(image.path());
        let live = live(&survey, image.path());
        let hugetlb = HugetlbMount {
            path: PathBuf::from("/dev/hugepages"),
            page_size: 2 << 20,
            options: vec!["rw".to_string()],
            read_only: false,
            hides: 0,
            masked_by: Vec::new(),
        };
        let observed = survey.accord.items.iter();
        Node {
            observed: observed.map(holds).collect(),
            live: Some(live),
            surroundings: Surroundings {
                hugetlb: vec![hugetlb],
                pools: [(2 << 20, 1 << 30)].into(),
                memory_limits: Some(vec![MemoryLimit {
                    unit: "machine.slice".to_string(),
                    key: "MemoryMax",
                    bytes: 1 << 30,
                }]),
                ..Surroundings::default()
            },
            accord: survey.accord,
            profile: survey.profile,
            names: survey.accounts,
            image,
        }
    }

    /// The same as an image that nothing was booted from, with these files as well.
    pub fn unbooted(mut self, files: &[(&str, &str)]) -> Node {
        for (path, text) in files {
            write(self.image.path(), path, text);
        }
        self.live = None;
        let found = survey(self.image.path()).surroundings;
        self.surroundings = Surroundings { units: found.units, later: found.later, ..self.surroundings };
        self
    }

    pub fn case(&self) -> Case<'_> {
        Case {
            accord: &self.accord,
            profile: &self.profile,
            observed: &self.observed,
            live: self.live.as_ref(),
            surroundings: &self.surroundings,
            names: &self.names,
        }
    }

    /// Another look at the image.
    pub fn survey(&self) -> Survey {
        survey(self.image.path())
    }

    pub fn findings(&self) -> Vec<Finding> {
        rules::run(&self.case())
    }

    pub fn live(&mut self) -> &mut Live {
        self.live.as_mut().unwrap()
    }

    pub fn switch(&mut self) -> &mut SwitchConfig {
        match &mut self.live().switch {
            Known::Known(switch) => &mut switch.config,
            Known::Unknown(why) => panic!("{why}"),
        }
    }

    pub fn found_at(&mut self, path: &str) -> &mut Option<OwnerState> {
        &mut held!(self, Owner, |owner| owner.path == Path::new(path)).before
    }

    pub fn owner(&mut self, path: &str) -> &mut OwnerState {
        self.found_at(path).as_mut().expect("something is there")
    }

    pub fn file(&mut self, end: &str) -> &mut Option<FileState> {
        &mut held!(self, File, |file| file.path.ends_with(end)).before
    }

    pub fn socket(&mut self, kind: PortType) -> &mut PortSocket {
        self.live().sockets.iter_mut().find(|socket| socket.kind == kind).unwrap()
    }
}

pub fn file(text: &str) -> FileState {
    let content = Bytes::new(text.as_bytes().to_vec());
    FileState { content, uid: 0, gid: 0, mode: 0o644, xattrs: Vec::new() }
}

/// The change with whose state its item holds.
fn holds(item: &Item) -> Change {
    match item.clone() {
        Item::Group(item) => Held { item, before: Some(1) }.into(),
        Item::User(item) => Held { item, before: Some(1) }.into(),
        Item::Member(item) => Held { item, before: Some(1) }.into(),
        Item::Renumber(item) => {
            let before = Number { gid: Some(item.gid), ..Number::default() };
            Held { item, before }.into()
        }
        Item::Owner(item) => {
            let before = OwnerState {
                kind: Kind::Directory,
                uid: item.uid.unwrap_or(0),
                gid: item.gid.unwrap_or(0),
                mode: item.mode.unwrap_or(0o755),
            };
            Held { item, before: Some(before) }.into()
        }
        Item::File(item) => Held { before: Some(file(&item.content)), item }.into(),
        Item::Setting(item) => {
            let before = file(&format!("{} = \"{}\"\n", item.key, item.value));
            Held { item, before: Some(before) }.into()
        }
        Item::LogOwner(item) => Held { item, before: None }.into(),
        Item::Patch(item) => Held { item, before: None }.into(),
        Item::Link(item) => {
            let before = LinkState { target: Some(item.target.clone()) };
            Held { item, before: Some(before) }.into()
        }
        Item::Conversion(item) => {
            let before = VmState { definition: Some(item.definition.clone()), ports: item.ports.clone() };
            Held { item, before }.into()
        }
    }
}

pub fn process(pid: u32, name: &str, uid: u32, gid: u32, umask: u32) -> Process {
    let ids = |id| Ids { real: id, effective: id, saved: id, fs: id };
    Process {
        pid,
        status: Status {
            name: name.to_string(),
            uid: ids(uid),
            gid: ids(gid),
            groups: Vec::new(),
            umask: Some(umask),
            cap_eff: 0,
        },
        started: Started { since_boot: 1, at: 1000 },
    }
}

fn directory(path: &str, uid: u32, gid: u32, mode: u32) -> PathNode {
    let path = PathBuf::from(path);
    PathNode { path, kind: Kind::Directory, uid, gid, mode, acl: None, read_only: false }
}

/// Something in a directory of a sound node.
pub fn present(
    parents: Vec<PathNode>,
    path: &str,
    kind: Kind,
    (uid, gid, mode): (u32, u32, u32),
) -> PathFact {
    let mut chain = vec![directory("/", 0, 0, 0o755)];
    chain.extend(parents);
    chain.push(PathNode { kind, ..directory(path, uid, gid, mode) });
    PathFact::Present { chain, id: (1, 1) }
}

fn live(survey: &Survey, image: &Path) -> Live {
    let (dataplane, qemu) = (survey.accord.dataplane.as_ref().unwrap(), survey.accord.qemu.as_ref().unwrap());
    let shared = survey.accord.group.gid;
    let root = Root::open(image).unwrap();
    let manager = systemd::connect(&root).unwrap();
    let names = survey.accord.units();
    let mut units: Vec<_> = names.iter().map(|name| manager.unit(name).unwrap().unwrap()).collect();
    units.iter_mut().for_each(|unit| unit.active_state = "active".to_string());
    let run = || vec![directory("/run/openvswitch", dataplane.uid, dataplane.gid, 0o755)];
    let sockets = || vec![directory("/var/lib/vhost_sockets", qemu.uid, shared, 0o2775)];
    let socket = |port: &str, kind, path: &str, fact, liveness| PortSocket {
        port: port.to_string(),
        kind,
        path: PathBuf::from(path),
        fact,
        liveness,
        followed: false,
    };
    let server = present(run(), SERVER_PORT, Kind::Socket, (dataplane.uid, qemu.grant_gid, 0o775));
    let client = present(sockets(), CLIENT_PORT, Kind::Socket, (qemu.uid, shared, 0o775));
    let control = "/run/openvswitch/db.sock";
    let database = "/var/lib/openvswitch/conf.db";
    let private = vec![directory("/var/lib/openvswitch", dataplane.uid, dataplane.gid, 0o700)];
    let xml = format!(
        "<domain><name>vm</name><memory>4096</memory><devices><interface type='vhostuser'>\
         <source type='unix' path='{CLIENT_PORT}' mode='server'/></interface></devices></domain>"
    );
    let config = SwitchConfig {
        other_config: Default::default(),
        dpdk_initialized: Some(true),
        ovs_version: Some("3.1.0".to_string()),
        dpdk_version: None,
        iface_types: vec!["dpdkvhostuserclient".to_string()],
        run: None,
    };
    let links = survey.accord.items.iter().filter_map(|item| match item {
        Item::Link(link) if !is_watch_link(link) => {
            Some(Hook { path: link.path.clone(), executable: true, modified: 10 })
        }
        _ => None,
    });
    Live {
        declared: Vec::new(),
        seconds: Vec::new(),
        units,
        dataplane: ["ovs-vswitchd", "ovsdb-server"]
            .iter()
            .zip(10..)
            .map(|(name, pid)| process(pid, name, dataplane.uid, dataplane.gid, dataplane.umask))
            .collect(),
        hidden: false,
        libvirt: Some(process(20, "libvirtd", 0, 0, 0o022)),
        guests: vec![Guest {
            domain: parse_domain(&xml).unwrap(),
            process: Some(process(30, "qemu-system-x86", qemu.uid, qemu.gid, 0o002)),
        }],
        unread: Vec::new(),
        defined: Domains::default(),
        next: Vec::new(),
        switch: Known::Known(Switch { config, ports: Vec::new() }),
        sockets: vec![
            socket("vhuc0", PortType::Dpdkvhostuser, SERVER_PORT, server, Liveness::Listening),
            socket("vhus0", PortType::Dpdkvhostuserclient, CLIENT_PORT, client, Liveness::Listening),
        ],
        guarded: vec![
            Guarded {
                path: PathBuf::from(control),
                kind: Kind::Socket,
                fact: present(run(), control, Kind::Socket, (dataplane.uid, dataplane.gid, 0o750)),
            },
            Guarded {
                path: PathBuf::from(database),
                kind: Kind::File,
                fact: present(private, database, Kind::File, (dataplane.uid, dataplane.gid, 0o640)),
            },
        ],
        hooks: links.collect(),
        libvirt_reloaded: Some(1000),
        qemu_conf_modified: Some(500),
    }
}
