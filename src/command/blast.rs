// SPDX-License-Identifier: Apache-2.0
//! What a restart interrupts: printed before it happens.

use crate::facts::domains::SocketMode;
use crate::node::live::Live;
use crate::report::{self, Style};
use crate::rules::Finding;
use crate::survey::Survey;

/// The VMs that a restart of the dataplane cuts off, a line each.
pub fn lost_network(live: &Live) -> Vec<String> {
    let mut lines = Vec::new();
    for guest in &live.guests {
        let endpoints = &guest.domain.endpoints;
        let connects = |endpoint: &&crate::facts::domains::Endpoint| endpoint.mode == SocketMode::Client;
        let dead = endpoints.iter().filter(connects).filter(|endpoint| endpoint.reconnect.is_none()).count();
        let name = &guest.domain.name;
        if dead > 0 {
            lines.push(format!(
                "VM {name} loses network on {dead} of {} ports until it is started again (mode='client' without reconnect)",
                endpoints.len()
            ));
        } else if !endpoints.is_empty() {
            lines.push(format!("VM {name} loses network for some seconds, then reconnects"));
        }
    }
    lines
}

/// The pending restarts.
pub fn waiting_text(survey: &Survey, waiting: &[Finding]) -> String {
    let mut text = String::new();
    for finding in waiting {
        let line = format!("pending restart: {}: {} ({})", finding.subject, finding.seen, finding.fix);
        text.push_str(&report::colour(Style::Advice, &format!("{}\n", report::one_line(&line))));
    }
    let switch = survey.accord.dataplane.as_ref().map(|dataplane| &dataplane.switch_unit);
    let cuts = waiting.iter().any(|finding| finding.restart.as_ref() == switch);
    for line in survey.live.iter().filter(|_| cuts).flat_map(lost_network) {
        text.push_str(&format!("    with that restart, {}\n", report::one_line(&line)));
    }
    text
}
