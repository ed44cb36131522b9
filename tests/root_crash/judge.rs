// SPDX-License-Identifier: Apache-2.0
//! What must hold after an interruption: nothing torn, the next `apply` converges, `revert` gives stock back.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Mutex;

use super::scene::{Scene, Tree, copy, is_account, is_backup, is_libcs_lock, tree};
use super::trace::Run;

type Verdict = Result<(), String>;

/// The language's own start panics without a stack for signals: the program has not begun.
const BEFORE_MAIN: [&str; 2] =
    ["failed to allocate an alternative stack", "failed to set up alternative stack guard page"];

/// Judges each state once: what follows depends on what is on disk alone.
pub struct Judge<'a> {
    scene: &'a Scene,
    known: Mutex<HashMap<u64, Verdict>>,
}

impl Judge<'_> {
    pub fn new(scene: &Scene) -> Judge<'_> {
        Judge { scene, known: Mutex::default() }
    }

    /// How many different states there were.
    pub fn states(&self) -> usize {
        self.known.lock().unwrap().len()
    }

    /// Of the image `place`, in which something was interrupted.
    pub fn converges(&self, place: &str) -> Verdict {
        let now = tree(&self.scene.path(place));
        let key = key(&now);
        if let Some(verdict) = self.known.lock().unwrap().get(&key) {
            return verdict.clone();
        }
        let verdict = self.decide(place, &now);
        self.known.lock().unwrap().insert(key, verdict.clone());
        verdict
    }

    fn decide(&self, place: &str, now: &Tree) -> Verdict {
        if let Some(torn) = self.scene.torn(now) {
            return Err(torn);
        }
        let other = format!("{place}-back");
        copy(&self.scene.path(place), &self.scene.path(&other));
        self.expect(&other, "revert", 0).and_then(|_| self.is_stock(&other, "revert alone"))?;
        self.expect(place, "apply", 0)?;
        self.is_applied(place)?;
        let plan = self.expect(place, "plan", 0)?;
        if !plan.out.ends_with("Nothing to change.\n") {
            return Err(format!("the plan after it: {}", plan.out));
        }
        self.expect(place, "revert", 0)?;
        self.is_stock(place, "apply and revert")
    }

    fn expect(&self, place: &str, command: &str, code: i32) -> Result<Run, String> {
        let run = self.scene.run(place, command);
        let fine = run.code == Some(code) && run.error.is_empty();
        if fine { Ok(run) } else { Err(format!("the next {command}: {run:?}")) }
    }

    fn is_stock(&self, place: &str, when: &str) -> Verdict {
        let now = tree(&self.scene.path(place));
        same(&self.scene.stock, &now, |path| is_libcs_lock(path) || is_backup(path))
            .map_err(|why| format!("not stock after {when}: {why}"))
    }

    /// The journal tells what was there before, and that may be the outcome already.
    fn is_applied(&self, place: &str) -> Verdict {
        let now = tree(&self.scene.path(place));
        let free = |path: &Path| {
            is_libcs_lock(path) || is_backup(path) || path == Path::new("var/lib/vhost-accord/journal.json")
        };
        same(&self.scene.applied, &now, free).map_err(|why| format!("not as applied: {why}"))
    }

    /// What a run says in which a call failed. Zero is right only where the failure made no difference.
    pub fn tells(&self, place: &str, command: &str, run: &Run) -> Verdict {
        let said = format!("{}{}", run.out, run.error);
        if BEFORE_MAIN.iter().any(|words| said.contains(words)) {
            return self.is_untouched(place, command);
        }
        if said.contains("panicked") {
            return Err(format!("a panic: {said}"));
        }
        match (run.code, command) {
            (Some(0), "apply") => self.is_applied(place),
            (Some(0), _) => self.is_stock(place, "it said that it is back"),
            // Something is named that could not be put back, and why.
            (Some(1 | 2), "revert") if run.error.is_empty() => {
                let named = |line: &str| {
                    ["failed: ", ": left: ", ": in use: "].iter().any(|word| line.contains(word))
                };
                run.out.lines().any(named).then_some(()).ok_or(format!("nothing is named: {run:?}"))
            }
            // ld.so without memory for itself: it ends before the program begins.
            (None, _) if said.is_empty() => self.is_untouched(place, command),
            _ => one_clear_line(run),
        }
    }

    fn is_untouched(&self, place: &str, command: &str) -> Verdict {
        let begun = if command == "apply" { &self.scene.stock } else { &self.scene.applied };
        same(begun, &tree(&self.scene.path(place)), |_| false)
    }
}

/// One line that names a file, or the account that was to be changed.
fn one_clear_line(run: &Run) -> Verdict {
    let named =
        ["/", ": group ", ": user ", ": member ", ": number of "].iter().any(|name| run.error.contains(name));
    let clear = run.error.lines().count() == 1 && run.error.ends_with('\n') && named;
    // The language's own answer where there is no memory: the state is that of a kill.
    let memory = run.code.is_none() && run.error.starts_with("memory allocation of ");
    if clear || memory { Ok(()) } else { Err(format!("not one clear line: {run:?}")) }
}

fn same(expected: &Tree, now: &Tree, free: impl Fn(&Path) -> bool) -> Verdict {
    let mut paths = expected.keys().chain(now.keys()).filter(|path| !free(path));
    match paths.find(|path| content(expected, path) != content(now, path)) {
        None => Ok(()),
        Some(path) => Err(format!("{}: {:?}, not {:?}", path.display(), now.get(path), expected.get(path))),
    }
}

/// Of account files the lines in any order: one that was taken out and put back comes last.
fn content<'a>(tree: &'a Tree, path: &Path) -> Option<Vec<&'a str>> {
    let mut lines: Vec<&str> = tree.get(path)?.split('\n').collect();
    if is_account(path) {
        lines.sort_unstable();
    }
    Some(lines)
}

/// States that differ in the numbers of processes alone are the same: in lock files, and in the names of files that
/// become locks.
fn key(tree: &Tree) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (path, line) in tree {
        let text = path.to_string_lossy();
        let number = text.rsplit_once('.').filter(|(_, end)| end.parse::<u32>().is_ok());
        number.map_or(&*text, |(stem, _)| stem).hash(&mut hasher);
        let holds_number = number.is_some() || text.ends_with(".lock");
        let (head, content) = line.split_once('\n').unwrap_or_default();
        let content = if holds_number {
            content.replace(|c: char| c.is_ascii_digit(), "")
        } else {
            content.to_string()
        };
        (head, content).hash(&mut hasher);
    }
    hasher.finish()
}
