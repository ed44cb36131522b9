// SPDX-License-Identifier: Apache-2.0
//! The switch's sockets: those of its ports, and those that it keeps for itself.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::ovsdb::{SwitchConfig, VhostPort, report};
use super::{database, paths};
use crate::base::parts::in_parts;
use crate::base::paths::plain;
use crate::base::root::{Kind, Root};
use crate::dataplane::{Guarded, PortSocket};
use crate::facts::Known;
use crate::facts::paths::{Neighbours, PathFact};
use crate::facts::sockets::{self, Liveness};

/// The switch as OVSDB tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Its settings.
    pub config: SwitchConfig,
    /// Its vhost-user ports.
    pub ports: Vec<VhostPort>,
}

/// Asks OVSDB, within a limit.
pub fn read_switch(root: &Root, limit: Duration) -> Known<Switch> {
    let ask = || {
        if let Some(report) = root.report() {
            let (config, ports) = report::switch(report)?;
            return Ok(Switch { config, ports });
        }
        let mut ovsdb = database::connect(root, limit)?;
        Ok(Switch { config: ovsdb.switch()?, ports: ovsdb.ports()? })
    };
    Known::from(ask())
}

/// Where the switch's sockets are and what is there.
pub fn port_sockets(root: &Root, switch: &Switch) -> Vec<PortSocket> {
    let of_part = |part: &[VhostPort]| {
        let mut neighbours = Neighbours::default();
        let socket = |port| port_socket(root, &mut neighbours, switch.config.expected_socket(port), port);
        part.iter().filter_map(socket).collect::<Vec<_>>()
    };
    in_parts(&switch.ports, of_part).into_iter().flatten().collect()
}

/// The same of one port. None: it has no path.
pub fn port_socket(
    root: &Root,
    neighbours: &mut Neighbours,
    path: PathBuf,
    port: &VhostPort,
) -> Option<PortSocket> {
    if !path.is_absolute() {
        return None;
    }
    let (fact, liveness, followed) = match neighbours.read(root, &path) {
        Ok((fact, Some(handle))) => (fact, sockets::liveness_of(&handle), false),
        Ok((fact, None)) => (fact, sockets::liveness(root, &path), true),
        // Whoever may put a symlink there, or name a port, shall not keep us from all others.
        Err(error) => {
            let nothing = PathFact::Missing { first: path.clone(), above: Vec::new() };
            (nothing, Liveness::Unknown(format!("{error:#}")), true)
        }
    };
    Some(PortSocket { port: port.name.clone(), kind: port.kind, path, fact, liveness, followed })
}

/// Whether a `dpdkvhostuser` socket may be at this path: OVS makes them in its run directory and nowhere else
/// (lib/netdev-dpdk.c, `vhost_sock_dir`), and not where it has what it keeps for itself. OVSDB can name any other path;
/// that is no reason to touch it.
pub fn is_switch_place(path: &Path) -> bool {
    plain(path).strip_prefix(paths::RUN).is_ok_and(|below| !is_kept(below))
}

/// What the switch's daemons, and OVN's, keep for themselves below the run directory: sockets of databases (`db.sock`,
/// `ovnnb_db.sock`), of control (`ovs-vswitchd.123.ctl`), of a bridge's OpenFlow (`br-int.mgmt`, `br-int.snoop`), and
/// DPDK's own directory; and the run directory itself.
fn is_kept(below: &Path) -> bool {
    let Some(name) = below.file_name() else { return true };
    let ends = |end: &&str| name.as_bytes().ends_with(end.as_bytes());
    name == "db.sock" || below.starts_with("dpdk") || ["_db.sock", ".ctl", ".mgmt", ".snoop"].iter().any(ends)
}

/// What QEMU must not reach. Told by name: what else lies in the run directory may be a port's socket, and OVSDB does not always say so.
pub fn guarded(root: &Root) -> Result<Vec<Guarded>> {
    let mut found = kept(root, Path::new(paths::RUN))?;
    let databases = paths::databases();
    found.extend(Guarded::among(root, &databases.each_ref().map(PathBuf::as_path)));
    Ok(found)
}

/// What a switch keeps for itself in its run directory.
pub(super) fn kept(root: &Root, run: &Path) -> Result<Vec<Guarded>> {
    let is_kept = |name: &OsString| is_kept(Path::new(name));
    let paths: Vec<PathBuf> =
        root.list(run)?.into_iter().filter(is_kept).map(|name| run.join(name)).collect();
    let found = Guarded::among(root, &paths.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    Ok(found.into_iter().filter(|guarded| guarded.kind == Kind::Socket).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_ovsdb_is_no_reason_to_give_away_what_the_switch_keeps() {
        for own in [
            "db.sock",
            "ovnsb_db.sock",
            "ovs-vswitchd.123.ctl",
            "ovsdb-server.7.ctl",
            "br-int.mgmt",
            "br-int.snoop",
            "sub/db.sock",
            "dpdk/rte/mp_socket",
            "dpdk",
            "",
        ] {
            let path = Path::new(paths::RUN).join(own);
            assert!(!is_switch_place(&path), "{own}");
            assert!(!is_switch_place(&Path::new("/var").join(path.strip_prefix("/").unwrap())), "{own}");
        }
        for port in ["vhuc0", "sub/vhuc0", "vm.sock", "mgmt", "my-dpdk", "dpdkvhostuser0", "br-int.mgmt.1"] {
            assert!(is_switch_place(&Path::new(paths::RUN).join(port)), "{port}");
        }
    }

    #[test]
    fn what_the_switch_keeps_is_guarded_whatever_else_is_there() {
        let tree = tempfile::tempdir().unwrap();
        let run = tree.path().join("run/openvswitch");
        std::fs::create_dir_all(&run).unwrap();
        for name in ["db.sock", "vhuc0"] {
            drop(std::os::unix::net::UnixListener::bind(run.join(name)).unwrap());
        }
        let root = Root::open(tree.path()).unwrap();
        let found = guarded(&root).unwrap();
        let found: Vec<&Path> = found.iter().map(|guarded| guarded.path.as_path()).collect();
        assert_eq!(found, [Path::new(paths::OVSDB_SOCKET)]);
    }
}
