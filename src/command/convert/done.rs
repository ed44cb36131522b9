// SPDX-License-Identifier: Apache-2.0
//! The result for one VM.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::config::PortType;
use crate::report::{self, Style};

#[derive(Debug, Clone, Serialize)]
pub struct Done {
    vm: String,
    pub outcome: &'static str,
    what: String,
    /// How long it was paused.
    pause_seconds: Option<f64>,
}

impl Done {
    fn new(vm: &str, outcome: &'static str, what: String) -> Done {
        Done { vm: vm.to_string(), outcome, what, pause_seconds: None }
    }

    pub fn nothing(vm: &str) -> Done {
        Done::new(vm, "nothing", "has this type already".to_string())
    }

    pub fn left(vm: &str, why: String) -> Done {
        Done::new(vm, "left", why)
    }

    pub fn finished(vm: &str) -> Done {
        Done::new(vm, "finished", "the interrupted conversion is finished, and the VM runs again".to_string())
    }

    pub fn of(vm: &str, to: PortType, result: Result<Option<Duration>>) -> Done {
        match result {
            Err(error) => Done::new(vm, "failed", format!("{error:#}")),
            Ok(None) => Done::new(vm, "converted", format!("is {to} now")),
            Ok(Some(pause)) => {
                let seconds = pause.as_secs_f64();
                let what = format!("is {to} now; paused for {seconds:.1} s");
                Done { pause_seconds: Some(seconds), ..Done::new(vm, "converted", what) }
            }
        }
    }

    /// Adds what was left and why; a VM of which something was left is `left`, not `converted`.
    pub fn with(self, rest: String) -> Done {
        match self.outcome {
            "converted" if !rest.is_empty() => Done { outcome: "left", what: self.what + &rest, ..self },
            _ => self,
        }
    }

    pub fn is_failed(&self) -> bool {
        self.outcome == "failed"
    }

    pub fn text(&self) -> String {
        let style = match self.outcome {
            "failed" => Style::Bad,
            "left" => Style::Advice,
            _ => Style::Good,
        };
        let line = report::one_line(&format!("VM {}: {}: {}", self.vm, self.outcome, self.what));
        format!("{}\n", report::colour(style, &line))
    }
}
