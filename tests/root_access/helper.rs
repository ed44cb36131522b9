// SPDX-License-Identifier: Apache-2.0
//! A child that has the ids and capabilities of an identity, and tries what it is told to.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::{AccessFlags, faccessat};
use vhost_accord::access::{CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, Identity};

/// Set for the child only: without it the test below is none.
const HELPER: &str = "VHOST_ACCORD_ACCESS_HELPER";

const CAPABILITIES: [(u32, &str); 3] =
    [(CAP_DAC_OVERRIDE, "dac_override"), (CAP_DAC_READ_SEARCH, "dac_read_search"), (CAP_FOWNER, "fowner")];

/// The running child, and who it really is.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub identity: Identity,
}

impl Helper {
    /// Starts `executable` (this test binary, where every identity may run it) as `identity`.
    pub fn start(executable: &Path, identity: &Identity) -> Helper {
        let mut child = setpriv(identity)
            .arg(executable)
            .args(["--exact", "helper::serve", "--ignored", "--nocapture"])
            .env_clear()
            .env(HELPER, "1")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (requests, mut answers) =
            (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        while line(&mut answers) != "ready" {}
        let real = real_identity(child.id());
        assert_eq!(&real, identity, "setpriv gave other ids than asked for");
        Helper { child, requests, answers, identity: real }
    }

    /// Lets the child do `act` to `path`: what the kernel said.
    pub fn attempt(&mut self, act: char, path: &Path) -> Result<(), Errno> {
        writeln!(self.requests, "{act}{}", path.display()).unwrap();
        match line(&mut self.answers).parse().unwrap() {
            0 => Ok(()),
            errno => Err(Errno::from_raw(errno)),
        }
    }

    pub fn stop(self) {
        let Helper { mut child, requests, .. } = self;
        drop(requests);
        assert!(child.wait().unwrap().success());
    }
}

fn setpriv(identity: &Identity) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &identity.uid.to_string(), "--regid", &identity.gid.to_string()]);
    let groups: Vec<_> = identity.groups.iter().map(u32::to_string).collect();
    match groups.is_empty() {
        true => command.arg("--clear-groups"),
        false => command.args(["--groups", &groups.join(",")]),
    };
    let held = CAPABILITIES.iter().filter(|(number, _)| identity.has(*number));
    let set = held.fold("-all".to_string(), |set, (_, name)| format!("{set},+{name}"));
    // The bounding set is what limits uid 0, the ambient set what lets another uid keep them.
    for kind in ["inh-caps", "ambient-caps", "bounding-set"] {
        command.arg(format!("--{kind}={set}"));
    }
    command
}

/// From the child's own /proc/PID/status, so that a child with other ids than planned does not go unnoticed.
fn real_identity(pid: u32) -> Identity {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_string();
    let last = |name| field(name).split_whitespace().last().unwrap().parse().unwrap();
    Identity {
        uid: last("Uid:"),
        gid: last("Gid:"),
        groups: field("Groups:").split_whitespace().map(|gid| gid.parse().unwrap()).collect(),
        capabilities: u64::from_str_radix(&field("CapEff:"), 16).unwrap(),
    }
}

fn line(answers: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    assert_ne!(answers.read_line(&mut line).unwrap(), 0, "the helper ended early");
    line.trim_end().to_string()
}

/// The child's side; nothing but a no-op when it is run as a test.
#[test]
#[ignore = "needs root: make test"]
fn serve() {
    if std::env::var_os(HELPER).is_none() {
        return;
    }
    let mut out = io::stdout();
    writeln!(out, "\nready").unwrap();
    for request in io::stdin().lines() {
        let request = request.unwrap();
        let errno = match attempt(&request[..1], Path::new(&request[1..])) {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap(),
        };
        writeln!(out, "{errno}").unwrap();
    }
}

fn attempt(act: &str, path: &Path) -> io::Result<()> {
    let probe = path.join("probe");
    let mut open = fs::OpenOptions::new();
    open.custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    match act {
        "r" => open.read(true).open(path).map(drop),
        "w" => open.write(true).open(path).map(drop),
        "s" => std::env::set_current_dir(path).and_then(|()| std::env::set_current_dir("/")),
        "m" => fs::create_dir(&probe).map(|()| fs::remove_dir(&probe).unwrap()),
        "b" => UnixListener::bind(&probe).map(|_| fs::remove_file(&probe).unwrap()),
        "n" => open.write(true).create_new(true).open(&probe).map(|_| fs::remove_file(&probe).unwrap()),
        "c" => UnixStream::connect(path).map(drop),
        "u" => fs::remove_file(path),
        "d" => fs::remove_dir(path),
        bits => {
            let mode = AccessFlags::from_bits_truncate(bits.parse().unwrap());
            Ok(faccessat(AT_FDCWD, path, mode, AtFlags::AT_EACCESS)?)
        }
    }
}
