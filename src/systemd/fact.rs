// SPDX-License-Identifier: Apache-2.0
//! What is known of a unit.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// systemd's default for `UMask=` (systemd.exec(5)).
const DEFAULT_UMASK: u32 = 0o022;

/// What systemd knows of a unit, all drop-ins applied: names as in `systemctl show`. From an image: what the unit files
/// say, with specifiers (`%i`) unexpanded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFact {
    /// Its real name, where the one that was asked for is an alias.
    pub name: String,
    /// `loaded`, `masked`, `bad-setting`, `error`.
    pub load_state: String,
    /// `active`, `inactive`, `failed`, `activating`... `inactive` in an image.
    pub active_state: String,
    /// `enabled`, `disabled`, `static`, `masked`... empty for a unit without a file.
    pub unit_file_state: String,
    /// The unit file.
    pub fragment: Option<PathBuf>,
    /// The drop-ins that count, in the order they apply.
    pub drop_ins: Vec<PathBuf>,
    /// The files changed since systemd read them: as it says itself, or a drop-in that it did not see.
    pub need_daemon_reload: bool,
    /// `Group=`.
    pub group: Option<String>,
    /// `User=`.
    pub user: Option<String>,
    /// `UMask=`.
    pub umask: u32,
    /// `Environment=`, `NAME=VALUE` each.
    pub environment: Vec<String>,
    /// `EnvironmentFile=`; true if it may be missing.
    pub environment_files: Vec<(PathBuf, bool)>,
    /// `RuntimeDirectory=`, below `/run`.
    pub runtime_directory: Vec<String>,
    /// `RuntimeDirectoryPreserve=`: `no`, `yes` or `restart`.
    pub runtime_directory_preserve: String,
    /// `DefaultDependencies=`.
    pub default_dependencies: bool,
    /// The process it is about, while it runs.
    pub main_pid: Option<u32>,
    /// The arguments of each `ExecStartPre=`, the program's name first, variables unexpanded.
    pub exec_start_pre: Vec<Vec<String>>,
    /// Of each `ExecStart=`.
    pub exec_start: Vec<Vec<String>>,
    /// Of each `ExecStartPost=`.
    pub exec_start_post: Vec<Vec<String>>,
    /// A mount's options: those in effect while it is mounted, else `Options=`.
    pub mount_options: Option<String>,
    /// Where a mount is mounted, `Where=`.
    pub mount_where: Option<PathBuf>,
    /// A socket's `SocketUser=`.
    pub socket_user: Option<String>,
    /// `SocketGroup=`.
    pub socket_group: Option<String>,
    /// `SocketMode=`.
    pub socket_mode: Option<u32>,
    /// When its state changed last, a reload included, in microseconds since 1970.
    pub state_change_timestamp: Option<u64>,
    /// When it became active last, in microseconds since 1970.
    pub active_enter_timestamp: Option<u64>,
}

impl UnitFact {
    /// By its properties, as far as all sources say them by the same names. What is not set is empty; `bits` are a mode
    /// or a mask, and `commands` the arguments of each.
    pub(super) fn of(
        text: impl Fn(&str) -> String,
        words: impl Fn(&str) -> Vec<String>,
        bits: impl Fn(&str) -> Result<Option<u32>>,
        commands: impl Fn(&str) -> Vec<Vec<String>>,
    ) -> Result<UnitFact> {
        let set = |key: &str| Some(text(key)).filter(|text| !text.is_empty());
        Ok(UnitFact {
            name: text("Id"),
            load_state: text("LoadState"),
            active_state: text("ActiveState"),
            unit_file_state: text("UnitFileState"),
            fragment: set("FragmentPath").map(PathBuf::from),
            drop_ins: words("DropInPaths").into_iter().map(PathBuf::from).collect(),
            group: set("Group"),
            user: set("User"),
            umask: bits("UMask")?.unwrap_or(DEFAULT_UMASK),
            environment: words("Environment"),
            runtime_directory: words("RuntimeDirectory"),
            runtime_directory_preserve: set("RuntimeDirectoryPreserve").unwrap_or_else(|| "no".to_string()),
            exec_start_pre: commands("ExecStartPre"),
            exec_start: commands("ExecStart"),
            exec_start_post: commands("ExecStartPost"),
            mount_options: set("Options"),
            mount_where: set("Where").map(PathBuf::from),
            socket_user: set("SocketUser"),
            socket_group: set("SocketGroup"),
            socket_mode: bits("SocketMode")?,
            ..UnitFact::default()
        })
    }

    /// Whether it runs.
    pub fn is_active(&self) -> bool {
        matches!(self.active_state.as_str(), "active" | "reloading")
    }
}
