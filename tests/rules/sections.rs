// SPDX-License-Identifier: Apache-2.0
//! Dataplanes that the configuration declares, as values.

use std::path::PathBuf;

use super::node::Node;
use vhost_accord::config::{Declared, MadeBy, Sockets};
use vhost_accord::dataplane::declared::{Found, Problem};
use vhost_accord::dataplane::driver::Port;
use vhost_accord::dataplane::drivers::Ports;
use vhost_accord::facts::Known;

/// What VPP says of a socket that QEMU creates.
pub fn asked(error: &str) -> Ports {
    let port = Port {
        name: "VirtualEthernet0/0/0".to_string(),
        path: PathBuf::from("/run/vpp-vhost/a"),
        made_by: MadeBy::Qemu,
        connected: false,
        error: Some(error.to_string()),
    };
    Ports { section: "vpp".to_string(), ports: Some(Known::Known(vec![port])) }
}

/// SPDK does not answer.
pub fn silent(node: &mut Node) {
    node.profile.declared = vec![spdk()];
    let ports = Some(Known::Unknown("no answer in time".to_string()));
    node.live().declared = vec![Ports { section: "disks".to_string(), ports }];
}

pub fn spdk() -> Found {
    let declared = Declared {
        name: "disks".to_string(),
        driver: "spdk".to_string(),
        unit: "spdk.service".to_string(),
        user: None,
        group: None,
        sockets: Sockets { directory: PathBuf::from("/run/spdk-vhost"), pattern: None },
        made_by: MadeBy::Dataplane,
        control: Vec::new(),
    };
    let user = "spdk".to_string();
    Found { declared, user, uid: 500, gid: 500, is_runtime_directory: false, umask: None }
}

pub fn problem(node: &mut Node, id: &'static str) {
    let (what, fix) = ("so it is".to_string(), "edit it".to_string());
    node.profile.problems = vec![Problem { section: "disks".to_string(), id, what, fix, kept: false }];
}
