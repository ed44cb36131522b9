// SPDX-License-Identifier: Apache-2.0
//! The domain on standard input, which may be slow, huge, or never come.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Twice the largest message of libvirt's RPC (VIR_NET_MESSAGE_MAX, 32 MiB; libvirt: src/rpc/virnetprotocol.x).
const MAX_XML: usize = 64 << 20;
/// A domain of usual size.
const PIECE: usize = 8 << 10;
/// What roxmltree makes of a byte of text at worst: `<a/>` is a node of 72 bytes, ` a=""` an attribute of 40.
const PARSED: usize = 24;
/// All else: the watchdog's stack, the database's answer.
const WORKING_SPACE: usize = 1 << 20;

/// Reads to the end, or until it is too much or too late.
pub fn read(input: &mut (impl Read + AsFd), deadline: Instant) -> Result<String> {
    let mut bytes = Vec::new();
    let mut piece = [0; PIECE];
    loop {
        await_input(input, deadline)?;
        let got = match input.read(&mut piece) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("reading the domain XML"),
            Ok(0) => break,
            Ok(got) => got,
        };
        bytes.try_reserve(got).context("no memory for the domain XML")?;
        bytes.extend_from_slice(&piece[..got]);
        if bytes.len() > MAX_XML {
            bail!("the domain XML is larger than {} MiB", MAX_XML >> 20);
        }
    }
    String::from_utf8(bytes).context("the domain XML is not UTF-8 text")
}

/// Whether there is memory to take the domain apart: an element or an attribute costs more than its text. What is refused
/// here can still be told, what is refused later ends the process.
pub fn expect_memory(length: usize) -> Result<()> {
    let mut probe = Vec::<u8>::new();
    probe.try_reserve_exact(length * PARSED + WORKING_SPACE).context("no memory to read the domain")
}

fn await_input(input: &impl AsFd, deadline: Instant) -> Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("no domain XML came in time");
        }
        // Rounded up: a wait of nothing would spin.
        let limit = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], limit) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno).context("waiting for the domain XML"),
        }
    }
}

/// Whether anything in this text can speak vhost-user; false needs no parser.
///
/// Every kind of endpoint has one of two words in an attribute's value: `vhostuser` and `vhost-user` of interfaces, disks,
/// video and `<qemu:arg>`, or `virtiofs` of filesystems. A value can spell them in another way only by character references
/// (`&#118;`), since other entities need a document type declaration, which libvirt never writes.
pub fn may_speak_vhost_user(xml: &str) -> bool {
    ["vhost", "virtiofs", "&#", "<!DOCTYPE"].iter().any(|word| xml.contains(word))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(200)
    }

    #[test]
    fn a_slow_writer_is_waited_for_and_a_silent_one_is_not() {
        let (mut reader, mut writer) = UnixStream::pair().unwrap();
        let slow = std::thread::spawn(move || {
            for piece in ["<domain>", "</domain>"] {
                writer.write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let patient = Instant::now() + Duration::from_secs(60);
        assert_eq!(read(&mut reader, patient).unwrap(), "<domain></domain>");
        slow.join().unwrap();

        let (mut reader, mut writer) = UnixStream::pair().unwrap();
        writer.write_all(b"<domain>").unwrap();
        assert!(read(&mut reader, soon()).unwrap_err().to_string().contains("in time"));
    }

    #[test]
    fn too_much_is_not_taken() {
        let (mut reader, mut writer) = UnixStream::pair().unwrap();
        let babbler = std::thread::spawn(move || while writer.write_all(&[b'x'; PIECE]).is_ok() {});
        let error = read(&mut reader, Instant::now() + Duration::from_secs(60)).unwrap_err();
        assert!(error.to_string().contains("larger than 64 MiB"), "{error}");
        drop(reader);
        babbler.join().unwrap();
    }

    #[test]
    fn a_hidden_word_is_not_overlooked() {
        assert!(!may_speak_vhost_user("<domain><interface type='bridge'/></domain>"));
        for xml in
            ["<a b='vhostuser'/>", "<a b='&#118;hostuser'/>", "<a b='&#x76;irtiofs'/>", "<a b='virtiofs'/>"]
        {
            assert!(may_speak_vhost_user(xml), "{xml}");
        }
    }
}
