// SPDX-License-Identifier: Apache-2.0
//! The conversation: connect, send, and read replies until the one with our id comes.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::value::readable;
use crate::base::root::Root;
use crate::dataplane::conversation::Bounded;

/// All that may be received in one conversation. 2,000 ports with a long status each are about 2 MiB.
pub(super) const MAX_RECEIVED: usize = 32 << 20;
/// The database's name in the server.
pub(super) const DATABASE: &str = "Open_vSwitch";

/// A JSON-RPC message: a request, or a response to ours.
#[derive(Debug, Deserialize)]
struct Message<T> {
    #[serde(default)]
    id: Value,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    result: Option<T>,
    #[serde(default)]
    error: Value,
}

/// A conversation with an ovsdb-server.
#[derive(Debug)]
pub struct Ovsdb {
    stream: Bounded,
    next_id: u64,
}

impl Ovsdb {
    /// Connects to the socket at `path`, whoever is behind it: the switch's own has its way in `dataplane::ovs::database`. `limit` is
    /// for the whole conversation, from now on.
    pub fn connect(root: &Root, path: &Path, limit: Duration) -> Result<Ovsdb> {
        Bounded::connect(root, path, limit, MAX_RECEIVED).map(Ovsdb::over)
    }

    /// Speaks over a stream that is connected already.
    pub(super) fn over(stream: Bounded) -> Ovsdb {
        Ovsdb { stream, next_id: 0 }
    }

    /// Runs operations (RFC 7047, section 5.2) as one transaction and gives the result of each. Readers select only;
    /// what writes goes through `change`.
    pub fn transact(&mut self, operations: &[Value]) -> Result<Vec<Value>> {
        self.begin(operations)?;
        self.finish(operations.len())
    }

    /// Sends operations as one transaction, and does not wait: the server works while we do something else.
    pub(super) fn begin(&mut self, operations: &[Value]) -> Result<()> {
        let mut params = vec![json!(DATABASE)];
        params.extend_from_slice(operations);
        self.request("transact", Value::Array(params)).context("asking OVSDB")
    }

    /// The results of the transaction that was begun last, which had so many operations.
    pub(super) fn finish(&mut self, operations: usize) -> Result<Vec<Value>> {
        let results = self.response().context("asking OVSDB")?;
        let Value::Array(results) = results else { bail!("OVSDB's reply is not a list of results") };
        // A failed operation has its error in its place, a failed commit one more behind all results.
        if let Some(error) =
            results.iter().find(|result| result.get("error").is_some_and(|error| !error.is_null()))
        {
            bail!("OVSDB refuses: {}", readable(error));
        }
        if results.len() != operations || results.iter().any(Value::is_null) {
            bail!("OVSDB's reply has {} results for {operations} operations", results.len());
        }
        Ok(results)
    }

    /// Calls a method without arguments that answers with text: a daemon's control socket speaks JSON-RPC as well.
    pub fn call(&mut self, method: &str) -> Result<String> {
        self.request(method, json!([]))?;
        match self.response()? {
            Value::String(text) => Ok(text),
            other => bail!("{method} answers {}", readable(&other)),
        }
    }

    /// Selects the given columns of the rows that meet all conditions.
    pub(super) fn select(&mut self, table: &str, conditions: Value, columns: &[&str]) -> Result<Vec<Value>> {
        let mut results = self.transact(&[select(table, conditions, columns)])?;
        rows(results.pop())
    }

    /// One request with its answer.
    pub(super) fn exchange<T: DeserializeOwned>(&mut self, method: &str, params: Value) -> Result<T> {
        self.request(method, params)?;
        self.response()
    }

    /// The stream, and what was received beyond the last answer.
    pub(super) fn into_parts(self) -> (UnixStream, Vec<u8>) {
        self.stream.into_parts()
    }

    fn request(&mut self, method: &str, params: Value) -> Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"id": id, "method": method, "params": params}))
    }

    /// The answer to the last request, which is read as what it is: as a tree of values it is several times as large.
    fn response<T: DeserializeOwned>(&mut self) -> Result<T> {
        let id = json!(self.next_id.saturating_sub(1));
        loop {
            let message: Message<T> = self.stream.message().context("reading the reply")?;
            match message.method.as_deref() {
                Some("echo") => self.send(&echo(&message.id, &message.params))?,
                // A notification that we did not ask for.
                Some(_) => {}
                None if message.id != id => {
                    bail!("a reply to something that was not asked: id {}", readable(&message.id))
                }
                None if !message.error.is_null() => bail!("OVSDB refuses: {}", readable(&message.error)),
                None => return message.result.context("OVSDB's reply has no result"),
            }
        }
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        let bytes = serde_json::to_vec(message)?;
        self.stream.write_all(&bytes).context("sending the request")
    }
}

/// The answer to an echo: the server asks whether we live.
pub(super) fn echo(id: &Value, params: &Value) -> Value {
    json!({"id": id, "result": params, "error": null})
}

/// One `select` operation.
pub(super) fn select(table: &str, conditions: Value, columns: &[&str]) -> Value {
    json!({"op": "select", "table": table, "where": conditions, "columns": columns})
}

/// The rows of a `select`'s result.
pub(super) fn rows(result: Option<Value>) -> Result<Vec<Value>> {
    match result.and_then(|mut result| result.get_mut("rows").map(Value::take)) {
        Some(Value::Array(rows)) => Ok(rows),
        _ => bail!("OVSDB's reply has no rows"),
    }
}
