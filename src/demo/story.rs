// SPDX-License-Identifier: Apache-2.0
//! The steps of the demo, and what it prints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::guest::{self, Qemu};
use super::node::{NODE, Node};
use crate::config::PortType;
use crate::facts::accounts::Accounts;
use crate::probe::{Failed, Signals, Switch, Trial};
use crate::report::{self, Style};

const PROGRAM: &str = "/proc/self/exe";

/// Runs the steps; an error if one has another result than expected.
pub fn tell() -> Result<()> {
    let begun = Instant::now();
    let mut node = Node::make()?;
    let mut stage = Stage { qemu: guest::installed(), signals: Signals::hold()?, counted: 0 };
    stage.introduce();
    let stock = node.list()?;
    node.boot()?;
    heading("1. Start two VMs on the node as it was installed");
    stage.start_vms(&node, false)?;
    heading("2. Show what apply would change (here without new directories and the content of new files)");
    run("plan", 2, main_lines)?;
    heading("3. Change it");
    run("apply", 0, last_line)?;
    heading("4. Start both VMs again");
    node.boot()?;
    stage.start_vms(&node, true)?;
    heading("5. Undo it");
    node.shut_down();
    run("revert", 0, |_| Vec::new())?;
    compare(&stock, &node.list()?)?;
    let seconds = begun.elapsed().as_secs_f32();
    say(&format!(
        "\nBoth VMs failed before apply and worked after it: {} frames passed and compared. The demo took {seconds:.1} s.",
        stage.counted
    ));
    Ok(())
}

fn say(text: &str) {
    report::out(&format!("{text}\n"));
}

fn heading(text: &str) {
    say(&format!("\n{}", report::colour(Style::Strong, text)));
}

/// Runs this program on the node's files, and prints what `chosen` selects from its output.
fn run(command: &str, expected: i32, chosen: fn(&str) -> Vec<String>) -> Result<()> {
    say(&report::colour(Style::Strong, &format!("$ vhost-accord {command} --root {NODE}")));
    let mut child = Command::new(PROGRAM);
    child.args([command, "--root", NODE]).stderr(Stdio::inherit());
    let output = child.output().with_context(|| format!("running {command}"))?;
    chosen(&String::from_utf8_lossy(&output.stdout)).iter().for_each(|line| say(line));
    let code = output.status.code();
    if code != Some(expected) {
        bail!("vhost-accord {command} ended with {code:?} instead of {expected}");
    }
    Ok(())
}

fn last_line(text: &str) -> Vec<String> {
    text.lines().rfind(|line| !line.is_empty()).map(str::to_string).into_iter().collect()
}

/// The changes in a plan, without new directories, context lines and the content of new files.
fn main_lines(text: &str) -> Vec<String> {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let mut chosen = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("@@ -0,0 +1,") {
            let count = rest.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
            lines.by_ref().take(count).for_each(drop);
        } else if ![" ", "@@", "--- "].iter().any(|start| line.starts_with(start))
            && !line.ends_with("/  root:root 0755")
        {
            chosen.push(line.to_string());
        }
    }
    chosen
}

fn compare(stock: &BTreeMap<PathBuf, String>, now: &BTreeMap<PathBuf, String>) -> Result<()> {
    let differing = stock.keys().chain(now.keys()).filter(|path| stock.get(*path) != now.get(*path));
    let differing: Vec<String> = differing.map(|path| path.display().to_string()).collect();
    if !differing.is_empty() {
        bail!("not as it was before: {}", differing.join(", "));
    }
    say(&format!(
        "{} paths compared with the stock node by type, mode, owner and content: {}",
        now.len(),
        report::colour(Style::Good, "no difference")
    ));
    Ok(())
}

/// What the steps share.
struct Stage {
    qemu: Option<PathBuf>,
    signals: Signals,
    counted: usize,
}

impl Stage {
    fn introduce(&self) {
        let qemu = match self.qemu {
            Some(_) => "QEMU is real, dataplane and guest are not",
            None => "QEMU, dataplane and guest are stand-ins",
        };
        say(&format!(
            "A vhost-user port is a socket that QEMU and the dataplane (such as OVS-DPDK) share. They run as different users.\n\
             If one cannot open what the other created, the VM fails. In this demo, {qemu}."
        ));
    }

    /// Starts a VM on each type of port; all of them must work, or none.
    fn start_vms(&mut self, node: &Node, works: bool) -> Result<()> {
        let names = node.survey()?.accounts;
        let trials = node.trials()?;
        if trials.len() != 2 {
            bail!("two VMs were expected, not {}", trials.len());
        }
        for trial in &trials {
            say(&about(trial, &names, works));
            if let Some(program) = self.qemu.clone() {
                self.real_qemu(&program, trial, works)?;
            }
            let report = crate::probe::run(Path::new(PROGRAM), trial, &names, &self.signals)?;
            match (report.failed, works) {
                (None, true) => self.tell_success(&report.done),
                (Some(failed), false) => self.tell_failure(&failed),
                (None, false) => bail!("the VM works on the stock node"),
                (Some(failed), true) => bail!("{}", guest::complaint(&failed)),
            }
        }
        Ok(())
    }

    fn tell_success(&mut self, done: &[crate::probe::Done]) {
        use crate::probe::Step;
        let frames = done.iter().filter(|one| matches!(one.step, Step::FrameOut | Step::FrameBack)).count();
        self.counted += frames;
        let ok = report::colour(Style::Good, "ok");
        let real = if self.qemu.is_some() { "real QEMU negotiated, " } else { "" };
        say(&format!(
            "  {ok} {real}connected, memory shared, {frames} frames passed and compared byte for byte"
        ));
    }

    fn tell_failure(&self, failed: &Failed) {
        if self.qemu.is_none() {
            say(&format!("  {}", report::colour(Style::Bad, &guest::complaint(failed))));
        }
        if let Some(component) = &failed.component {
            say(&report::colour(Style::Dim, &format!("  because {component}")));
        }
    }

    /// Runs real QEMU without a guest: it creates the socket or connects to it, and negotiates.
    fn real_qemu(&self, program: &Path, trial: &Trial, works: bool) -> Result<()> {
        let socket = trial.directory.join(&trial.name);
        let mut switch = Switch::start(Path::new(PROGRAM), trial, &self.signals)?;
        let serves = trial.kind == PortType::Dpdkvhostuser;
        if serves {
            switch.make(&socket)?;
        }
        let mut qemu = Qemu::start(program, trial)?;
        let met = serves || qemu.makes(&socket)?;
        let negotiated = met && switch.negotiates((!serves).then_some(socket.as_path()))?;
        if !negotiated {
            let words = report::clean(&qemu.last_words()?);
            // The line begins with QEMU's options, which are most of it.
            let words = words.find("Failed to").map_or(words.as_str(), |at| &words[at..]);
            say(&format!("  {}", report::colour(Style::Bad, &format!("qemu-system-x86_64: {words}"))));
        }
        if !serves && socket.exists() {
            // QEMU is killed, so it does not remove the socket itself.
            std::fs::remove_file(&socket).context("removing QEMU's socket")?;
        }
        if negotiated != works {
            bail!("real QEMU {} negotiate", if negotiated { "did" } else { "did not" });
        }
        Ok(())
    }
}

fn about(trial: &Trial, names: &Accounts, again: bool) -> String {
    let (who, kind, name) = (trial.qemu.text(names), trial.kind, guest::port(trial.kind));
    let roles = match kind {
        _ if again => format!("QEMU runs as {who}"),
        PortType::Dpdkvhostuserclient => format!("QEMU ({who}) creates the socket"),
        PortType::Dpdkvhostuser => "the dataplane (root) creates the socket, QEMU connects".to_string(),
    };
    format!("Port {name} ({kind}): {roles}")
}
