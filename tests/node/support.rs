// SPDX-License-Identifier: Apache-2.0
//! A node for one test: booted fresh, gone when the test ends.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What a command in the node did.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}\n{}{}", self.code, self.stdout, self.stderr)
    }
}

/// A running node.
pub struct Node {
    /// What `node run` calls it.
    pub name: String,
    pub kind: &'static str,
}

impl Drop for Node {
    fn drop(&mut self) {
        tool(&["down", &self.name]);
    }
}

static COUNT: AtomicU32 = AtomicU32::new(0);

fn tool(arguments: &[&str]) -> Output {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/node/node");
    let output = Command::new(script).args(arguments).output().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn expect(what: &str, output: Output) -> Output {
    assert_eq!(output.code, 0, "{what}: {output}");
    output
}

impl Node {
    /// A stock node with OVS-DPDK up, both kinds of port, two domains, and the program in its place.
    pub fn up(kind: &'static str) -> Node {
        Node::up_with(kind, &[])
    }

    /// The same with options of `node up`.
    pub fn up_with(kind: &'static str, options: &[&str]) -> Node {
        let name = format!("t{}-{}", std::process::id() % 100_000, COUNT.fetch_add(1, Ordering::Relaxed));
        let node = Node { name, kind };
        expect("node up", tool(&[&["up", kind, node.name.as_str()], options].concat()));
        let program = env!("CARGO_BIN_EXE_vhost-accord");
        expect("node push", tool(&["push", &node.name, program, "/usr/bin/vhost-accord"]));
        node
    }

    /// Copies a file into the node.
    pub fn push(&self, file: &std::path::Path, to: &str) {
        expect("node push", tool(&["push", &self.name, file.to_str().unwrap(), to]));
    }

    /// Copies a file out of the node.
    pub fn pull(&self, file: &str, to: &std::path::Path) {
        expect("node pull", tool(&["pull", &self.name, file, to.to_str().unwrap()]));
    }

    /// Runs a shell script in the node.
    pub fn try_sh(&self, script: &str) -> Output {
        tool(&["run", &self.name, "--", "sh", "-c", script])
    }

    /// The same, expecting it to succeed; its standard output.
    pub fn sh(&self, script: &str) -> String {
        expect(script, self.try_sh(script)).stdout
    }

    /// Sets the configuration.
    pub fn configure(&self, keys: &str) {
        self.sh(&format!(
            "mkdir -p /etc/vhost-accord && printf '[accord]\\n{keys}' > /etc/vhost-accord/vhost-accord.conf"
        ));
    }

    /// Runs the program.
    pub fn accord(&self, arguments: &str) -> Output {
        self.try_sh(&format!("vhost-accord {arguments}"))
    }

    /// Runs `apply`, expecting success.
    pub fn apply(&self, options: &str) -> Output {
        expect("apply", self.accord(&format!("apply {options}")))
    }

    /// Runs `apply` where it is expected to have something against its own result.
    pub fn apply_anyway(&self, options: &str) -> Output {
        let output = self.accord(&format!("apply {options}"));
        assert!(output.code == 0 || output.code == 2, "{output}");
        output
    }

    /// The findings of `check`, as `id subject`, and its exit code.
    pub fn check(&self) -> (i32, Vec<String>) {
        let output = self.accord("check --json");
        let json: serde_json::Value =
            serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
        let findings = json["findings"].as_array().unwrap();
        let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_string();
        let line =
            |finding: &serde_json::Value| format!("{} {}", text(finding, "id"), text(finding, "subject"));
        (output.code, findings.iter().map(line).collect())
    }

    /// Expects `check` to have nothing against the node.
    pub fn agrees(&self, when: &str) {
        let (code, findings) = self.check();
        // The stock group of RHEL's packages has another number: said, and no disagreement.
        let findings: Vec<_> =
            findings.iter().filter(|line| !line.starts_with("group-not-the-contract")).collect();
        assert!(code < 2 && findings.is_empty(), "{when}, on {}: {findings:?}", self.kind);
    }

    /// Every path with type, owner, mode, ACL, attributes and content.
    pub fn snapshot(&self) -> BTreeMap<String, String> {
        self.snapshot_with(&[])
    }

    /// The same of further paths as well.
    pub fn snapshot_with(&self, paths: &[&str]) -> BTreeMap<String, String> {
        let output = expect("snapshot", tool(&[&["snapshot", self.name.as_str()], paths].concat()));
        output
            .stdout
            .lines()
            .map(|line| (line.split(['\t', ' ']).next().unwrap().to_string(), line.to_string()))
            .collect()
    }

    /// Expects nothing to differ from an earlier snapshot.
    pub fn same_as(&self, stock: &BTreeMap<String, String>, when: &str) {
        let now = self.snapshot();
        let paths: std::collections::BTreeSet<_> = stock.keys().chain(now.keys()).collect();
        let differing: Vec<_> = paths
            .into_iter()
            .filter(|path| stock.get(*path) != now.get(*path))
            .map(|path| (stock.get(path), now.get(path)))
            .collect();
        assert!(differing.is_empty(), "{when}, on {}: {differing:#?}", self.kind);
    }

    /// A true reboot.
    pub fn reboot(&self) {
        expect("reboot", tool(&["reboot", &self.name]));
        self.wait_for(
            "OVSDB and ovs-vswitchd",
            "ovs-vsctl --timeout=5 show && ovs-appctl --timeout=5 version",
        );
    }

    /// Waits until a script succeeds.
    pub fn wait_for(&self, what: &str, script: &str) {
        let end = Instant::now() + Duration::from_secs(90);
        loop {
            let output = self.try_sh(script);
            if output.code == 0 {
                return;
            }
            assert!(Instant::now() < end, "{what} did not come, on {}: {output}", self.kind);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Starts a domain and waits until OVS has its device; then the domain goes off again, unless it is to `stay`.
    pub fn start(&self, domain: &str, stay: bool) {
        let socket = if domain == "vmc" { "vhuc0" } else { "vhus0" };
        let count = format!(
            "grep -c \"vHost Device '.*/{socket}' has been added\" /var/log/openvswitch/ovs-vswitchd.log"
        );
        let before: u32 = self.try_sh(&count).stdout.trim().parse().unwrap_or(0);
        let output = self.try_sh(&format!("timeout 30 virsh start {domain}"));
        assert_eq!(output.code, 0, "virsh start {domain} on {}: {output}", self.kind);
        self.wait_for("the device in OVS", &format!("test $({count}) -gt {before}"));
        if !stay {
            self.sh(&format!("virsh destroy {domain}"));
        }
    }

    /// Expects a domain not to start; what the user is told.
    pub fn refuses(&self, domain: &str) -> String {
        let output = self.try_sh(&format!("timeout 30 virsh start {domain}"));
        assert_ne!(output.code, 0, "{domain} started on {}", self.kind);
        output.stderr
    }

    /// `owner:group mode` of a path, by name.
    pub fn owner(&self, path: &str) -> String {
        self.sh(&format!("stat -c '%U:%G %04a' {path}")).trim().to_string()
    }

    /// `user:group umask` of a process, by name, and its supplementary groups.
    pub fn process(&self, name: &str) -> (String, Vec<String>) {
        let script = format!(
            "pid=$(pgrep -o {name}) && awk '/^Uid:/{{u=$3}} /^Gid:/{{g=$3}} /^Umask:/{{m=$2}} \
             END{{print u\" \"g\" \"m}}' /proc/$pid/status && \
             for g in $(sed -n 's/^Groups://p' /proc/$pid/status); do getent group $g | cut -d: -f1; done"
        );
        let text = self.sh(&script);
        let mut lines = text.lines();
        let ids: Vec<&str> = lines.next().unwrap().split(' ').collect();
        let user = self.sh(&format!("getent passwd {} | head -1 | cut -d: -f1", ids[0]));
        let group = self.sh(&format!("getent group {} | cut -d: -f1", ids[1]));
        let named = format!("{}:{} {}", user.trim(), group.trim(), ids[2]);
        (named, lines.map(str::to_string).collect())
    }

    /// True where the node's units are in the shape of RHEL's.
    pub fn is_rhel(&self) -> bool {
        self.kind.starts_with("rhel")
    }

    /// QEMU's user.
    pub fn qemu(&self) -> &'static str {
        if self.is_rhel() { "qemu" } else { "libvirt-qemu" }
    }

    /// The unit that stands for the whole switch.
    pub fn switch(&self) -> &'static str {
        if self.is_rhel() { "openvswitch" } else { "openvswitch-switch" }
    }
}

/// Makes one test for each kind of node out of a function that takes a kind.
macro_rules! on_every_node {
    ($($test:ident),+ $(,)?) => {
        crate::support::on_nodes!(bookworm = "bookworm": $($test)+);
        crate::support::on_nodes!(trixie = "trixie": $($test)+);
        crate::support::on_nodes!(sid = "sid": $($test)+);
        crate::support::on_nodes!(rhel_2_9 = "rhel-2.9": $($test)+);
        crate::support::on_nodes!(rhel_2_17 = "rhel-2.17": $($test)+);
        crate::support::on_nodes!(rhel_3_6 = "rhel-3.6": $($test)+);
    };
}
pub(crate) use on_every_node;

/// The same for one kind, where the kinds do not differ in what is tested. `make test` runs those of bookworm, unless they are
/// left to `later`; `make test-all` runs all of them.
macro_rules! on_nodes {
    (later bookworm = $kind:literal: $($test:ident)+) => {
        mod later {
            $(use super::$test;)+
            crate::support::on_nodes!(bookworm = $kind, "needs a real node: make test-all": $($test)+);
        }
    };
    (bookworm = $kind:literal: $($test:ident)+) => {
        crate::support::on_nodes!(bookworm = $kind, "needs a real node: make test": $($test)+);
    };
    ($module:ident = $kind:literal: $($test:ident)+) => {
        crate::support::on_nodes!($module = $kind, "needs a real node: make test-all": $($test)+);
    };
    ($module:ident = $kind:literal, $reason:literal: $($test:ident)+) => {
        mod $module {
            $(
                #[test]
                #[ignore = $reason]
                fn $test() {
                    super::$test($kind);
                }
            )+
        }
    };
}
pub(crate) use on_nodes;
