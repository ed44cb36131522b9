// SPDX-License-Identifier: Apache-2.0
//! What `compare` found, for people.

use std::fmt::Write as _;

use super::{Style, colour, count, one_line, table};
use crate::fleet::{Cell, Compared, Example, Group, Obstacle};
use crate::rules::Level;

/// As many of anything as one likes to read in a line or a list.
const MOST: usize = 20;

/// All of it.
pub fn text(compared: &Compared) -> String {
    [groups, matrix, stuck, differences, findings].map(|part| part(compared)).concat()
}

fn groups(compared: &Compared) -> String {
    let header = ["", "NODES", "VMS", ""].map(str::to_string);
    let row = |(number, group): (usize, &Group)| {
        [format!("{}", number + 1), group.nodes.to_string(), group.vms.to_string(), one_line(&group.name)]
    };
    let rows = compared.groups.iter().enumerate().map(row);
    table(&std::iter::once(header).chain(rows).collect::<Vec<_>>()) + "\n"
}

/// How many of the moves succeed.
pub fn cell_text(cell: &Cell) -> String {
    match (cell.moves, cell.succeed) {
        (0, _) => "-".to_string(),
        (moves, succeed) if moves == succeed => "all".to_string(),
        (_, 0) => {
            let most = cell.obstacles.iter().max_by_key(|obstacle| obstacle.count);
            most.map(|obstacle| obstacle.id).filter(|id| *id == "unknown").unwrap_or("none").to_string()
        }
        (moves, succeed) => format!("{}%", succeed * 100 / moves),
    }
}

fn matrix(compared: &Compared) -> String {
    let groups = 0..compared.groups.len();
    let heads = groups.clone().map(|number| format!("to {}", number + 1));
    let header: Vec<String> = std::iter::once(String::new()).chain(heads).collect();
    let row = |number: usize| {
        let cells = compared.matrix.iter().filter(|cell| cell.from == number).map(cell_text);
        std::iter::once(format!("from {}", number + 1)).chain(cells).collect()
    };
    table(&std::iter::once(header).chain(groups.map(row)).collect::<Vec<_>>()) + "\n"
}

/// What is in the way, and how often.
pub fn obstacles(obstacles: &[Obstacle], between: &str) -> String {
    let one = |obstacle: &Obstacle| format!("{}{between}{}", obstacle.id, obstacle.count);
    obstacles.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// VMs that can leave their node for no other.
fn stuck(compared: &Compared) -> String {
    let mut text = String::new();
    let stuck: Vec<_> = compared.stuck().collect();
    for vm in stuck.iter().take(MOST) {
        let node = &compared.nodes[vm.node].name;
        let _ = writeln!(
            text,
            "{} on {}: no other node can take it: {}",
            one_line(&vm.name),
            one_line(node),
            obstacles(&vm.obstacles, " on ")
        );
    }
    if stuck.len() > MOST {
        let _ = writeln!(text, "and {} more VMs that no other node can take", stuck.len() - MOST);
    }
    text
}

/// Nodes that differ in the same together.
fn differences(compared: &Compared) -> String {
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for node in &compared.nodes {
        for differs in &node.differs {
            let line = format!(
                "{} {} (most have {}: {})",
                differs.what,
                one_line(&differs.here),
                one_line(&differs.most),
                count(differs.nodes, "node")
            );
            match found.iter_mut().find(|(known, _)| *known == line) {
                Some((_, nodes)) => nodes.push(&node.name),
                None => found.push((line, vec![&node.name])),
            }
        }
    }
    let text = |(line, nodes): &(String, Vec<&str>)| format!("{}: {line}\n", some(nodes));
    found.iter().map(text).collect()
}

/// Some by name.
fn some(nodes: &[impl AsRef<str>]) -> String {
    let shown: Vec<String> = nodes.iter().take(MOST).map(|name| one_line(name.as_ref())).collect();
    let more = nodes.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

/// Each once, with the groups that it is between.
pub fn distinct(compared: &Compared) -> Vec<(&Example, Vec<&Cell>)> {
    let mut found: Vec<(&Example, Vec<&Cell>)> = Vec::new();
    for cell in &compared.matrix {
        for example in &cell.findings {
            let finding = &example.finding;
            let is_it = |(known, _): &&mut (&Example, _)| {
                (known.finding.id, &known.finding.seen, &known.finding.fix)
                    == (finding.id, &finding.seen, &finding.fix)
            };
            match found.iter_mut().find(is_it) {
                Some((_, cells)) => cells.push(cell),
                None => found.push((example, vec![cell])),
            }
        }
    }
    found.sort_by_key(|(example, _)| std::cmp::Reverse(example.finding.level));
    found
}

/// As `check` has them, with the nodes: `here` is the one that VMs would go to.
fn findings(compared: &Compared) -> String {
    let mut text = String::new();
    for (example, cells) in distinct(compared) {
        let finding = &example.finding;
        let style = if finding.level == Level::Broken { Style::Bad } else { Style::Advice };
        let pairs: Vec<String> =
            cells.iter().map(|cell| format!("{}>{}", cell.from + 1, cell.to + 1)).collect();
        let _ = writeln!(
            text,
            "{}: {}: {} (there: {}, here: {}; groups {})\n    {}\n    fix on {}: {}",
            colour(style, finding.id),
            one_line(&finding.subject),
            one_line(&finding.seen),
            one_line(&example.from),
            one_line(&example.to),
            some(&pairs),
            colour(Style::Dim, finding.cause),
            one_line(&example.to),
            one_line(&finding.fix)
        );
    }
    text
}
