// SPDX-License-Identifier: Apache-2.0
//! `compare`: any number of nodes, by their fingerprints. Which VM could go where is what `check --against` would say, as far
//! as a fingerprint tells: the same rules judge. Equal nodes and VMs of one shape are judged once.

mod differ;
mod matrix;
mod table;

use anyhow::Result;
use serde::Serialize;

use crate::fingerprint::Fingerprint;
use crate::rules::Finding;

pub use differ::{Difference, hash};
use differ::{Grouped, properties};

/// A node that is compared.
#[derive(Debug, Clone)]
pub struct Member {
    /// The file that its fingerprint is from.
    pub file: String,
    /// The fingerprint.
    pub fingerprint: Fingerprint,
}

/// A node in the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name; with the file where another has the same.
    pub name: String,
    /// The file.
    pub file: String,
    /// The number of its group.
    pub group: usize,
    /// How many VMs with vhost-user endpoints run on it.
    pub vms: usize,
    /// In what it differs from most nodes.
    pub differs: Vec<Difference>,
}

/// Nodes that are equal in all that is compared; or, last, those that are left when there are too many groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The first node, and how many more.
    pub name: String,
    /// How many nodes it has.
    pub nodes: usize,
    /// How many VMs run on them.
    pub vms: usize,
    /// What they have in common, by name; empty where they are only what was left.
    pub properties: Vec<(&'static str, String)>,
}

/// How often something is in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// The finding, or `unknown`.
    pub id: &'static str,
    /// Of how many moves, or from how many nodes it keeps a VM.
    pub count: u64,
}

/// From the nodes of one group to those of another. A move is one VM to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The number of the group that VMs leave.
    pub from: usize,
    /// That of the group that they would go to.
    pub to: usize,
    /// How many moves there are.
    pub moves: u64,
    /// How many would succeed.
    pub succeed: u64,
    /// What is in the way of the others.
    pub obstacles: Vec<Obstacle>,
    /// What `check --against` would say, for examples.
    pub findings: Vec<Example>,
}

/// A finding between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The node that VMs leave.
    pub from: String,
    /// The node that they would go to: `here`, in the finding's words.
    pub to: String,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vm {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Option<String>,
    /// The number of its node.
    pub node: usize,
    /// To how many nodes it can go.
    pub targets: u64,
    /// What keeps it from the others.
    pub obstacles: Vec<Obstacle>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The nodes, in the order of the files.
    pub nodes: Vec<Node>,
    /// Nodes that are equal, the largest group first.
    pub groups: Vec<Group>,
    /// All pairs of groups.
    pub matrix: Vec<Cell>,
    /// All VMs.
    pub vms: Vec<Vm>,
}

impl Compared {
    /// VMs that no other node can take.
    pub fn stuck(&self) -> impl Iterator<Item = &Vm> {
        self.vms.iter().filter(|vm| vm.targets == 0 && !vm.obstacles.is_empty())
    }
}

/// Compares them.
pub fn compare(members: &[Member]) -> Result<Compared> {
    let names = names(members);
    let all: Vec<_> = members.iter().map(|member| properties(&member.fingerprint)).collect();
    let Grouped { groups, of } = differ::group(&all);
    let differs = differ::from_most(&all);
    let known = matrix::Known { members, names: &names, differs: &differs };
    let (matrix, vms) = matrix::fill(&known, &of, groups.len())?;
    let row = |(number, (member, differs)): (usize, (&Member, Vec<Difference>))| Node {
        name: names[number].clone(),
        file: member.file.clone(),
        group: of[number],
        vms: member.fingerprint.vms.len(),
        differs,
    };
    let count = |group: &Vec<usize>| group.iter().map(|node| members[*node].fingerprint.vms.len()).sum();
    let group = |group: &Vec<usize>| Group {
        name: match group.as_slice() {
            [] => String::new(),
            [only] => names[*only].clone(),
            [first, more @ ..] => format!("{} and {} more", names[*first], more.len()),
        },
        nodes: group.len(),
        vms: count(group),
        properties: differ::common(&all, group),
    };
    let groups = groups.iter().map(group).collect();
    let nodes = members.iter().zip(differs).enumerate().map(row).collect();
    Ok(Compared { nodes, groups, matrix, vms })
}

/// What a line calls each node.
fn names(members: &[Member]) -> Vec<String> {
    let mut count = std::collections::HashMap::new();
    let hosts = members.iter().map(|member| member.fingerprint.host.as_deref());
    hosts.flatten().for_each(|host| *count.entry(host).or_insert(0) += 1);
    let name = |member: &Member| match member.fingerprint.host.as_deref() {
        Some(host) if count.get(host) == Some(&1) => host.to_string(),
        Some(host) => format!("{host} ({})", member.file),
        None => member.file.clone(),
    };
    members.iter().map(name).collect()
}
