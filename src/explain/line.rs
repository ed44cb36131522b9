// SPDX-License-Identifier: Apache-2.0
//! A line of a log: what it says, when, and who says it. Only a message whose speaker is known, or could be anybody, is
//! compared with a program's signatures: the same words of another program mean something else.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pattern::beginning;
use super::time;
use crate::base::named::named;
use crate::base::time::of_seconds;

named! {
    /// Who says it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Program {
        /// A QEMU process, by whatever name.
        Qemu = "QEMU",
        Libvirt = "libvirt",
        /// ovs-vswitchd, ovsdb-server and their tools.
        OpenVswitch = "Open vSwitch",
        /// DPDK in a program that does not say its name.
        Dpdk = "DPDK",
        Spdk = "SPDK",
        Vpp = "VPP",
        Virtiofsd = "virtiofsd",
        Passt = "passt",
        Snabb = "Snabb",
        /// Another vhost-user back end: QEMU's storage daemon, a vhost-device, Cloud Hypervisor.
        BackEnd = "a vhost-user back end",
        Kernel = "the kernel",
        /// The audit system and setroubleshoot.
        Audit = "the audit system",
        Systemd = "systemd",
        OpenStack = "OpenStack",
        Containers = "the container runtime",
        /// A program that has nothing to do with the dataplane.
        Other = "another program",
        Unknown = "unknown",
    }
}

/// Names of programs, as they stand before a message. The longest that fits begins the name.
const NAMES: &[(Program, &str)] = &[
    (
        Program::BackEnd,
        "qemu-storage-daemon, qemu-vhost-user, vhost-user-, vhost-device-, cloud-hypervisor, virtio-forwarder, qemu-nbd",
    ),
    (Program::Other, "qemu-ga, qemu-img"),
    (Program::Qemu, "qemu, kvm"),
    (Program::Libvirt, "libvirt, virt, rpc-virt, virsh"),
    (Program::Virtiofsd, "virtiofsd"),
    (Program::Containers, "virt-launcher, virt-handler, kubelet, containerd, docker, conmon"),
    (Program::OpenVswitch, "ovs-, ovsdb-, ovn-"),
    (Program::Dpdk, "testpmd, dpdk-"),
    (Program::Spdk, "spdk, nvmf_tgt, vhost"),
    (Program::Vpp, "vpp, vnet"),
    (Program::Passt, "passt"),
    (Program::Snabb, "snabb"),
    (Program::Kernel, "kernel"),
    (Program::Audit, "audit, setroubleshoot, sedispatch"),
    (Program::Systemd, "systemd"),
    (Program::OpenStack, "nova, neutron, os-vif"),
    (Program::Containers, "crio, podman, kata"),
    // They only pass on what others say.
    (Program::Unknown, "python, sudo, sh, bash, cat"),
];

fn named(name: &str) -> Option<Program> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let fits = |word: &str| match word {
        "kvm" | "sh" | "cat" | "vhost" | "vpp" | "kernel" => base == word,
        prefix => base.starts_with(prefix),
    };
    let words = NAMES.iter().flat_map(|(program, words)| words.split(", ").map(move |word| (word, program)));
    words.filter(|(word, _)| fits(word)).max_by_key(|(word, _)| word.len()).map(|(_, program)| *program)
}

/// Of a message, its beginning: no program says more in one, and each signature looks at all of it.
const MOST_OF_A_MESSAGE: usize = 16 << 10;

/// A line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The message, out of whatever wraps it.
    pub text: String,
    /// UTC, if it says so.
    pub time: Option<String>,
    /// Who says it.
    pub program: Program,
}

impl Line {
    /// Takes a line as it is, or out of the journal's, KubeVirt's or a container runtime's wrapping.
    pub fn read(line: &str) -> Line {
        let line = line.trim_end();
        let (tag, text, stamp) = unwrap(line);
        let time = time::of_line(&text).or(stamp).or_else(|| time::of_line(line));
        let program = speaker(&text, tag.as_deref());
        Line { text: beginning(&text, MOST_OF_A_MESSAGE).to_string(), time, program }
    }
}

/// The tag of the program, the message, and the time that the wrapping gives.
fn unwrap(line: &str) -> (Option<String>, String, Option<String>) {
    let start = line.trim_start();
    if start.starts_with('{')
        && let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(start)
    {
        let text = |key: &str| fields.get(key).map(message).filter(|text| !text.is_empty());
        let said = ["MESSAGE", "msg", "message", "log"].iter().find_map(|key| text(key));
        if let Some(mut said) = said {
            for more in ["reason", "error", "err"].iter().filter_map(|key| text(key)) {
                said = format!("{said}: {more}");
            }
            let micros = text("__REALTIME_TIMESTAMP").and_then(|text| text.parse::<u64>().ok());
            let stamp = micros.map(|micros| of_seconds(micros / 1_000_000));
            let tag = ["SYSLOG_IDENTIFIER", "_COMM", "component"].iter().find_map(|key| text(key));
            return (tag, said.trim_end().to_string(), stamp);
        }
    }
    // logfmt, as Go programs write it.
    if let Some((head, rest)) = line.split_once("msg=\"").filter(|(head, _)| head.contains("level=")) {
        let (said, rest) = quoted(rest);
        let more = rest.split_once("error=\"").map(|(_, rest)| format!(": {}", quoted(rest).0));
        return (None, said + &more.unwrap_or_default(), time::of_line(head));
    }
    (None, line.to_string(), None)
}

/// What is in quotes, and what comes after them.
fn quoted(text: &str) -> (String, &str) {
    let (mut said, mut escaped) = (String::new(), false);
    for (at, letter) in text.char_indices() {
        match letter {
            'n' if escaped => said.push(' '),
            letter if escaped => said.push(letter),
            '\\' => {}
            '"' => return (said, &text[at + 1..]),
            letter => said.push(letter),
        }
        escaped = letter == '\\' && !escaped;
    }
    (said, "")
}

/// journald gives a message that is no clean text as numbers, one a byte.
fn message(value: &Value) -> String {
    let byte = |number: &Value| number.as_u64().and_then(|number| u8::try_from(number).ok());
    match value {
        Value::String(text) => text.clone(),
        Value::Array(numbers) => {
            let bytes: Vec<u8> = numbers.iter().filter_map(byte).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => String::new(),
    }
}

/// What only one program's lines have in them. A program that passes on another's words is not their speaker.
const WORDS: &[(Program, &[&str])] = &[
    (Program::Audit, &["SELinux is preventing ", "apparmor=\"", "type=SECCOMP"]),
    (Program::BackEnd, &["qemu-storage-daemon: "]),
    (Program::Qemu, &["qemu-system-", "qemu-kvm: "]),
    (Program::OpenVswitch, &["|dpdk", "|netdev_dpdk", "dpdk|", "netdev_dpdk|", "ovs-vsctl: "]),
    (Program::OpenVswitch, &["ovs-vswitchd: ", "ovsdb-server: ", "ovsdb-tool: "]),
    (Program::Vpp, &["vlib_"]),
    (Program::Spdk, &[": *ERROR*: ", ": *WARNING*: "]),
    (Program::Virtiofsd, &["virtiofsd", "virtio_session_mount"]),
    (Program::Dpdk, &["VHOST_CONFIG", "VHOST_DATA", "EAL: "]),
    (Program::Libvirt, &["error: internal error: ", "error: Failed to ", "libvirt.libvirtError: "]),
];

fn speaker(text: &str, tag: Option<&str>) -> Program {
    if text.contains("avc:") && text.contains("denied") {
        return Program::Audit;
    }
    let is_vlog =
        text.split('|').nth(3).is_some_and(is_level) || text.split('|').nth(1).is_some_and(is_level);
    let word = WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
    if let Some(program) = word.map(|known| known.0).or(is_vlog.then_some(Program::OpenVswitch)) {
        return program;
    }
    if let Some(tag) = tag {
        return named(tag).unwrap_or(Program::Other);
    }
    let libvirt = [": error : ", ": warning : ", ": info : ", ": debug : "];
    if libvirt.iter().any(|word| text.contains(word)) {
        return Program::Libvirt;
    }
    if text.contains(" nova.") || text.starts_with("nova.") || text.contains("nova-rootwrap") {
        return Program::OpenStack;
    }
    head(text).map_or(Program::Unknown, |(tag, otherwise)| named(tag).unwrap_or(otherwise))
}

fn is_level(word: &str) -> bool {
    matches!(word, "EMER" | "ERR" | "WARN" | "INFO" | "DBG")
}

/// The name before a message, and who it is if the name is not known: after `TIME HOST ` it is a program's, whatever it is;
/// else it may be anything.
fn head(text: &str) -> Option<(&str, Program)> {
    let mut words = text.split_ascii_whitespace();
    let mut first = words.next().unwrap_or_default();
    let mut dated = false;
    if time::MONTHS.contains(&first) {
        // The day, the time.
        (first, dated) = (words.nth(2).unwrap_or_default(), true);
    } else if first.len() >= 19 && time::of_line(first).is_some() {
        (first, dated) = (words.next().unwrap_or_default(), true);
    } else if first.starts_with('[') && text.contains("] ") {
        let kernel = first.trim_matches(['[', ']']).bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if kernel && !first.is_empty() {
            return Some(("kernel", Program::Unknown));
        }
    }
    let second = || Some((tag(words.next()?).filter(|_| dated)?, Program::Other));
    tag(first).map(|tag| (tag, Program::Unknown)).or_else(second)
}

/// `NAME` of `NAME:` and `NAME[1]:`.
fn tag(word: &str) -> Option<&str> {
    let word = word.strip_suffix(':')?;
    let name = word.split('[').next().unwrap_or(word);
    let letters = |letter: char| letter.is_ascii_alphanumeric() || "-_./@".contains(letter);
    (!name.is_empty() && name.chars().all(letters)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{Line, Program};

    #[test]
    fn speakers_are_told_apart() {
        for (line, program) in [
            ("qemu-kvm: Failed to set msg fds.", Program::Qemu),
            ("kvm: vhost VQ 0 ring restore failed", Program::Qemu),
            ("2026-11-23T07:56:09.0Z qemu-system-x86_64: -chardev x", Program::Qemu),
            ("error: internal error: process exited: 2026-11-23T07:56:09Z qemu-kvm: x", Program::Qemu),
            ("netdev_dpdk|INFO|vHost Device", Program::OpenVswitch),
            ("2026-01-01T00:00:00.000Z|00001|bridge|WARN|x", Program::OpenVswitch),
            ("Jan 11 03:53:05 node1 libvirtd[1]: x", Program::Libvirt),
            ("Jan 11 03:53:05 node1 sshd[1]: Permission denied", Program::Other),
            ("2026-01-01T00:00:00+00:00 node1 virtqemud[1]: x", Program::Libvirt),
            ("vhost.c:1089:start_device: *ERROR*: x", Program::Spdk),
            ("/usr/bin/vpp[6320]: buffer: x", Program::Vpp),
            ("[ 12.5] vfio_pin_pages_remote: x", Program::Kernel),
            ("{\"SYSLOG_IDENTIFIER\":\"dnsmasq\",\"MESSAGE\":\"failed\"}", Program::Other),
            ("{\"component\":\"virt-launcher\",\"msg\":\"failed\"}", Program::Containers),
            ("EAL: FATAL: x", Program::Dpdk),
            ("can't open backing store", Program::Unknown),
        ] {
            assert_eq!(Line::read(line).program, program, "{line}");
        }
        let shim =
            "time=\"2023-10-11T09:58:32+02:00\" level=error msg=\"qemu-kvm: \\\"a\\\" failed\" name=shim";
        let line = Line::read(shim);
        assert_eq!((line.text.as_str(), line.program), ("qemu-kvm: \"a\" failed", Program::Qemu));
        assert_eq!(line.time.as_deref(), Some("2023-10-11T09:58:32"));
        let bytes = Line::read("{\"MESSAGE\":[70,97],\"__REALTIME_TIMESTAMP\":\"1763884577000000\"}");
        assert_eq!((bytes.text.as_str(), bytes.time.as_deref()), ("Fa", Some("2025-11-23T07:56:17")));
    }
}
