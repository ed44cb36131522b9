// SPDX-License-Identifier: Apache-2.0
//! Whether anyone answers behind a socket file, by real sockets.

use std::io::ErrorKind;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use vhost_accord::base::root::Root;
use vhost_accord::facts::sockets::{Liveness, liveness, liveness_of};

#[test]
fn tells_a_live_socket_from_a_stale_one_and_consumes_no_connection() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(Path::new("/")).unwrap();
    let path = dir.path().join("socket");
    assert_eq!(liveness(&root, &path), Liveness::Missing);

    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    for _ in 0..1000 {
        assert_eq!(liveness(&root, &path), Liveness::Listening);
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

    // A connection that outlives its listener does not keep the socket file alive.
    let _client = UnixStream::connect(&path).unwrap();
    let _server = listener.accept().unwrap();
    drop(listener);
    assert_eq!(liveness(&root, &path), Liveness::Stale);
}

#[test]
fn a_newer_file_at_the_path_of_a_listener_is_judged_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(Path::new("/")).unwrap();
    let (path, moved) = (dir.path().join("socket"), dir.path().join("moved"));
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::rename(&path, &moved).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert_eq!(liveness(&root, &path), Liveness::Stale);
    assert_eq!(liveness(&root, &moved), Liveness::Listening);
    // What is held stays what it is, whatever its name leads to now.
    let held = root.find_nofollow(&moved).unwrap().unwrap();
    std::fs::rename(&path, &moved).unwrap();
    assert_eq!(liveness(&root, &moved), Liveness::Stale);
    assert_eq!(liveness_of(&held), Liveness::Listening);
}

#[test]
fn what_is_no_stream_socket_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(Path::new("/")).unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["file", "link", "fifo", "."] {
        assert_eq!(liveness(&root, &path(name)), Liveness::NotASocket, "{name}");
    }
    let _datagram = UnixDatagram::bind(path("datagram")).unwrap();
    assert!(matches!(liveness(&root, &path("datagram")), Liveness::Unknown(_)));
    assert!(matches!(liveness(&root, Path::new("relative")), Liveness::Unknown(_)));
}
