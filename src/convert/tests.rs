// SPDX-License-Identifier: Apache-2.0
//! Every case of what an interface and its port may be.

use super::*;
use crate::dataplane::ovs::ovsdb::SwitchConfig;
use crate::facts::domains::parse_domain;

const CLIENT: PortType = PortType::Dpdkvhostuserclient;
const SERVER: PortType = PortType::Dpdkvhostuser;
const DIRECTORY: &str = "/var/lib/vhost_sockets";
const OWN: &str = "/run/openvswitch/vhu0";
const SHARED: &str = "/var/lib/vhost_sockets/vhu0";

fn endpoint(mode: &str, path: &str) -> Endpoint {
    let xml = format!(
        "<domain><name>x</name><devices><interface type='vhostuser'><source path='{path}' mode='{mode}'/></interface></devices></domain>"
    );
    parse_domain(&xml).unwrap().endpoints.remove(0)
}

fn port(kind: PortType, server_path: Option<&str>) -> VhostPort {
    VhostPort::plain("vhu0", kind, server_path.map(PathBuf::from))
}

fn of_nova(port: VhostPort) -> VhostPort {
    VhostPort { vm_uuid: Some("v".to_string()), ..port }
}

fn join(port: Option<VhostPort>) -> Join {
    let config = SwitchConfig { dpdk_initialized: Some(true), ..SwitchConfig::default() };
    Join { config, ports: port.into_iter().collect(), others: Vec::new() }
}

fn decided(wanted: PortType, endpoint: &Endpoint, join: &Join) -> Decision {
    let terms = Terms { wanted, socket_directory: Some(Path::new(DIRECTORY)) };
    decide(&terms, join, (0, endpoint), &mut |_, _| Known::Known(None))
}

fn turn(to: PortType, path: &str) -> Option<Turn> {
    Some(Turn { interface: 0, to, path: path.into() })
}

#[test]
fn a_port_made_by_hand_is_converted_with_its_interface() {
    let before = port(SERVER, None);
    let after = port(CLIENT, Some(SHARED)).state();
    let step = Step { turn: turn(CLIENT, SHARED), port: Some((before.state(), after)) };
    for path in [OWN, "/var/run/openvswitch/vhu0"] {
        assert_eq!(
            decided(CLIENT, &endpoint("client", path), &join(Some(before.clone()))),
            Decision::Convert(step.clone())
        );
    }
    let before = port(CLIENT, Some(SHARED));
    let step = Step { turn: turn(SERVER, OWN), port: Some((before.state(), port(SERVER, None).state())) };
    assert_eq!(decided(SERVER, &endpoint("server", SHARED), &join(Some(before))), Decision::Convert(step));
    // The domain is as wanted, its port not.
    let before = port(SERVER, None);
    let step = Step { turn: None, port: Some((before.state(), port(CLIENT, Some(SHARED)).state())) };
    assert_eq!(decided(CLIENT, &endpoint("server", SHARED), &join(Some(before))), Decision::Convert(step));
}

#[test]
fn a_domain_follows_a_port_that_is_as_wanted_to_where_that_has_its_socket() {
    let at = "/var/lib/vhost_sockets/other";
    let step = |to, path| Decision::Convert(Step { turn: turn(to, path), port: None });
    assert_eq!(
        decided(CLIENT, &endpoint("client", OWN), &join(Some(port(CLIENT, Some(at))))),
        step(CLIENT, at)
    );
    assert_eq!(
        decided(SERVER, &endpoint("server", SHARED), &join(Some(port(SERVER, None)))),
        step(SERVER, OWN)
    );
    let mut below = join(Some(port(SERVER, None)));
    below.config.other_config.insert("vhost-sock-dir".to_string(), "vhost".to_string());
    assert_eq!(
        decided(SERVER, &endpoint("server", SHARED), &below),
        step(SERVER, "/run/openvswitch/vhost/vhu0")
    );
}

#[test]
fn novas_port_is_never_changed_and_the_domain_follows_it() {
    let step = |to, path| Decision::Convert(Step { turn: turn(to, path), port: None });
    let (server, client) = (of_nova(port(SERVER, None)), of_nova(port(CLIENT, Some(SHARED))));
    assert_eq!(decided(CLIENT, &endpoint("client", OWN), &join(Some(server.clone()))), Decision::Nothing);
    assert_eq!(decided(CLIENT, &endpoint("server", SHARED), &join(Some(server))), step(SERVER, OWN));
    assert_eq!(decided(SERVER, &endpoint("client", OWN), &join(Some(client))), step(CLIENT, SHARED));
}

#[test]
fn what_agrees_is_left_alone_and_a_port_is_not_invented() {
    assert_eq!(
        decided(CLIENT, &endpoint("server", SHARED), &join(Some(port(CLIENT, Some(SHARED))))),
        Decision::Nothing
    );
    assert_eq!(decided(SERVER, &endpoint("client", OWN), &join(Some(port(SERVER, None)))), Decision::Nothing);
    assert_eq!(decided(CLIENT, &endpoint("server", "/elsewhere/x"), &join(None)), Decision::Nothing);
    let step = Decision::Convert(Step { turn: turn(CLIENT, SHARED), port: None });
    assert_eq!(decided(CLIENT, &endpoint("client", OWN), &join(None)), step);
    let mut other = join(None);
    other.others.push(("vhu0".to_string(), "internal".to_string()));
    assert_eq!(decided(CLIENT, &endpoint("client", OWN), &other), Decision::Nothing);
}

#[test]
fn a_port_that_someone_has_or_may_have_is_not_touched() {
    let terms = Terms { wanted: CLIENT, socket_directory: Some(Path::new(DIRECTORY)) };
    let (endpoint, join) = (endpoint("client", OWN), join(Some(port(SERVER, None))));
    let mut asked = PathBuf::new();
    let decision = decide(&terms, &join, (0, &endpoint), &mut |_, path| {
        asked = path.to_path_buf();
        Known::Known(Some("VM a".to_string()))
    });
    assert_eq!(decision, Decision::InUse { port: "vhu0".to_string(), by: "VM a".to_string() });
    assert_eq!(asked, Path::new(OWN));
    let decision = decide(&terms, &join, (0, &endpoint), &mut |_, _| Known::Unknown("no file".to_string()));
    assert!(
        matches!(decision, Decision::Left(why) if why == "it is unknown whether port vhu0 is in use: no file")
    );
}

#[test]
fn what_is_not_ours_or_does_not_fit_is_left_and_said() {
    let left = |decision: Decision, word: &str| match decision {
        Decision::Left(why) => assert!(why.contains(word), "{why}"),
        other => panic!("{word}: {other:?}"),
    };
    let server = || join(Some(port(SERVER, None)));
    left(decided(CLIENT, &endpoint("client", "/run/vpp/vhu0"), &server()), "neither in");
    left(decided(CLIENT, &endpoint("client", "/run/openvswitch/below/vhu0"), &server()), "neither in");
    left(decided(SERVER, &endpoint("server", "/var/lib/vhost_sockets/../vhu0"), &join(None)), "neither in");
    for path in ["/etc/passwd", OWN, "/var/lib/vhost_sockets/a/b", "relative"] {
        left(
            decided(CLIENT, &endpoint("client", OWN), &join(Some(port(CLIENT, Some(path))))),
            "the socket of port vhu0 is ",
        );
    }
    for directory in ["/etc", "../../etc"] {
        let mut lies = server();
        lies.config.other_config.insert("vhost-sock-dir".to_string(), directory.to_string());
        left(decided(SERVER, &endpoint("server", SHARED), &lies), "the socket of port vhu0 is ");
    }
    let long = Path::new("/").join("d".repeat(LONGEST_PATH - "/".len() - "/vhu0".len()));
    let fits = |directory: &Path| {
        let terms = Terms { wanted: CLIENT, socket_directory: Some(directory) };
        decide(&terms, &server(), (0, &endpoint("client", OWN)), &mut |_, _| Known::Known(None))
    };
    assert!(matches!(fits(&long), Decision::Convert(_)));
    left(fits(Path::new(&format!("{}d", long.display()))), "longer than the 107 bytes");
    let terms = Terms { wanted: CLIENT, socket_directory: None };
    left(
        decide(&terms, &server(), (0, &endpoint("client", OWN)), &mut |_, _| Known::Known(None)),
        "vhost-accord apply",
    );
}

#[test]
fn interfaces_are_counted_as_the_document_has_them() {
    let domain = parse_domain(
        "<domain><name>x</name><devices><interface type='vhostuser'><backend type='passt'/></interface>\
         <disk type='vhostuser'><source path='/run/openvswitch/d'/></disk><interface type='bridge'/>\
         <interface type='vhostuser'><source path='/run/openvswitch/vhu0' mode='client'/></interface></devices></domain>",
    )
    .unwrap();
    let found: Vec<_> =
        interfaces(&domain).map(|(number, endpoint)| (number, endpoint.path.clone().unwrap())).collect();
    assert_eq!(found, [(1, PathBuf::from(OWN))]);
}
