// SPDX-License-Identifier: Apache-2.0
//! The verdict as plugins of Nagios, Icinga and checkmk give it: a line with performance data, then a line for each
//! finding (Monitoring Plugins Development Guidelines, "Plugin Output for Nagios").

use std::fmt::Write as _;

use anyhow::{Error, Result};

use super::one_line;
use crate::rules::Level;
use crate::rules::endpoints::Judged;

/// The text. It begins with the word for the exit code.
pub fn text(judged: Result<&Judged, &Error>) -> String {
    let judged = match judged {
        Ok(judged) => judged,
        Err(error) => return format!("VHOST-ACCORD UNKNOWN - {}\n", plain(&format!("{error:#}"))),
    };
    let count = |level| judged.findings.iter().filter(|finding| finding.level == level).count();
    let (broken, advice, endpoints) = (count(Level::Broken), count(Level::Advice), judged.rows.len());
    let word = match (broken, advice) {
        (0, 0) => "OK",
        (0, _) => "WARNING",
        _ => "CRITICAL",
    };
    let mut text = format!(
        "VHOST-ACCORD {word} - {broken} broken, {advice} advice, {endpoints} endpoints \
         | broken={broken};;0 advice={advice};0 endpoints={endpoints}\n"
    );
    for finding in &judged.findings {
        let line = format!("{}: {}: {}; fix: {}", finding.id, finding.subject, finding.seen, finding.fix);
        let _ = writeln!(text, "{}", plain(&line));
    }
    text
}

/// A bar ends a plugin's words and begins its performance data.
fn plain(text: &str) -> String {
    one_line(text).replace('|', "/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{self, Evidence, Finding};

    #[test]
    fn the_first_line_has_the_worst_and_no_name_adds_to_it() {
        let mut judged = Judged::default();
        let sound =
            "VHOST-ACCORD OK - 0 broken, 0 advice, 0 endpoints | broken=0;;0 advice=0;0 endpoints=0\n";
        assert_eq!(text(Ok(&judged)), sound);
        let seen = Evidence::fixed_by("vm\n|x=1", "nothing", "true");
        let broken = rules::finding("port-missing", seen).unwrap();
        let finding = |level| Finding { level, ..broken.clone() };
        judged.findings = vec![finding(Level::Advice)];
        assert!(text(Ok(&judged)).starts_with("VHOST-ACCORD WARNING - 0 broken, 1 advice,"));
        judged.findings.push(finding(Level::Broken));
        let broken = text(Ok(&judged));
        assert!(broken.starts_with("VHOST-ACCORD CRITICAL - 1 broken, 1 advice,"), "{broken}");
        assert_eq!((broken.lines().count(), broken.matches('|').count()), (3, 1), "{broken}");
        let unknown = text(Err(&anyhow::anyhow!("no /proc | none")));
        assert_eq!(unknown, "VHOST-ACCORD UNKNOWN - no /proc / none\n");
    }
}
