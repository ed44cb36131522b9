// SPDX-License-Identifier: Apache-2.0
//! Versions of libvirt and QEMU, as libvirt itself found them out: its cache of what each emulator can do
//! (`/var/cache/libvirt/qemu/capabilities/*.xml`, src/qemu/qemu_capabilities.c; there since libvirt 1.2, seen with 9.0).
//! A file counts by libvirt's own rule: the emulator and the daemon still have the change time it was made by.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use roxmltree::Document;

use crate::base::root::Root;

/// Where libvirt keeps them. Only root reads it.
const CACHE: &str = "/var/cache/libvirt/qemu/capabilities";

/// What one file of the cache says; change times are in seconds since 1970.
struct Cached {
    emulator: PathBuf,
    emulator_changed: i64,
    qemu: String,
    daemon_changed: i64,
    libvirt: String,
}

/// What is installed now; `None` where nothing that still holds says so, or two emulators differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// libvirt's version.
    pub libvirt: Option<String>,
    /// QEMU's version.
    pub qemu: Option<String>,
}

/// Reads the cache. `daemon_unit` is the unit that starts QEMU, whose program has its name.
pub fn read(root: &Root, daemon_unit: Option<&str>) -> Result<Installed> {
    let daemon = daemon_unit.map(|unit| Path::new("/usr/sbin").join(unit.trim_end_matches(".service")));
    let (mut qemu, mut libvirt) = (Vec::new(), Vec::new());
    for name in root.list(Path::new(CACHE))? {
        let Some(text) = root.read_text(&Path::new(CACHE).join(name))? else { continue };
        // A file of another kind, or of a libvirt to come, tells nothing.
        let Ok(cached) = parse(&text) else { continue };
        if changed(root, &cached.emulator)? == Some(cached.emulator_changed) {
            qemu.push(cached.qemu);
        }
        let daemon = daemon.as_deref().map(|path| changed(root, path)).transpose()?.flatten();
        if daemon == Some(cached.daemon_changed) {
            libvirt.push(cached.libvirt);
        }
    }
    Ok(Installed { libvirt: unanimous(libvirt), qemu: unanimous(qemu) })
}

/// The highest number that `version` finds in the names of libraries, in `below` of the first directory of libraries that
/// has one. What cannot be listed has none.
pub fn of_library(root: &Root, below: &str, version: impl Fn(&str) -> Option<u32>) -> Result<Option<u32>> {
    let library = Path::new("/usr/lib");
    let mut places = vec![PathBuf::from("/usr/lib64"), library.to_path_buf()];
    let multiarch = root.list(library)?.into_iter().filter(|name| name.to_string_lossy().contains("-linux-"));
    places.extend(multiarch.map(|name| library.join(name)));
    let versions = |place: PathBuf| {
        let names = root.list(&place.join(below)).unwrap_or_default();
        names.iter().filter_map(|name| version(name.to_str()?)).max()
    };
    Ok(places.into_iter().find_map(versions))
}

fn changed(root: &Root, path: &Path) -> Result<Option<i64>> {
    Ok(root.find(path)?.map(|found| found.changed()))
}

fn unanimous(mut versions: Vec<String>) -> Option<String> {
    versions.dedup();
    versions.pop().filter(|_| versions.is_empty())
}

/// One file of the cache.
fn parse(text: &str) -> Result<Cached> {
    let document = Document::parse(text).map_err(Error::msg).context("parsing libvirt's cache")?;
    let top = document.root_element();
    let word = |name: &'static str| {
        let element = top.children().find(|child| child.has_tag_name(name));
        element.and_then(|element| element.text()).map(str::trim).with_context(|| format!("no <{name}>"))
    };
    Ok(Cached {
        emulator: PathBuf::from(word("emulator")?),
        emulator_changed: word("qemuctime")?.parse()?,
        qemu: version(word("version")?)?,
        daemon_changed: word("selfctime")?.parse()?,
        libvirt: version(word("selfvers")?)?,
    })
}

/// `7002022` is 7.2.22: a million, a thousand, one (libvirt: virStringParseVersion).
fn version(number: &str) -> Result<String> {
    let number: u64 = number.parse().context("not a version")?;
    Ok(format!("{}.{}.{}", number / 1_000_000, number / 1_000 % 1_000, number % 1_000))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn cache(emulator: i64, daemon: i64) -> String {
        format!(
            "<qemuCaps><emulator>/usr/bin/qemu</emulator><qemuctime>{emulator}</qemuctime><selfctime>{daemon}</selfctime>\
             <selfvers>9000000</selfvers><version>7002022</version></qemuCaps>"
        )
    }

    #[test]
    fn what_is_no_longer_so_is_unknown() {
        let image = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = image.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::metadata(path).unwrap().ctime()
        };
        let (qemu, daemon) = (write("usr/bin/qemu", ""), write("usr/sbin/libvirtd", ""));
        let root = Root::open(image.path()).unwrap();
        let seen = |first: &str, second: &str| {
            write("var/cache/libvirt/qemu/capabilities/a.xml", first);
            write("var/cache/libvirt/qemu/capabilities/b.xml", second);
            let found = read(&root, Some("libvirtd.service")).unwrap();
            (found.libvirt, found.qemu)
        };
        let both = (Some("9.0.0".to_string()), Some("7.2.22".to_string()));
        assert_eq!(seen(&cache(qemu, daemon), "<other/>"), both);
        assert_eq!(seen(&cache(qemu + 1, daemon), "no XML").1, None, "another emulator by now");
        assert_eq!(seen(&cache(qemu, daemon + 1), "").0, None, "another libvirt by now");
        let other = cache(qemu, daemon).replace("7002022", "8000000");
        assert_eq!(seen(&cache(qemu, daemon), &other).1, None, "which of them a VM gets is not known");
        assert_eq!(read(&root, None).unwrap().libvirt, None);
    }
}
