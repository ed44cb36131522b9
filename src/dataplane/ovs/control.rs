// SPDX-License-Identifier: Apache-2.0
//! What ovs-vswitchd says on its control socket (ovs-appctl(8)): JSON-RPC, as OVSDB speaks it. Root alone may ask. OVSDB
//! tells what the daemon wrote when it last could; only the daemon itself tells that it is well, and what its datapath has.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::ovsdb::{Ovsdb, VhostPort};
use super::paths;
use super::vswitchd::Vswitchd;
use crate::base::root::Root;
use crate::facts::processes::{self, Process};

/// It answers in milliseconds, unless it is at a long work: huge pages to clear, many ports to make.
const LIMIT: Duration = Duration::from_secs(5);
/// It does not answer before its first configuration is done; that may take as long, in nanoseconds.
const YOUNG: u64 = 30_000_000_000;

/// ovs-vswitchd's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// It does not run where we see it, or its socket is not ours to ask: nothing is known.
    NotAsked,
    /// It takes no questions, and is not just starting. The state of its process by proc(5): `T` is stopped.
    Silent(Option<char>),
    /// The ports that its datapath has, by name.
    Ports(HashSet<String>),
}

impl Control {
    /// Asks, twice before silence counts.
    pub fn ask(root: &Root, vswitchd: &Vswitchd) -> Control {
        let Some(process) = vswitchd.process() else { return Control::NotAsked };
        if root.report().is_some() {
            // Of its answers a report has none, but a process that is stopped gives none.
            let state = processes::state(root, process.pid).filter(|state| is_stopped(Some(*state)));
            return state.map_or(Control::NotAsked, |state| Control::Silent(Some(state)));
        }
        let state = || processes::state(root, process.pid);
        let stopped = || Some(state()).filter(|state| is_stopped(*state)).map(Control::Silent);
        let answer = |_| answer(root, process).or_else(stopped);
        let found = (0..2).find_map(answer).unwrap_or_else(|| Control::Silent(state()));
        let is_silent = matches!(found, Control::Silent(_));
        let young = |now: u64| now.saturating_sub(process.started.since_boot) < YOUNG;
        let is_other = |now: &Process| now.started.since_boot != process.started.since_boot;
        // One that ended meanwhile says nothing either.
        let gone = || processes::by_pid(root, process.pid).is_none_or(|now| is_other(&now));
        if is_silent && (processes::since_boot().map_or(true, young) || gone()) {
            return Control::NotAsked;
        }
        found
    }
}

/// By a signal, as on `SIGSTOP`.
pub fn is_stopped(state: Option<char>) -> bool {
    state == Some('T')
}

/// None: it took its time and did not answer.
fn answer(root: &Root, process: &Process) -> Option<Control> {
    let socket = Path::new(paths::RUN).join(format!("ovs-vswitchd.{}.ctl", process.pid));
    let begun = Instant::now();
    let ask = || Ovsdb::connect(root, &socket, LIMIT)?.call("dpif/show");
    match ask() {
        Ok(text) => Some(Control::Ports(parse(&text))),
        // The last attempt to connect ends a little early.
        Err(_) if begun.elapsed() + LIMIT / 50 >= LIMIT => None,
        Err(_) => Some(Control::NotAsked),
    }
}

/// `dpif/show` (ofproto/ofproto-dpif.c, `dpif_show_backer`): a line of two blanks for a bridge, of four for a port, `NAME
/// OFPORT/DATAPATH: (TYPE...)`. The number is `none` for one that the datapath does not have.
pub fn parse(text: &str) -> HashSet<String> {
    let port = |line: &str| {
        let (name, rest) = line.strip_prefix("    ")?.split_once(' ')?;
        let number = rest.split_once('/')?.1.split(':').next()?;
        number.parse::<u32>().is_ok().then(|| name.to_string())
    };
    text.lines().filter_map(port).collect()
}

/// What is seen of a port that OVSDB has as connected and the datapath does not have.
pub fn unmade(port: &VhostPort) -> String {
    let link = port.link_state.as_deref().unwrap_or("unknown");
    let name = &port.name;
    format!("OVSDB has port {name} with ofport and link {link}, but 'ovs-appctl dpif/show' does not list it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_the_datapath_are_read() {
        let text = "netdev@ovs-netdev: hit:5 missed:4\n  br-int:\n    br-int 65534/1: (tap)\n    vhuc0 2/3: \
            (dpdkvhostuser: configured_rx_queues=1, mtu=0)\n    vhus0 1/none: (dpdkvhostuserclient)\n    \
            a/b 4/5: (x)\n  br-2:\n\n    odd\n";
        let ports = parse(text);
        let mut ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        ports.sort_unstable();
        assert_eq!(ports, ["a/b", "br-int", "vhuc0"]);
    }
}
