// SPDX-License-Identifier: Apache-2.0
//! A file as it was found: all that is needed to compare and to restore it.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::base::root::{Kind, Root};

/// Bytes in a journal that people can read: text as text, anything else in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bytes {
    /// UTF-8.
    Text(String),
    /// Two digits a byte.
    Hex(String),
}

impl Bytes {
    /// Wraps bytes.
    pub fn new(bytes: Vec<u8>) -> Bytes {
        match String::from_utf8(bytes) {
            Ok(text) => Bytes::Text(text),
            Err(error) => Bytes::Hex(error.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }

    /// The bytes again.
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        let digits = match self {
            Bytes::Text(text) => return Ok(text.clone().into_bytes()),
            Bytes::Hex(digits) => digits.as_bytes(),
        };
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        match digits.chunks(2).map(byte).collect() {
            Some(bytes) => Ok(bytes),
            None => bail!("not hexadecimal digits"),
        }
    }

    /// The text, empty where it is none.
    pub fn text(&self) -> &str {
        match self {
            Bytes::Text(text) => text,
            Bytes::Hex(_) => "",
        }
    }
}

/// What is at the path is something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAFile(PathBuf);

impl fmt::Display for NotAFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a regular file", self.0.display())
    }
}

impl std::error::Error for NotAFile {}

/// A regular file, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Its bytes.
    pub content: Bytes,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Its extended attributes: ACL and security label among them.
    pub xattrs: Vec<(String, Bytes)>,
}

impl FileState {
    /// Reads the file at `path`; none if there is none. A symlink is an error: someone else made it.
    pub fn read(root: &Root, path: &Path) -> Result<Option<FileState>> {
        let Some(handle) = root.find_nofollow(path)? else { return Ok(None) };
        if handle.kind() != Kind::File {
            return Err(NotAFile(path.to_path_buf()).into());
        }
        handle.known()?;
        let xattr = |(name, value): (OsString, Vec<u8>)| {
            (String::from_utf8_lossy(name.as_bytes()).into_owned(), Bytes::new(value))
        };
        Ok(Some(FileState {
            content: Bytes::new(handle.read()?),
            uid: handle.uid(),
            gid: handle.gid(),
            mode: handle.mode(),
            xattrs: handle.xattrs()?.into_iter().map(xattr).collect(),
        }))
    }

    /// The text of a file that may not be there.
    pub fn text_of(found: Option<&FileState>) -> &str {
        found.map_or("", |file| file.content.text())
    }

    /// The extended attributes as bytes.
    pub fn raw_xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        let raw = |(name, value): &(String, Bytes)| {
            Ok((OsString::from_vec(name.clone().into_bytes()), value.to_vec()?))
        };
        self.xattrs.iter().map(raw).collect()
    }
}
