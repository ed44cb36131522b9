// SPDX-License-Identifier: Apache-2.0
//! The conversation: connect, send, and read replies until the one with our id comes.

use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde::Deserialize;
use serde_json::{Value, json};

use super::value::readable;
use crate::base::root::{Kind, Root};

/// All that may be received in one conversation. 2,000 ports with a long status each are about 2 MiB.
pub(super) const MAX_RECEIVED: usize = 32 << 20;
/// How long to wait before another attempt while the server's queue of connections is full.
const RETRY: Duration = Duration::from_millis(5);
/// The database's name in the server.
pub(super) const DATABASE: &str = "Open_vSwitch";

/// A conversation with an ovsdb-server.
#[derive(Debug)]
pub struct Ovsdb {
    stream: BufReader<Bounded>,
    next_id: u64,
}

/// A stream that fails when its time or its bytes are used up.
#[derive(Debug)]
struct Bounded {
    stream: UnixStream,
    deadline: Instant,
    allowance: usize,
}

impl Ovsdb {
    /// Connects to the socket at `path`, whoever is behind it: the switch's own has its way in `dataplane::ovs::database`. `limit` is
    /// for the whole conversation, from now on.
    pub fn connect(root: &Root, path: &Path, limit: Duration) -> Result<Ovsdb> {
        let context = || format!("connecting to {}", path.display());
        let handle = root.find(path)?.with_context(|| format!("{} does not exist", path.display()))?;
        if handle.kind() != Kind::Socket {
            bail!("{} is not a socket", path.display());
        }
        let deadline = Instant::now() + limit;
        let socket = dial(&handle.proc_path(), deadline).with_context(context)?;
        Self::over(UnixStream::from(socket), deadline).with_context(context)
    }

    /// Speaks over a stream that is connected already.
    pub(super) fn over(stream: UnixStream, deadline: Instant) -> Result<Ovsdb> {
        stream.set_nonblocking(false)?;
        Ok(Ovsdb {
            stream: BufReader::new(Bounded { stream, deadline, allowance: MAX_RECEIVED }),
            next_id: 0,
        })
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
    pub(super) fn exchange(&mut self, method: &str, params: Value) -> Result<Value> {
        self.request(method, params)?;
        self.response()
    }

    /// The stream, and what was received beyond the last answer.
    pub(super) fn into_stream(self) -> (UnixStream, Vec<u8>) {
        let received = self.stream.buffer().to_vec();
        (self.stream.into_inner().stream, received)
    }

    fn request(&mut self, method: &str, params: Value) -> Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"id": id, "method": method, "params": params}))
    }

    /// The answer to the last request.
    fn response(&mut self) -> Result<Value> {
        let id = json!(self.next_id.saturating_sub(1));
        loop {
            let message = self.receive()?;
            match message.get("method").and_then(Value::as_str) {
                Some("echo") => self.send(&echo(&message))?,
                // A notification that we did not ask for.
                Some(_) => {}
                None if message.get("id") == Some(&id) => return result_of(message),
                None => bail!("a reply to something that was not asked: id {}", readable(&message["id"])),
            }
        }
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        let bytes = serde_json::to_vec(message)?;
        self.stream.get_mut().write_all(&bytes).context("sending the request")
    }

    /// The next whole message, however the stream cuts it up. serde_json bounds the depth.
    fn receive(&mut self) -> Result<Value> {
        let mut deserializer = serde_json::Deserializer::from_reader(&mut self.stream);
        let message = Value::deserialize(&mut deserializer).context("reading the reply")?;
        if !message.is_object() {
            bail!("the reply is not a JSON-RPC message");
        }
        Ok(message)
    }
}

/// The answer to an echo: the server asks whether we live.
pub(super) fn echo(request: &Value) -> Value {
    json!({"id": request["id"], "result": request["params"], "error": null})
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

fn result_of(mut message: Value) -> Result<Value> {
    match message.get("error") {
        None | Some(Value::Null) => Ok(message.get_mut("result").map(Value::take).unwrap_or_default()),
        Some(error) => bail!("OVSDB refuses: {}", readable(error)),
    }
}

/// Connects without blocking: a server that does not accept has a full queue after a while, and a plain connect would
/// wait there for ever.
fn dial(path: &Path, deadline: Instant) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    loop {
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::EAGAIN) if Instant::now() + RETRY < deadline => std::thread::sleep(RETRY),
            Err(Errno::EAGAIN) => bail!("the server does not accept the connection"),
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl Bounded {
    fn time_left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(out_of_time()) } else { Ok(left) }
    }
}

fn out_of_time() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// A socket whose time is up reports `EAGAIN`.
fn name_timeout(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { out_of_time() } else { error }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.time_left()?))?;
        let length = self.stream.read(buffer).map_err(name_timeout)?;
        let too_much = || io::Error::other(format!("more than {} MiB", MAX_RECEIVED >> 20));
        self.allowance = self.allowance.checked_sub(length).ok_or_else(too_much)?;
        Ok(length)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.time_left()?))?;
        self.stream.write(bytes).map_err(name_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
