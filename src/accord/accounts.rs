// SPDX-License-Identifier: Apache-2.0
//! The shared group and the dataplane's account.

use serde::Serialize;

use super::{Accord, Ground, Obstacle};
use crate::config::{Config, GidMismatch};
use crate::facts::accounts::Source;
use crate::items::{Group, Item, Member, Renumber, User};
use crate::profile::Profile;

/// The group dataplane and QEMU share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedGroup {
    /// Its name.
    pub name: String,
    /// The number it must have on this node.
    pub gid: u32,
    /// The number that the configuration asks for, which containers know, if another number is to be reported.
    pub contract: Option<u32>,
}

impl SharedGroup {
    pub(super) fn decide(config: &Config, profile: &Profile) -> Result<SharedGroup, Obstacle> {
        let accounts = &profile.accounts;
        let existing = accounts.shared.as_ref().map(|group| group.gid);
        // The number of an earlier apply stays the expected one, so that a renumbering by others is found.
        let gid = match (config.gid_mismatch, accounts.recorded_gid.or(existing)) {
            (GidMismatch::Renumber, _) | (_, None) => config.gid,
            (GidMismatch::Keep | GidMismatch::Report, Some(gid)) => gid,
        };
        let contract =
            (config.gid_mismatch == GidMismatch::Report && gid != config.gid).then_some(config.gid);
        sources_allow(config, profile, gid)?;
        match &accounts.gid_holder {
            Some(holder) if existing != Some(gid) && holder.gid == gid => Err(Obstacle {
                id: "group-gid-taken",
                what: format!("gid {gid} belongs to group '{}', not to '{}'", holder.name, config.group),
                fix: format!(
                    "give '{}' another number (groupmod -g NUMBER {}), or set gid= to a free one in every container too",
                    holder.name, holder.name
                ),
            }),
            _ => Ok(SharedGroup { name: config.group.clone(), gid, contract }),
        }
    }
}

/// The sources that shadow's tools change.
const LOCAL: [&str; 3] = ["files", "compat", "/etc/group"];

/// An obstacle: files must not get a number that only some programs see, and only the local source can be changed.
fn sources_allow(config: &Config, profile: &Profile, gid: u32) -> Result<(), Obstacle> {
    let sources = &profile.accounts.sources;
    let now = profile.accounts.shared.as_ref().map(|group| group.gid);
    let renumbers = config.gid_mismatch == GidMismatch::Renumber && now.is_some_and(|now| now != gid);
    let against =
        |(_, source): &(usize, &Source)| source.gid != gid && !LOCAL.contains(&source.name.as_str());
    // Programs use the first source. A finding says which programs the others mislead.
    let counts = |(position, _): &(usize, &Source)| renumbers || *position == 0;
    let Some((_, source)) = sources.iter().enumerate().filter(against).find(counts) else { return Ok(()) };
    Err(Obstacle {
        id: "group-sources-disagree",
        what: format!("{} gives group '{}' gid {}, not {gid}", source.name, config.group, source.gid),
        fix: format!(
            "give the group gid {gid} in every source of 'group:' in /etc/nsswitch.conf, or use only 'files'"
        ),
    })
}

pub(super) fn items(accord: &Accord, _ground: &Ground<'_>) -> Vec<Item> {
    let group = &accord.group;
    // Both items: the first creates the group, the second sets its number, whichever source it comes from.
    let mut items = vec![
        Item::Group(Group { name: group.name.clone(), gid: group.gid }),
        Item::Renumber(Renumber { group: group.name.clone(), gid: group.gid }),
    ];
    let Some(dataplane) = accord.dataplane.as_ref().filter(|dataplane| dataplane.is_confined()) else {
        return items;
    };
    if let Some(user) = &dataplane.to_be_made {
        items.push(Item::Group(Group { name: user.name.clone(), gid: user.gid }));
        items.push(Item::User(User { name: user.name.clone(), uid: user.uid, gid: user.gid }));
    }
    // ovs refuses to start as a user that its group does not list (lib/daemon-unix.c, daemon_set_new_user).
    if dataplane.needs_membership {
        let (user, group) = (dataplane.user.clone(), dataplane.group.clone());
        items.push(Item::Member(Member { user, group }));
    }
    items
}
