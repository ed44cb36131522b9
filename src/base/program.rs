// SPDX-License-Identifier: Apache-2.0
//! Runs a program with a limit of time.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Returns its output; if it fails, its error output as one line is the error. Runs in the C locale and UTC.
pub fn run(program: &Path, arguments: &[&str], limit: Duration) -> Result<String> {
    run_with(program, arguments, "", limit)
}

/// The same with something to read on its standard input.
pub fn run_with(program: &Path, arguments: &[&str], input: &str, limit: Duration) -> Result<String> {
    let what = format!("running {} {}", program.display(), arguments.join(" "));
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", crate::base::paths::SEARCH)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("SYSTEMD_PAGER", "")
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| what.clone())?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let (sender, receiver) = mpsc::channel();
    let input = input.to_string();
    std::thread::spawn(move || sender.send(talk(child, &input)));
    let Ok(output) = receiver.recv_timeout(limit) else {
        // The child was not waited for yet, so its pid cannot be another process.
        kill(pid, Signal::SIGKILL).ok();
        bail!("{what}: not done after {} s", limit.as_secs());
    };
    let output = output.with_context(|| what.clone())?;
    if output.status.success() {
        return String::from_utf8(output.stdout).context(what);
    }
    bail!("{what}: {} ({})", complaint(&output.stderr), output.status)
}

fn talk(mut child: Child, input: &str) -> std::io::Result<std::process::Output> {
    if let Some(mut stdin) = child.stdin.take() {
        // Ignored: a program that does not read its input says why in its own error.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join("; ");
    if line.is_empty() {
        return "no reason given".to_string();
    }
    line.chars().filter(|c| !c.is_control()).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_or_fails_is_an_error() {
        let sh = |script: &str| run(Path::new("/bin/sh"), &["-c", script], Duration::from_millis(300));
        assert_eq!(sh("echo $LC_ALL").unwrap(), "C\n");
        let error = sh("printf '\\n\\033[31mno\\n' >&2; exit 3").unwrap_err().to_string();
        assert!(error.ends_with(": [31mno (exit status: 3)"), "{error}");
        let both = sh("echo one >&2; echo two >&2; exit 1").unwrap_err().to_string();
        assert!(both.contains(": one; two ("), "{both}");
        assert!(sh("sleep 30").unwrap_err().to_string().ends_with("not done after 0 s"));
    }

    #[test]
    fn it_reads_what_it_is_given() {
        let cat = |input: &str| run_with(Path::new("cat"), &[], input, Duration::from_secs(5));
        assert_eq!(cat("<domain/>\n").unwrap(), "<domain/>\n");
        assert_eq!(cat("").unwrap(), "");
    }
}
