// SPDX-License-Identifier: Apache-2.0
//! The prediction of `access`, compared with what the kernel really lets a process with those ids do.
//!
//! `VHOST_ACCORD_SEED=N` repeats the run with that seed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "the figures of a run are a result")]

mod acl;
#[path = "root_access/helper.rs"]
mod helper;
#[path = "root_access/random.rs"]
mod random;
#[path = "root_access/tree.rs"]
mod tree;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use helper::Helper;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use random::Random;
use tree::{GIDS, Leaf, Tree, UIDS};
use vhost_accord::access::{Acl, Denial, Identity, Node, Perm, Tag, Wish, may, refusal};
use vhost_accord::base::root::Root;
use vhost_accord::facts::paths::{PathFact, read_chain};

const TREES: usize = 18;
const IDENTITIES: usize = 24;
/// What a run has to reach (issue: at least 20,000, without a difference).
const COMPARISONS: usize = 20_000;
/// So often each act must have been allowed and denied, and each reason have decided: else the comparison shows little.
const EACH: usize = 25;
/// Acts by kind of thing, allowed and denied, and the eight reasons of [`vhost_accord::access::Why`] that a real path can have.
const KINDS: usize = 2 * 13 + 8;

/// Where a tree's things are reached: as they are, through a symlink, or through a read-only mount.
const VIEWS: [&str; 3] = ["trees", "links", "read-only"];

/// Set for the run within the mount namespace: where it may build.
const BASE: &str = "VHOST_ACCORD_ACCESS_BASE";

#[test]
#[ignore = "needs root: make test"]
fn prediction_and_kernel_agree() {
    let Some(base) = std::env::var_os(BASE) else { return run_in_private_mounts() };
    let seed = std::env::var("VHOST_ACCORD_SEED").ok().map(|seed| seed.parse().unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    Comparison::new(seed.unwrap_or(now & 0xffff_ffff), PathBuf::from(base)).run();
}

/// Runs the test once more in a mount namespace of its own, so that no mount is left whatever happens to it.
fn run_in_private_mounts() {
    let everybody = Permissions::from_mode(0o755);
    let base = tempfile::Builder::new().prefix("access").permissions(everybody).tempdir().unwrap();
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "prediction_and_kernel_agree", "--ignored", "--nocapture"])
        .env(BASE, base.path())
        .status();
    assert!(status.unwrap().success(), "see the output of the inner test above");
    base.close().unwrap();
}

struct Comparison {
    seed: u64,
    random: Random,
    base: PathBuf,
    trees: Vec<Tree>,
    /// Trees on a filesystem that is read-only itself.
    frozen: Vec<Tree>,
    root: Root,
    seen: BTreeMap<String, usize>,
    compared: usize,
    differences: Vec<String>,
}

impl Comparison {
    fn new(seed: u64, base: PathBuf) -> Comparison {
        let mut random = Random::new(seed);
        fs::copy(std::env::current_exe().unwrap(), base.join("helper")).unwrap();
        let trees = (0..TREES).map(|number| plant(&mut random, &base, number)).collect();
        let frozen_top = public_directory(base.join("frozen"));
        mount(Some("none"), &frozen_top, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
        let frozen = (0..TREES / 4).map(|number| {
            let top = public_directory(frozen_top.join(number.to_string()));
            Tree::make(&mut random, &top)
        });
        let frozen = frozen.collect();
        read_only(&frozen_top, MsFlags::empty());
        let bound = public_directory(base.join("read-only"));
        mount(Some(&base.join("trees")), &bound, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        read_only(&bound, MsFlags::MS_BIND);
        let root = Root::open(Path::new("/")).unwrap();
        let (seen, differences) = (BTreeMap::new(), Vec::new());
        Comparison { seed, random, base, trees, frozen, root, seen, compared: 0, differences }
    }

    fn run(mut self) {
        let start = Instant::now();
        for _ in 0..IDENTITIES {
            let identity = random_identity(&mut self.random);
            let mut helper = Helper::start(&self.base.join("helper"), &identity);
            self.try_everything(&mut helper);
            helper.stop();
        }
        let spent = start.elapsed();
        let summary =
            format!("seed {}: {} comparisons in {spent:?}, {:#?}", self.seed, self.compared, self.seen);
        let differences = self.differences.join("\n");
        assert!(
            self.differences.is_empty(),
            "{} differences\n{differences}\n{summary}",
            self.differences.len()
        );
        assert!(self.compared >= COMPARISONS, "{summary}");
        assert!(
            self.seen.len() >= KINDS && self.seen.values().all(|count| *count >= EACH),
            "too little seen: {summary}"
        );
        eprintln!("{summary}");
    }

    fn try_everything(&mut self, helper: &mut Helper) {
        let mut trees = std::mem::take(&mut self.trees);
        for tree in &mut trees {
            for view in VIEWS {
                self.try_tree(helper, tree, view);
            }
        }
        self.trees = trees;
        let mut frozen = std::mem::take(&mut self.frozen);
        for tree in &mut frozen {
            self.try_tree(helper, tree, "frozen");
        }
        self.frozen = frozen;
    }

    fn try_tree(&mut self, helper: &mut Helper, tree: &mut Tree, view: &str) {
        for index in 0..tree.things.len() {
            let thing = &mut tree.things[index];
            let path = self.seen_as(&thing.path, view);
            let bits = char::from_digit(1 + self.random.below(7), 8).unwrap();
            for act in acts(thing.leaf).chars().chain([bits]) {
                self.compare(helper, act, &path);
                thing.drain();
            }
            // A directory with something in it cannot be removed by anyone.
            let removal = if thing.leaf == Leaf::Directory { 'd' } else { 'u' };
            if !path.ends_with("d") && self.compare(helper, removal, &path) {
                thing.make();
            }
        }
    }

    fn seen_as(&self, path: &Path, view: &str) -> PathBuf {
        let inside = path.strip_prefix(self.base.join("trees"));
        match (view, inside) {
            ("links", Ok(inside)) => {
                let mut parts = inside.components();
                let number = parts.next().unwrap();
                self.base.join("links").join(number).join("via").join(parts)
            }
            (_, Ok(inside)) => self.base.join(view).join(inside),
            (_, Err(_)) => path.to_path_buf(),
        }
    }

    /// True when the kernel let it.
    fn compare(&mut self, helper: &mut Helper, act: char, path: &Path) -> bool {
        let PathFact::Present { chain, .. } = read_chain(&self.root, path).unwrap() else {
            panic!("seed {}: {} is gone", self.seed, path.display());
        };
        let predicted = predict(&helper.identity, &chain, act);
        let real = helper.attempt(act, path);
        let allowed = match real {
            Ok(()) => true,
            // Nobody reads the FIFO: the permission was given.
            Err(Errno::ENXIO) if path.ends_with("fifo") => true,
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) => false,
            Err(errno) => panic!("seed {}: act {act} on {}: {errno}", self.seed, path.display()),
        };
        self.compared += 1;
        let kind = chain.last().unwrap().kind;
        self.count(format!("act {act} {kind:?} {}", if allowed { "allowed" } else { "denied" }), act);
        if let Err(Some(denial)) = &predicted {
            self.count(format!("why {}", reason(denial)), ' ');
        }
        if predicted.is_ok() != allowed && self.differences.len() < 5 {
            let who = &helper.identity;
            self.differences.push(format!(
                "{who:?} act {act}: predicted {predicted:?}, kernel {real:?}\nchain {chain:#?}"
            ));
        }
        allowed
    }

    fn count(&mut self, what: String, act: char) {
        if !act.is_ascii_digit() {
            *self.seen.entry(what).or_default() += 1;
        }
    }
}

/// What the helper tries on a thing, see `helper::attempt`.
fn acts(leaf: Leaf) -> &'static str {
    match leaf {
        Leaf::File => "rw",
        Leaf::Socket => "c",
        Leaf::Fifo => "w",
        Leaf::Directory => "rsmbn",
    }
}

/// Where it is denied, if that is known.
type Prediction = Result<(), Option<Denial>>;

fn predict(identity: &Identity, chain: &[Node], act: char) -> Prediction {
    let wish = match act {
        'r' => Wish::Read,
        's' => Wish::Search,
        'm' | 'b' | 'n' => Wish::Create,
        // To connect takes what to write takes.
        'c' | 'w' => Wish::Connect,
        'u' | 'd' => Wish::Remove,
        bits => {
            let (last, above) = chain.split_last().unwrap();
            let reached = above.iter().all(|node| refusal(identity, node, Perm::EXECUTE).is_none());
            let granted = refusal(identity, last, Perm::from_bits(bits.to_digit(8).unwrap())).is_none();
            return if reached && granted { Ok(()) } else { Err(None) };
        }
    };
    may(identity, chain, wish).map_err(Some)
}

/// The variant's name.
fn reason(denial: &Denial) -> String {
    format!("{:?}", denial.why).split([' ', '{']).next().unwrap().to_string()
}

fn random_identity(random: &mut Random) -> Identity {
    let capabilities = if random.percent(60) { 0 } else { u64::from(random.below(8)) << 1 };
    Identity { uid: random.one(&UIDS), gid: random.one(&GIDS), groups: random.some(&GIDS, 35), capabilities }
}

/// A random tree, and a symlink to it in a directory that not everybody may search.
fn plant(random: &mut Random, base: &Path, number: usize) -> Tree {
    let name = number.to_string();
    public_directory(base.join("trees"));
    public_directory(base.join("links"));
    let top = public_directory(base.join("trees").join(&name));
    let link_directory = public_directory(base.join("links").join(&name));
    symlink(&top, link_directory.join("via")).unwrap();
    let gid = random.one(&GIDS);
    std::os::unix::fs::chown(&link_directory, Some(0), Some(gid)).unwrap();
    let mode = random.one(&[0o755, 0o750, 0o701, 0o700]);
    fs::set_permissions(&link_directory, Permissions::from_mode(mode)).unwrap();
    Tree::make(random, &top)
}

fn public_directory(path: PathBuf) -> PathBuf {
    if !path.exists() {
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    path
}

fn read_only(mounted: &Path, kind: MsFlags) {
    let flags = kind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, mounted, None::<&str>, flags, None::<&str>).unwrap();
}
