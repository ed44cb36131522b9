// SPDX-License-Identifier: Apache-2.0
//! Turns vhost-user interfaces of a domain XML from one side to the other: only `mode` and `path` of an interface's
//! `<source>` change, and a `<reconnect>` that libvirt refuses there goes. Every other byte stays.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use roxmltree::{Document, ExpandedName, Node, ParsingOptions};

use crate::config::PortType;

/// What one interface becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Which one: its place among the `<interface type='vhostuser'>` of the document, from 0. A MAC address need not be
    /// there, and need not be its own.
    pub interface: usize,
    /// The type of port that it is to go with: QEMU's side is the other one.
    pub to: PortType,
    /// Where the socket is to be.
    pub path: PathBuf,
}

impl Turn {
    /// libvirt's word for QEMU's side (libvirt: docs/formatdomain.rst, "vhost-user interface").
    pub fn mode(&self) -> &'static str {
        match self.to {
            PortType::Dpdkvhostuserclient => "server",
            PortType::Dpdkvhostuser => "client",
        }
    }
}

/// Bytes of the document and what stands there afterwards.
type Splice = (Range<usize>, String);

/// The document of a `<domain>` with these interfaces turned. Done twice it is the same as once; what is as asked already
/// keeps its bytes.
///
/// # Errors
/// The document is no domain, an interface is not there or lacks `mode` or `path`, or the path is none for an XML.
pub fn turn(xml: &str, turns: &[Turn]) -> Result<String> {
    let options = ParsingOptions { allow_dtd: false, ..ParsingOptions::default() };
    let document = Document::parse_with_options(xml, options).map_err(Error::msg);
    let document = document.context("parsing the domain XML")?;
    let interfaces = interfaces(document.root_element());
    let mut splices = Vec::new();
    for turn in turns {
        let context = || format!("turning the vhost-user interface number {}", turn.interface + 1);
        let source = interfaces.get(turn.interface).copied().context("there is no such interface");
        splices.extend(source.and_then(|source| splice(xml, source, turn)).with_context(context)?);
    }
    join(xml, splices)
}

/// The `<source>` of each vhost-user interface, in document order; one that passt serves has none of its own.
fn interfaces<'a, 'i>(domain: Node<'a, 'i>) -> Vec<Node<'a, 'i>> {
    let devices = children(domain, "devices").flat_map(|devices| children(devices, "interface"));
    let ours = devices.filter(|interface| interface.attribute("type") == Some("vhostuser"));
    ours.map(|interface| children(interface, "source").next().unwrap_or(interface)).collect()
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    // libvirt's own elements are in no namespace.
    node.children().filter(move |child| child.tag_name() == ExpandedName::from(name))
}

fn splice(xml: &str, source: Node, turn: &Turn) -> Result<Vec<Splice>> {
    if source.tag_name().name() != "source" {
        bail!("it has no <source>");
    }
    let mut splices = Vec::new();
    splices.extend(value(xml, source, "mode", turn.mode())?);
    splices.extend(value(xml, source, "path", text(&turn.path)?)?);
    if turn.to == PortType::Dpdkvhostuserclient {
        splices.extend(
            children(source, "reconnect").map(|node| (with_blanks(xml, node.range()), String::new())),
        );
    }
    Ok(splices)
}

/// A path as an XML can hold it: XML 1.0 has no other characters (section 2.2).
fn text(path: &Path) -> Result<&str> {
    let is_xml = |c: char| !matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    let text = path.to_str().filter(|text| text.starts_with('/') && text.chars().all(is_xml));
    text.with_context(|| format!("{:?} is no absolute path of printable text", path.display().to_string()))
}

/// The value of an attribute, in the quotes that are there; nothing where it is this value already.
fn value(xml: &str, source: Node, name: &str, wanted: &str) -> Result<Option<Splice>> {
    let attribute = source.attribute_node(name).with_context(|| format!("its <source> has no {name}"))?;
    if attribute.value() == wanted {
        return Ok(None);
    }
    let range = attribute.range_value();
    let quote = xml[..range.start].chars().next_back().context("an attribute without quotes")?;
    Ok(Some((range, escaped(wanted, quote))))
}

fn escaped(text: &str, quote: char) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '"' if quote == '"' => escaped.push_str("&quot;"),
            '\'' if quote == '\'' => escaped.push_str("&apos;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The element and the blanks before it: its line goes with it.
fn with_blanks(xml: &str, range: Range<usize>) -> Range<usize> {
    xml[..range.start].trim_end_matches([' ', '\t', '\r', '\n']).len()..range.end
}

fn join(xml: &str, mut splices: Vec<Splice>) -> Result<String> {
    splices.sort_by_key(|(range, _)| range.start);
    let mut result = String::with_capacity(xml.len() + 256);
    let mut at = 0;
    for (range, text) in splices {
        if range.start < at {
            bail!("an interface is to be turned twice");
        }
        result.push_str(&xml[at..range.start]);
        result.push_str(&text);
        at = range.end;
    }
    result.push_str(&xml[at..]);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<?xml version='1.0'?>\n<domain type='kvm'  id=\"7\">\n  <name>v\u{e4}</name>\r\n  <devices>\n    \
        <interface type='vhostuser'>\n      <mac address='52:54:00:00:00:01'/>\n      \
        <source mode='client' path=\"/run/openvswitch/vhu0\" type='unix'>\n        <reconnect enabled='yes' timeout='1'/>\n      </source>\n      \
        <model type='virtio'/><!-- path='/run/openvswitch/vhu0' -->\n    </interface>\n    \
        <interface type='bridge'><source mode='client' path='/x'/></interface>\n    \
        <disk type='vhostuser'><source type='unix' path='/run/openvswitch/vhu0' mode='client'/></disk>\n    \
        <interface type='vhostuser'><mac address='52:54:00:00:00:01'/>\
        <source type='unix' path='/run/openvswitch/vhu0' mode='client'/></interface>\n  </devices>\n</domain>\n";

    fn to(interface: usize, to: PortType, path: &str) -> Turn {
        Turn { interface, to, path: path.into() }
    }

    #[test]
    fn only_the_interface_that_is_meant_changes_and_only_in_its_source() {
        let second =
            turn(XML, &[to(1, PortType::Dpdkvhostuserclient, "/var/lib/vhost_sockets/vhu0")]).unwrap();
        let place = XML.rfind("<source").unwrap();
        let expected = XML[place..].replacen("/run/openvswitch/vhu0", "/var/lib/vhost_sockets/vhu0", 1);
        assert_eq!(second, XML[..place].to_string() + &expected.replacen("'client'", "'server'", 1));
        let back = turn(&second, &[to(1, PortType::Dpdkvhostuser, "/run/openvswitch/vhu0")]).unwrap();
        assert_eq!(back, XML);
    }

    #[test]
    fn a_reconnect_goes_with_its_line() {
        let turned = turn(XML, &[to(0, PortType::Dpdkvhostuserclient, "/d/a'b\"c&<d>")]).unwrap();
        assert!(
            turned
                .contains("mode='server' path=\"/d/a'b&quot;c&amp;&lt;d>\" type='unix'>\n      </source>\n"),
            "{turned}"
        );
        assert_eq!(turned.matches("reconnect").count(), 0);
        // The way back has none: nobody knows any more what it said.
        let back = turn(&turned, &[to(0, PortType::Dpdkvhostuser, "/run/openvswitch/vhu0")]).unwrap();
        assert_eq!(back, XML.replacen("\n        <reconnect enabled='yes' timeout='1'/>", "", 1));
    }

    #[test]
    fn what_is_so_already_keeps_its_bytes() {
        let odd = XML.replace("path='/run", "path='&#47;run");
        assert_eq!(turn(&odd, &[to(1, PortType::Dpdkvhostuser, "/run/openvswitch/vhu0")]).unwrap(), odd);
        assert_eq!(turn(&odd, &[]).unwrap(), odd);
    }

    #[test]
    fn what_cannot_be_turned_is_named() {
        let client = PortType::Dpdkvhostuserclient;
        let fails = |xml: &str, turns: &[Turn], error: &str| {
            let said = format!("{:#}", turn(xml, turns).unwrap_err());
            assert!(said.contains(error), "{said}");
        };
        fails(XML, &[to(2, client, "/d/x")], "interface number 3: there is no such interface");
        fails(XML, &[to(0, client, "d/x")], "no absolute path");
        fails(XML, &[to(0, client, "/d/\u{1}")], "no absolute path");
        fails(XML, &[to(0, client, "/d/x"), to(0, client, "/d/y")], "twice");
        fails(&XML.replace(" mode='client'", ""), &[to(1, client, "/d/x")], "its <source> has no mode");
        fails("<!DOCTYPE x><domain/>", &[], "parsing the domain XML");
        let passt = "<domain><devices><interface type='vhostuser'><backend type='passt'/></interface></devices></domain>";
        fails(passt, &[to(0, client, "/d/x")], "it has no <source>");
    }
}
