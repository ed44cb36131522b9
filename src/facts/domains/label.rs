// SPDX-License-Identifier: Apache-2.0
//! `<seclabel model='dac'>`: the owner and group QEMU runs as (libvirt: docs/formatdomain.rst, "Security label").

use anyhow::{Context, Result, bail};
use roxmltree::Node;
use serde::{Deserialize, Serialize};

use super::{child_text, children};

/// How the label came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelKind {
    /// The domain's own choice.
    Static,
    /// What libvirt's configuration says, filled in at `start`.
    Dynamic,
    /// No label and no relabelling; QEMU runs as qemu.conf says nevertheless.
    None,
}

/// A user or group in a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Account {
    /// `+107`: a number, never a name.
    Id(u32),
    /// Anything else. libvirt looks it up as a name, and takes it as a number when there is none.
    Name(String),
}

/// The DAC security label of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DacLabel {
    /// How it came about.
    pub kind: LabelKind,
    /// Whether libvirt changes the owner of the domain's files.
    pub relabel: bool,
    /// User and group, once there are any: at `start`, and before when static.
    pub owner: Option<(Account, Account)>,
}

/// The domain's DAC label. Where it has several, libvirt takes the first.
pub(super) fn read(domain: Node) -> Result<Option<DacLabel>> {
    let label = children(domain, "seclabel").find(|label| label.attribute("model") == Some("dac"));
    label.map(|label| parse(label).context("reading <seclabel model='dac'>")).transpose()
}

fn parse(label: Node) -> Result<DacLabel> {
    let kind = match label.attribute("type") {
        Some("static") => LabelKind::Static,
        Some("dynamic") | None => LabelKind::Dynamic,
        Some("none") => LabelKind::None,
        Some(other) => bail!("type='{}' is neither static, dynamic nor none", other.escape_debug()),
    };
    let relabel = match label.attribute("relabel") {
        Some(relabel) => relabel == "yes",
        None => kind == LabelKind::Dynamic,
    };
    let owner = child_text(label, "label").map(|text| parse_owner(&text)).transpose()?;
    Ok(DacLabel { kind, relabel, owner })
}

/// `+64055:+64055`, `qemu:hugetlbfs`, `107:107`.
fn parse_owner(text: &str) -> Result<(Account, Account)> {
    let wrong = || format!("'{}' is not USER:GROUP", text.escape_debug());
    let (user, group) = text.split_once(':').with_context(wrong)?;
    Ok((parse_account(user).with_context(wrong)?, parse_account(group).with_context(wrong)?))
}

fn parse_account(text: &str) -> Result<Account> {
    match text.strip_prefix('+') {
        Some(number) => Ok(Account::Id(number.parse()?)),
        None if text.is_empty() => bail!("an empty name"),
        None => Ok(Account::Name(text.to_string())),
    }
}
