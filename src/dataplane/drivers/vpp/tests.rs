// SPDX-License-Identifier: Apache-2.0

use super::super::tests::{looked, served};
use super::*;

const UNIT: (&str, &str) =
    ("/usr/lib/systemd/system/vpp.service", "ExecStart=/usr/bin/vpp -c /etc/vpp/startup.conf");

/// As the package has it (src/vpp/conf/startup.conf), what is commented out left out.
const STARTUP: &str = "
unix {
  nodaemon
  log /var/log/vpp/vpp.log
  full-coredump
  cli-listen /run/vpp/cli.sock
  gid vpp
  # exec /etc/vpp/other.cli
}
api-trace {
## This stanza controls binary API tracing. Unless there is a very strong reason,
## please leave this feature enabled.
  on
}
api-segment { gid other }
socksvr { default }
";

fn with_exec(commands: &str) -> Vec<(&'static str, String)> {
    let startup = STARTUP.replace("gid vpp", "gid vpp exec /etc/vpp/x.cli");
    vec![(UNIT.0, UNIT.1.to_string()), (CONFIG, startup), ("/etc/vpp/x.cli", commands.to_string())]
}

fn found(section: &str, files: &[(&'static str, String)]) -> Result<Declared, String> {
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    looked(&DRIVER, section, &files)
}

#[test]
fn the_section_is_filled_by_its_own_configuration() {
    let declared = looked(&DRIVER, "", &[UNIT, (CONFIG, STARTUP)]).unwrap();
    assert_eq!((declared.unit.as_str(), declared.group.as_deref()), ("vpp.service", Some("vpp")));
    assert_eq!(declared.sockets.directory, Path::new("/run/vpp-vhost"));
    assert_eq!(declared.control, [Path::new("/run/vpp/cli.sock"), Path::new("/run/vpp/api.sock")]);
    let lines = "comment { x }\ncreate vhost-user socket /run/vh/a server\ncreate vhost socket /run/vh/b server gso\n\
        set interface state VirtualEthernet0/0/0 up\ncreate bridge-domain 1\n";
    let declared = found("", &with_exec(lines)).unwrap();
    assert_eq!(
        (declared.sockets.directory.as_path(), declared.made_by),
        (Path::new("/run/vh"), MadeBy::Dataplane)
    );
    let declared = found("", &with_exec("create vhost-user socket /run/vh/a\n")).unwrap();
    assert_eq!(declared.made_by, MadeBy::Qemu);
    // What the section says counts.
    let declared = found("sockets = /run/mine\nmade-by = dataplane\n", &with_exec(lines)).unwrap();
    assert_eq!(declared.sockets.directory, Path::new("/run/mine"));
    let startup = "unix{cli-listen localhost:5002 runtime-dir /run/x}socksvr{socket-name /run/y/api}";
    let startup = Startup::parse(startup);
    assert_eq!(startup.control(), ["/run/y/api"]);
}

#[test]
fn what_is_not_clear_has_to_be_said() {
    let both = "create vhost-user socket /run/vh/a server\ncreate vhost-user socket /run/vq/b\n";
    assert!(
        found("", &with_exec(both))
            .unwrap_err()
            .starts_with("set made-by, in a section for each: /etc/vpp/x.cli")
    );
    assert_eq!(found("made-by = qemu\n", &with_exec(both)).unwrap().sockets.directory, Path::new("/run/vq"));
    let two = "create vhost-user socket /run/vh/a server\ncreate vhost-user socket /run/vq/b server\n";
    assert!(found("", &with_exec(two)).unwrap_err().starts_with("set sockets: /etc/vpp/x.cli"));
    // Beside what QEMU must not reach.
    let beside = "create vhost-user socket /run/vpp/a server\n";
    let error = found("", &with_exec(beside)).unwrap_err();
    assert!(
        error.contains("control: expected paths that sockets does not have, not /run/vpp/cli.sock"),
        "{error}"
    );
    assert_eq!(looked(&DRIVER, "", &[]).unwrap_err(), "unit = vpp.service: there is no such unit");
}

/// What VPP sends to a new connection (src/vlib/unix/cli.c, `charmode_option`).
const OPTIONS: [u8; 33] = [
    255, 252, 34, 255, 254, 34, 255, 251, 3, 255, 253, 3, 255, 251, 1, 255, 254, 1, 255, 253, 24, 255, 250,
    24, 1, 255, 240, 255, 253, 31, 255, 250, 31,
];

/// As `show_vhost_user_command_fn` writes it, to a terminal: lines end with CR and LF.
const SAID: &str = concat!(
    "Virtio vhost-user interfaces\r\nGlobal:\r\n  coalesce frames 32 time 1.000000e-03\r\n",
    "  Number of rx virtqueues in interrupt mode: 0\r\n\r\n",
    "Interface: VirtualEthernet0/0/0 (ifindex 1)\r\nvirtio_net_hdr_sz 12\r\n features mask (0xfffffffbdfffa27c): \r\n",
    " features (0x150208000): \r\n   VIRTIO_NET_F_MRG_RXBUF (15)\r\n\r\n",
    " socket filename /run/vh/a b type server errno \"Success\"\r\n\r\n",
    " rx placement: \r\n   thread 1 on vring 1, polling\r\n Memory regions (total 2)\r\n region fd\r\n\r\n",
    "Interface: VirtualEthernet0/0/1 (ifindex 2)\r\nvirtio_net_hdr_sz 0\r\n\r\n",
    " socket filename /run/vq/b type client errno \"Permission denied\"\r\n\r\n rx placement: \r\n",
    " Memory regions (total 0)\r\n",
);

#[test]
fn it_is_asked_as_by_vppctl() {
    let root = Root::open(Path::new("/")).unwrap();
    let declared = |socket: PathBuf| Declared {
        name: "vpp".to_string(),
        driver: "vpp".to_string(),
        unit: "vpp.service".to_string(),
        user: None,
        group: None,
        sockets: crate::config::Sockets { directory: "/run/vh".into(), pattern: None },
        made_by: MadeBy::Dataplane,
        control: vec![socket],
    };
    let (_directory, socket) = served(|stream| {
        stream.write_all(&OPTIONS).unwrap();
        stream.write_all(&[1, 255, 240]).unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"show vhost-user\n") {
            let mut bytes = [0; 64];
            let length = stream.read(&mut bytes).unwrap();
            assert_ne!(length, 0);
            asked.extend_from_slice(&bytes[..length]);
        }
        assert!(asked.starts_with(b"\xff\xfa\x18\0vppctl\xff\xf0"), "{asked:?}");
        stream.write_all(b"\0").unwrap();
        for part in SAID.as_bytes().chunks(100) {
            stream.write_all(part).unwrap();
        }
        stream.write_all(b"\0").unwrap();
    });
    let ports = ports(&root, &declared(socket)).unwrap();
    let [server, client] = ports.as_slice() else { panic!("{ports:?}") };
    assert_eq!((server.name.as_str(), server.path.to_str()), ("VirtualEthernet0/0/0", Some("/run/vh/a b")));
    assert_eq!((server.connected, server.made_by, &server.error), (true, MadeBy::Dataplane, &None));
    assert_eq!((client.connected, client.made_by), (false, MadeBy::Qemu));
    assert_eq!(client.error.as_deref(), Some("Permission denied"));
    // Closed in the middle, and something else that listens there.
    let (_directory, socket) = served(|stream| stream.write_all(&OPTIONS).unwrap());
    assert!(super::ports(&root, &declared(socket)).is_err());
    assert!(parse("unknown input `vhost-user'").is_err());
}
