// SPDX-License-Identifier: Apache-2.0
//! Both sides of every socket, in 100 columns: two lines an endpoint, and who the processes are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Style, clean, colour};
use crate::base::text::is_plain;
use crate::facts::domains::SocketMode;
use crate::facts::sockets::Liveness;
use crate::node::endpoints::End;
use crate::rules::endpoints::{ProcessRow, Row};

/// No line is longer.
pub const WIDTH: usize = 100;
/// Of the first line, before the verdict.
const CELLS: [usize; 5] = [22, 15, 7, 7, 9];
/// Of a socket's line.
const OWNER: usize = 29;
const LISTENER: usize = 22;
const PATH: usize = WIDTH - 2 - OWNER - LISTENER - 4;

/// The table.
pub fn text(rows: &[Row]) -> String {
    let mut text = line(["VM", "PORT", "OVS", "QEMU", "CONNECTED"], "VERDICT");
    for row in rows {
        text.push_str(&line(cells(row), &colour(style(&row.verdict), &row.verdict)));
        text.push_str(&colour(Style::Dim, &socket(row)));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&processes(rows));
    text
}

fn line(cells: [&str; 5], verdict: &str) -> String {
    let mut line = String::with_capacity(WIDTH);
    for (cell, width) in cells.into_iter().zip(CELLS) {
        let _ = write!(line, "{:<width$}  ", shorten(cell, width));
    }
    line + verdict + "\n"
}

fn style(verdict: &str) -> Style {
    match verdict {
        "ok" | "ready" => Style::Good,
        "starting" | "unknown" | "port-without-vm" | "hugepages-not-enough" | "hugepages-not-on-node" => {
            Style::Advice
        }
        _ => Style::Bad,
    }
}

fn cells(row: &Row) -> [&str; 5] {
    let port = row.port.as_ref();
    let kind = port.map_or("-", |port| match port.kind.as_str() {
        "dpdkvhostuserclient" => "client",
        "dpdkvhostuser" => "server",
        "" => "system",
        other => other,
    });
    let connected = match (row.state, row.connected) {
        (Some("off"), Some(false)) => "off",
        (_, Some(true)) => "yes",
        (_, Some(false)) => "no",
        (_, None) => "unknown",
    };
    let (vm, name) = (row.vm.as_deref().unwrap_or("-"), port.map_or("-", |port| &port.name));
    [vm, name, kind, row.mode.map_or("-", SocketMode::as_str), connected]
}

/// Path, owner and mode, and who listens; where another back end is at the other end, that one, by its unit.
fn socket(row: &Row) -> String {
    let path = row.path.as_ref().map_or("(libvirt's own)".to_string(), |path| path.display().to_string());
    let owner = row
        .socket
        .as_ref()
        .map_or("missing".to_string(), |socket| format!("{}:{} {}", socket.user, socket.group, socket.mode));
    let pid = row.backend.as_ref().map(|owner| format!("({})", owner.pid)).unwrap_or_default();
    let foreign = row.dataplane_name().filter(|_| row.dataplane.is_none());
    let foreign = foreign.map(|name| format!("{name}{pid}"));
    let listener = foreign.unwrap_or_else(|| listener(row));
    let (path, owner) = (shorten(&path, PATH), shorten(&owner, OWNER));
    let line = format!("  {path:<PATH$}  {owner:<OWNER$}  {}", shorten(&listener, LISTENER));
    line.trim_end().to_string()
}

fn listener(row: &Row) -> String {
    match &row.link.listener {
        Some(End { owner: Some(owner), .. }) => format!("{}({})", owner.name, owner.pid),
        Some(End { owner: None, .. }) => "unknown listener".to_string(),
        // One in another network namespace: the kernel says that there is one, and not who.
        None => match row.socket.as_ref().map(|socket| &socket.liveness) {
            Some(Liveness::Listening) => "unknown listener".to_string(),
            _ => String::new(),
        },
    }
}

/// Both ends of a long text count: the middle is left out.
fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    if text.len() <= width && is_plain(text) {
        return text.into();
    }
    let text = clean(text).replace(['\n', '\t'], "?");
    let length = text.chars().count();
    if length <= width {
        return text.into();
    }
    let tail = width / 2;
    let head: String = text.chars().take(width - tail - 1).collect();
    let tail: String = text.chars().skip(length - tail).collect();
    format!("{head}\u{2026}{tail}").into()
}

/// A line for each identity, however many VMs have it.
fn processes(rows: &[Row]) -> String {
    let mut seen: BTreeMap<String, Vec<&ProcessRow>> = BTreeMap::new();
    for process in rows.iter().flat_map(|row| [&row.dataplane, &row.qemu]).flatten() {
        let known = seen.entry(identity(process)).or_default();
        if known.last().is_none_or(|last| last.pid != process.pid) {
            known.push(process);
        }
    }
    let mut text = match seen.is_empty() {
        true => String::new(),
        false => format!("{:<29}  RUNS AS, UMASK, GROUPS\n", "PROCESS"),
    };
    for (identity, mut processes) in seen {
        processes.sort_by_key(|process| process.pid);
        processes.dedup_by_key(|process| process.pid);
        let Some(first) = processes.first() else { continue };
        let who = match processes.len() {
            1 => format!("{}({})", first.name, first.pid),
            many => format!("{} ({many})", first.name),
        };
        text.push_str(&format!("{}\n", shorten(&format!("{:<29}  {identity}", shorten(&who, 29)), WIDTH)));
    }
    text
}

fn identity(process: &ProcessRow) -> String {
    let groups = if process.group_names.is_empty() { "-".to_string() } else { process.group_names.join(",") };
    let umask = process.umask.as_deref().unwrap_or("unknown");
    format!("{}:{}  {umask}  {groups}", process.user, process.group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_long_path_is_left_out() {
        assert_eq!(shorten("/var/lib/vhost_sockets/vhu0123456789a", 20), "/var/lib/\u{2026}123456789a");
        assert_eq!(shorten("short", 5), "short");
        assert_eq!(shorten("a\nb\u{1b}", 20), "a?b\\u{1b}");
    }
}
