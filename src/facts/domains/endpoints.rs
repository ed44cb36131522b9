// SPDX-License-Identifier: Apache-2.0
//! What in a domain speaks vhost-user (libvirt 11: docs/formatdomain.rst, src/conf/schemas/domaincommon.rng).

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use roxmltree::Node;
use serde::{Deserialize, Serialize};

use super::{QEMU, child, children, children_in, is_libvirts, number, text};

/// The device an endpoint belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointKind {
    /// `<interface type='vhostuser'>`: a switch's port.
    Interface,
    /// `<interface type='vhostuser'>` with `<backend type='passt'/>`: libvirt starts passt and owns its socket.
    Passt,
    /// `<disk type='vhostuser'>`.
    Disk,
    /// `<filesystem>` with `<driver type='virtiofs'/>`.
    Filesystem,
    /// `<video>` with `<driver name='vhostuser'/>`: libvirt starts the GPU process and owns its socket.
    Video,
    /// `-device vhost-user-...` or `-netdev vhost-user` in `<qemu:commandline>`.
    CommandLine,
}

/// QEMU's side of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketMode {
    /// QEMU makes the socket and listens: the dataplane's port must be a `dpdkvhostuserclient`.
    Server,
    /// QEMU connects to what the dataplane made: the dataplane's port must be a `dpdkvhostuser`.
    Client,
}

impl SocketMode {
    /// As in a domain's XML.
    pub fn as_str(self) -> &'static str {
        match self {
            SocketMode::Server => "server",
            SocketMode::Client => "client",
        }
    }
}

/// One vhost-user connection of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Which device.
    pub device: EndpointKind,
    /// The socket's path as written; `None` where libvirt makes the socket itself, in a place of its own.
    pub path: Option<PathBuf>,
    /// QEMU's side.
    pub mode: SocketMode,
    /// With libvirt's `mode='client'`: QEMU tries again after so many seconds when the connection breaks. `None`: never.
    pub reconnect: Option<u32>,
    /// `<target dev=>` (for a filesystem its tag). For an interface libvirt fills in the name of the OVS port at `start`:
    /// `Some("")` means that it asked and there is no port with this path.
    pub target: Option<String>,
    /// The guest's network card, as written.
    pub mac: Option<String>,
    /// The device's name inside QEMU, once libvirt gave it one.
    pub alias: Option<String>,
}

/// All endpoints of a `<domain>`, in document order, those of `<qemu:commandline>` last.
pub(super) fn read(domain: Node) -> Result<Vec<Endpoint>> {
    let mut found = Vec::new();
    for device in children(domain, "devices").flat_map(|devices| devices.children()).filter(is_libvirts) {
        let name = device.tag_name().name();
        let endpoint = match name {
            "interface" if device.attribute("type") == Some("vhostuser") => interface(device),
            "disk" if device.attribute("type") == Some("vhostuser") => disk(device),
            "filesystem" => filesystem(device),
            "video" if is_vhost_user_video(device) => Ok(Some(bare(device, EndpointKind::Video))),
            _ => Ok(None),
        };
        let which = || child(device, "target").and_then(|target| text(target, "dev"));
        let which = || which().map_or(String::new(), |target| format!(" {}", target.escape_debug()));
        found.extend(endpoint.with_context(|| format!("reading <{name}>{}", which()))?);
    }
    for commandline in children_in(domain, Some(QEMU), "commandline") {
        found.extend(from_commandline(commandline));
    }
    Ok(found)
}

/// An endpoint without a path of its own, with `mode='client'`: what most devices are.
fn bare(device: Node, kind: EndpointKind) -> Endpoint {
    Endpoint {
        device: kind,
        path: None,
        mode: SocketMode::Client,
        reconnect: None,
        // An empty one is kept: it says something.
        target: child(device, "target").and_then(|target| target.attribute("dev")).map(str::to_string),
        mac: child(device, "mac").and_then(|mac| text(mac, "address")),
        alias: child(device, "alias").and_then(|alias| text(alias, "name")),
    }
}

fn interface(device: Node) -> Result<Option<Endpoint>> {
    let backend = child(device, "backend").and_then(|backend| backend.attribute("type"));
    let source = child(device, "source");
    let path = source.and_then(|source| text(source, "path")).map(PathBuf::from);
    if backend == Some("passt") && path.is_none() {
        return Ok(Some(bare(device, EndpointKind::Passt)));
    }
    let source = source.context("no <source>")?;
    let mode = match source.attribute("mode") {
        Some("server") => SocketMode::Server,
        // libvirt >= 11.1 takes this for the default; an older one accepts no such domain.
        Some("client") | None => SocketMode::Client,
        other => bail!("mode='{}' is neither server nor client", other.unwrap_or_default().escape_debug()),
    };
    let path = Some(path.context("no path in <source>")?);
    let reconnect = reconnect(source)?;
    Ok(Some(Endpoint { path, mode, reconnect, ..bare(device, EndpointKind::Interface) }))
}

fn disk(device: Node) -> Result<Option<Endpoint>> {
    let source = child(device, "source").context("no <source>")?;
    let missing = "no path in <source>: a vhostuser disk needs <source type='unix' path='...'/> (a hook or sidecar that rewrote it twice loses it)";
    let path = Some(text(source, "path").map(PathBuf::from).context(missing)?);
    Ok(Some(Endpoint { path, reconnect: reconnect(source)?, ..bare(device, EndpointKind::Disk) }))
}

fn filesystem(device: Node) -> Result<Option<Endpoint>> {
    if child(device, "driver").and_then(|driver| driver.attribute("type")) != Some("virtiofs") {
        return Ok(None);
    }
    let target = child(device, "target").and_then(|target| text(target, "dir"));
    let source = child(device, "source");
    let path = source.and_then(|source| text(source, "socket")).map(PathBuf::from);
    Ok(Some(Endpoint { path, target, ..bare(device, EndpointKind::Filesystem) }))
}

/// The driver is a child of `<video>`, or of its `<model>` as older documents have it.
fn is_vhost_user_video(device: Node) -> bool {
    let model = child(device, "model");
    let drivers = [child(device, "driver"), model.and_then(|model| child(model, "driver"))];
    drivers.into_iter().flatten().any(|driver| driver.attribute("name") == Some("vhostuser"))
}

/// `<reconnect enabled='yes' timeout='1'/>`, seconds. Enabled without a time is 0: libvirt tells QEMU nothing then.
fn reconnect(source: Node) -> Result<Option<u32>> {
    let Some(node) = child(source, "reconnect").filter(|node| node.attribute("enabled") == Some("yes"))
    else {
        return Ok(None);
    };
    Ok(Some(number(node, "timeout")?.unwrap_or(0)))
}

/// The character devices of `<qemu:arg value=>` that a vhost-user device or netdev of the same command line uses.
/// Only QEMU's `key=value` form is read, not its JSON.
fn from_commandline(commandline: Node) -> Vec<Endpoint> {
    let arguments = children_in(commandline, Some(QEMU), "arg");
    let words: Vec<&str> = arguments.filter_map(|arg| arg.attribute("value")).collect();
    let mut chardevs = HashMap::new();
    let mut users = Vec::new();
    for pair in words.windows(2) {
        let options = Options::parse(pair[1]);
        match pair[0].trim_start_matches('-') {
            "chardev" if options.kind == "socket" => {
                options.get("id").map(|id| chardevs.insert(id.to_string(), options.clone()));
            }
            "netdev" if options.is("type", "vhost-user") => users.push(options),
            "device" if options.get("driver").unwrap_or(&options.kind).starts_with("vhost-user-") => {
                users.push(options)
            }
            _ => {}
        }
    }
    users.iter().filter_map(|user| user.endpoint(chardevs.get(user.get("chardev")?)?)).collect()
}

/// QEMU's `kind,key=value,...`, in which `,,` is a comma.
#[derive(Clone)]
struct Options {
    kind: String,
    pairs: Vec<(String, String)>,
}

impl Options {
    fn parse(text: &str) -> Options {
        let text = text.replace(",,", "\0");
        let parts: Vec<String> = text.split(',').map(|part| part.replace('\0', ",")).collect();
        let kind = parts.first().filter(|first| !first.contains('=')).cloned().unwrap_or_default();
        // A bare word is a switch that is on, as in the older `server,nowait`.
        let pairs = parts.iter().map(|part| part.split_once('=').unwrap_or((part, "on")));
        let pairs = pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Options { kind, pairs }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn is(&self, key: &str, value: &str) -> bool {
        self.kind == value || self.get(key) == Some(value)
    }

    /// The endpoint of this device over `chardev`.
    fn endpoint(&self, chardev: &Options) -> Option<Endpoint> {
        let is_server = chardev.get("server") == Some("on");
        Some(Endpoint {
            device: EndpointKind::CommandLine,
            path: Some(PathBuf::from(chardev.get("path")?)),
            mode: if is_server { SocketMode::Server } else { SocketMode::Client },
            reconnect: chardev
                .get("reconnect")
                .and_then(|seconds| seconds.parse().ok())
                .filter(|seconds| *seconds > 0),
            target: None,
            mac: self.get("mac").map(str::to_string),
            alias: self.get("id").map(str::to_string),
        })
    }
}

/// Endpoints whose other end is a switch's port.
pub fn is_network_card(endpoint: &Endpoint) -> bool {
    matches!(endpoint.device, EndpointKind::Interface | EndpointKind::CommandLine)
}
