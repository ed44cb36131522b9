// SPDX-License-Identifier: Apache-2.0
//! The Ansible collection, run by a real Ansible against real nodes over SSH.
//!
//! A node has no network: its SSH server is started for each connection, by the command that runs anything in a node.
//! `VHOST_ACCORD_ANSIBLE=DIRECTORY` takes the programs of another Ansible than the host's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Node, Output, on_nodes};

on_nodes!(later bookworm = "bookworm": a_fleet_is_set_up_stopped_and_reverted);

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The machine that Ansible runs on: keys, inventory, hooks and the collection, built and installed as users do.
struct Control {
    place: tempfile::TempDir,
}

impl Control {
    fn of(fleet: &[&Node]) -> Control {
        let control = Control { place: tempfile::tempdir().unwrap() };
        control.ansible("ansible-galaxy", &["collection", "build", "--output-path", ".", "COLLECTION"]);
        let built = control.path("vhost_accord-fleet-0.1.0.tar.gz");
        let built = built.to_str().unwrap();
        control
            .ansible("ansible-galaxy", &["collection", "install", "--offline", "-p", "collections", built]);
        for key in ["key", "hostkey"] {
            let path = control.path(key);
            let mut keygen = Command::new("ssh-keygen");
            assert!(keygen.args(["-qt", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap().success());
        }
        control.write("sshd_config", "HostKey /root/.ssh/hostkey\nSubsystem sftp internal-sftp\n");
        for (file, says) in [("drain.yml", "moving VMs away from"), ("undrain.yml", "letting VMs come to")] {
            let message = format!("{says} {{{{ inventory_hostname }}}}");
            let task = format!("- name: A hook\n  ansible.builtin.debug:\n    msg: \"{message}\"\n");
            control.write(file, &task);
        }
        control.write("inventory.yml", &control.inventory(fleet));
        fleet.iter().for_each(|node| control.let_in(node));
        control
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn inventory(&self, fleet: &[&Node]) -> String {
        let hosts: String = fleet.iter().map(|node| format!("    {}:\n", node.name)).collect();
        let (key, run) = (self.path("key"), source("tests/node/node"));
        let server = "/usr/sbin/sshd -i -f /root/.ssh/sshd_config";
        format!(
            "all:\n  hosts:\n{hosts}  vars:\n    ansible_user: root\n    ansible_ssh_private_key_file: {}\n    \
             ansible_python_interpreter: /usr/bin/python3\n    ansible_ssh_common_args: >-\n      \
             -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR\n      \
             -o \"ProxyCommand={} run %h -- {server}\"\n    vhost_accord_package: \"\"\n    \
             vhost_accord_drain: {}\n    vhost_accord_undrain: {}\n    vhost_accord_serial: 100%\n",
            key.display(),
            run.display(),
            self.path("drain.yml").display(),
            self.path("undrain.yml").display(),
        )
    }

    /// An SSH server, and Ansible's directory, which stays.
    fn let_in(&self, node: &Node) {
        let fetched = Command::new(source("tests/ansible/fetch")).output().unwrap();
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        let programs = PathBuf::from(String::from_utf8(fetched.stdout).unwrap().trim());
        node.push(&programs.join("sshd"), "/usr/sbin/sshd");
        node.sh("mkdir -p /run/sshd /root/.ssh /root/.ansible/tmp");
        for (from, to) in
            [("key.pub", "authorized_keys"), ("hostkey", "hostkey"), ("sshd_config", "sshd_config")]
        {
            node.push(&self.path(from), &format!("/root/.ssh/{to}"));
        }
        node.sh("chmod 700 /root/.ssh /root/.ansible /root/.ansible/tmp; chmod 600 /root/.ssh/*; \
                 useradd -r -d /run/sshd -s /usr/sbin/nologin sshd");
    }

    fn try_ansible(&self, program: &str, arguments: &[&str]) -> Output {
        let directory =
            std::env::var_os("VHOST_ACCORD_ANSIBLE").map_or_else(|| "/usr/bin".into(), PathBuf::from);
        let collection = source("packaging/ansible");
        let argument = |argument: &&str| match *argument {
            "COLLECTION" => collection.clone().into_os_string(),
            other => other.into(),
        };
        let output = Command::new(directory.join(program))
            .args(arguments.iter().map(argument))
            .current_dir(self.place.path())
            .env("HOME", self.place.path())
            .env("LC_ALL", "C.UTF-8")
            .env("ANSIBLE_NOCOLOR", "1")
            .env("ANSIBLE_COLLECTIONS_PATH", self.path("collections"))
            .env("ANSIBLE_COLLECTIONS_PATHS", self.path("collections"))
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error} (tests/setup test)"));
        Output {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn ansible(&self, program: &str, arguments: &[&str]) -> Output {
        let output = self.try_ansible(program, arguments);
        assert_eq!(output.code, 0, "{program} {arguments:?}: {output}");
        output
    }

    /// Runs a playbook of the collection; what it printed.
    fn play(&self, name: &str, options: &[&str]) -> String {
        let playbook = format!("vhost_accord.fleet.{name}");
        self.ansible("ansible-playbook", &[&["-i", "inventory.yml", &playbook], options].concat()).stdout
    }

    /// The same where it has to fail.
    fn stops(&self, name: &str, options: &[&str]) -> String {
        let playbook = format!("vhost_accord.fleet.{name}");
        let output =
            self.try_ansible("ansible-playbook", &[&["-i", "inventory.yml", &playbook], options].concat());
        assert_eq!(output.code, 2, "{output}");
        output.to_string()
    }
}

/// Who changed how much, from the last lines of a run; a node that was not reached is not named.
fn changed(said: &str) -> BTreeMap<&str, &str> {
    let recap = said.split("PLAY RECAP").nth(1).unwrap_or_else(|| panic!("{said}"));
    recap
        .lines()
        .filter_map(|line| {
            let name = line.split_whitespace().next()?;
            let count = line.split("changed=").nth(1)?.split_whitespace().next()?;
            Some((name, count))
        })
        .collect()
}

fn all_the_same(said: &str, fleet: &[&Node], count: impl Fn(&str) -> bool) {
    let changed = changed(said);
    for node in fleet {
        assert!(changed.get(node.name.as_str()).is_some_and(|found| count(found)), "{changed:?}: {said}");
    }
}

fn a_fleet_is_set_up_stopped_and_reverted(kind: &'static str) {
    let (canary, newer, rhel) = std::thread::scope(|scope| {
        let (newer, rhel) = (scope.spawn(|| Node::up("trixie")), scope.spawn(|| Node::up("rhel-3.6")));
        (Node::up(kind), newer.join().unwrap(), rhel.join().unwrap())
    });
    let fleet = [&canary, &newer, &rhel];
    let control = Control::of(&fleet);
    canary.sh("mkdir -p /etc/systemd/system/dev-hugepages.mount.d");
    let stock = fleet.map(Node::snapshot);
    let is_stock = |when: &str| {
        std::thread::scope(|scope| {
            for (node, stock) in fleet.iter().zip(&stock) {
                scope.spawn(move || node.same_as(stock, when));
            }
        });
    };

    let shown = control.play("rollout", &["--check", "--diff"]);
    for line in ["+group = \"hugetlbfs\"", "+ /var/lib/vhost_sockets/  libvirt-qemu:hugetlbfs 2775"] {
        assert!(shown.lines().any(|found| found == line), "{line}: {shown}");
    }
    all_the_same(&shown, &fleet, |count| count == "1");
    let wrong = control
        .stops("rollout", &["-e", "{\"vhost_accord_settings\": {\"accord\": {\"modes\": \"nonsense\"}}}"]);
    assert!(wrong.contains("90-ansible.conf:4: modes = nonsense: expected"), "{wrong}");
    is_stock("after check mode and settings that are wrong");

    // A drop-in of someone else's, which apply leaves alone.
    canary.sh("printf '[Mount]\\nOptions=mode=01770,gid=136\\n' >/etc/systemd/system/dev-hugepages.mount.d/override.conf && \
               systemctl daemon-reload");
    let stopped = control.stops("rollout", &["-e", "{\"vhost_accord_serial\": [1, \"100%\"]}"]);
    assert!(stopped.contains("drop-in-without-effect: dev-hugepages.mount"), "{stopped}");
    for (node, stock) in fleet.iter().zip(&stock).skip(1) {
        assert!(!changed(&stopped).contains_key(node.name.as_str()), "{stopped}");
        node.same_as(stock, "after the canary broke");
    }
    let checked = control.stops("check", &["--limit", &canary.name]);
    assert!(checked.contains(&format!("{} is broken: drop-in-without-effect", canary.name)), "{checked}");
    canary.sh("rm /etc/systemd/system/dev-hugepages.mount.d/override.conf; systemctl daemon-reload");

    let settings = [
        "-e",
        "{\"vhost_accord_settings\": {\"accord\": {\"on-problem\": \"warn\", \"modes\": [\"dpdkvhostuserclient\", \"dpdkvhostuser\"]}}}",
    ];
    let rolled = control.play("rollout", &settings);
    all_the_same(&rolled, &fleet, |count| count != "0");
    for node in fleet {
        assert!(rolled.contains(&format!("moving VMs away from {}", node.name)), "{rolled}");
        assert!(rolled.contains(&format!("letting VMs come to {}", node.name)), "{rolled}");
        node.agrees("after the rollout");
        node.start("vmc", false);
        node.start("vms", false);
    }
    all_the_same(&control.play("rollout", &settings), &fleet, |count| count == "0");

    let compared = control.play("compare", &[]);
    all_the_same(&compared, &fleet, |count| count == "0");
    let matrix =
        compared.split("TASK [Show the matrix]").nth(1).and_then(|rest| rest.split("PLAY RECAP").next());
    for part in fleet.map(|node| node.name.as_str()).into_iter().chain(["all VMs can migrate, with advice"]) {
        assert!(matrix.is_some_and(|matrix| matrix.contains(part)), "{part}: {compared}");
    }

    let shown = control.play("revert", &["--check", "--diff"]);
    assert!(
        shown.contains("-on-problem = warn") && shown.contains("- group in /etc/libvirt/qemu.conf"),
        "{shown}"
    );
    all_the_same(&control.play("revert", &[]), &fleet, |count| count != "0");
    is_stock("after the revert");
    all_the_same(&control.play("revert", &[]), &fleet, |count| count == "0");
}
