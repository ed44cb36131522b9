// SPDX-License-Identifier: Apache-2.0
//! The single things that must hold: each is a target on the node and what it shall be.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::PortType;
use crate::edit::legacy;
pub use crate::facts::accounts::User;
use crate::facts::ovsdb::PortState;

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "item", rename_all = "kebab-case")]
pub enum Item {
    /// A group with a number.
    Group(Group),
    /// A system user without login.
    User(User),
    /// A user listed in a group.
    Member(Member),
    /// A group's number, and the group of all files that carry its old one.
    Renumber(Renumber),
    /// Owner, group and mode of a directory, mount root or file.
    Owner(Owner),
    /// A file of our own: a drop-in, an environment file, a tmpfiles.d line.
    File(File),
    /// A key in a file of someone else's.
    Setting(Setting),
    /// Who owns the logs that logrotate makes.
    LogOwner(LogOwner),
    /// A packaged file that was patched in place and shall be as packaged again.
    Unpatch(Unpatch),
    /// A symlink of our own.
    Link(Link),
    /// A VM's network cards with their ports, turned to another port type. Asked for by `convert`, never by the accord.
    Conversion(Conversion),
}

/// A group with a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
}

/// A user listed in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The user.
    pub user: String,
    /// The group.
    pub group: String,
}

/// A group's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renumber {
    /// The group.
    pub group: String,
    /// The number it shall have.
    pub gid: u32,
}

/// What a path is to the accord: findings are named after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A directory above the socket directory.
    Parent,
    /// Where QEMU makes its sockets.
    SocketDirectory,
    /// The root of a hugetlbfs mount.
    Hugepages,
    /// OVS's run directory.
    RunDirectory,
    /// OVS's database, configuration or logs.
    DataplaneState,
    /// The database's socket, where systemd creates it.
    DatabaseSocket,
}

impl Subject {
    /// The word findings begin with.
    pub fn word(self) -> &'static str {
        match self {
            Subject::Parent | Subject::SocketDirectory => "socket-directory",
            Subject::Hugepages => "hugepages",
            Subject::RunDirectory => "run-directory",
            Subject::DataplaneState => "dataplane-state",
            Subject::DatabaseSocket => "database-socket",
        }
    }
}

/// What to do where nothing is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// Make the directory.
    Create,
    /// Nothing: whoever makes it makes it right.
    Fine,
}

/// Owner, group and mode of what is at a path. `None` leaves that part as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Where.
    pub path: PathBuf,
    /// What it is to us.
    pub subject: Subject,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The permission bits with setgid.
    pub mode: Option<u32>,
    /// Where nothing is there.
    pub absent: Absent,
}

impl Owner {
    /// Is it what the dataplane keeps for itself, and takes over when it gets another identity?
    pub fn is_state(&self) -> bool {
        matches!(self.subject, Subject::DataplaneState | Subject::RunDirectory | Subject::DatabaseSocket)
    }
}

/// A file that is ours alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where.
    pub path: PathBuf,
    /// Its whole content; owner root, mode 0644.
    pub content: String,
    /// The unit it is a drop-in of.
    pub unit: Option<String>,
}

/// A key of qemu.conf with a text value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The file.
    pub path: PathBuf,
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// The owner in a logrotate configuration of the dataplane's package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOwner {
    /// The file.
    pub path: PathBuf,
    /// The user the logs must belong to.
    pub user: String,
}

/// A packaged file that may have been patched in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpatch {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub kind: legacy::Kind,
}

/// A symlink of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Where.
    pub path: PathBuf,
    /// What it leads to.
    pub target: PathBuf,
}

/// A VM's persistent definition and the ports of its cards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    /// The VM's UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its definition, as libvirt gives it out. Only root may read it: it can hold passwords.
    pub definition: String,
    /// The cards that are turned.
    pub cards: Vec<Card>,
    /// Their ports.
    pub ports: Vec<PortState>,
}

/// One card that is turned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The name of its port.
    pub port: String,
    /// What it was.
    pub from: Side,
    /// What it shall be.
    pub to: Side,
}

/// QEMU's side of a card's socket, by the type of port it goes with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The type of port.
    pub kind: PortType,
    /// The socket's path.
    pub path: PathBuf,
}

impl Item {
    /// What the item is about. Two items with the same target never stand in one accord.
    pub fn target(&self) -> Target {
        match self {
            Item::Group(Group { name, .. }) => Target(format!("group {name}")),
            Item::User(User { name, .. }) => Target(format!("user {name}")),
            Item::Member(Member { user, group }) => Target(format!("member {user} of {group}")),
            Item::Renumber(Renumber { group, .. }) => Target(format!("number of {group}")),
            Item::Owner(Owner { path, .. }) => Target(format!("owner of {}", path.display())),
            Item::File(File { path, .. }) => Target(format!("file {}", path.display())),
            Item::Setting(Setting { path, key, .. }) => Target(format!("{key} in {}", path.display())),
            Item::LogOwner(LogOwner { path, .. }) => Target(format!("owner of logs in {}", path.display())),
            Item::Unpatch(Unpatch { path, .. }) => Target(format!("packaged {}", path.display())),
            Item::Link(Link { path, .. }) => Target(format!("link {}", path.display())),
            Item::Conversion(Conversion { name, uuid, .. }) => Target(format!("ports of VM {name} ({uuid})")),
        }
    }
}

/// The name of what an item is about; also how the journal finds it again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target(pub String);

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
