// SPDX-License-Identifier: Apache-2.0
//! What is shown, and the few sentences between.

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

/// Tells it; an error where it does not go as it should.
pub fn tell() -> Result<()> {
    let begun = Instant::now();
    let mut node = Node::make()?;
    let mut stage = Stage { qemu: guest::installed(), signals: Signals::hold()?, counted: 0 };
    stage.introduce();
    let stock = node.list()?;
    node.boot()?;
    heading("1. Two VMs are started on the node as it was installed.");
    stage.start_vms(&node, false)?;
    heading("2. Why? Lines with - are how it is, lines with + how it has to be. Nothing is written yet.");
    run("plan", 2, true)?;
    heading("3. Change it. What was there before is written down first.");
    run("apply", 0, false)?;
    heading("4. Start the services and both VMs again.");
    node.boot()?;
    stage.start_vms(&node, true)?;
    heading("5. And back.");
    node.shut_down();
    run("revert", 0, false)?;
    compare(&stock, &node.list()?)?;
    let seconds = begun.elapsed().as_secs_f32();
    say(&format!(
        "\nBoth VMs failed on the stock node, and talked once it agreed: {} frames passed and compared. {seconds:.1} s.\n\
         On a real node: vhost-accord plan, apply, check, and probe, which does there what step 4 did here.",
        stage.counted
    ));
    Ok(())
}

fn say(text: &str) {
    report::out(&format!("{text}\n"));
}

fn heading(text: &str) {
    let (number, rest) = text.split_once(". ").unwrap_or(("", text));
    say(&format!("\n{}", report::colour(Style::Strong, &format!("{number}. {rest}"))));
}

/// Runs this program on the node's files, as anyone would; `whole` shows all of what it prints, else the last line.
fn run(command: &str, expected: i32, whole: bool) -> Result<()> {
    say(&format!("\n{}", report::colour(Style::Strong, &format!("$ vhost-accord {command} --root {NODE}"))));
    let mut child = Command::new(PROGRAM);
    child.args([command, "--root", NODE]);
    let code = if whole {
        child.status().with_context(|| format!("running {command}"))?.code()
    } else {
        let output = child.stderr(Stdio::inherit()).output().with_context(|| format!("running {command}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter(|line| !line.is_empty());
        say(&match (lines.clone().count(), lines.clone().next_back()) {
            (count, Some(last)) if count > 1 => {
                format!("{}\n{last}", report::colour(Style::Dim, &format!("({count} lines)")))
            }
            (_, last) => last.unwrap_or_default().to_string(),
        });
        output.status.code()
    };
    if code != Some(expected) {
        bail!("vhost-accord {command} ended with {code:?} instead of {expected}");
    }
    Ok(())
}

fn compare(
    stock: &std::collections::BTreeMap<PathBuf, String>,
    now: &std::collections::BTreeMap<PathBuf, String>,
) -> Result<()> {
    let differing: Vec<String> = stock
        .keys()
        .chain(now.keys())
        .filter(|path| stock.get(*path) != now.get(*path))
        .map(|path| path.display().to_string())
        .collect();
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

/// Who plays.
struct Stage {
    qemu: Option<PathBuf>,
    signals: Signals,
    counted: usize,
}

impl Stage {
    fn introduce(&self) {
        say(
            "A VM's network card can end in a switch, such as Open vSwitch with DPDK, that takes frames straight from the VM's\n\
             memory. That is vhost-user: QEMU, which runs the VM, and the switch meet at a socket, a special file, and share\n\
             memory. They come in different packages and run as different users. If one may not open what the other made,\n\
             the VM does not start, hangs, or has a dead network card.\n",
        );
        say(
            "This is a node of that kind, thrown away at the end: namespaces and files of its own, laid out as Debian does. In\n\
             place of systemd, vhost-accord itself reads the units and does what they say; in place of the switch there is\n\
             one of its own that speaks vhost-user.",
        );
        say(&match &self.qemu {
            Some(program) => {
                format!("QEMU is the real one: {}. A stand-in sends the frames.", program.display())
            }
            None => {
                "In place of QEMU there is a stand-in with QEMU's user and group that does what QEMU does."
                    .to_string()
            }
        });
    }

    /// A VM on each type of port; all of them work, or none.
    fn start_vms(&mut self, node: &Node, works: bool) -> Result<()> {
        let names = node.survey()?.accounts;
        let trials = node.trials()?;
        if trials.len() != 2 {
            bail!("two VMs were expected, not {}", trials.len());
        }
        for trial in &trials {
            say(&format!("\n{}", about(trial, &names)));
            if let Some(program) = self.qemu.clone() {
                self.real_qemu(&program, trial, works)?;
            }
            match (crate::probe::run(Path::new(PROGRAM), trial, &names, &self.signals)?.into_end(), works) {
                (Ok(done), true) => self.tell_success(&done),
                (Err(failed), false) => self.tell_failure(&failed),
                (Ok(_), false) => bail!("the VM works on the stock node"),
                (Err(failed), true) => bail!("{}", guest::complaint(&failed)),
            }
        }
        Ok(())
    }

    fn tell_success(&mut self, done: &[crate::probe::Done]) {
        use crate::probe::Step;
        for one in done.iter().filter(|one| one.step > Step::Grant) {
            self.counted += usize::from(matches!(one.step, Step::FrameOut | Step::FrameBack));
            say(&format!("  {} {}", report::colour(Style::Good, "ok"), one.what));
        }
    }

    fn tell_failure(&self, failed: &Failed) {
        if self.qemu.is_none() {
            say(&format!("  {}", report::colour(Style::Bad, &guest::complaint(failed))));
        }
        if let Some(component) = &failed.component {
            say(&report::colour(Style::Dim, &format!("  because {component}")));
        }
    }

    /// The real thing as far as it goes without a guest in it: it makes or meets the socket, and negotiates.
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
        if negotiated {
            say(&format!(
                "  {} real QEMU and the switch agree on vhost-user's features",
                report::colour(Style::Good, "ok")
            ));
        } else {
            say(&format!("  {}", report::colour(Style::Bad, &report::clean(&qemu.last_words()?))));
        }
        if !serves && socket.exists() {
            // QEMU is killed, so it does not take it away itself.
            std::fs::remove_file(&socket).context("removing QEMU's socket")?;
        }
        if negotiated != works {
            bail!("real QEMU {} negotiate", if negotiated { "did" } else { "did not" });
        }
        Ok(())
    }
}

fn about(trial: &Trial, names: &Accounts) -> String {
    let (who, path) = (trial.qemu.text(names), trial.directory.join(&trial.name));
    let path = path.display();
    match trial.kind {
        PortType::Dpdkvhostuserclient => {
            format!(
                "Port vhus0 (dpdkvhostuserclient): QEMU, as {who}, makes {path}; the switch, as root, connects to it."
            )
        }
        PortType::Dpdkvhostuser => {
            format!(
                "Port vhuc0 (dpdkvhostuser): the switch, as root, makes {path}; QEMU, as {who}, connects to it."
            )
        }
    }
}
