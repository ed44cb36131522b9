// SPDX-License-Identifier: Apache-2.0
//! The node: its files, and what stands for its boot.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};

use crate::accord::Agreed;
use crate::base::root::Root;
use crate::facts::hugepages::pool;
use crate::facts::mounts::read_default_page_size;
use crate::probe::{Huge, Trial, plan};
use crate::survey::{Options, Survey};
use crate::systemd::Units;
use crate::systemd::image::Image;

/// Where the node's files are, as this machine sees them.
pub(super) const NODE: &str = "/tmp/node";
const HUGEPAGES: &str = "/dev/hugepages";

macro_rules! image {
    ($($path:literal,)+) => { &[$(($path, include_str!(concat!("image/", $path)))),+] };
}

/// What a distribution installs.
const FILES: &[(&str, &str)] = image![
    "etc/passwd",
    "etc/group",
    "etc/default/openvswitch-switch",
    "etc/libvirt/qemu.conf",
    "usr/lib/systemd/system/dev-hugepages.mount",
    "usr/lib/systemd/system/libvirtd.service",
    "usr/lib/systemd/system/openvswitch-switch.service",
    "usr/lib/systemd/system/ovs-vswitchd.service",
    "usr/lib/systemd/system/ovsdb-server.service",
];
/// The administrator's: which port types must work.
const OURS: (&str, &str) =
    ("etc/vhost-accord/vhost-accord.conf", "[accord]\nmodes = dpdkvhostuserclient dpdkvhostuser\n");

/// The node, as long as this process lives.
#[derive(Debug)]
pub(super) struct Node {
    root: Root,
    hugepages: PathBuf,
    mounted: bool,
}

impl Node {
    /// Makes it from nothing; this process is the first of its namespaces.
    pub(super) fn make() -> Result<Node> {
        set_pdeathsig(Signal::SIGKILL).context("tying the node to its parent")?;
        umask(Mode::from_bits_truncate(0o022));
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .context("keeping mounts to the node")?;
        mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).context("mounting /proc")?;
        mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), Some("mode=1777"))
            .context("mounting memory for the node's files")?;
        std::env::set_current_dir("/").context("going to the root directory")?;
        nix::unistd::sethostname("node").context("naming the node")?;
        for directory in ["run/openvswitch", "var/lib", "etc/systemd/system", "dev/hugepages"] {
            make_directory(&inside(directory))?;
        }
        for (path, content) in FILES.iter().chain([&OURS]) {
            let path = inside(path);
            make_directory(path.parent().unwrap_or(Path::new(NODE)))?;
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        // Processes of the node see its directories in their usual places.
        for directory in ["run", "var/lib"] {
            let place = Path::new("/").join(directory);
            mount(Some(&inside(directory)), &place, none, MsFlags::MS_BIND, none)
                .with_context(|| format!("putting the node's own {} in place", place.display()))?;
        }
        // Their usual place is this machine's to make.
        let usual = PathBuf::from(HUGEPAGES);
        let hugepages = if usual.is_dir() { usual } else { inside("dev/hugepages") };
        Ok(Node { root: Root::open(Path::new(NODE))?, hugepages, mounted: false })
    }

    /// What systemd does: the hugepages as the unit says.
    pub(super) fn boot(&mut self) -> Result<()> {
        self.shut_down();
        let unit = Image(&self.root).unit("dev-hugepages.mount")?;
        let options = unit.and_then(|unit| unit.mount_options).unwrap_or_default();
        // What is a flag of the mount is none of the filesystem's.
        let options: Vec<&str> =
            options.split(',').filter(|option| !["nosuid", "nodev", ""].contains(option)).collect();
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let options = options.join(",");
        let mounted =
            mount(Some("hugetlbfs"), &self.hugepages, Some("hugetlbfs"), flags, Some(options.as_str()));
        // A kernel may have none; then the memory is of ordinary pages, and that is said.
        self.mounted = mounted.is_ok();
        Ok(())
    }

    /// The end of that.
    pub(super) fn shut_down(&mut self) {
        if self.mounted {
            self.mounted = umount(&self.hugepages).is_err();
        }
    }

    /// What its services would try: whom they run as is read from the node's own files.
    pub(super) fn trials(&self) -> Result<Vec<Trial>> {
        let survey = self.survey()?;
        let agreed = Agreed::read(&self.root)?.and_then(|agreed| agreed.qemu?.grant_gid);
        let mut trials = plan::trials(&survey, agreed, self.huge()?.as_ref());
        for trial in &mut trials {
            trial.name = super::guest::port(trial.kind).to_string();
        }
        Ok(trials)
    }

    /// Configuration, accounts and accord by its files.
    pub(super) fn survey(&self) -> Result<Survey> {
        Survey::take(&self.root, &Image(&self.root), Options::default())
    }

    fn huge(&self) -> Result<Option<Huge>> {
        if !self.mounted {
            return Ok(None);
        }
        let live = Root::open(Path::new("/"))?;
        let Some(page_size) = read_default_page_size(&live)? else { return Ok(None) };
        let free = pool(&live, page_size, &[])?.is_some_and(|pool| pool.available > 0);
        Ok(Some(Huge { mount: self.hugepages.clone(), page_size, free }))
    }

    /// Every path with type, mode, owner and content.
    pub(super) fn list(&self) -> Result<BTreeMap<PathBuf, String>> {
        let mut listed = BTreeMap::new();
        let mut todo = vec![PathBuf::from(NODE)];
        while let Some(path) = todo.pop() {
            let state = fs::symlink_metadata(&path)?;
            let content = if state.is_dir() {
                for entry in fs::read_dir(&path)? {
                    todo.push(entry?.path());
                }
                String::new()
            } else if state.is_symlink() {
                format!("{}", fs::read_link(&path)?.display())
            } else {
                String::from_utf8_lossy(&fs::read(&path)?).into_owned()
            };
            let line = format!("{:o} {}:{} {content}", state.mode(), state.uid(), state.gid());
            // The backups that shadow's tools keep of the account databases are theirs.
            if !path.to_string_lossy().ends_with('-') {
                listed.insert(path, line);
            }
        }
        Ok(listed)
    }
}

fn inside(path: &str) -> PathBuf {
    Path::new(NODE).join(path)
}

fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, mode).with_context(|| format!("opening {} to all", path.display()))
}
