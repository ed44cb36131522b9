// SPDX-License-Identifier: Apache-2.0
//! Unified diffs.

use std::fmt::Write as _;

use similar::algorithms::{Capture, Compact, Replace, myers};
use similar::udiff::UnifiedHunkHeader;
use similar::{DiffOp, group_diff_ops};

/// A unified diff of two texts with their names; empty where they are equal. With one algorithm: similar's `TextDiff` links
/// all that there are, more than a tenth of the program.
pub fn hunks((old_name, old): (&str, &str), (new_name, new): (&str, &str), radius: usize) -> String {
    let [old, new] = [old, new].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let mut hook = Compact::new(Replace::new(Capture::new()), &old[..], &new[..]);
    let Ok(()) = myers::diff(&mut hook, &old[..], 0..old.len(), &new[..], 0..new.len());
    let mut text = String::new();
    let ops = hook.into_inner().into_inner().into_ops();
    for hunk in group_diff_ops(ops, radius).iter().filter(|hunk| !hunk.is_empty()) {
        if text.is_empty() {
            let _ = writeln!(text, "--- {old_name}\n+++ {new_name}");
        }
        let _ = writeln!(text, "{}", UnifiedHunkHeader::new(hunk));
        for op in hunk {
            let same = matches!(op, DiffOp::Equal { .. });
            lines(&mut text, if same { ' ' } else { '-' }, &old[op.old_range()]);
            lines(&mut text, '+', if same { &[] } else { &new[op.new_range()] });
        }
    }
    text
}

fn lines(text: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        let end = if line.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
        let _ = write!(text, "{mark}{line}{end}");
    }
}

#[cfg(test)]
mod tests {
    use super::hunks;

    /// What diff(1) gives with `-U 1`.
    #[test]
    fn hunks_are_those_of_diff() {
        let diff = |old, new| hunks(("a", old), ("b", new), 1);
        assert_eq!(diff("1\n2\n", "1\n2\n"), "");
        assert_eq!(diff("", "1\n2"), "--- a\n+++ b\n@@ -0,0 +1,2 @@\n+1\n+2\n\\ No newline at end of file\n");
        assert_eq!(
            diff("1\n2\n3\n4\n5\n6\n7\n8\n", "1\nx\n3\n4\n5\n6\n7\n8\n9\n"),
            "--- a\n+++ b\n@@ -1,3 +1,3 @@\n 1\n-2\n+x\n 3\n@@ -8 +8,2 @@\n 8\n+9\n"
        );
        assert_eq!(diff("1\n2\n", "2\n"), "--- a\n+++ b\n@@ -1,2 +1 @@\n-1\n 2\n");
    }
}
