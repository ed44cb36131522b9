// SPDX-License-Identifier: Apache-2.0
//! The dataplane alone, for a guest that is none of ours.

use std::path::Path;

use anyhow::{Result, anyhow};

use super::order::{Answer, Order, Said};
use super::party::Party;
use super::stage::give;
use super::traces::Traces;
use super::{Signals, Trial};

/// A dataplane in a child.
#[derive(Debug)]
pub struct Switch<'a> {
    trial: &'a Trial,
    party: Party<'a>,
    sockets: Traces,
}

impl<'a> Switch<'a> {
    /// Starts it with its identity.
    pub fn start(program: &Path, trial: &'a Trial, signals: &'a Signals) -> Result<Switch<'a>> {
        let mut party = Party::start(program, &trial.dataplane, signals)?;
        expect(party.ask(&Order::Become(trial.dataplane.clone()))?)?;
        let sockets = Traces::new(party.root()?);
        Ok(Switch { trial, party, sockets })
    }

    /// Makes its socket, and gives it away where somebody is there to do so.
    pub fn make(&mut self, path: &Path) -> Result<()> {
        self.sockets.file(path.to_path_buf())?;
        expect(self.party.ask(&Order::Bind(path.to_path_buf()))?)?;
        match self.trial.grant {
            Some(gid) => give(&self.sockets, path, gid),
            None => Ok(()),
        }
    }

    /// Meets the guest, at `connect` or at its own socket, and says whether they agreed on features.
    pub fn negotiates(&mut self, connect: Option<&Path>) -> Result<bool> {
        let order = connect.map_or(Order::Accept, |path| Order::Connect(path.to_path_buf()));
        if self.party.ask(&order)?.is_err() {
            return Ok(false);
        }
        self.party.order(&Order::Serve(Vec::new()))?;
        Ok(self.party.answer()? == Ok(Said::Negotiated))
    }
}

fn expect(answer: Answer) -> Result<()> {
    answer.map(drop).map_err(|failure| anyhow!("the switch: {failure}"))
}
