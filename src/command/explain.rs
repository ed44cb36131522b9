// SPDX-License-Identifier: Apache-2.0
//! `explain`: the page of a finding, or what logs say.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

use super::Outcome;
use crate::base::root::{Report, Root};
use crate::cli::ExplainArgs;
use crate::dataplane;
use crate::dataplane::declared::Found;
use crate::explain::read::{self, Source};
use crate::explain::{Class, Event, Now, Program, Reading, now};
use crate::report::{self, Style, one_line};
use crate::rules::catalogue::{self, Entry};
use crate::rules::endpoints::{Judged, Row};
use crate::survey::Survey;

#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    event: Event,
    /// The dataplane at the socket or port that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    dataplane: Option<String>,
    now: Now,
}

#[derive(Serialize)]
struct Output {
    sources: Vec<Source>,
    explained: Vec<Explained>,
    #[serde(flatten)]
    reading: Reading,
}

pub fn run(args: &ExplainArgs) -> Result<Outcome> {
    if args.list {
        return tell(&catalogue::entries(), args.json, list);
    }
    let pages = pages(args)?;
    if !pages.is_empty() {
        return tell(&pages, args.json, |pages| {
            pages.iter().map(Entry::to_string).collect::<Vec<_>>().join("\n")
        });
    }
    let mut reading = Reading::default();
    let sources = sources(args, &mut reading)?;
    reading.finish();
    let explained = join(std::mem::take(&mut reading.events), args.sos.as_deref());
    let output = Output { sources, explained, reading };
    report::tell(args.json, &output, || text(&output))?;
    let still = |explained: &Explained| matches!(explained.now, Now::StillSo { .. });
    Ok(if output.explained.iter().any(still) { Outcome::Waiting } else { Outcome::Fine })
}

/// The findings that were named; none where logs were.
fn pages(args: &ExplainArgs) -> Result<Vec<Entry>> {
    let mut pages = Vec::new();
    for word in &args.what {
        let id = word.to_str().and_then(catalogue::find);
        if id.is_none() && (word.as_os_str() == "-" || word.exists()) {
            continue;
        }
        let Some(entry) = id else {
            let name = report::clean(&word.display().to_string());
            match catalogue::nearest(&name) {
                Some(near) => bail!("{name}: no finding and no file; did you mean {near}?"),
                None => bail!("{name}: no finding and no file (explain --list)"),
            }
        };
        pages.push(entry);
    }
    if !pages.is_empty() && pages.len() != args.what.len() {
        bail!("either findings or logs, not both at once");
    }
    Ok(pages)
}

fn list(entries: &[Entry]) -> String {
    let row = |entry: &Entry| [entry.rule.id, entry.looked_at(), entry.rule.cause].map(str::to_string);
    report::table(&entries.iter().map(row).collect::<Vec<_>>())
}

fn tell(entries: &[Entry], json: bool, text: impl Fn(&[Entry]) -> String) -> Result<Outcome> {
    if json {
        report::plain_json(&entries)?;
    } else {
        report::out(&text(entries));
    }
    Ok(Outcome::Fine)
}

fn sources(args: &ExplainArgs, reading: &mut Reading) -> Result<Vec<Source>> {
    if args.what.is_empty() {
        let root = super::open_root_or_report(args.sos.as_deref(), &args.root, false)?;
        let mut sources = read::usual(&root, reading)?;
        if let Some((command, text)) = root.report().and_then(journal) {
            let lines = read::stream(&command, text.as_bytes(), reading)?;
            sources.push(Source { name: command, lines, cut: None });
        }
        if sources.is_empty() {
            bail!("no logs in the usual places; name one, or - for standard input");
        }
        return Ok(sources);
    }
    let source = |path: &std::path::PathBuf, reading: &mut Reading| match path.as_os_str() == "-" {
        true => read::input(std::io::stdin(), reading),
        false => read::file(path, reading),
    };
    args.what.iter().map(|path| source(path, reading)).collect()
}

/// sos collects the journal several times: of a boot, of a unit. Only the most complete one is read, so that nothing counts twice.
fn journal(report: &Report) -> Option<(String, String)> {
    let all = report.said("journalctl").into_iter().filter(|(command, _)| !command.contains("--unit"));
    all.max_by_key(|(_, text)| text.len())
}

/// With the running node, or the report, if it may be looked at.
fn join(events: Vec<Event>, sos: Option<&Path>) -> Vec<Explained> {
    let node = look(sos);
    let state = |event: &Event| match &node {
        Ok((root, survey, judged)) => now(root, survey, &judged.findings, event),
        Err(error) => Now::Unknown(format!("the node was not looked at: {error:#}")),
    };
    let dataplane = |event: &Event| {
        let (_, survey, judged) = node.as_ref().ok()?;
        dataplane_at(survey, judged, event.subject.as_deref()?)
    };
    let one = |event| Explained { now: state(&event), dataplane: dataplane(&event), event };
    events.into_iter().map(one).collect()
}

/// Of a VM's socket or a port; of another path the section that has it.
fn dataplane_at(survey: &Survey, judged: &Judged, subject: &str) -> Option<String> {
    let of_row = judged.rows.iter().filter(|row| row.concerns(subject)).find_map(Row::dataplane_name);
    let sections = survey.profile.declared.iter().map(Found::sockets);
    let of_path = || dataplane::section_of(sections, Path::new(subject));
    of_row.or_else(of_path).map(str::to_string)
}

fn look(sos: Option<&Path>) -> Result<(Root, Survey, Judged)> {
    let root = super::open_root_or_report(sos, Path::new("/"), false)?;
    let survey = super::settled(&root)?;
    let judged = survey.judged(&root)?;
    Ok((root, survey, judged))
}

fn text(Output { sources, explained, reading, .. }: &Output) -> String {
    let mut text: String = explained.iter().map(event_text).collect();
    if reading.dropped > 0 {
        text.push_str(&format!("{} more lines of other failures were left out\n", reading.dropped));
    }
    if reading.unknown > 0 {
        let said = if reading.unknown == 1 {
            "line looks like an error, and is"
        } else {
            "lines look like errors, and are"
        };
        text.push_str(&format!("{} {said} not known here:\n", reading.unknown));
        for line in &reading.examples {
            text.push_str(&format!("    {}\n", one_line(line)));
        }
        let left = reading.unknown - reading.examples.len() as u64;
        if left > 0 {
            text.push_str(&format!("    and {left} more\n"));
        }
    }
    for source in sources {
        let cut = source.cut.as_ref().map_or(String::new(), |cut| format!(": {cut}"));
        text.push_str(&format!("read: {} ({} lines){cut}\n", one_line(&source.name), source.lines));
    }
    text + &last_line(reading)
}

/// How many lines were known: no known failure does not mean that all is well.
fn last_line(Reading { lines, known, unknown, foreign, .. }: &Reading) -> String {
    let rest = lines.saturating_sub(known + unknown);
    let foreign = match foreign {
        0 => String::new(),
        number => format!(" ({number} of other programs)"),
    };
    format!(
        "{lines} lines read: {known} known, {unknown} not known that look like errors{foreign}, {rest} others\n"
    )
}

fn event_text(Explained { event, dataplane, now }: &Explained) -> String {
    let dim = matches!(event.class, Class::Harmless | Class::Unrelated | Class::Logged);
    let style = if dim { Style::Dim } else { Style::Bad };
    let subject = event.subject.as_ref().map_or(String::new(), |subject| format!(": {}", one_line(subject)));
    let head = report::colour(style, event.id);
    let (class, first) = (event.class.name(), one_line(&event.line));
    let mut text = format!("{head} ({class}){subject}\n    {first}\n    seen {}\n", seen(event));
    say(&mut text, "who", &about(event));
    say(&mut text, "dataplane", dataplane.as_deref().unwrap_or_default());
    match event.causes.as_slice() {
        [cause] => say(&mut text, "why", cause),
        causes => {
            say(&mut text, "why", "one of these, the likeliest first");
            for (number, cause) in causes.iter().enumerate() {
                text.push_str(&format!("         {}. {}\n", number + 1, one_line(cause)));
            }
        }
    }
    for note in &event.notes {
        say(&mut text, "note", note);
    }
    if event.also_security_module {
        say(&mut text, "note", "a security module denied the same, its record is here: that is the cause");
    }
    // If the node has the finding now, its command is for this node; else the general fix.
    let fix = match now {
        Now::StillSo { fix: Some(fix), .. } => fix,
        _ => event.fix,
    };
    let (style, state) = match now {
        Now::StillSo { what, .. } => (Style::Bad, format!("still so: {what}")),
        Now::Agrees(what) => (Style::Good, format!("agrees, the log is older: {what}")),
        Now::Unknown(what) => (Style::Dim, format!("not known: {what}")),
    };
    text.push_str(&format!("    now: {}\n", report::colour(style, &one_line(&state))));
    say(&mut text, "see", event.decide);
    say(&mut text, "fix", fix);
    say(&mut text, "from", event.source);
    match event.findings.first() {
        Some(id) => text + &format!("    more: vhost-accord explain {id}\n"),
        None => text,
    }
}

fn say(text: &mut String, word: &str, what: &str) {
    if !what.is_empty() {
        text.push_str(&format!("    {word}: {}\n", one_line(what)));
    }
}

/// Who says it, and of what.
fn about(event: &Event) -> String {
    match (event.program, event.thing.name()) {
        (Program::Unknown, "") => String::new(),
        (Program::Unknown, thing) => format!("the line does not say who, about {thing}"),
        (program, "") => program.name().to_string(),
        (program, thing) => format!("{}, about {thing}", program.name()),
    }
}

fn seen(event: &Event) -> String {
    let times = if event.count == 1 { "once".to_string() } else { format!("{} times", event.count) };
    let when = match (&event.first, &event.last) {
        (Some(first), Some(last)) if first != last => format!(", {first} to {last}"),
        (Some(first), _) => format!(", {first}"),
        _ => String::new(),
    };
    format!("{times}{when}, in {}", one_line(&event.logs.join(", ")))
}
