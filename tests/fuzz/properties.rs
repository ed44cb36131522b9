// SPDX-License-Identifier: Apache-2.0
//! What has to hold for every input, however broken or hostile: the fuzzer's targets call these, and so does
//! tests/plain_fuzz.rs with the seeds. A property fails by a panic.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use vhost_accord::accord::Agreed;
use vhost_accord::arrivals;
use vhost_accord::base::root::listing::Listings;
use vhost_accord::base::root::{Root, ss};
use vhost_accord::config::{Config, PortType, Raw};
use vhost_accord::convert;
use vhost_accord::dataplane::ovs::legacy;
use vhost_accord::dataplane::ovs::ovsdb;
use vhost_accord::edit::domain::{Turn, turn};
use vhost_accord::edit::virconf::{self, Value, VirConf};
use vhost_accord::edit::{logrotate, shell, unit};
use vhost_accord::explain::Reading;
use vhost_accord::facts::diag;
use vhost_accord::facts::domains::{Domain, Endpoint, EndpointKind, SocketMode, parse_domain};
use vhost_accord::facts::surroundings::{parse_label_type, parse_tmpfiles};
use vhost_accord::facts::{mounts, processes};
use vhost_accord::fingerprint::Fingerprint;
use vhost_accord::hook::input::may_speak_vhost_user;
use vhost_accord::journal::Journal;
use vhost_accord::report;
use vhost_accord::rules::peer;
use vhost_accord::rules::start::Start;

/// What it is called, and what has to hold.
pub type Target = (&'static str, fn(&[u8]));

/// Everything that reads what others write.
pub const TARGETS: [Target; 13] = [
    ("domain", domain),
    ("conversion", conversion),
    ("qemu_conf", qemu_conf),
    ("environment", environment),
    ("unit", unit_text),
    ("configuration", configuration),
    ("ovsdb", ovsdb_reply),
    ("log", log),
    ("journal", journal),
    ("packaged", packaged),
    ("kernel", kernel),
    ("fingerprint", fingerprint),
    ("netlink", netlink),
];

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// A first line of its own, and the rest.
fn two(data: &[u8]) -> Option<(&str, &str)> {
    text(data)?.split_once('\n')
}

/// One line in which a terminal finds nothing to act on.
fn is_harmless(line: &str) -> bool {
    line.chars().all(|c| c == '\t' || !c.is_control())
}

/// An error is one line without anything that a terminal would act on, once it is printed.
fn printable(error: &anyhow::Error) {
    let line = report::one_line(&format!("{error:#}"));
    assert!(!line.is_empty() && is_harmless(&line), "{line:?}");
}

/// A domain's XML, which the guest's owner can shape. What the hook passes over unread has no endpoints.
pub fn domain(data: &[u8]) {
    let Some(xml) = text(data) else { return };
    match parse_domain(xml) {
        Ok(domain) => assert!(domain.endpoints.is_empty() || may_speak_vhost_user(xml)),
        Err(error) => printable(&error),
    }
}

/// A domain's XML that goes over to another type of port, and a first line with the path: only that interface changes, twice
/// is once, and the way back gives every byte back, unless a `reconnect` went or the values were spelled oddly.
pub fn conversion(data: &[u8]) {
    let Some((path, xml)) = two(data) else { return };
    let Ok(before) = parse_domain(xml) else { return };
    for (interface, endpoint) in convert::interfaces(&before) {
        let old = endpoint.path.clone().unwrap_or_default();
        for to in PortType::ALL {
            let there = Turn { interface, to, path: path.into() };
            let turned = match turn(xml, std::slice::from_ref(&there)) {
                Ok(turned) => turned,
                Err(error) => {
                    printable(&error);
                    continue;
                }
            };
            let Ok(after) = parse_domain(&turned) else { panic!("no domain any more: {turned:?}") };
            expect_turned(&before, &after, &there);
            assert_eq!(turn(&turned, std::slice::from_ref(&there)).ok().as_ref(), Some(&turned), "twice");
            let back = Turn { interface, to: endpoint.mode.port_type(), path: old.clone() };
            let Ok(back) = turn(&turned, &[back]) else { continue };
            if !xml.contains(['&', '\t', '\n', '\r']) && !xml.contains("reconnect") {
                assert_eq!(back, xml);
            }
        }
    }
}

fn expect_turned(before: &Domain, after: &Domain, turn: &Turn) {
    let mut expected = before.clone();
    let cards =
        |endpoint: &&mut Endpoint| matches!(endpoint.device, EndpointKind::Interface | EndpointKind::Passt);
    let Some(endpoint) = expected.endpoints.iter_mut().filter(cards).nth(turn.interface) else {
        panic!("not there")
    };
    endpoint.path = Some(turn.path.clone());
    endpoint.mode = match turn.to {
        PortType::Dpdkvhostuserclient => SocketMode::Server,
        PortType::Dpdkvhostuser => SocketMode::Client,
    };
    if turn.to == PortType::Dpdkvhostuserclient {
        endpoint.reconnect = None;
    }
    // The path may be what a command line has to say to share memory.
    expected.shares_by_command_line = after.shares_by_command_line;
    assert_eq!(&expected, after);
}

/// Every value of a key as it is written.
fn assigned(conf: &str, key: &str) -> Vec<String> {
    match virconf::previous(conf, key) {
        Ok(virconf::Previous::Set { literals }) => literals,
        Ok(virconf::Previous::Absent { .. }) => Vec::new(),
        Err(error) => panic!("libvirt would reject {conf:?}: {error}"),
    }
}

/// qemu.conf: the edit sets its key and no other, twice is once, and the inverse gives every byte back.
pub fn qemu_conf(data: &[u8]) {
    let Some((value, conf)) = two(data) else { return };
    let Ok(before) = VirConf::parse(conf) else {
        assert!(virconf::set_text(conf, "group", value).is_err(), "what libvirt rejects is not edited");
        return;
    };
    let Ok(previous) = virconf::previous(conf, "group") else { panic!("parsed, and not") };
    let Ok(edited) = virconf::set_text(conf, "group", value) else { return };
    let Ok(after) = VirConf::parse(&edited) else { panic!("libvirt would reject {edited:?}") };
    assert_eq!(after.get("group"), Some(Value::Text(value.to_string())));
    for key in ["user", "dynamic_ownership", "hugetlbfs_mount", "namespaces", "cgroup_device_acl", "x", "a"] {
        assert_eq!(before.get(key), after.get(key), "{key}");
        assert_eq!(assigned(conf, key), assigned(&edited, key), "{key}");
    }
    assert_eq!(virconf::set_text(&edited, "group", value).ok().as_ref(), Some(&edited));
    assert_eq!(virconf::restore(&edited, "group", value, &previous).ok().as_deref(), Some(conf));
}

/// Environment files: what is quoted is read back as it was.
pub fn environment(data: &[u8]) {
    let Some(file) = text(data) else { return };
    let parsed = shell::EnvFile::parse(file);
    for (key, value) in parsed.iter() {
        let Some(quoted) = shell::quote(value) else { continue };
        let again = shell::EnvFile::parse(&format!("{key}={quoted}\n"));
        assert_eq!(again.iter().collect::<Vec<_>>(), [(key, value)], "{quoted}");
    }
    let word = vhost_accord::base::shell::quote(file);
    assert!(!word.chars().any(char::is_control), "{word:?}");
    // The shell drops newlines at the very end: the word is then of something that cannot be there.
    let slash: &[u8] = if data.ends_with(b"\n") { b"/" } else { b"" };
    assert_eq!(unquoted(&word), Some([data, slash].concat()), "{word:?}");
}

/// What POSIX sh makes of a word in single quotes, with escaped quotes between, or of `"$(printf OCTAL)"`.
fn unquoted(word: &str) -> Option<Vec<u8>> {
    if let Some(octal) = word.strip_prefix("\"$(printf '").and_then(|rest| rest.strip_suffix("')\"")) {
        let byte = |digits: &str| u8::from_str_radix(digits, 8).ok();
        return octal.split('\\').skip(1).map(byte).collect();
    }
    let (mut out, mut quoted, mut rest) = (Vec::new(), false, word.bytes());
    while let Some(byte) = rest.next() {
        match byte {
            b'\'' => quoted = !quoted,
            b'\\' if !quoted => out.push(rest.next()?),
            _ if quoted || byte.is_ascii_alphanumeric() || b"_./-".contains(&byte) => out.push(byte),
            _ => return None,
        }
    }
    (!quoted).then_some(out)
}

/// Unit files: a drop-in of ours behind them decides.
pub fn unit_text(data: &[u8]) {
    let Some(file) = text(data) else { return };
    let parsed = unit::UnitText::parse(file);
    let ours = unit::UnitText::parse("[Service]\nUMask=0002\nExecStartPre=\n");
    let merged = unit::UnitText::merge([parsed, ours]);
    assert_eq!(merged.last("Service", "UMask"), Some("0002"));
    assert_eq!(merged.list("Service", "ExecStartPre"), [""; 0]);
}

/// Our own configuration: it is taken, or refused in one line.
pub fn configuration(data: &[u8]) {
    let Some(file) = text(data) else { return };
    let mut raw = Raw::defaults();
    let taken = raw.overlay(Path::new("/etc/vhost-accord/vhost-accord.conf"), file);
    if let Err(error) = taken.and_then(|()| Config::from_raw(&raw).map(drop)) {
        printable(&error);
        assert!(format!("{error:#}").contains("vhost-accord.conf"), "{error:#} does not say where");
    }
}

/// A database that says what it likes, then hangs up.
struct Database {
    root: Root,
    listener: UnixListener,
    _directory: tempfile::TempDir,
}

static DATABASE: OnceLock<Mutex<Database>> = OnceLock::new();

fn database() -> &'static Mutex<Database> {
    DATABASE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("db.sock")).expect("a socket");
        let root = Root::open(directory.path()).expect("a root");
        Mutex::new(Database { root, listener, _directory: directory })
    })
}

/// OVSDB's reply: read or refused, in one line, and in time.
pub fn ovsdb_reply(data: &[u8]) {
    let database = database().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Ok(conversation) =
        ovsdb::Ovsdb::connect(&database.root, Path::new("/db.sock"), Duration::from_secs(2))
    else {
        panic!("nobody listens")
    };
    let (mut peer, _) = database.listener.accept().expect("a peer");
    // What is longer than the kernel's buffer would need a thread of its own: other tests have long replies.
    let framed =
        data.strip_prefix(b"+").map(|rows| [b"{\"id\":0,\"error\":null,\"result\":", rows, b"}"].concat());
    let reply = framed.as_deref().unwrap_or(data);
    let _ = peer.write_all(&reply[..reply.len().min(100_000)]);
    let _ = peer.shutdown(std::net::Shutdown::Write);
    let asked = [Path::new("/run/openvswitch/vhu0"), Path::new("/var/lib/vhost_sockets/vhu1")];
    match conversation.ask(&asked).and_then(ovsdb::Question::answer) {
        Ok(join) => assert!(join.ports.iter().all(|port| !port.name.is_empty() || !port.uuid.is_empty())),
        Err(error) => printable(&error),
    }
    let mut request = [0; 4096];
    let _ = peer.set_nonblocking(true).and_then(|()| peer.read(&mut request));
}

/// Logs: nothing that was read reaches a terminal as it was.
pub fn log(data: &[u8]) {
    let mut reading = Reading::default();
    vhost_accord::explain::read::stream("a log", data, &mut reading).expect("memory is read");
    reading.finish();
    let shown = reading
        .events
        .iter()
        .map(|event| event.line.as_str())
        .chain(reading.examples.iter().map(String::as_str));
    for line in shown {
        assert!(is_harmless(&report::one_line(line)), "{line:?}");
    }
}

/// What we keep of our own: what is read is written the same.
pub fn journal(data: &[u8]) {
    if let Ok(journal) = serde_json::from_slice::<Journal>(data) {
        let text = serde_json::to_string(&journal).expect("written");
        assert_eq!(serde_json::from_str::<Journal>(&text).ok(), Some(journal));
    }
    if let Ok(agreed) = serde_json::from_slice::<Agreed>(data) {
        let text = serde_json::to_string(&agreed).expect("written");
        assert_eq!(serde_json::from_str::<Agreed>(&text).ok(), Some(agreed));
    }
}

/// Files of packages: an edit touches its own lines, and twice is once.
pub fn packaged(data: &[u8]) {
    let Some(file) = text(data) else { return };
    let edited = logrotate::set_owner(file, "openvswitch");
    assert!(logrotate::owners(&edited).iter().all(|owner| *owner == "openvswitch"));
    assert_eq!(logrotate::owners(&edited).len(), logrotate::owners(file).len());
    assert_eq!(logrotate::set_owner(&edited, "openvswitch"), edited);
    for kind in [legacy::Kind::Unit, legacy::Kind::OvsCtl] {
        let undone = legacy::undo(kind, file);
        assert_eq!(legacy::find(kind, &undone), []);
        assert_eq!(legacy::undo(kind, &undone), undone);
        assert_eq!(legacy::find(kind, file).is_empty(), undone == file);
    }
}

/// What the kernel says, into which names of others go; and what programs of a node said of it in a report.
pub fn kernel(data: &[u8]) {
    let _ = mounts::parse_hugetlb(data, Some(2 << 20));
    let _ = processes::parse_start(data);
    let _ = parse_label_type(data);
    let mut listings = Listings::default();
    for command in ["ls -lanibR /d", "ls -laZ /d", "getfacl -n -p -R /d"] {
        listings.take(command, data);
    }
    let Some(text) = text(data) else { return };
    let _ = ss::parse(text);
    let _ = ovsdb::report::parse(text);
    let _ = mounts::is_read_only(data, Path::new("/run/x"));
    let _ = processes::parse_status(text);
    let _ = mounts::default_page_size(text);
    let _ = parse_tmpfiles(Path::new("/usr/lib/tmpfiles.d/x.conf"), text);
    let clean = report::clean(text);
    assert!(!clean.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{clean:?}");
}

/// A piece of sock_diag's answer, in which names are whatever somebody bound.
pub fn netlink(data: &[u8]) {
    let mut found = Vec::new();
    if let Err(error) = diag::parse(data, &mut found) {
        printable(&error);
    }
    assert!(found.len() <= data.len() / 16, "no message is shorter than its header");
    let paths = found.iter().filter_map(|stream| stream.path.as_deref());
    paths.for_each(|path| {
        assert!(!path.as_os_str().is_empty() && !path.as_os_str().as_encoded_bytes().contains(&0))
    });
}

/// What another node says: bounded numbers, commands of one line, and nothing that counting could overflow on.
pub fn fingerprint(data: &[u8]) {
    let there = match vhost_accord::fingerprint::parse(data, "FILE") {
        Ok(there) => there,
        Err(error) => return printable(&error),
    };
    let text = serde_json::to_vec(&there).expect("written");
    let again =
        vhost_accord::fingerprint::parse(&text, "FILE").expect("what was read is written as it is read");
    assert_eq!(again, there);
    let here = Fingerprint { vms: Vec::new(), ..there.clone() };
    let mut start = Start::told(&here).expect("a start");
    let arrivals = arrivals::look(&here, there.vms.iter().map(|vm| &vm.domain));
    let compared = peer::judge(peer::Comparison {
        here: &here,
        there: &there,
        domains: &[],
        arrivals: &arrivals,
        start: &mut start,
        configured: Some((64055, 42477)),
    });
    assert_eq!(compared.vms.len(), there.vms.len());
    for finding in &compared.findings {
        assert!(is_harmless(&report::one_line(&finding.seen)) && is_harmless(&finding.fix), "{finding:?}");
    }
}
