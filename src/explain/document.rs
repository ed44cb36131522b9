// SPDX-License-Identifier: Apache-2.0
//! A domain's XML, or a piece of one, that is read instead of a log.

use super::{Class, Event};
use crate::facts::domains::{Endpoint, EndpointKind, SocketMode, oddity, parse_domain, parse_piece};

/// Of a document, its beginning.
const MOST: usize = 1 << 20;
const MOST_DOCUMENTS: usize = 50;
const DOMAIN: &[&str] = &["<domain", "<?xml", "<interface", "<disk", "<filesystem", "<devices"];

/// The documents of all logs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Documents {
    texts: Vec<(String, String)>,
    /// The last one is whole.
    closed: bool,
    /// Logs that began with something else.
    others: Vec<String>,
}

/// What was found: a line of the document, and what it means.
pub(super) type Found = Vec<(String, Event)>;

impl Documents {
    /// Is the line one of a document? A log is one if it begins with one of these elements; a `<domain>` may come later.
    pub(super) fn take(&mut self, log: &str, line: &str) -> bool {
        if let Some((_, text)) = self.texts.last_mut().filter(|(known, _)| known == log && !self.closed) {
            if text.len() + line.len() < MOST {
                text.push_str(line);
                if !line.ends_with('\n') {
                    text.push('\n');
                }
            }
            self.closed = line.contains("</domain>");
            return true;
        }
        let start = line.trim_start();
        let first = !self.others.iter().any(|known| known == log);
        // libvirt's capabilities, which nova logs when it starts, have `<domain type='qemu'/>`: nothing follows that belongs to it.
        let empty = start.starts_with("<domain") && start.trim_end().ends_with("/>");
        let begins = |element: &str| start.starts_with(element) && !empty;
        if DOMAIN.iter().take(if first { DOMAIN.len() } else { 1 }).any(|element| begins(element)) {
            if self.texts.len() < MOST_DOCUMENTS {
                self.texts.push((log.to_string(), line.to_string()));
            }
            self.closed = line.contains("</domain>");
            return true;
        }
        if first && !start.is_empty() {
            self.others.push(log.to_string());
        }
        false
    }

    pub(super) fn finish(&mut self) -> Vec<(String, Found)> {
        let texts = std::mem::take(&mut self.texts);
        texts.into_iter().map(|(log, text)| (log, read(&text))).collect()
    }
}

fn read(text: &str) -> Found {
    let parsed = match text.contains("<domain") {
        true => parse_domain(text)
            .map(|domain| (domain.memory.is_shared() || domain.shares_by_command_line, domain.endpoints)),
        // A piece does not tell of the memory.
        false => parse_piece(text).map(|endpoints| (true, endpoints)),
    };
    match parsed {
        Ok((shared, endpoints)) => facts(shared, &endpoints),
        Err(error) => {
            let line = text.lines().next().unwrap_or_default();
            let fix = "correct the text there (virt-xml-validate FILE domain); nothing was changed";
            vec![event("xml-refused", Class::Setting, line, &format!("{error:#}"), fix)]
        }
    }
}

/// What a domain alone tells.
fn facts(shared: bool, endpoints: &[Endpoint]) -> Found {
    let mut found = Vec::new();
    if !endpoints.is_empty() && !shared {
        let cause = "the domain's memory is not shared: no back end can map it, and the device is dead";
        let fix = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>, or huge pages and memAccess='shared' in each <cell>";
        found.push(event("memory-not-shared", Class::Memory, "<memoryBacking>", cause, fix));
    }
    for endpoint in endpoints {
        let Some(path) = &endpoint.path else { continue };
        let line = format!("path='{}'", path.display());
        if let Some(seen) = oddity(path) {
            let fix = "write the path without it, in the domain and at the switch";
            found.push(event("socket-path-not-clean", Class::Setting, &line, seen, fix));
        }
        let mut of_path = |id, class, cause, fix| {
            let (_, event) = event(id, class, &line, cause, fix);
            let (subject, key) = (Some(path.display().to_string()), line.clone());
            found.push((line.clone(), Event { subject, key, ..event }));
        };
        let home = ["/home", "/root"].iter().any(|place| path.starts_with(place));
        if home && endpoint.mode == SocketMode::Server {
            let cause = "QEMU creates this socket in somebody's home directory, which its user normally cannot even search (0700 or 0750): 'Failed to bind socket: Permission denied'; with SELinux the label user_home_t forbids it too";
            let fix = "move the socket into a directory made for such sockets; do not open the home directory or give it away";
            of_path("socket-in-home", Class::Permission, cause, fix);
        }
        if !matches!(endpoint.device, EndpointKind::Interface | EndpointKind::CommandLine) {
            continue;
        }
        let (id, cause, fix) = match endpoint.mode {
            SocketMode::Server => (
                "qemu-serves",
                "mode='server': QEMU creates this socket, and the VM waits at its start until the other end connects (by design, no error). The switch's port has to be dpdkvhostuserclient with this vhost-server-path; at a dpdkvhostuser port both ends would be servers",
                "start the other end first or together; or mode='client' for a dpdkvhostuser port",
            ),
            SocketMode::Client => (
                "qemu-connects",
                "mode='client': the other end (a dpdkvhostuser port, VPP, a relay) has to have created this socket, with write for QEMU's user on the file that the path leads to, through any link",
                "nothing, if that is so; a link has to exist on a migration's destination too",
            ),
        };
        of_path(id, Class::Harmless, cause, fix);
    }
    found
}

fn event(id: &'static str, class: Class, line: &str, cause: &str, fix: &'static str) -> (String, Event) {
    let event = Event {
        key: cause.to_string(),
        causes: vec![cause.to_string()],
        decide: "vhost-accord inspect FILE; ovs-vsctl --columns=name,type,options find Interface",
        fix,
        source: "libvirt docs/formatdomain.rst",
        ..Event::new(id, class)
    };
    (line.to_string(), event)
}
