// SPDX-License-Identifier: Apache-2.0
//! What the log said, and what the node says now.

use std::path::Path;

use serde::Serialize;

use super::{Actor, Class, Event};
use crate::access::{Denial, Identity, Wish, may};
use crate::base::paths::plain;
use crate::base::root::Root;
use crate::facts::paths::{PathFact, read_chain};
use crate::rules::{Finding, catalogue};
use crate::survey::Survey;

/// How it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Now {
    /// As the log says.
    StillSo {
        what: String,
        /// The finding's own.
        fix: Option<String>,
    },
    /// The node agrees now: the log is older than what fixed it.
    Agrees(String),
    /// Nothing that can be asked now shows it: why.
    Unknown(String),
}

/// Looks for it among the findings, and asks again what was refused.
pub(crate) fn now(root: &Root, survey: &Survey, findings: &[Finding], event: &Event) -> Now {
    if matches!(event.class, Class::Harmless | Class::Logged) {
        return Now::Agrees("nothing to fix".to_string());
    }
    let says_it = |finding: &&Finding| event.findings.contains(&finding.id) && concerns(event, finding);
    if let Some(finding) = findings.iter().find(says_it) {
        let what = format!("{}: {}: {}", finding.id, finding.subject, finding.seen);
        return Now::StillSo { what, fix: Some(finding.fix.clone()) };
    }
    match refused(root, survey, event) {
        Some(Err(denial)) => {
            return Now::StillSo { what: denial.text(&survey.accounts), fix: None };
        }
        Some(Ok(())) if event.also_security_module => {}
        Some(Ok(())) => return Now::Agrees("owner and mode let it now".to_string()),
        None => {}
    }
    if event.class == Class::SecurityModule || event.also_security_module {
        return match &survey.surroundings.selinux {
            Some(selinux) if !selinux.enforcing => Now::Agrees("SELinux only logs now".to_string()),
            _ => Now::Unknown("what a policy allows is not asked here".to_string()),
        };
    }
    let checked = |id: &&&str| catalogue::find(id).is_some_and(|entry| entry.checked);
    match event.findings.iter().find(checked) {
        Some(id) if root.report().is_some_and(|report| !report.lacking().is_empty()) => {
            Now::Unknown(format!("check has no {id}, but the report does not contain everything"))
        }
        Some(id) => Now::Agrees(format!("check has no {id}")),
        None => Now::Unknown("nothing that can be asked now shows it".to_string()),
    }
}

/// Are both about the same thing? A finding about a process or a file concerns all that is refused by it.
fn concerns(event: &Event, finding: &Finding) -> bool {
    let Some(subject) = event.subject.as_deref().filter(|subject| subject.starts_with('/')) else {
        return true;
    };
    let (one, other) = (plain(Path::new(subject)), plain(Path::new(&finding.subject)));
    !other.is_absolute()
        || one.starts_with(&other)
        || other.starts_with(&one)
        || finding.subject.contains("qemu.conf")
}

/// What the kernel would say now; `None` where there is nothing to ask about.
fn refused(root: &Root, survey: &Survey, event: &Event) -> Option<Result<(), Denial>> {
    let (actor, wish) = event.asks?;
    let identity = match actor {
        Actor::Qemu => {
            let qemu = survey.accord.qemu.as_ref()?;
            Identity::unprivileged(qemu.uid, qemu.gid, qemu.groups.clone())
        }
        Actor::Dataplane => survey.live.as_ref()?.vswitchd()?.identity(),
    };
    let path = Path::new(event.subject.as_deref()?);
    let asked = if wish == Wish::Create { path.parent()? } else { path };
    // A path from a log: it is looked at through the root handle, component by component, and nothing else is done to it.
    let PathFact::Present { chain, .. } = read_chain(root, asked).ok()? else { return None };
    Some(may(&identity, &chain, wish))
}
