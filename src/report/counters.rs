// SPDX-License-Identifier: Apache-2.0
//! The counters among the metrics: sums over what the hook (`src/hook/count.rs`) and the watcher (`src/watch/report.rs`) noted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// When libvirt asks the hook, and what comes of it: always there, so that no series comes and goes.
const OPERATIONS: [&str; 4] = ["prepare", "start", "migrate", "restore"];
const RESULTS: [&str; 3] = ["passed", "refused", "unchecked"];
/// What the watcher counts.
const WATCHED: [(&str, &str); 4] = [
    ("grants", "Sockets that the watcher gave to QEMU or the dataplane."),
    ("fixes", "Changes by others that the watcher fixed."),
    ("rescans", "Looks of the watcher at all sockets."),
    ("overflows", "How often the kernel lost events for the watcher."),
];
/// Limits of the buckets, in microseconds and as they are printed.
const BUCKETS: [(u64, &str); 8] = [
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_000_000, "2"),
];

#[derive(Debug, Default)]
struct Sums<'a> {
    checks: BTreeMap<(&'a str, &'a str), u64>,
    fixes: u64,
    took: Vec<u64>,
    watched: BTreeMap<&'a str, u64>,
}

impl<'a> Sums<'a> {
    /// A line that is not understood, as of another version, counts nothing.
    fn of(lines: &'a str) -> Sums<'a> {
        let mut sums = Sums::default();
        for line in lines.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["hook", operation, result, fixes, took] => {
                    let (Ok(fixes), Ok(took)) = (fixes.parse::<u64>(), took.parse()) else { continue };
                    *sums.checks.entry((operation, result)).or_default() += 1;
                    sums.fixes = sums.fixes.saturating_add(fixes);
                    sums.took.push(took);
                }
                ["watch", what, count] => {
                    let sum = sums.watched.entry(what).or_default();
                    *sum = sum.saturating_add(count.parse().unwrap_or_default());
                }
                _ => {}
            }
        }
        sums
    }
}

/// The metrics, from the lines of the file of counters.
pub fn text(text: &mut String, lines: &str) {
    let sums = Sums::of(lines);
    let name = "vhost_accord_hook_checks_total";
    head(text, name, "counter", "Checks of VMs with vhost-user devices by the hook.");
    for operation in OPERATIONS {
        for result in RESULTS {
            let count = sums.checks.get(&(operation, result)).unwrap_or(&0);
            let _ = writeln!(text, "{name}{{operation=\"{operation}\",result=\"{result}\"}} {count}");
        }
    }
    let name = "vhost_accord_hook_fixes_total";
    head(text, name, "counter", "What the hook fixed before a VM started.");
    let _ = writeln!(text, "{name} {}", sums.fixes);
    durations(text, &sums.took);
    for (what, help) in WATCHED {
        let name = format!("vhost_accord_watch_{what}_total");
        head(text, &name, "counter", help);
        let _ = writeln!(text, "{name} {}", sums.watched.get(what).unwrap_or(&0));
    }
}

fn durations(text: &mut String, took: &[u64]) {
    let name = "vhost_accord_hook_duration_seconds";
    head(text, name, "histogram", "Time that the hook's checks took.");
    for (limit, label) in BUCKETS {
        let count = took.iter().filter(|took| **took <= limit).count();
        let _ = writeln!(text, "{name}_bucket{{le=\"{label}\"}} {count}");
    }
    let sum = took.iter().fold(0_u64, |sum, took| sum.saturating_add(*took));
    let (seconds, rest) = (sum / 1_000_000, sum % 1_000_000);
    let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", took.len());
    let _ = writeln!(text, "{name}_sum {seconds}.{rest:06}\n{name}_count {}", took.len());
}

/// What is said of a metric before its series.
pub fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn sums_and_buckets_are_those_of_the_lines() {
        let lines = "hook prepare passed 2 1834\nhook start passed 0 2500\nhook prepare refused 0 1999999\nwatch fixes 2\n\
                     hook start passed 1\nnonsense\nwatch fixes 1\nwatch grants many\nhook start pas";
        let mut text = String::new();
        super::text(&mut text, lines);
        for line in [
            "vhost_accord_hook_checks_total{operation=\"prepare\",result=\"passed\"} 1",
            "vhost_accord_hook_checks_total{operation=\"start\",result=\"passed\"} 1",
            "vhost_accord_hook_checks_total{operation=\"prepare\",result=\"refused\"} 1",
            "vhost_accord_hook_checks_total{operation=\"migrate\",result=\"unchecked\"} 0",
            "vhost_accord_hook_fixes_total 2",
            "vhost_accord_hook_duration_seconds_bucket{le=\"0.0025\"} 2",
            "vhost_accord_hook_duration_seconds_bucket{le=\"1\"} 2",
            "vhost_accord_hook_duration_seconds_bucket{le=\"2\"} 3",
            "vhost_accord_hook_duration_seconds_sum 2.004333",
            "vhost_accord_hook_duration_seconds_count 3",
            "vhost_accord_watch_fixes_total 3",
            "vhost_accord_watch_grants_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
