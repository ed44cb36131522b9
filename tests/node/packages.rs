// SPDX-License-Identifier: Apache-2.0
//! The life of the packages: installation, boot, upgrade, downgrade, removal, purge; with what others have on the node.

use std::path::PathBuf;

use super::support::{Node, Output, on_nodes};

// The program in them is the tests' own for `make test`, and the one that users get for `make test-all`.
on_nodes!(bookworm = "bookworm": deb_from_installation_to_purge);
on_nodes!(later bookworm = "bookworm":
    deb_from_installation_to_purge
    deb_beside_what_others_did
    deb_before_switch_and_libvirt
    removal_goes_on_past_what_others_changed
    deb_is_not_removed_from_under_a_running_switch);
on_nodes!(trixie = "trixie":
    deb_from_installation_to_purge
    deb_before_switch_and_libvirt);
on_nodes!(rhel_3_6 = "rhel-3.6": rpm_from_installation_to_removal);

/// What `tests/packages` made.
fn made(kind: &str) -> Vec<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target).join("package/test").join(kind);
    let entries = std::fs::read_dir(&place).unwrap_or_else(|_| panic!("run tests/packages first: {place:?}"));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn package(age: &str, extension: &str) -> PathBuf {
    let found = made(age).into_iter().find(|path| path.extension().is_some_and(|found| found == extension));
    found.unwrap()
}

/// A stock node with both ages of the package in /root, and without the program.
pub fn stock(kind: &'static str, extension: &str) -> Node {
    let node = Node::up(kind);
    node.sh("rm /usr/bin/vhost-accord");
    for age in ["now", "earlier"] {
        node.push(&package(age, extension), &format!("/root/{age}.{extension}"));
    }
    node
}

/// Shows what it said if it fails.
pub fn says(node: &Node, script: &str) -> String {
    let output = node.try_sh(&format!("{script} 2>&1"));
    assert_eq!(output.code, 0, "{script}: {output}");
    output.stdout
}

/// The node as it was, but for what dpkg and rpm remember of the package, and once libvirt runs with its old group again.
pub fn is_stock_again(node: &Node, stock: &std::collections::BTreeMap<String, String>, when: &str) {
    node.sh("systemctl restart libvirtd");
    node.wait_for("libvirt", "virsh version");
    let not_ours = |line: &String| {
        !["/var/lib/dpkg/", "/var/lib/rpm/", "/root/now", "/root/earlier"]
            .iter()
            .any(|own| line.contains(own))
    };
    let differing: Vec<_> =
        super::steps::differences(stock, &node.snapshot()).into_iter().filter(not_ours).collect();
    assert!(differing.is_empty(), "{when}, on {}: {differing:#?}", node.kind);
}

/// What is agreed holds again after a boot that took the directory away, and the unit was no trouble.
fn holds_after_a_boot(node: &Node) {
    node.sh("virsh destroy vms; rm -rf /var/lib/vhost_sockets");
    node.reboot();
    let state = node.sh("systemctl show -p ActiveState,Result vhost-accord.service");
    assert!(state.contains("ActiveState=active") && state.contains("Result=success"), "{state}");
    assert_eq!(node.owner("/var/lib/vhost_sockets"), format!("{}:hugetlbfs 2775", node.qemu()));
    let cycles = node.sh("journalctl -b | grep -i 'ordering cycle' || :");
    assert_eq!(cycles, "");
    let order = "a=$(systemctl show -P ExecMainExitTimestampMonotonic vhost-accord); \
                 b=$(systemctl show -P ExecMainStartTimestampMonotonic ovsdb-server); \
                 c=$(systemctl show -P ExecMainStartTimestampMonotonic libvirtd); test $a -lt $b && test $a -lt $c";
    assert_eq!(node.try_sh(order).code, 0, "it ran before the switch and libvirt");
    assert_eq!(
        node.sh("systemd-analyze verify --man=no vhost-accord.service 2>&1 | grep vhost-accord || :"),
        ""
    );
    // What is left open, on systemd's scale of 0 to 100; each part has its reason in the unit.
    says(node, "systemd-analyze security --no-pager --threshold=43 vhost-accord.service");
    node.agrees("after a boot");
}

fn deb_from_installation_to_purge(kind: &'static str) {
    let node = stock(kind, "deb");
    let before = node.snapshot();
    says(&node, "dpkg -i /root/earlier.deb");
    node.start("vms", true);
    holds_after_a_boot(&node);

    node.sh("printf '\\n# mine\\non-error = refuse\\n' >> /etc/vhost-accord/vhost-accord.conf");
    let journal = node.sh("cat /var/lib/vhost-accord/journal.json");
    says(&node, "dpkg -i --force-confdef --force-confold /root/now.deb");
    assert!(
        node.sh("cat /etc/vhost-accord/vhost-accord.conf").contains("# mine"),
        "the configuration is kept"
    );
    assert_ne!(node.sh("cat /var/lib/vhost-accord/journal.json"), journal, "and what it asks for is applied");
    node.start("vmc", false);
    node.start("vms", true);

    // The other packages, while a VM runs: it keeps its network.
    says(&node, "dpkg -i /root/debs/libvirt-daemon-system_*.deb");
    assert_eq!(node.sh("virsh domstate vms").trim(), "running");
    let seen = says(&node, "dpkg -i /root/debs/openvswitch-switch_*.deb");
    assert!(seen.contains("Processing triggers for vhost-accord"), "{seen}");
    // Both ends as the kernel tells them: a log can be rotated.
    let connected = "vhost-accord check | grep -E '^vms +vhus0 .* ok$' || { vhost-accord check; \
                     tail -5 /var/log/openvswitch/ovs-vswitchd.log; systemctl --no-pager status ovs-vswitchd; false; }";
    node.wait_for("the running VM's network after the switch's reinstallation", connected);
    node.sh("systemctl restart openvswitch-switch");
    node.wait_for("the running VM's network after the switch's restart", connected);
    assert_eq!(node.sh("virsh domstate vms").trim(), "running");

    says(&node, "dpkg -i --force-confdef --force-confold /root/earlier.deb");
    assert!(node.sh("vhost-accord check || :").contains("agreed"), "after a downgrade");
    node.sh("virsh destroy vms");
    says(&node, "dpkg -r vhost-accord");
    assert_eq!(node.try_sh("test -e /etc/libvirt/hooks/qemu.d || test -e /etc/vhost-accord/agreed.json || test -e /var/lib/vhost_sockets").code, 1);
    says(&node, "dpkg --purge vhost-accord");
    is_stock_again(&node, &before, "after purge");
}

fn deb_beside_what_others_did(kind: &'static str) {
    let node = stock(kind, "deb");
    node.sh("mkdir -p /etc/libvirt/hooks /etc/systemd/system/ovs-vswitchd.service.d && \
             printf '#!/bin/sh\\necho $2 >> /root/foreign\\n' > /etc/libvirt/hooks/qemu && chmod 755 /etc/libvirt/hooks/qemu && \
             printf '[Service]\\nNice=-1\\n' > /etc/systemd/system/ovs-vswitchd.service.d/local.conf && \
             printf '\\n# local\\nmax_queued = 3\\n' >> /etc/libvirt/qemu.conf && \
             systemctl mask vhost-accord.service && systemctl daemon-reload && systemctl restart libvirtd");
    node.wait_for("libvirt", "virsh version");
    let before = node.snapshot();
    says(&node, "dpkg -i /root/now.deb");
    node.start("vms", false);
    assert!(node.sh("cat /root/foreign").contains("prepare"), "the hook that was there is still called");
    node.sh("rm /root/foreign");
    assert!(node.sh("cat /etc/libvirt/qemu.conf").contains("# local\nmax_queued = 3"));
    assert_eq!(node.try_sh("systemctl is-enabled vhost-accord").stdout.trim(), "masked");
    says(&node, "dpkg --purge vhost-accord");
    is_stock_again(&node, &before, "after purge");

    node.sh("mkdir -p /etc/vhost-accord/vhost-accord.conf.d && printf '[accord]\\nauto-apply = no\\n' > /etc/vhost-accord/vhost-accord.conf.d/a.conf");
    let said = says(&node, "dpkg -i /root/now.deb");
    assert!(said.contains("auto-apply = no: run 'vhost-accord plan'"), "{said}");
    assert_eq!(node.accord("plan").code, 2, "nothing was applied");
    // A failing apply is no failing installation.
    node.sh("printf '[accord]\\ngid = many\\n' > /etc/vhost-accord/vhost-accord.conf.d/a.conf");
    let said = says(&node, "dpkg -i /root/now.deb");
    assert!(
        said.contains("a.conf:2: gid = many") && said.contains("vhost-accord: apply failed; fix what"),
        "{said}"
    );
}

fn deb_before_switch_and_libvirt(kind: &'static str) {
    let node = Node::up_with(kind, &["--no-setup"]);
    node.sh("rm /usr/bin/vhost-accord");
    node.push(&package("now", "deb"), "/root/now.deb");
    node.sh("systemctl stop libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket openvswitch-switch; \
             dpkg --force-depends --purge libvirt-daemon-system openvswitch-switch-dpdk openvswitch-switch; \
             dpkg --force-depends -r $(dpkg-query -W -f '${Package} ' 'libvirt-daemon*' 'libvirt0'); ls /root/debs");
    let said = says(&node, "dpkg --force-depends -i /root/now.deb");
    assert!(said.contains("neither Open vSwitch nor libvirt is installed yet: nothing to do"), "{said}");
    assert_eq!(node.try_sh("test -e /var/lib/vhost-accord/journal.json").code, 1);
    let said = says(
        &node,
        "DEBIAN_FRONTEND=noninteractive dpkg --force-depends --force-confmiss -i $(ls /root/debs/*.deb | grep -v dbgsym)",
    );
    assert!(said.contains("Processing triggers for vhost-accord"), "{said}");
    assert!(node.owner("/var/lib/vhost_sockets").ends_with(":hugetlbfs 2775"), "{said}");
    assert_eq!(node.sh("readlink /etc/libvirt/hooks/qemu.d/50-vhost-accord").trim(), "/usr/bin/vhost-accord");
}

fn deb_is_not_removed_from_under_a_running_switch(kind: &'static str) {
    let node = stock(kind, "deb");
    node.configure("dataplane-user = openvswitch\\n");
    says(&node, "dpkg -i --force-confold /root/now.deb");
    node.apply("--restart");
    let refused: Output = node.try_sh("dpkg -r vhost-accord 2>&1");
    assert_ne!(refused.code, 0, "{refused}");
    assert!(refused.stdout.contains("revert --restart"), "{refused}");
    node.agrees("after a removal that was refused");
    assert_eq!(node.accord("revert --restart").code, 0);
    says(&node, "dpkg -r vhost-accord");
}

/// What the packages run before they go. libvirt starts afterwards, whatever was changed by hand meanwhile.
fn removal_goes_on_past_what_others_changed(kind: &'static str) {
    let node = Node::up(kind);
    let conf = "/etc/libvirt/qemu.conf";
    let group = "group hugetlbfs: left: ";
    let cases = [
        (
            format!("sed -i 's/^group = \"hugetlbfs\"/& # mine/' {conf} && grep -q '# mine' {conf}"),
            vec![format!("group in {conf}: left: line "), format!("{group}{conf} still names it")],
            format!("sed -i '/# mine/d' {conf}; groupdel hugetlbfs"),
        ),
        (
            format!("sed -i 's/^group = \"hugetlbfs\"/group = \"kvm\"/' {conf}"),
            vec![format!("group in {conf}: left: line ")],
            format!("sed -i '/^group = \"kvm\"/d' {conf}"),
        ),
        (
            "usermod -aG hugetlbfs nobody".to_string(),
            vec![format!("{group}nobody is now a member of it")],
            "groupdel hugetlbfs".to_string(),
        ),
        (
            "mkdir -p /etc/systemd/system/ovs-vswitchd.service.d && printf '[Service]\nSupplementaryGroups=hugetlbfs\n' \
             > /etc/systemd/system/ovs-vswitchd.service.d/mine.conf"
                .to_string(),
            vec![format!("{group}/etc/systemd/system/ovs-vswitchd.service.d/mine.conf still names it")],
            "rm /etc/systemd/system/ovs-vswitchd.service.d/mine.conf; rmdir /etc/systemd/system/ovs-vswitchd.service.d; groupdel hugetlbfs".to_string(),
        ),
        (
            "ln -sf /dev/null /etc/systemd/system/ovs-vswitchd.service.d/50-vhost-accord.conf".to_string(),
            vec!["50-vhost-accord.conf: left: ".to_string()],
            // The node could not be looked at: what was given stays until the switch's next start.
            "systemctl restart openvswitch-switch; rm /etc/systemd/system/ovs-vswitchd.service.d/50-vhost-accord.conf; rmdir /etc/systemd/system/ovs-vswitchd.service.d".to_string(),
        ),
    ];
    let backups = |path: &String| {
        ["/etc/group-", "/etc/gshadow-", "/etc/passwd-", "/etc/shadow-"].contains(&path.as_str())
    };
    let snapshot = || {
        let mut all = node.snapshot();
        all.retain(|path, _| !backups(path));
        all
    };
    let stock = snapshot();
    for (change, left, fix) in cases {
        node.configure(super::steps::BOTH);
        node.apply("--restart");
        node.sh(&change);
        let output = node.accord("service package-removing");
        assert_eq!(output.code, 0, "{change}: {output}");
        for line in left {
            assert!(output.stdout.contains(&line), "{change}: {line}: {output}");
        }
        // A directory that others have put something into waits for that; nothing else does.
        let kept = node.try_sh("test -e /var/lib/vhost-accord").code == 0;
        assert_eq!(kept, output.stdout.contains("in use: not empty (1 inside)"), "{change}: {output}");
        node.sh("systemctl restart libvirtd");
        node.wait_for("libvirt", "virsh version");
        node.sh(&format!(
            "{fix}; rm -rf /etc/vhost-accord /var/lib/vhost-accord; systemctl daemon-reload; systemctl restart libvirtd"
        ));
        let differing = super::steps::differences(&stock, &snapshot());
        assert!(differing.is_empty(), "{change}: {differing:#?}");
    }
}

fn rpm_from_installation_to_removal(kind: &'static str) {
    let node = Node::up(kind);
    node.sh("rm /usr/bin/vhost-accord; mkdir /root/rpm-tools");
    for tool in made("rpm-tools") {
        node.push(&tool, "/root/rpm-tools/");
    }
    node.sh("dpkg -i --force-depends --skip-same-version --refuse-downgrade /root/rpm-tools/*.deb && rpm --dbpath /var/lib/rpm --initdb");
    for age in ["now", "earlier"] {
        node.push(&package(age, "rpm"), &format!("/root/{age}.rpm"));
    }
    // The packages that it needs are Debian's here, and rpm does not know them.
    let rpm = "rpm --dbpath /var/lib/rpm --nodeps";
    let before = node.snapshot();
    says(&node, &format!("{rpm} -i /root/earlier.rpm"));
    node.start("vms", true);
    holds_after_a_boot(&node);
    node.sh("printf '\\n# mine\\n' >> /etc/vhost-accord/vhost-accord.conf");
    says(&node, &format!("{rpm} -U /root/now.rpm"));
    assert!(node.sh("cat /etc/vhost-accord/vhost-accord.conf").contains("# mine"));
    node.start("vms", false);
    says(&node, &format!("{rpm} -U --oldpackage /root/earlier.rpm"));
    node.start("vms", false);
    assert_eq!(node.sh("systemctl is-enabled vhost-accord.service").trim(), "enabled", "upgrades keep it");
    says(&node, &format!("{rpm} -e vhost-accord"));
    node.sh("rm -f /etc/vhost-accord/vhost-accord.conf.rpmsave && rmdir /etc/vhost-accord || :");
    is_stock_again(&node, &before, "after removal");
}

/// On this machine, which made them.
#[test]
#[ignore = "needs a real node: make test"]
fn made_twice_they_are_the_same_and_have_no_errors() {
    compared_and_checked();
}

/// The same of a program that was built in two directories.
#[test]
#[ignore = "needs a real node: make test-all"]
fn built_twice_they_are_the_same_and_have_no_errors() {
    compared_and_checked();
}

/// Modes and names. What an image of ostree has in addition is written by `apply --root`: no package has it.
fn contents_are_as_the_documents_say() {
    let list = |program: &str, arguments: &[&str], file: PathBuf| {
        let output = std::process::Command::new(program).args(arguments).arg(file).output().unwrap();
        assert!(output.status.success(), "{program}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let file = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {}", words[0], words[words.len() - 1].trim_start_matches('.'))
        };
        lines.lines().map(file).collect::<Vec<_>>()
    };
    let deb = list("dpkg-deb", &["--contents"], package("now", "deb"));
    let rpm = list("rpm", &["-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES}\n]"], package("now", "rpm"));
    for line in [
        "-rwxr-xr-x /usr/bin/vhost-accord",
        "-rw-r--r-- /etc/vhost-accord/vhost-accord.conf",
        "-rw-r--r-- /etc/sos/extras.d/vhost-accord",
        "-rw-r--r-- /usr/lib/systemd/system/vhost-accord.service",
        "-rw-r--r-- /usr/lib/systemd/system/vhost-accord-watch.service",
        "-rw-r--r-- /usr/lib/systemd/system/vhost-accord-metrics.service",
        "-rw-r--r-- /usr/lib/systemd/system/vhost-accord-metrics.timer",
        "-rw-r--r-- /usr/share/vhost-accord/monitoring/alerts.yml",
        "-rw-r--r-- /usr/share/vhost-accord/monitoring/dashboard.json",
        "-rw-r--r-- /usr/lib/systemd/system-preset/80-vhost-accord.preset",
        "-rw-r--r-- /usr/share/man/man8/vhost-accord.8.gz",
    ] {
        assert!(deb.iter().any(|found| found == line), "deb: {line}: {deb:#?}");
        assert!(rpm.iter().any(|found| found == line), "rpm: {line}: {rpm:#?}");
    }
    for (list, directory) in [(&deb, "lib"), (&rpm, "lib64")] {
        let plugin = format!("-rwxr-xr-x /usr/{directory}/nagios/plugins/check_vhost_accord");
        assert!(list.contains(&plugin), "{plugin}: {list:#?}");
    }
    let greenboot = |list: &[String]| {
        let check = "-rwxr-xr-x /usr/lib/greenboot/check/wanted.d/40_vhost_accord.sh";
        list.iter()
            .filter(|line| line.contains("greenboot") && line.starts_with('-'))
            .map(|line| line == check)
            .collect::<Vec<_>>()
    };
    // Only nodes of images of RPM's family have greenboot; what is required there could roll a node back.
    assert_eq!((greenboot(&deb), greenboot(&rpm)), (Vec::new(), vec![true]));
    for list in [deb, rpm] {
        let later = |line: &String| line.contains("/sysusers.d/") || line.contains("/tmpfiles.d/");
        assert!(!list.iter().any(later), "{list:#?}");
    }
}

fn compared_and_checked() {
    let read = |age: &str, extension: &str| std::fs::read(package(age, extension)).unwrap();
    for extension in ["deb", "rpm"] {
        assert!(read("now", extension) == read("again", extension), "the {extension}s differ");
    }
    contents_are_as_the_documents_say();
    let lint = |program: &str, arguments: &[&str], file: PathBuf| {
        let output = std::process::Command::new(program).args(arguments).arg(file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{program}: {said}");
        assert!(
            !said.lines().any(|line| line.starts_with("E: ") || line.contains(": E: ")),
            "{program}: {said}"
        );
    };
    lint("lintian", &["--fail-on", "error"], package("now", "deb"));
    let settings = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/rpm/rpmlint.toml");
    lint("rpmlint", &["-c", settings], package("now", "rpm"));
}
