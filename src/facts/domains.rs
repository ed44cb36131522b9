// SPDX-License-Identifier: Apache-2.0
//! libvirt's domains: what a domain XML says about vhost-user, memory and the identity QEMU gets.

mod endpoints;
mod files;
mod label;
mod lint;
mod memory;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, anyhow, bail};
use roxmltree::{Document, ExpandedName, Node, ParsingOptions};
use serde::{Deserialize, Serialize};

pub use endpoints::{Endpoint, EndpointKind, SocketMode, is_network_card};
pub use files::{BrokenFile, Domains, RUNNING, persistent, running};
pub use label::{Account, DacLabel, LabelKind};
pub use lint::oddity;
pub use memory::{MemoryBacking, NumaCell};

/// The namespace of `<qemu:commandline>`.
const QEMU: &str = "http://libvirt.org/schemas/domain/qemu/1.0";

/// The namespace of nova's `<instance>` in `<metadata>`, before its version (nova `virt/libvirt/config.py`).
const NOVA: &str = "http://openstack.org/xmlns/libvirt/nova/";

/// One virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Its UUID, if it says so.
    pub uuid: Option<String>,
    /// Its number while it runs. A hook's XML has it from `prepare` on, before there is a process.
    pub id: Option<u32>,
    /// Whether libvirt's status file says that it has a process (any state but shut off and crashed). Always false for a
    /// plain domain XML, which does not tell.
    pub running: bool,
    /// QEMU's process, from a status file.
    pub pid: Option<u32>,
    /// Everything in it that speaks vhost-user, in document order.
    pub endpoints: Vec<Endpoint>,
    /// Where its memory comes from.
    pub memory: MemoryBacking,
    /// The DAC security label: the identity that QEMU gets. `None` when the XML has no such label.
    pub dac: Option<DacLabel>,
    /// What is added to QEMU's command line shares memory by itself.
    pub shares_by_command_line: bool,
    /// nova defined it, and has os-vif create its ports before each start.
    #[serde(default)]
    pub is_novas: bool,
}

/// Reads a `<domain>`, or a status file of libvirt (`<domstatus>`, `/run/libvirt/qemu/NAME.xml`). A document type
/// declaration is refused: libvirt writes none, and entities could blow up the memory.
pub fn parse_domain(text: &str) -> Result<Domain> {
    let document = document(text)?;
    let top = document.root_element();
    match top.tag_name().name() {
        "domain" => Ok(Domain { shares_by_command_line: shares(text), ..read(top)? }),
        "domstatus" => {
            let domain = child(top, "domain").context("<domstatus> without <domain>")?;
            let stopped = matches!(top.attribute("state"), None | Some("shutoff" | "crashed"));
            let pid = number(top, "pid")?.filter(|pid| *pid != 0);
            // The rest of the file names what this QEMU could do, `memory-backend-memfd` among it.
            let shares_by_command_line = text.get(domain.range()).is_some_and(shares);
            Ok(Domain { running: !stopped, pid, shares_by_command_line, ..read(domain)? })
        }
        other => bail!("<{}> is not a domain", other.escape_debug()),
    }
}

fn document(text: &str) -> Result<Document<'_>> {
    let options = ParsingOptions { allow_dtd: false, ..ParsingOptions::default() };
    let parsed = Document::parse_with_options(text, options);
    parsed.map_err(|error| anyhow!(lint::malformed(text, &error))).context("parsing the domain XML")
}

/// Reads one device of a domain, or some, without the `<domain>` around them.
pub fn parse_piece(text: &str) -> Result<Vec<Endpoint>> {
    // In front of the same line, so that the numbers of lines stay.
    let whole = format!("<domain><devices>{text}</devices></domain>");
    endpoints::read(document(&whole)?.root_element())
}

/// What no element says can be in `<qemu:commandline>` or an override of a property.
fn shares(text: &str) -> bool {
    text.contains("share=on") || text.contains("memory-backend-memfd")
}

fn read(domain: Node) -> Result<Domain> {
    let name = child_text(domain, "name").context("a domain without <name>")?;
    let context = || format!("reading the domain '{}'", name.escape_debug());
    Ok(Domain {
        uuid: child_text(domain, "uuid"),
        // libvirt leaves it out when the domain does not run; some tools write -1.
        id: domain.attribute("id").and_then(|id| id.parse().ok()),
        running: false,
        pid: None,
        endpoints: endpoints::read(domain).with_context(context)?,
        memory: memory::read(domain).with_context(context)?,
        dac: label::read(domain).with_context(context)?,
        shares_by_command_line: false,
        is_novas: child(domain, "metadata").is_some_and(has_novas),
        name,
    })
}

fn has_novas(metadata: Node) -> bool {
    let is_novas = |name: ExpandedName| {
        name.name() == "instance" && name.namespace().is_some_and(|space| space.starts_with(NOVA))
    };
    metadata.children().any(|child| is_novas(child.tag_name()))
}

/// The first child element of that name.
fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    children(node, name).next()
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &str) -> impl Iterator<Item = Node<'a, 'i>> {
    children_in(node, None, name)
}

/// Those in this namespace: libvirt's own elements are in none.
fn children_in<'a, 'i>(
    node: Node<'a, 'i>,
    namespace: Option<&'static str>,
    name: &str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    let wanted =
        move |child: &Node| child.tag_name().name() == name && child.tag_name().namespace() == namespace;
    node.children().filter(Node::is_element).filter(wanted)
}

/// An element of libvirt's own, not of a tool that keeps its data in the document.
fn is_libvirts(node: &Node) -> bool {
    node.is_element() && node.tag_name().namespace().is_none()
}

/// The text of the first child element of that name, unless it is empty.
fn child_text(node: Node, name: &str) -> Option<String> {
    let text = child(node, name)?.text()?.trim();
    (!text.is_empty()).then(|| text.to_string())
}

/// An attribute that is a number.
fn number(node: Node, attribute: &str) -> Result<Option<u32>> {
    let Some(text) = node.attribute(attribute) else { return Ok(None) };
    let number = text.trim().parse().with_context(|| {
        format!("{attribute}='{}' of <{}> is not a number", text.escape_debug(), node.tag_name().name())
    })?;
    Ok(Some(number))
}

/// An attribute, unless it is empty.
fn text(node: Node, attribute: &str) -> Option<String> {
    node.attribute(attribute).filter(|text| !text.is_empty()).map(str::to_string)
}
