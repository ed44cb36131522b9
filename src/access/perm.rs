// SPDX-License-Identifier: Apache-2.0
//! A set of the permissions read, write and execute.

use std::fmt;
use std::ops::BitOr;

use serde::{Serialize, Serializer};

use crate::base::root::Kind;

/// A set of read, write and execute, the last of which is *search* on a directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Perm(u8);

impl Perm {
    /// Nothing.
    pub const NONE: Perm = Perm(0);
    /// Read; on a directory, list.
    pub const READ: Perm = Perm(4);
    /// Write; on a directory, make and remove entries; on a socket, connect.
    pub const WRITE: Perm = Perm(2);
    /// Execute; on a directory, search.
    pub const EXECUTE: Perm = Perm(1);

    /// The lowest three bits of a mode or an ACL entry.
    pub fn from_bits(bits: u32) -> Perm {
        Perm((bits & 7) as u8)
    }

    /// As the lowest three bits of a mode.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// True when every permission of `other` is in this set.
    pub fn contains(self, other: Perm) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in both.
    pub fn and(self, other: Perm) -> Perm {
        Perm(self.0 & other.0)
    }

    /// What is in this set but not in `other`.
    pub fn without(self, other: Perm) -> Perm {
        Perm(self.0 & !other.0)
    }

    /// True for the empty set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In words, for something of this kind: `write and search`.
    pub fn verbs(self, kind: Kind) -> String {
        let execute = if kind == Kind::Directory { "search" } else { "execute" };
        let verbs = [(Perm::READ, "read"), (Perm::WRITE, "write"), (Perm::EXECUTE, execute)];
        let held: Vec<_> =
            verbs.iter().filter(|(perm, _)| self.contains(*perm)).map(|(_, verb)| *verb).collect();
        held.join(" and ")
    }
}

impl BitOr for Perm {
    type Output = Perm;

    fn bitor(self, other: Perm) -> Perm {
        Perm(self.0 | other.0)
    }
}

impl fmt::Display for Perm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (perm, letter) in [(Perm::READ, 'r'), (Perm::WRITE, 'w'), (Perm::EXECUTE, 'x')] {
            write!(f, "{}", if self.contains(perm) { letter } else { '-' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Perm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Perm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
