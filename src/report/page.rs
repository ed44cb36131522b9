// SPDX-License-Identifier: Apache-2.0
//! `compare --html`: the same as a page that needs nothing else, neither a network nor scripts. Everything from a
//! fingerprint is escaped.

use std::fmt::Write as _;

use super::fleet::{cell_text, distinct, obstacles};
use super::{count, one_line};
use crate::fleet::{Cell, Compared, Node};
use crate::rules::Level;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Of VMs in a list; `--json` has them all.
const MOST: usize = 500;

/// The page.
pub fn page(compared: &Compared, verdict: &str, unreadable: &[String]) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>vhost-accord: {nodes}</title>\
         <style>{STYLE}</style></head><body>\n<h1>Nodes compared by vhost-accord {version}</h1>\n",
        nodes = count(compared.nodes.len(), "node"),
        version = env!("CARGO_PKG_VERSION"),
    );
    page.push_str(&tiles(compared, verdict));
    for line in unreadable {
        let _ = writeln!(page, "<p class=\"bad\">not read: {}</p>", escape(line));
    }
    page.extend([matrix, findings, stuck, nodes].map(|part| part(compared)));
    let _ = writeln!(page, "<script>{SCRIPT}</script></body></html>");
    page
}

/// Text between tags, and in an attribute.
fn escape(text: &str) -> String {
    let text = one_line(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn tiles(compared: &Compared, verdict: &str) -> String {
    let differ = compared.nodes.iter().filter(|node| !node.differs.is_empty()).count();
    let style = match verdict {
        "would fail" => "bad",
        verdict if verdict.ends_with("advice") => "advice",
        _ => "good",
    };
    let tile =
        |number: usize, what: &str| format!("<div class=\"tile\"><b>{number}</b><span>{what}</span></div>");
    format!(
        "<div class=\"tiles\"><div class=\"tile\"><b class=\"{style}\">{}</b><span>migrations</span></div>{}{}{}{}</div>\n",
        escape(verdict),
        tile(compared.nodes.len(), "nodes"),
        tile(compared.vms.len(), "VMs with vhost-user endpoints"),
        tile(differ, "nodes differ from most"),
        tile(compared.stuck().count(), "VMs that no other node can take"),
    )
}

fn table(class: &str, header: &[&str], rows: &str) -> String {
    let header: String = header.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    format!(
        "<div class=\"scroll\"><table class=\"{class}\"><thead><tr>{header}</tr></thead><tbody>\n{rows}</tbody></table></div>\n"
    )
}

fn matrix(compared: &Compared) -> String {
    let numbers: Vec<String> = (1..=compared.groups.len()).map(|number| format!("to {number}")).collect();
    let header: Vec<&str> = std::iter::once("from").chain(numbers.iter().map(String::as_str)).collect();
    let mut rows = String::new();
    for (number, group) in compared.groups.iter().enumerate() {
        let cells = compared.matrix.iter().filter(|cell| cell.from == number).map(cell);
        let name = escape(&group.name);
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\">{} {name}</th>{}</tr>",
            number + 1,
            cells.collect::<String>()
        );
    }
    format!(
        "<h2>Which VMs can migrate where</h2>\n<p>From the nodes of a row to those of a column: how many of the moves succeed.</p>\n{}",
        table("matrix", &header, &rows)
    )
}

fn cell(cell: &Cell) -> String {
    let text = cell_text(cell);
    let class = match (text.as_str(), cell.findings.is_empty()) {
        ("-", _) => "",
        ("all", true) => "good",
        ("none", _) => "bad",
        _ => "advice",
    };
    let why = obstacles(&cell.obstacles, " ");
    format!(
        "<td class=\"{class}\" title=\"{} of {} moves succeed; {why}\">{text}</td>",
        cell.succeed, cell.moves
    )
}

fn findings(compared: &Compared) -> String {
    let mut rows = String::new();
    for (example, cells) in distinct(compared) {
        let finding = &example.finding;
        let class = if finding.level == Level::Broken { "bad" } else { "advice" };
        let _ = writeln!(
            rows,
            "<tr><td class=\"{class}\">{}</td><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}: {}<br>{}</td><td>{}: <code>{}</code></td></tr>",
            finding.level.name(),
            finding.id,
            cells.len(),
            escape(&example.from),
            escape(&finding.subject),
            escape(&finding.seen),
            escape(finding.cause),
            escape(&example.to),
            escape(&finding.fix),
        );
    }
    if rows.is_empty() {
        return String::new();
    }
    let header = ["Level", "Finding", "Cells", "VMs of, for example", "What was seen", "Fix on"];
    format!("<h2>What is in the way</h2>\n{}", table("sortable", &header, &rows))
}

fn stuck(compared: &Compared) -> String {
    let mut rows = String::new();
    for vm in compared.stuck().take(MOST) {
        let why = obstacles(&vm.obstacles, " on ");
        let node = escape(&compared.nodes[vm.node].name);
        let _ = writeln!(rows, "<tr><td>{}</td><td>{node}</td><td>{why}</td></tr>", escape(&vm.name));
    }
    if rows.is_empty() {
        return String::new();
    }
    format!("<h2>VMs that no other node can take</h2>\n{}", table("sortable", &["VM", "Node", "Why"], &rows))
}

fn nodes(compared: &Compared) -> String {
    let row = |node: &Node| {
        let differs = node.differs.iter().map(|differs| {
            format!("{} {} (most: {})", differs.what, escape(&differs.here), escape(&differs.most))
        });
        let class = if node.differs.is_empty() { "" } else { "advice" };
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"{class}\">{}</td></tr>\n",
            escape(&node.name),
            node.group + 1,
            node.vms,
            differs.collect::<Vec<_>>().join("<br>")
        )
    };
    let rows: String = compared.nodes.iter().map(row).collect();
    format!("<h2>Nodes</h2>\n{}", table("sortable", &["Node", "Group", "VMs", "Differs from most in"], &rows))
}
