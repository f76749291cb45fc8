//! A disk that remembers everything that was done to it, and what a loss of power may leave of that.
//!
//! Every mutation is recorded, with the bytes of writes. A loss of power after the n-th leaves for certain what was synced
//! by then: a file's bytes up to its last sync, a directory's entries up to its own. Of the rest it leaves what [`Left`] and
//! chance say, in whatever order: a rename without the bytes of its file, a later entry without an earlier one, a file that
//! is torn, or long enough and full of zeros. Two things hold all the same, as on real file systems: a rename happens in both
//! directories or in neither, and nothing moves that never came to where it moved from.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use larder_storage::hook::{DiskHook, Mutation};

use super::chance::Chance;

/// What is left of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    Everything,
    /// What was done first, up to some moment, as a journal keeps it.
    Oldest,
    /// Each on its own.
    Some,
}

impl Left {
    pub(crate) const ALL: [Left; 4] = [Left::Nothing, Left::Everything, Left::Oldest, Left::Some];
}

#[derive(Clone, Debug)]
enum Op {
    Create(PathBuf),
    CreateDirectory(PathBuf),
    Write(PathBuf, Vec<u8>),
    SyncFile(PathBuf, SystemTime),
    Rename(PathBuf, PathBuf),
    SyncDirectory(PathBuf),
    Remove(PathBuf),
}

/// The recorder.
pub(crate) struct Journal {
    root: PathBuf,
    ops: Mutex<Vec<Op>>,
}

impl Journal {
    /// `root` must be empty: all that is ever in it comes through the hook.
    pub(crate) fn new(root: &Path) -> Journal {
        Journal { root: root.to_owned(), ops: Mutex::default() }
    }

    /// How many mutations there were.
    pub(crate) fn length(&self) -> usize {
        self.ops.lock().unwrap().len()
    }

    /// Writes into an empty directory what a loss of power after the first `count` mutations may leave.
    pub(crate) fn lose_power(&self, count: usize, left: Left, chance: &mut Chance, into: &Path) {
        let ops = self.ops.lock().unwrap();
        let mut disk = Lost::after(&ops[..count]);
        disk.settle(left, chance, count);
        disk.materialise(left, chance, into);
    }
}

impl DiskHook for Journal {
    fn before(&self, _: Mutation<'_>) -> io::Result<usize> {
        Ok(usize::MAX)
    }

    fn after(&self, mutation: Mutation<'_>) {
        let below = |path: &Path| path.strip_prefix(&self.root).unwrap().to_owned();
        let op = match mutation {
            Mutation::CreateDirectory(path) => Op::CreateDirectory(below(path)),
            Mutation::CreateFile(path) => Op::Create(below(path)),
            Mutation::Write { path, length } => {
                let bytes = std::fs::read(path).unwrap();
                Op::Write(below(path), bytes[bytes.len() - length..].to_vec())
            }
            Mutation::SyncFile(path) => {
                Op::SyncFile(below(path), std::fs::metadata(path).unwrap().modified().unwrap())
            }
            Mutation::Rename { from, to } => Op::Rename(below(from), below(to)),
            Mutation::SyncDirectory(path) => Op::SyncDirectory(below(path)),
            Mutation::RemoveFile(path) | Mutation::RemoveDirectory(path) => Op::Remove(below(path)),
        };
        self.ops.lock().unwrap().push(op);
    }
}

/// A file or a directory.
#[derive(Default)]
struct Node {
    live: BTreeMap<OsString, usize>,
    is_directory: bool,
    bytes: Vec<u8>,
    synced: Vec<u8>,
    modified: Option<SystemTime>,
}

/// A change of directories' entries: where, which, and what it is from then on.
struct Entry {
    /// The how manieth mutation it was.
    at: usize,
    effects: Vec<(usize, OsString, Option<usize>)>,
    /// The change that brought what this one moves to where it moved from.
    after: Option<usize>,
    is_kept: bool,
}

/// What was on the disk, and what of it is there after the power was lost.
struct Lost {
    nodes: Vec<Node>,
    entries: Vec<Entry>,
    /// The last change that each node was moved by.
    moved: HashMap<usize, usize>,
}

impl Lost {
    fn after(ops: &[Op]) -> Lost {
        let root = Node { is_directory: true, ..Node::default() };
        let mut disk = Lost { nodes: vec![root], entries: Vec::new(), moved: HashMap::new() };
        for (at, op) in ops.iter().enumerate() {
            match op {
                Op::Create(path) => {
                    let node = disk.ensure(at, path, false);
                    disk.nodes[node].bytes.clear();
                }
                Op::CreateDirectory(path) => drop(disk.ensure(at, path, true)),
                Op::Write(path, bytes) => {
                    // A file that an earlier process has made goes on to be written by name.
                    let node = disk.ensure(at, path, false);
                    disk.nodes[node].bytes.extend_from_slice(bytes);
                }
                Op::SyncFile(path, modified) => {
                    let node = disk.ensure(at, path, false);
                    disk.nodes[node].synced = disk.nodes[node].bytes.clone();
                    disk.nodes[node].modified = Some(*modified);
                }
                Op::Rename(from, to) => disk.rename(at, from, to),
                Op::SyncDirectory(path) => {
                    let directory = disk.ensure(at, path, true);
                    let touches =
                        |entry: &Entry| entry.effects.iter().any(|(touched, ..)| *touched == directory);
                    disk.entries
                        .iter_mut()
                        .filter(|entry| touches(entry))
                        .for_each(|entry| entry.is_kept = true);
                }
                Op::Remove(path) => {
                    let (parent, name) = disk.place(at, path);
                    disk.nodes[parent].live.remove(&name);
                    disk.change(at, vec![(parent, name, None)], None);
                }
            }
        }
        disk
    }

    fn find(&self, path: &Path) -> Option<usize> {
        path.iter().try_fold(0, |directory, name| self.nodes[directory].live.get(name).copied())
    }

    /// What lies at `path`; made if nothing does. Directories on the way were made behind the hook's back.
    fn ensure(&mut self, at: usize, path: &Path, is_directory: bool) -> usize {
        if let Some(found) = self.find(path) {
            return found;
        }
        let (parent, name) = self.place(at, path);
        self.nodes.push(Node { is_directory, ..Node::default() });
        let node = self.nodes.len() - 1;
        self.nodes[parent].live.insert(name.clone(), node);
        self.change(at, vec![(parent, name, Some(node))], Some(node));
        node
    }

    fn place(&mut self, at: usize, path: &Path) -> (usize, OsString) {
        let parent = self.ensure(at, path.parent().unwrap(), true);
        (parent, path.file_name().unwrap().to_owned())
    }

    fn rename(&mut self, at: usize, from: &Path, to: &Path) {
        let node = self.find(from).expect("something that nobody created is renamed");
        let (old, new) = (self.place(at, from), self.place(at, to));
        self.nodes[old.0].live.remove(&old.1);
        self.nodes[new.0].live.insert(new.1.clone(), node);
        self.change(at, vec![(old.0, old.1, None), (new.0, new.1, Some(node))], Some(node));
    }

    fn change(&mut self, at: usize, effects: Vec<(usize, OsString, Option<usize>)>, node: Option<usize>) {
        let after = node.and_then(|node| self.moved.insert(node, self.entries.len()));
        self.entries.push(Entry { at, effects, after, is_kept: false });
    }

    /// Decides about each change that isn't certain.
    fn settle(&mut self, left: Left, chance: &mut Chance, count: usize) {
        let moment = chance.below(count + 1);
        for entry in self.entries.iter_mut().filter(|entry| !entry.is_kept) {
            entry.is_kept = match left {
                Left::Nothing => false,
                Left::Everything => true,
                Left::Oldest => entry.at < moment,
                Left::Some => chance.below(2) == 0,
            };
        }
        for number in (0..self.entries.len()).rev() {
            if let (true, Some(before)) = (self.entries[number].is_kept, self.entries[number].after) {
                self.entries[before].is_kept = true;
            }
        }
    }

    fn materialise(&self, left: Left, chance: &mut Chance, into: &Path) {
        let mut kept: HashMap<usize, BTreeMap<OsString, usize>> = HashMap::new();
        for (directory, name, node) in
            self.entries.iter().filter(|entry| entry.is_kept).flat_map(|entry| &entry.effects)
        {
            let entries = kept.entry(*directory).or_default();
            match node {
                Some(node) => drop(entries.insert(name.clone(), *node)),
                None => drop(entries.remove(name)),
            }
        }
        self.write(0, &kept, left, chance, into);
    }

    fn write(
        &self,
        node: usize,
        kept: &HashMap<usize, BTreeMap<OsString, usize>>,
        left: Left,
        chance: &mut Chance,
        path: &Path,
    ) {
        let it = &self.nodes[node];
        if it.is_directory {
            std::fs::create_dir_all(path).unwrap();
            for (name, child) in kept.get(&node).into_iter().flatten() {
                self.write(*child, kept, left, chance, &path.join(name));
            }
            return;
        }
        std::fs::write(path, it.bytes_left(left, chance)).unwrap();
        if let Some(modified) = it.modified {
            std::fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
        }
    }
}

impl Node {
    /// What was synced is there; of what was written after that, what the disk had got round to.
    fn bytes_left(&self, left: Left, chance: &mut Chance) -> Vec<u8> {
        if self.bytes == self.synced || left == Left::Nothing {
            return self.synced.clone();
        }
        if left == Left::Everything {
            return self.bytes.clone();
        }
        if !self.bytes.starts_with(&self.synced) {
            // Begun anew since: the old bytes, or the new ones.
            return if chance.below(2) == 0 { self.synced.clone() } else { self.bytes.clone() };
        }
        let mut bytes = self.bytes.clone();
        let unsynced = bytes.len() - self.synced.len();
        match chance.below(4) {
            0 => bytes.truncate(self.synced.len()),
            1 => bytes.truncate(self.synced.len() + chance.below(unsynced)),
            // Its length was written and its bytes were not, or not from some place on.
            2 => bytes[self.synced.len() + chance.below(unsynced)..].fill(0),
            _ => {}
        }
        bytes
    }
}
