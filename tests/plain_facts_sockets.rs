// SPDX-License-Identifier: Apache-2.0
//! Unix sockets: a recorded table, and real sockets.

use std::io::ErrorKind;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use vhost_accord::base::root::Root;
use vhost_accord::facts::sockets::{Liveness, SocketType, list, listeners_at, liveness, liveness_of, parse};

const TABLE: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
0000000000000000: 00000002 00000000 00010000 0001 01  4711 /var/run/openvswitch/vhu 1\xff \n\
0000000000000000: 00000003 00000000 00000000 0001 03  4712 /run/openvswitch/db.sock\n\
0000000000000000: 00000003 00000000 00000000 0005 03  4713\n\
0000000000000000: 00000002 00000000 00010000 0001 01  4714 @abstract\n\
0000000000000000: 00000002 00000000 00000000 0002 01  4715 /run/a\nb: c\n";

#[test]
fn reads_the_kernels_table() {
    let sockets = parse(TABLE);
    let inodes: Vec<u64> = sockets.iter().map(|socket| socket.inode).collect();
    assert_eq!(inodes, [4711, 4712, 4713, 4714, 4715]);
    let name =
        <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/var/run/openvswitch/vhu 1\xff ");
    assert_eq!(sockets[0].path.as_deref(), Some(Path::new(name)));
    assert_eq!(
        (sockets[0].listening, sockets[0].connected, sockets[0].kind),
        (true, false, Some(SocketType::Stream))
    );
    assert_eq!((sockets[1].listening, sockets[1].connected), (false, true));
    assert_eq!((sockets[2].path.as_deref(), sockets[2].kind), (None, Some(SocketType::Packets)));
    assert_eq!((sockets[3].path.as_deref(), sockets[3].listening), (None, true));
    assert_eq!(
        (sockets[4].path.as_deref(), sockets[4].kind),
        (Some(Path::new("/run/a")), Some(SocketType::Datagram))
    );
}

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

#[test]
fn finds_a_listener_by_either_spelling_of_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(Path::new("/")).unwrap();
    std::fs::create_dir(dir.path().join("run")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("run"), dir.path().join("var-run")).unwrap();
    let (real, other) = (dir.path().join("run/vhu"), dir.path().join("var-run/vhu"));
    let _listener = UnixListener::bind(&other).unwrap();
    let _same_name = UnixListener::bind(dir.path().join("vhu")).unwrap();
    let sockets = list(&root).unwrap();
    let inodes = |path: &Path| {
        let found = listeners_at(&root, &sockets, path).unwrap();
        found.iter().map(|socket| socket.inode).collect::<Vec<_>>()
    };
    assert_eq!(inodes(&real).len(), 1);
    assert_eq!(inodes(&real), inodes(&other));
    assert_ne!(inodes(&real), inodes(&dir.path().join("vhu")));
    assert!(inodes(&dir.path().join("none/vhu")).is_empty());
}
