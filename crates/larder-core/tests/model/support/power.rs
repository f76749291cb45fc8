//! What a loss of power leaves: only what was synced, and nothing that wasn't.
//!
//! A small file system in memory follows every mutation. A file's bytes are durable as of its last
//! sync, a directory's entries as of its own. A rename is atomic: once an entry is durable in its new
//! directory, it is gone from its old one. This is stricter than any real file system, which as a
//! rule keeps more than it must.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use larder_storage::hook::{DiskHook, Mutation};

use super::hooks::eio;

/// Cuts the power at the n-th mutation, or lets the n-th fail and goes on.
pub(crate) struct Power {
    root: PathBuf,
    at: usize,
    goes_on: bool,
    model: Mutex<Model>,
}

struct Model {
    seen: usize,
    nodes: Vec<Node>,
}

enum Node {
    File { durable: Vec<u8>, modified: Option<SystemTime> },
    Directory { live: BTreeMap<OsString, usize>, durable: BTreeMap<OsString, usize> },
}

impl Node {
    fn directory() -> Node {
        Node::Directory { live: BTreeMap::new(), durable: BTreeMap::new() }
    }
}

impl Power {
    /// `root` must be empty: all that is ever in it comes through the hook.
    pub(crate) fn cut_at(root: &Path, at: usize) -> Power {
        let model = Model { seen: 0, nodes: vec![Node::directory()] };
        Power { root: root.to_owned(), at, goes_on: false, model: Mutex::new(model) }
    }

    /// As [`cut_at`](Power::cut_at), but only the n-th mutation fails.
    pub(crate) fn failing_at(root: &Path, at: usize) -> Power {
        Power { goes_on: true, ..Power::cut_at(root, at) }
    }

    /// Whether the n-th mutation has come.
    pub(crate) fn is_cut(&self) -> bool {
        self.model.lock().unwrap().seen >= self.at
    }

    /// Writes what was durable into an empty directory.
    pub(crate) fn materialise(&self, into: &Path) {
        self.model.lock().unwrap().materialise(0, into);
    }

    fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap()
    }
}

impl DiskHook for Power {
    fn before(&self, _: Mutation<'_>) -> io::Result<usize> {
        let mut model = self.model.lock().unwrap();
        model.seen += 1;
        let fails = if self.goes_on { model.seen == self.at } else { model.seen >= self.at };
        if fails { Err(eio()) } else { Ok(usize::MAX) }
    }

    fn after(&self, mutation: Mutation<'_>) {
        let mut model = self.model.lock().unwrap();
        match mutation {
            Mutation::CreateDirectory(path) => {
                model.ensure(self.relative(path), Node::directory);
            }
            Mutation::CreateFile(path) => {
                model.ensure(self.relative(path), || Node::File { durable: Vec::new(), modified: None });
            }
            Mutation::Write { .. } => {}
            Mutation::SyncFile(path) => {
                let bytes = std::fs::read(path).unwrap();
                let written = std::fs::metadata(path).unwrap().modified().unwrap();
                let node = model.find(self.relative(path)).expect("a file that nobody created is synced");
                model.nodes[node] = Node::File { durable: bytes, modified: Some(written) };
            }
            Mutation::Rename { from, to } => model.rename(self.relative(from), self.relative(to)),
            Mutation::SyncDirectory(path) => model.sync_directory(self.relative(path)),
            Mutation::RemoveFile(path) | Mutation::RemoveDirectory(path) => {
                model.unlink(self.relative(path));
            }
        }
    }
}

impl Model {
    fn live(&mut self, directory: usize) -> &mut BTreeMap<OsString, usize> {
        match &mut self.nodes[directory] {
            Node::Directory { live, .. } => live,
            Node::File { .. } => panic!("a file is used as a directory"),
        }
    }

    fn find(&mut self, path: &Path) -> Option<usize> {
        path.iter().try_fold(0, |directory, name| self.live(directory).get(name).copied())
    }

    /// The node at `path`; a new one if there is none. Missing directories on the way were made behind
    /// the hook's back (`larder/staging`), so nobody has synced them.
    fn ensure(&mut self, path: &Path, new: impl FnOnce() -> Node) -> usize {
        if let Some(found) = self.find(path) {
            return found;
        }
        let parent = self.ensure(path.parent().unwrap(), Node::directory);
        self.nodes.push(new());
        let node = self.nodes.len() - 1;
        self.live(parent).insert(path.file_name().unwrap().to_owned(), node);
        node
    }

    fn unlink(&mut self, path: &Path) -> Option<usize> {
        let parent = self.find(path.parent()?)?;
        self.live(parent).remove(path.file_name()?)
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let node = self.unlink(from).expect("something that nobody created is renamed");
        let parent = self.ensure(to.parent().unwrap(), Node::directory);
        self.live(parent).insert(to.file_name().unwrap().to_owned(), node);
    }

    fn sync_directory(&mut self, path: &Path) {
        let synced = self.ensure(path, Node::directory);
        let now = self.live(synced).clone();
        for (other, node) in self.nodes.iter_mut().enumerate() {
            if let Node::Directory { durable, .. } = node {
                if other == synced {
                    durable.clone_from(&now);
                } else {
                    durable.retain(|_, child| !now.values().any(|here| here == child));
                }
            }
        }
    }

    fn materialise(&self, node: usize, path: &Path) {
        match &self.nodes[node] {
            Node::File { durable, modified } => {
                std::fs::write(path, durable).unwrap();
                if let Some(modified) = modified {
                    std::fs::File::options().write(true).open(path).unwrap().set_modified(*modified).unwrap();
                }
            }
            Node::Directory { durable, .. } => {
                std::fs::create_dir_all(path).unwrap();
                for (name, child) in durable {
                    self.materialise(*child, &path.join(name));
                }
            }
        }
    }
}
