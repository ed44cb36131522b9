// SPDX-License-Identifier: Apache-2.0
//! `compare`: what is in a VM's way, who differs from most, what each exit code means, and that equal nodes are one group.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use vhost_accord::fingerprint;
use vhost_accord::fleet::{self, Compared, Member};

const ALONE: &[u8] = include_bytes!("fuzz/seeds/fingerprint/alone");

/// A node with a VM of each kind of its own.
fn node(name: &str) -> Value {
    // Sockets have names of their own, and nova makes the ports.
    let text = std::str::from_utf8(ALONE).unwrap();
    let text = text.replace("vhuc0", &format!("{name}-vhuc0")).replace("vhus0", &format!("{name}-vhus0"));
    let mut node: Value = serde_json::from_str(&text).unwrap();
    node["host"] = json!(name);
    node["default_page_size"] = json!(1 << 21);
    for vm in node["vms"].as_array_mut().unwrap() {
        vm["nova_ports"] = json!([vm["domain"]["endpoints"][0]["target"]]);
        let domain = &mut vm["domain"];
        domain["name"] = json!(format!("{name}-{}", domain["name"].as_str().unwrap()));
        domain["uuid"] = json!(format!("{name}-{}", domain["uuid"].as_str().unwrap()));
    }
    node
}

fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut node = node(name);
    change(&mut node);
    node
}

fn compare(nodes: &[Value]) -> Compared {
    let member = |node: &Value| {
        let fingerprint = fingerprint::parse(&serde_json::to_vec(node).unwrap(), "FILE").unwrap();
        Member { file: format!("{}.json", node["host"]), fingerprint }
    };
    fleet::compare(&nodes.iter().map(member).collect::<Vec<_>>()).unwrap()
}

/// What is in the way from the first node to the second, and what is told of it.
fn between(first: Value, second: Value) -> (Vec<&'static str>, Vec<&'static str>) {
    let compared = compare(&[first, second]);
    let cell = compared.matrix.iter().find(|cell| (cell.from, cell.to) == (0, 1)).unwrap();
    let told = cell.findings.iter().map(|example| example.finding.id);
    (cell.obstacles.iter().map(|obstacle| obstacle.id).collect(), told.collect())
}

#[test]
fn equal_nodes_take_each_others_vms() {
    let (obstacles, told) = between(node("a"), node("b"));
    assert!(obstacles.is_empty() && told.is_empty(), "{obstacles:?} {told:?}");
}

#[test]
fn each_obstacle_is_named() {
    let target = |change: fn(&mut Value)| between(node("a"), changed("b", change));
    let one_mode = target(|node| node["modes"] = json!(["dpdkvhostuserclient"]));
    assert_eq!(one_mode, (vec!["peer-mode-not-here"], vec!["peer-mode-not-here"]));
    let full = target(|node| node["pages"][0]["available"] = json!(1));
    assert_eq!(full.0, ["hugepages-not-enough"]);
    let unmounted = target(|node| node["pages"][0]["mounts"] = json!([]));
    assert_eq!(unmounted.0, ["hugepages-not-mounted"]);
    let elsewhere = target(|node| {
        node["socket_directory"] = json!("/srv/vhost");
        node["place"]["directories"][1]["path"] = json!("/srv/vhost");
    });
    assert_eq!(elsewhere.0, ["unknown"]);
    assert!(elsewhere.1.contains(&"peer-unknown"), "{elsewhere:?}");
    let nobody = target(|node| node["qemu"] = Value::Null);
    assert_eq!(nobody.0, ["unknown"]);
    let converts = target(|node| {
        node["modes"] = json!(["dpdkvhostuserclient"]);
        node["incoming"] = json!("dpdkvhostuserclient");
        node["socket_directory"] = json!("/srv/vhost");
        node["agreed"]["socket-directory"] = json!("/srv/vhost");
        let mut own = node["place"]["directories"][1].clone();
        own["path"] = json!("/srv/vhost");
        node["place"]["directories"].as_array_mut().unwrap().push(own);
    });
    assert!(converts.0.is_empty(), "{converts:?}");
    let closed = target(|node| {
        let directory = &mut node["place"]["directories"][1]["fact"]["known"]["present"]["chain"][3];
        (directory["uid"], directory["gid"]) = (json!(0), json!(0));
    });
    assert_eq!(closed.0, ["socket-directory-refuses-qemu"]);
    let gone = target(|node| {
        let missing = json!({"first": "/var/lib/vhost_sockets", "above": []});
        node["place"]["directories"][1]["fact"] = json!({"known": {"missing": missing}});
    });
    assert_eq!(gone.0, ["socket-directory-missing"]);
    let twin = between(node("a"), changed("b", |node| node["vms"][0]["domain"]["name"] = json!("a-vmc")));
    assert_eq!(twin.0, ["peer-vm-exists"]);
    let private = changed("a", |node| {
        let domain = &mut node["vms"][0]["domain"];
        domain["memory"]["access"] = Value::Null;
        domain["shares_by_command_line"] = json!(false);
    });
    assert_eq!(between(private, node("b")).0, ["memory-not-shared"]);
    // What an older program did not tell is not known, and nobody is accused.
    let older = target(|node| node["default_page_size"] = Value::Null);
    assert_eq!(older.0, ["unknown"]);
}

/// Nobody makes ports when a VM comes: those that are there already count, under the names of each VM's sockets.
#[test]
fn ports_of_the_target_count_where_nobody_makes_them() {
    let by_hand = |node: &mut Value| {
        node["vms"].as_array_mut().unwrap().iter_mut().for_each(|vm| vm["nova_ports"] = json!([]));
    };
    let source = || changed("a", by_hand);
    assert_eq!(between(source(), node("b")).0, ["port-missing"]);
    // As the source has them: its own names, on the other node.
    let prepared = |change: fn(&mut Value)| {
        let mut node = changed("b", |node| node["place"] = self::node("a")["place"].clone());
        let entries = node["place"]["entries"].as_object_mut().unwrap();
        entries.remove("/var/lib/vhost_sockets/a-vhus0").unwrap();
        change(&mut node["place"]);
        between(source(), node).0
    };
    assert!(prepared(|_| {}).is_empty(), "{:?}", prepared(|_| {}));
    assert_eq!(
        prepared(|place| place["switch"]["known"]["ports"][1]["kind"] = json!("dpdkvhostuser")),
        ["both-ends-server"]
    );
    assert_eq!(
        prepared(|place| place["switch"]["known"]["ports"][1]["server_path"] = json!("/srv/a-vhus0")),
        ["port-path-differs"]
    );
    let stale = |place: &mut Value| place["entries"]["/run/openvswitch/a-vhuc0"]["liveness"] = json!("stale");
    assert_eq!(prepared(stale), ["server-socket-stale"]);
    assert_eq!(prepared(|place| place["switch"] = json!({"unknown": "no answer"})), ["unknown"]);
    // Nodes that have something of the same names are told apart, whatever else is equal.
    let twins = [source(), node("b"), changed("c", |node| node["place"] = self::node("a")["place"].clone())];
    let vm = compare(&twins).vms.into_iter().find(|vm| vm.name == "a-vmc").unwrap();
    assert_eq!((vm.targets, vm.obstacles.len()), (1, 1), "{vm:?}");
}

#[test]
fn many_equal_nodes_are_one_group_and_who_differs_is_named() {
    let mut nodes: Vec<Value> = (0..40).map(|number| node(&format!("n{number}"))).collect();
    nodes[7]["group"]["id"] = json!(5);
    nodes[9]["pages"][0]["available"] = json!(3);
    nodes[12]["vms"] = json!([]);
    let compared = compare(&nodes);
    assert_eq!(compared.groups.iter().map(|group| group.nodes).collect::<Vec<_>>(), [39, 1]);
    let differs: Vec<_> = compared.nodes.iter().filter(|node| !node.differs.is_empty()).collect();
    assert_eq!(differs.len(), 1);
    let difference = &differs[0].differs[0];
    assert_eq!((differs[0].name.as_str(), difference.what), ("n7", "shared group"));
    assert_eq!((difference.here.as_str(), difference.most.as_str(), difference.nodes), ("5", "42477", 39));
    // 38 nodes have two VMs, one of the 39 has none; each VM has 38 nodes of its group to go to.
    let inner = &compared.matrix[0];
    assert_eq!(
        (inner.moves, inner.obstacles[0].id, inner.obstacles[0].count),
        (38 * 2 * 38, "hugepages-not-enough", 37 * 2)
    );
    assert_eq!(inner.succeed, inner.moves - 37 * 2);
    assert_eq!(compared.vms.len(), 39 * 2);
    assert!(compared.vms.iter().all(|vm| vm.targets >= 38), "{:?}", compared.vms[0]);
    // The fix is for the node that is not like the others.
    let gid: Vec<_> = compared.matrix.iter().flat_map(|cell| &cell.findings).collect();
    let gid: Vec<_> = gid.iter().filter(|example| example.finding.id == "peer-gid-differs").collect();
    assert_eq!(gid.iter().map(|example| example.to.as_str()).collect::<Vec<_>>(), ["n7"]);
}

#[test]
fn too_many_groups_become_one_and_no_node_is_lost() {
    let differ = |number: usize| changed(&format!("n{number}"), |node| node["group"]["id"] = json!(number));
    let compared = compare(&(0..60).map(differ).collect::<Vec<_>>());
    assert_eq!(compared.groups.len(), 25);
    assert_eq!(compared.groups.iter().map(|group| group.nodes).sum::<usize>(), 60);
    assert_eq!(compared.matrix.iter().map(|cell| cell.moves).sum::<u64>(), 60 * 59 * 2);
}

fn program(directory: &TempDir, files: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vhost-accord"));
    let output = command.arg("compare").args(files).current_dir(directory.path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn bad_files_get_a_line_each_and_the_rest_is_compared() {
    let directory = TempDir::new().unwrap();
    let write = |name: &str, node: &Value| {
        fs::write(directory.path().join(name), serde_json::to_vec(node).unwrap()).unwrap();
    };
    write("a", &node("a"));
    write("b", &node("b"));
    write("c", &changed("c", |node| node["pages"][0]["available"] = json!(3)));
    write("d", &changed("d", |node| node["modes"] = json!(["dpdkvhostuserclient"])));
    fs::write(directory.path().join("empty"), "").unwrap();
    assert_eq!(program(&directory, &["a", "b"]).0, Some(0));
    let (code, shown, complaints) = program(&directory, &["a", "empty", "b", "gone"]);
    assert_eq!(code, Some(1));
    assert!(shown.contains("all VMs can migrate, with advice"), "{shown}");
    assert_eq!(complaints.lines().count(), 2, "{complaints}");
    assert!(
        complaints.contains("empty is empty: expected the output of 'vhost-accord check --json'"),
        "{complaints}"
    );
    assert!(complaints.contains("gone: No such file"), "{complaints}");
    // That one node is full is advice where the VMs fit elsewhere; that one cannot take them is not.
    assert_eq!(program(&directory, &["a", "b", "c"]).0, Some(1));
    assert_eq!(program(&directory, &["a", "b", "d", "--json"]).0, Some(2));
    assert_eq!(program(&directory, &["a", "c"]).0, Some(2));
    // The page has what a fingerprint says as text, and is whole or not there.
    write("e", &node("<script>alert(1)</script>"));
    assert_eq!(program(&directory, &["a", "d", "e", "--html", "page"]).0, Some(2));
    let page = fs::read_to_string(directory.path().join("page")).unwrap();
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script>alert"),
        "{page}"
    );
    assert!(page.contains("peer-mode-not-here") && page.trim_end().ends_with("</html>"), "{page}");
    let (code, shown, complaints) = program(&directory, &["gone"]);
    assert_eq!((code, shown.as_str()), (Some(1), ""));
    assert!(complaints.contains("none of these files is a fingerprint"), "{complaints}");
}
