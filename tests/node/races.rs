// SPDX-License-Identifier: Apache-2.0
//! Path races: processes with the identities of QEMU and of the dataplane swap whatever is in the directories that they may
//! write, while root runs the program there. Nothing outside of these directories is opened for writing, changed or
//! removed, and nothing is waited for.
//!
//! The test runs itself again inside the node: as attackers (`swap.rs`), and as the one who watches what is outside
//! (`canary.rs`). What QEMU may not make itself (hard links to files of others, devices) is put in its reach beforehand.

use std::collections::BTreeMap;

use super::canary;
use super::steps::{BOTH, PATIENT, differences};
use super::support::{Node, on_nodes};
use super::swap;
use super::watch;

/// What the test's program plays when it is run inside the node.
const ROLE: &str = "VHOST_ACCORD_ROLE";
/// How many swaps; `make torture` asks for more.
const SWAPS: &str = "VHOST_ACCORD_SWAPS";
/// How often each command of the program is run at the least, however fast the attackers are.
const ROUNDS: u32 = 4;
/// The longest that one command may take on a busy machine before it counts as blocked, in seconds.
const BLOCKED: &str = "100";
const PLACE: &str = "/usr/local/bin/race";

/// The directories, and whose they are once `apply` was there.
pub const AREAS: [(&str, &str); 4] = [
    ("/var/lib/vhost_sockets", "qemu"),
    ("/dev/hugepages", "qemu"),
    ("/var/log/libvirt/qemu", "qemu"),
    ("/run/openvswitch", "dataplane"),
];

/// Sockets of VMs: in the agreed directory, in what may be a directory or a link there, and in OVS's.
const SERVERS: [&str; 3] =
    ["/var/lib/vhost_sockets/vhus0", "/var/lib/vhost_sockets/vhus1", "/var/lib/vhost_sockets/sub/vhus2"];
const CLIENTS: [&str; 3] = ["/run/openvswitch/vhuc0", "/run/openvswitch/vhuc1", "/run/openvswitch/sub/vhuc2"];

// In the one the dataplane gets an identity of its own by `apply`, in the other it has one: there `revert` goes all the way.
on_nodes!(later bookworm = "bookworm": nothing_outside_is_touched_while_everything_is_swapped);
on_nodes!(rhel_2_17 = "rhel-2.17": nothing_outside_is_touched_while_everything_is_swapped);

fn nothing_outside_is_touched_while_everything_is_swapped(kind: &'static str) {
    match std::env::var(ROLE).as_deref() {
        Ok("canary") => return canary::make(),
        Ok("watch") => return canary::watch(),
        Ok(role) => return swap::play(role),
        Err(_) => {}
    }
    let wanted: u64 = std::env::var(SWAPS).ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let node = prepared(kind);
    let canaries = canaries(&node);
    let (swaps, runs) = attacked(&node, wanted);
    node.sh("touch /run/race/stop; for unit in race-qemu race-dataplane race-watch; do while systemctl is-active -q $unit; do sleep 0.1; done; done");
    let seen = node.sh("cat /run/race/seen");
    let differing = differences(&canaries, &self::canaries(&node));
    assert_eq!((seen.as_str(), differing), ("", Vec::new()), "what is outside was touched");
    // The figures: cargo shows them with --nocapture.
    eprintln!("swaps: {swaps:?}");
    for (command, (count, codes)) in &runs {
        eprintln!("{command}: {count} runs, exit codes {codes:?}");
    }
    calm(&node);
}

/// A node that agrees, with the attackers' ground prepared.
fn prepared(kind: &'static str) -> Node {
    let node = Node::up(kind);
    let user = if node.is_rhel() { "" } else { "dataplane-user = openvswitch\\n" };
    // The service fixes beside all of it what the attackers do.
    watch::install(&node);
    node.configure(&format!("{BOTH}{PATIENT}{user}[watch]\\ndrift = fix\\n"));
    node.push(&std::env::current_exe().unwrap(), PLACE);
    node.sh(&format!("chmod 755 {PLACE}; mkdir -p /run/race; chmod 1777 /run/race"));
    node.apply("--restart");
    node.agrees("before the attack");
    // Packages differ in whose it is: the worst case.
    node.sh(&format!("chown {} /var/log/libvirt/qemu", node.qemu()));
    for path in &SERVERS[1..] {
        let name = path.rsplit('/').next().unwrap();
        node.sh(&format!("ovs-vsctl add-port br-int {name} -- set Interface {name} type=dpdkvhostuserclient options:vhost-server-path={path}"));
    }
    node.sh("ovs-vsctl add-port br-int vhuc1 -- set Interface vhuc1 type=dpdkvhostuser");
    for (name, xml) in [("server", domain(&SERVERS, "server")), ("client", domain(&CLIENTS, "client"))] {
        node.sh(&format!("cat > /root/{name}.xml <<'END'\n{xml}\nEND"));
    }
    role(&node, "canary", "");
    node
}

/// A VM with a network card for each path.
fn domain(paths: &[&str], mode: &str) -> String {
    let text = include_str!("domains/vms.xml");
    let (head, rest) = text.split_once("<interface").unwrap();
    let (card, tail) = rest.split_once("</interface>").unwrap();
    let card = |path: &&str| {
        let card = card.replace("/var/lib/vhost_sockets/vhus0", path);
        format!("<interface{}</interface>", card.replace("mode='server'", &format!("mode='{mode}'")))
    };
    format!("{head}{}{tail}", paths.iter().map(card).collect::<String>())
}

/// Runs the test's own program in the node, as someone else.
fn role(node: &Node, role: &str, before: &str) {
    let name = std::thread::current().name().unwrap().to_string();
    node.sh(&format!("{ROLE}={role} {before} {PLACE} --ignored --exact {name} --nocapture > /run/race/{role}.log 2>&1 || {{ cat /run/race/{role}.log; exit 1; }}"));
}

fn begin(node: &Node, role: &str, command: &str) {
    let name = std::thread::current().name().unwrap().to_string();
    node.sh(&format!("systemd-run -q --unit=race-{role} --setenv={ROLE}={role} {command} {PLACE} --ignored --exact {name} --nocapture"));
    node.wait_for(role, &format!("test -e /run/race/{role}.ready"));
}

/// All that is outside: owner, mode, times, content. The attacker's own renames change the times of what it has a name of.
fn canaries(node: &Node) -> BTreeMap<String, String> {
    let text = node.sh(
        "find /canary /run/canary \\( -path '*/linked/*' -printf '%p %y %m %U:%G %s %l %T@\\n' \\) -o -printf '%p %y %m %U:%G %s %n %l %T@ %C@\\n'; \
         find /canary /run/canary -type f -exec sha256sum {} + | sed 's/\\(.*\\)  \\(.*\\)/\\2: \\1/'; \
         getfattr -Rd -m - /canary /run/canary 2>/dev/null | grep . || :",
    );
    assert!(text.lines().count() > 20, "no canaries: {text}");
    text.lines().enumerate().map(|(number, line)| (format!("{number:04}"), line.to_string())).collect()
}

type Runs = BTreeMap<String, (u32, BTreeMap<i32, u32>)>;

/// Lets them swap until there were so many swaps, and the program was run often enough in between.
fn attacked(node: &Node, wanted: u64) -> (BTreeMap<String, u64>, Runs) {
    begin(node, "watch", "");
    begin(node, "qemu", &format!("setpriv --reuid {} --regid hugetlbfs --init-groups nice", node.qemu()));
    begin(node, "dataplane", "setpriv --reuid openvswitch --regid hugetlbfs --clear-groups nice");
    let hook = |operation: &str| format!("/etc/libvirt/hooks/qemu.d/50-vhost-accord vms {operation} -");
    let mut commands: Vec<(String, String)> = Vec::new();
    for kind in ["server", "client"] {
        for operation in ["prepare begin", "start begin", "release end"] {
            commands.push((
                format!("hook {operation} ({kind})"),
                format!("{} < /root/{kind}.xml", hook(operation)),
            ));
        }
    }
    for entry in ["vswitchd-pre", "vswitchd-post", "dataplane-pre"] {
        commands.push((format!("service {entry}"), format!("vhost-accord service {entry}")));
    }
    let program = |command: &str| (command.to_string(), format!("vhost-accord {command}"));
    commands.extend(["apply", "check", "plan", "explain", "probe", "apply", "revert", "apply"].map(program));
    // Where the dataplane got another identity there is no way back but this one.
    let last = program("revert --restart");
    let (mut runs, mut round) = (Runs::new(), 0);
    loop {
        // Once, for it takes the ground from under the attackers: the switch's directory is another one.
        let ends = round + 1 >= ROUNDS && swaps(node).values().sum::<u64>() >= wanted;
        for (name, command) in commands.iter().chain(ends.then_some(&last)) {
            // What an attacker meets most often, and the quickest.
            let times = if name.starts_with("hook") || name.starts_with("service") { 8 } else { 1 };
            let script = format!(
                "for i in $(seq {times}); do timeout -s KILL {BLOCKED} {command} >/run/race/out 2>/run/race/err; echo $?; done; test ! -s /run/race/err || tail -n 1 /run/race/err | sed 's/^/{name}: /' >> /run/race/errors"
            );
            for code in node.sh(&script).lines().map(|line| line.parse::<i32>().unwrap()) {
                assert!(!(124..=159).contains(&code), "{name}: ended with {code}: blocked, or killed");
                assert_ne!(code, 101, "{name}: a panic");
                let run = runs.entry(name.clone()).or_default();
                run.0 += 1;
                *run.1.entry(code).or_default() += 1;
                if name.starts_with("revert") {
                    went_back(node, name, code);
                }
            }
        }
        round += 1;
        if ends {
            let swaps = swaps(node);
            eprintln!(
                "{}",
                node.sh("sed 's/(os error.*//' /run/race/errors | sort | uniq -c | sort -rn | head -n 100")
            );
            for (area, _) in AREAS {
                let count = swaps.get(area).copied().unwrap_or_default();
                assert!(count >= wanted / 100, "{area}: only {count} swaps: {swaps:?}");
            }
            return (swaps, runs);
        }
    }
}

/// What keeps root from going back is named, and ends with the attack: what is in use, or of another kind than it was.
fn went_back(node: &Node, name: &str, code: i32) {
    let told = node.sh("cat /run/race/out /run/race/err");
    let outcomes =
        [": restored", ": was already as before", "pending restart: ", "restarted ", "Nothing to revert."];
    let left = told.lines().filter(|line| !outcomes.iter().any(|outcome| line.contains(outcome)));
    let left: Vec<&str> = left.collect();
    let passes = |line: &&str| {
        let contested = AREAS.iter().any(|(area, _)| line.contains(area));
        contested || line.contains("; run revert again when it is free")
    };
    // It takes a restart, and says so before anything is done.
    if name == "revert"
        && left.iter().any(|line| line.contains("nothing was changed (run 'vhost-accord revert --restart')"))
    {
        return;
    }
    assert!(left.iter().all(passes) && (code == 0 || !left.is_empty()), "{name}: {code}: {told}");
}

/// How many there were, by directory.
fn swaps(node: &Node) -> BTreeMap<String, u64> {
    let text = node.sh("cat /run/race/swaps.* 2>/dev/null || :");
    let line = |line: &str| {
        let (area, count) = line.split_once(' ')?;
        Some((area.to_string(), count.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Once nobody attacks any more, the node agrees, and goes back.
fn calm(node: &Node) {
    role(node, "tidy", "");
    node.sh("for name in vhus1 vhus2 vhuc1; do ovs-vsctl --if-exists del-port $name; done");
    node.sh(&format!("systemctl restart {} libvirtd", node.switch()));
    node.wait_for("ovs-vswitchd", "ovs-appctl --timeout=5 version");
    node.apply("--restart");
    node.agrees("after the attack");
    node.start("vms", false);
    node.start("vmc", false);
    let reverted = node.accord("revert --restart");
    assert_eq!(reverted.code, 0, "{reverted}");
}
