// SPDX-License-Identifier: Apache-2.0
//! `apply` and `revert` of an image, killed before a system call or failed in it, by strace: each file of others stays
//! whole, the next `apply` converges, `revert` gives stock back. `VHOST_ACCORD_TORTURE=1`: at every call, not a spread.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vhost-accord");
const ERRORS: [&str; 7] = ["ENOSPC", "EIO", "EACCES", "EROFS", "ENOMEM", "EINTR", "EMFILE"];
type Tree = BTreeMap<PathBuf, String>;

fn sh(script: &str, args: &[&Path]) -> Output {
    Command::new("sh").args(["-c", script, "sh"]).args(args).output().unwrap()
}

/// All of the image: mode, owner, attributes, content.
fn tree(image: &Path) -> Tree {
    let (mut tree, mut todo) = (Tree::new(), vec![image.to_path_buf()]);
    while let Some(path) = todo.pop() {
        let state = fs::symlink_metadata(&path).unwrap();
        let content = if state.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else if state.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        };
        let names = xattr::list(&path).unwrap();
        let xattrs: Vec<_> = names.map(|name| (name.clone(), xattr::get(&path, &name).unwrap())).collect();
        let line = format!("{:o} {}:{} {xattrs:?}\n{content}", state.mode(), state.uid(), state.gid());
        tree.insert(path.strip_prefix(image).unwrap().to_path_buf(), line);
    }
    tree
}

struct Bench {
    base: tempfile::TempDir,
    stock: Tree,
    applied: Tree,
}

impl Bench {
    fn new() -> Bench {
        let base = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/image");
        let made = sh(
            "cp -r \"$1\" \"$2/stock\" && cd \"$2/stock\" && mkdir -p run dev/hugepages tmp proc var/lib && \
             setfattr -n user.label -v kept etc/libvirt/qemu.conf; cp -a \"$2/stock\" \"$2/applied\"",
            &[&source, base.path()],
        );
        assert!(made.status.success(), "{made:?}");
        let mut bench = Bench { stock: tree(&base.path().join("stock")), base, applied: Tree::new() };
        let output = bench.run("applied", "apply", &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        bench.applied = tree(&bench.path("applied"));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    fn run(&self, image: &str, command: &str, tracer: &[&str]) -> Output {
        let words: Vec<&str> = tracer.iter().copied().chain([PROGRAM, command, "--root"]).collect();
        Command::new(words[0]).args(&words[1..]).arg(self.path(image)).output().unwrap()
    }

    fn fresh(&self, command: &str) {
        let from = self.path(if command == "apply" { "stock" } else { "applied" });
        assert!(sh("rm -rf \"$2\" && cp -a \"$1\" \"$2\"", &[&from, &self.path("try")]).status.success());
    }

    /// How often each system call is made by the process that makes it most often.
    fn calls(&self, command: &str) -> Vec<(String, usize)> {
        self.fresh(command);
        let log = self.path("log");
        self.run("try", command, &["strace", "-f", "-qq", "-o", log.to_str().unwrap()]);
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in fs::read_to_string(log).unwrap().lines() {
            let Some((pid, rest)) = line.split_once(' ') else { continue };
            let Some((name, _)) = rest.trim().split_once('(') else { continue };
            if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                *counts.entry((name.to_string(), pid.to_string())).or_default() += 1;
            }
        }
        let mut most: BTreeMap<String, usize> = BTreeMap::new();
        for ((name, _), count) in counts {
            let seen = most.entry(name).or_default();
            *seen = count.max(*seen);
        }
        most.into_iter().flat_map(|(name, count)| (1..=count).map(move |n| (name.clone(), n))).collect()
    }

    /// What is wrong after an interruption.
    fn judge(&self) -> Option<String> {
        let now = tree(&self.path("try"));
        for (path, old) in self.stock.iter().filter(|(path, _)| self.path("stock").join(path).is_file()) {
            let account = ["etc/group", "etc/passwd"].iter().any(|name| path == Path::new(name));
            let found = now.get(path);
            // Account files have states between: several changes, each whole.
            let whole = found.is_some_and(|text| {
                text == old || Some(text) == self.applied.get(path) || account && text.ends_with('\n')
            });
            if !whole {
                return Some(format!("{} is neither old nor new: {found:?}", path.display()));
            }
        }
        for (command, code) in [("apply", 0), ("plan", 0), ("revert", 0)] {
            let output = self.run("try", command, &[]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.code() != Some(code) || command == "plan" && text != "Nothing to change.\n" {
                return Some(format!("the next {command}: {output:?}"));
            }
        }
        let after = tree(&self.path("try"));
        let mut paths = self.stock.keys().chain(after.keys());
        let differing = paths.find(|path| self.stock.get(*path) != after.get(*path));
        differing.map(|path| format!("{} is not stock after revert: {:?}", path.display(), after.get(path)))
    }

    /// Every point, or a spread of them.
    fn torture(&self, command: &str, faults: &[&str], spread: usize) {
        let calls = self.calls(command);
        let all: Vec<_> =
            faults.iter().flat_map(|fault| calls.iter().map(move |call| (fault, call))).collect();
        let every = std::env::var_os("VHOST_ACCORD_TORTURE").is_some();
        let step = if every { 1 } else { all.len().div_ceil(spread) };
        let (mut tried, mut found) = (0, Vec::new());
        for (fault, (name, n)) in all.into_iter().step_by(step.max(1)) {
            // strace's own start of the program.
            if name == "execve" && *n == 1 {
                continue;
            }
            self.fresh(command);
            let inject = format!("inject={name}:{fault}:when={n}");
            let output = self.run("try", command, &["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            tried += 1;
            let wrong = if said.contains("panicked") { Some(said) } else { self.judge() };
            found.extend(wrong.map(|wrong| format!("{command} {inject}: {wrong}")));
        }
        eprintln!("| {command} | {} | {tried} points | {} found |", faults.join(" "), found.len());
        assert!(found.is_empty(), "{found:#?}");
        assert!(tried > 0);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn killed_at_any_call_it_is_finished_or_taken_back() {
    let bench = Bench::new();
    for command in ["apply", "revert"] {
        bench.torture(command, &["signal=KILL"], 40);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn failed_at_any_call_it_is_finished_or_taken_back() {
    let bench = Bench::new();
    let faults: Vec<String> = ERRORS.iter().map(|error| format!("error={error}")).collect();
    let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
    for command in ["apply", "revert"] {
        bench.torture(command, &faults, 40);
    }
}
