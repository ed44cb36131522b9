// SPDX-License-Identifier: Apache-2.0
//! VPP, by its source (FDio/vpp@b575ec2, 2026-08; the program itself was not seen).
//!
//! It runs as root, with the group of `unix { gid }` by `setegid` (src/vlib/unix/main.c). Its sockets for commands and its
//! API are 0775 on purpose, whatever the umask (`CLIB_SOCKET_F_ALLOW_GROUP_WRITE`: src/vlib/unix/cli.c,
//! src/vlibmemory/socket_api.c), so whoever is in that group controls it: never QEMU. A vhost-user socket has the umask's
//! mode (src/plugins/vhost/vhost_user.c): UMask=0002 opens those alone, in a directory that gives them QEMU's group. Interfaces
//! are created by commands only, which a node keeps in the file of `unix { exec }`.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::base::root::Root;
use crate::config::{Declaration, Declared, MadeBy};
use crate::dataplane::conversation::Bounded;
use crate::dataplane::driver::{Driver, LIMIT, Looking, MOST, Port, option, unclear};
use crate::systemd::UnitFact;

/// Paths by its configuration, ports by its command line.
pub const DRIVER: Driver =
    Driver { name: "vpp", unit: Some("vpp.service"), look, umask: Some(0o002), ports: Some(ports) };

const CONFIG: &str = "/etc/vpp/startup.conf";
/// Where sockets go if nothing says where.
const SOCKETS: &str = "/run/vpp-vhost";

fn look(root: &Root, unit: &UnitFact, section: &mut Declaration) -> Result<(), Looking> {
    let place = option(unit, &["-c"]).unwrap_or(CONFIG).to_string();
    let text = root.read_text(Path::new(&place))?.unwrap_or_default();
    let startup = Startup::parse(&text);
    section.fill("control", &startup.control().join(" "), &place);
    if let Some(group) = &startup.gid {
        section.fill("group", group, &place);
    }
    let Some(exec) = startup.exec.filter(|path| path.starts_with('/')) else {
        section.fill("sockets", SOCKETS, "the driver vpp");
        return Ok(());
    };
    let commands = root.read_text(Path::new(&exec))?.unwrap_or_default();
    let created = created(&commands);
    let wanted = |made_by: MadeBy| section.get("made-by").is_none_or(|set| set == word(made_by));
    let created: Vec<&(PathBuf, MadeBy)> = created.iter().filter(|(_, made_by)| wanted(*made_by)).collect();
    let Some((first, made_by)) = created.first() else {
        section.fill("sockets", SOCKETS, "the driver vpp");
        return Ok(());
    };
    if created.iter().any(|(_, other)| other != made_by) {
        let what = format!(
            "set made-by, in a section for each: {exec} has interfaces that create their socket ('server') and others"
        );
        return Err(unclear(what));
    }
    let directory = first.parent().unwrap_or(Path::new("/"));
    if section.get("sockets").is_none() && created.iter().any(|(path, _)| path.parent() != Some(directory)) {
        return Err(unclear(format!("set sockets: {exec} has them in more than one directory")));
    }
    section.fill("made-by", word(*made_by), &exec);
    section.fill("sockets", &directory.display().to_string(), &exec);
    Ok(())
}

fn word(made_by: MadeBy) -> &'static str {
    match made_by {
        MadeBy::Qemu => "qemu",
        MadeBy::Dataplane => "dataplane",
    }
}

/// What counts here of startup.conf.
#[derive(Debug, Default, PartialEq, Eq)]
struct Startup {
    gid: Option<String>,
    exec: Option<String>,
    cli: Option<String>,
    api: Option<String>,
    runtime: Option<String>,
}

impl Startup {
    /// Words and braces, in any number of lines; what follows a word that begins with '#' is a comment (src/vpp/vnet/main.c).
    fn parse(text: &str) -> Startup {
        let code = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let spaced = code.collect::<Vec<_>>().join(" ").replace('{', " { ").replace('}', " } ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let (mut startup, mut within) = (Startup::default(), Vec::new());
        for (number, word) in words.iter().enumerate() {
            let next = words.get(number + 1).map(|next| next.to_string());
            match (within.as_slice(), *word) {
                (_, "{") => within.push(number.checked_sub(1).map_or("", |before| words[before])),
                (_, "}") => drop(within.pop()),
                (["unix"], "gid") => startup.gid = next,
                (["unix"], "exec" | "startup-config") => startup.exec = next,
                (["unix"], "cli-listen") => startup.cli = next,
                (["unix"], "runtime-dir") => startup.runtime = next,
                (["socksvr"], "socket-name") => startup.api = next,
                _ => {}
            }
        }
        startup
    }

    /// The socket for commands, then that of the API. One may listen at an address instead.
    fn control(&self) -> Vec<String> {
        let runtime = self.runtime.as_deref().unwrap_or("/run/vpp");
        let at =
            |set: &Option<String>, name: &str| set.clone().unwrap_or_else(|| format!("{runtime}/{name}"));
        let sockets = [at(&self.cli, "cli.sock"), at(&self.api, "api.sock")];
        sockets.into_iter().filter(|path| path.starts_with('/')).collect()
    }
}

/// `create vhost-user socket PATH [server] ...` (src/plugins/vhost/vhost_user.c); a command may be shortened.
fn created(commands: &str) -> Vec<(PathBuf, MadeBy)> {
    let one = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [create, what, rest @ ..] = words.as_slice() else { return None };
        let is_it = "create".starts_with(create) && what.starts_with("vh") && "vhost-user".starts_with(what);
        let at = rest.iter().position(|word| *word == "socket").filter(|_| is_it)?;
        let made_by = if rest.contains(&"server") { MadeBy::Dataplane } else { MadeBy::Qemu };
        Some((PathBuf::from(rest.get(at + 1)?), made_by))
    };
    commands.lines().filter_map(one).filter(|(path, _)| path.is_absolute()).collect()
}

/// The first of `control` is the socket for commands.
fn ports(root: &Root, declared: &Declared) -> Result<Vec<Port>> {
    let socket = declared.control.first().context("no control socket is known")?;
    let said = say(Bounded::connect(root, socket, LIMIT, MOST)?)
        .with_context(|| format!("the answer to 'show vhost-user' at {}", socket.display()))?;
    parse(&said)
}

/// As vppctl does (src/vpp/app/vppctl.c): VPP asks for the type of the terminal, by telnet's rules, and after the answer
/// `vppctl` it takes whole lines, writes no prompt, and ends what it says to a command with a zero byte (src/vlib/unix/cli.c).
fn say(mut stream: Bounded) -> Result<String> {
    const ASKED: [u8; 6] = [255, 250, 24, 1, 255, 240];
    const TYPE: &[u8] = b"\xff\xfa\x18\0vppctl\xff\xf0";
    let mut received = Vec::new();
    while !received.windows(ASKED.len()).any(|bytes| bytes == ASKED) {
        receive(&mut stream, &mut received)?;
    }
    stream.write_all(TYPE)?;
    stream.write_all(b"show vhost-user\n")?;
    // It may have said more about the terminal by now, and a zero byte to the answer.
    let text = |received: &[u8]| without_telnet(received).trim_start_matches('\0').to_string();
    while !text(&received).contains('\0') {
        receive(&mut stream, &mut received)?;
    }
    Ok(text(&received).split('\0').next().unwrap_or_default().to_string())
}

fn receive(stream: &mut Bounded, received: &mut Vec<u8>) -> Result<()> {
    let mut bytes = [0; 4096];
    match stream.read(&mut bytes)? {
        0 => bail!("the connection was closed"),
        length => received.extend_from_slice(&bytes[..length]),
    }
    Ok(())
}

/// RFC 854: a command is 255 and one byte, with an option three in all; one of several bytes ends with 255 240.
fn without_telnet(received: &[u8]) -> String {
    let (mut text, mut rest) = (Vec::new(), received);
    while let [first, behind @ ..] = rest {
        rest = match (first, behind) {
            (255, [250, ..]) => {
                let end = behind.windows(2).position(|bytes| bytes == [255, 240]);
                end.map_or(&[], |end| &behind[end + 2..])
            }
            (255, [251..=254, _, behind @ ..] | [_, behind @ ..]) => behind,
            (byte, _) => {
                text.push(*byte);
                behind
            }
        };
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// `show_vhost_user_command_fn` (src/plugins/vhost/vhost_user.c): `Interface: NAME (ifindex N)`, then ` socket filename PATH
/// type server|client errno "TEXT"` with the text of `strerror`, then ` Memory regions (total N)`, more than none of a VM that is
/// connected.
fn parse(said: &str) -> Result<Vec<Port>> {
    if !said.contains("Virtio vhost-user interfaces") {
        bail!("not what 'show vhost-user' says: {}", said.lines().next().unwrap_or_default());
    }
    let mut found: Vec<Port> = Vec::new();
    let mut name = String::new();
    for line in said.lines().map(str::trim_end) {
        if let Some(rest) = line.strip_prefix("Interface: ") {
            name = rest.split(" (ifindex").next().unwrap_or(rest).to_string();
        } else if let Some(rest) = line.strip_prefix(" socket filename ") {
            found.extend(socket(&name, rest));
        } else if let Some(rest) = line.strip_prefix(" Memory regions (total ")
            && let Some(last) = found.last_mut().filter(|last| last.name == name)
        {
            last.connected = !rest.starts_with("0)");
        }
    }
    Ok(found)
}

fn socket(name: &str, rest: &str) -> Option<Port> {
    let (rest, error) = rest.trim_end_matches('"').rsplit_once(" errno \"")?;
    let (path, role) = rest.rsplit_once(" type ")?;
    Some(Port {
        name: name.to_string(),
        path: PathBuf::from(path),
        made_by: if role == "server" { MadeBy::Dataplane } else { MadeBy::Qemu },
        connected: false,
        error: (error != "Success").then(|| error.to_string()),
    })
}

#[cfg(test)]
mod tests;
