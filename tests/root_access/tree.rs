// SPDX-License-Identifier: Apache-2.0
//! Random trees: directories in directories, and a file, a socket, a FIFO and a directory at the end.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use vhost_accord::access::{Acl, AclEntry, Perm, Tag};

use crate::random::Random;

pub const UIDS: [u32; 4] = [0, 1001, 1002, 1003];
pub const GIDS: [u32; 4] = [0, 2001, 2002, 2003];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    File,
    Socket,
    Fifo,
    Directory,
}

/// One thing to make, with what decides on access to it.
#[derive(Debug)]
pub struct Thing {
    pub path: PathBuf,
    pub leaf: Leaf,
    uid: u32,
    gid: u32,
    mode: u32,
    acl: Option<Acl>,
    listener: Option<UnixListener>,
}

impl Thing {
    fn random(random: &mut Random, path: PathBuf, leaf: Leaf, passable: bool) -> Thing {
        let mut mode = random.below(0o1000);
        if passable {
            mode |= random.one(&[0o111, 0o111, 0o111, 0o011, 0o110, 0o010]);
        }
        if leaf == Leaf::Directory && random.percent(40) {
            mode |= 0o1000;
        }
        let acl = random.percent(50).then(|| random_acl(random, passable));
        Thing { path, leaf, uid: random.one(&UIDS), gid: random.one(&GIDS), mode, acl, listener: None }
    }

    /// Makes it, or makes it again after somebody removed it.
    pub fn make(&mut self) {
        let path = &self.path;
        match self.leaf {
            Leaf::File => fs::write(path, "content").unwrap(),
            Leaf::Directory => fs::create_dir(path).unwrap(),
            Leaf::Fifo => nix::unistd::mkfifo(path, Mode::S_IRUSR).unwrap(),
            Leaf::Socket => {
                let listener = UnixListener::bind(path).unwrap();
                listener.set_nonblocking(true).unwrap();
                self.listener = Some(listener);
            }
        }
        chown(path, Some(self.uid), Some(self.gid)).unwrap();
        fs::set_permissions(path, Permissions::from_mode(self.mode)).unwrap();
        if let Some(acl) = &self.acl {
            xattr::set(path, Acl::ACCESS, &crate::acl::bytes(acl)).unwrap();
        }
    }

    /// Takes the connections that wait, so that the next one does not find the queue full.
    pub fn drain(&self) {
        while self.listener.as_ref().is_some_and(|listener| listener.accept().is_ok()) {}
    }
}

fn random_acl(random: &mut Random, passable: bool) -> Acl {
    let mut perm = |tag| {
        let bits = random.below(8) | if passable && random.percent(70) { 1 } else { 0 };
        AclEntry { tag, perm: Perm::from_bits(bits) }
    };
    let mut entries = vec![perm(Tag::Owner)];
    let named = |tags: Vec<Tag>, perm: &mut dyn FnMut(Tag) -> AclEntry| {
        tags.into_iter().map(perm).collect::<Vec<_>>()
    };
    let owning_group = perm(Tag::OwningGroup);
    let (mask, other) = (perm(Tag::Mask), perm(Tag::Other));
    let uids = UIDS.map(Tag::User).to_vec();
    let gids = GIDS.map(Tag::Group).to_vec();
    let (users, groups) = (named(uids, &mut perm), named(gids, &mut perm));
    let mask = if random.percent(15) { AclEntry { perm: Perm::NONE, ..mask } } else { mask };
    entries.extend(random.some(&users, 30));
    entries.push(owning_group);
    entries.extend(random.some(&groups, 40));
    entries.push(mask);
    entries.push(other);
    Acl::new(entries).unwrap()
}

/// The directories from the top one down, then the leaves.
#[derive(Debug)]
pub struct Tree {
    pub things: Vec<Thing>,
}

impl Tree {
    /// Makes a random tree below `top`, which is for everybody.
    pub fn make(random: &mut Random, top: &Path) -> Tree {
        let mut things = Vec::new();
        let mut directory = top.to_path_buf();
        for _ in 0..=random.below(4) {
            directory.push("d");
            things.push(Thing::random(random, directory.clone(), Leaf::Directory, true));
        }
        for (name, leaf) in
            [("file", Leaf::File), ("sock", Leaf::Socket), ("fifo", Leaf::Fifo), ("empty", Leaf::Directory)]
        {
            things.push(Thing::random(random, directory.join(name), leaf, false));
        }
        things.iter_mut().for_each(Thing::make);
        Tree { things }
    }
}
