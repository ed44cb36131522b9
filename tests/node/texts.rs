// SPDX-License-Identifier: Apache-2.0
//! Texts that a terminal or a shell would act on, and the files that hold them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Each would do something, or look like something else, where it is not quoted, escaped or cut.
pub const TEXTS: [&str; 21] = [
    "\x1b[2J\x1b]0;owned\x07x",
    "a\n    fix: injected\nb",
    ";injected;#",
    "$(injected)",
    "`injected`",
    "it's\"; injected; \"",
    "'; injected; '",
    "a b\tc",
    "-rf",
    "--db=tcp:1.2.3.4",
    "a&&injected",
    "a|injected>pwned",
    "%s%n\\n\\033[2J",
    "x\n",
    "\u{202e}gpj.exe",
    "\u{200b}unseen\u{feff}",
    "\u{2028}line\u{85}line",
    "\u{9b}2J\u{90}q\u{9c}",
    "a\x7fb\x08\x08c\rd",
    "\x1b[2J$(injected)\u{202e}",
    "*?[a-z]{b,c}~!!",
];

/// A character that moves a cursor, ends a line that nobody ended, turns the text around or is not seen.
pub fn is_obeyed(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' => true,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        other => other.is_control(),
    }
}

/// Where the fake database says that sockets are.
pub fn places(text: &str) -> [String; 2] {
    [format!("/run/openvswitch/{text}"), format!("/var/lib/vhost_sockets/{text}")]
}

/// As the text can stand in an XML: what XML 1.0 forbids is left out.
fn in_xml(text: &str) -> String {
    let allowed =
        |c: &char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}');
    let escape = |c: char| match c {
        '&' | '<' | '>' | '\'' | '"' | '\n' | '\t' | '\r' => format!("&#{};", u32::from(c)),
        other => other.to_string(),
    };
    text.chars().filter(allowed).map(escape).collect()
}

/// Runs inside the node: sockets, domains, status files and logs of these names.
pub fn place() {
    for (number, text) in TEXTS.iter().enumerate() {
        for directory in ["/run/openvswitch", "/var/lib/vhost_sockets"] {
            // By a short path: a name is longer than what a socket's address holds.
            std::env::set_current_dir(directory).unwrap();
            drop(UnixListener::bind(text).unwrap());
        }
        let (name, file) = (in_xml(text), format!("/root/evil-{number}"));
        let xml = domain(&name);
        fs::write(format!("{file}.xml"), &xml).unwrap();
        fs::write(format!("{file}.name"), text).unwrap();
        fs::write(format!("{file}.log"), log(text)).unwrap();
        fs::write(format!("/etc/libvirt/qemu/evil-{number}.xml"), &xml).unwrap();
        let status = format!("<domstatus state='running' pid='1'>{xml}</domstatus>");
        fs::write(format!("/run/libvirt/qemu/evil-{number}.xml"), status).unwrap();
        fs::write(format!("/var/log/libvirt/qemu/evil-{number}.log"), log(text)).unwrap();
    }
    for directory in ["/etc/libvirt/qemu", "/run/libvirt/qemu", "/var/log/libvirt/qemu"].map(Path::new) {
        let extension = if directory.starts_with("/var/log") { "log" } else { "xml" };
        let named =
            |name: &[u8]| directory.join(OsStr::from_bytes(&[name, b".", extension.as_bytes()].concat()));
        for text in TEXTS {
            fs::write(named(text.as_bytes()), "<domain>no end").unwrap();
        }
        fs::write(named(b"\xff\x9b2J\xc3"), "\u{0}\u{1b}").unwrap();
        fs::write(named(&[b'a'; 251]), "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY a 'b'>]><domain/>")
            .unwrap();
        fs::write(named(b"huge"), vec![b'x'; 70 << 20]).unwrap();
        fs::write(named(b"deep"), "<domain>".repeat(100_000)).unwrap();
        fs::create_dir(named(b"directory")).unwrap();
        mkfifo(&named(b"fifo"), Mode::from_bits_truncate(0o666)).unwrap();
        symlink("/etc/shadow", named(b"link")).unwrap();
    }
}

fn domain(name: &str) -> String {
    let card = |path: &str, mode: &str| {
        format!(
            "<interface type='vhostuser'><source type='unix' path='{path}' mode='{mode}'/><target dev='{name}'/></interface>"
        )
    };
    let [client, server] = places(name);
    format!(
        "<domain type='kvm'><name>{name}</name><uuid>{name}</uuid><memory unit='{name}'>48</memory><devices>{}{}</devices>\
         <seclabel type='static' model='dac'><label>{name}:{name}</label></seclabel></domain>",
        card(&client, "client"),
        card(&server, "server")
    )
    .replacen(&format!(" unit='{name}'"), "", usize::from(name.len().is_multiple_of(2)))
}

/// Known failures with the text wherever something foreign stands.
fn log(text: &str) -> String {
    format!(
        "2026-01-01T00:00:00Z qemu-system-x86_64: -chardev socket,id=charnet0,path=/run/openvswitch/{text}: Failed to connect to '/run/openvswitch/{text}': Permission denied\n\
         qemu-system-x86_64: -chardev socket,path=/var/lib/vhost_sockets/{text},server=on: Failed to bind socket to /var/lib/vhost_sockets/{text}: No such file or directory\n\
         VHOST_CONFIG: (/var/lib/vhost_sockets/{text}) failed to connect: {text}\n{text}\n"
    )
}
