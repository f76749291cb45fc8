//! Looking at the files of repositories: what is wrong with them, and which images that breaks.
//!
//! An [`Inspector`] reads files alone, no index, and needs no lock: it may look at a directory that a server works on.
//! What is being changed while it looks may appear half done; so whoever finds something wrong looks again before he
//! says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use larder_oci::{Algorithm, Digest, Manifest, RepoName, Role, Tag};
use larder_storage::{Blobs, Disk, StorageError};

use crate::error::MetaError;
use crate::layout;
use crate::origin::is_copy;

/// The longest stored manifest that is read, in bytes: twice what may be pushed here.
const LONGEST_MANIFEST: u64 = 8 << 20;

/// Parts of a name, at most; bounds the walk where symbolic links make a ring.
const DEEPEST_NAME: usize = 128;

/// How much of a damaged link is shown, in characters.
const SHOWN: usize = 80;

/// Looks at the files of repositories.
pub struct Inspector<'a> {
    disk: &'a Disk,
    blobs: &'a Blobs,
}

/// What lies below the directory of repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The repositories, in the order of their names.
    pub repositories: Vec<RepoName>,
    /// Files and directories that belong to no repository and endanger some: relative to the data directory, with what
    /// is wrong.
    pub strange: Vec<(PathBuf, String)>,
}

/// What was found in one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// What is wrong with its files.
    pub faults: Vec<Fault>,
    /// Which of its images can't be pulled whole, and why.
    pub broken: Vec<BrokenImage>,
    /// How many links were read.
    pub links: u64,
}

/// One thing that is wrong with a repository's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A link doesn't hold what it must.
    Link {
        /// The file, relative to the data directory.
        path: PathBuf,
        /// What it holds, shortened.
        holds: String,
        /// What the layout says that it meant, if it does.
        meant: Option<Digest>,
    },
    /// A tag points at a manifest that the repository doesn't hold.
    TagWithoutManifest {
        /// The tag.
        tag: Tag,
        /// What it points at.
        digest: Digest,
        /// Whether the content is there and a manifest: then a link is all that lacks.
        content_is_there: bool,
    },
    /// A manifest names something that the store holds and this repository doesn't.
    NotLinked {
        /// The manifest.
        manifest: Digest,
        /// What it names it as.
        role: Role,
        /// What it names.
        digest: Digest,
    },
    /// An upload session that nobody can go on with, nor registry:2 purge.
    Upload {
        /// Its directory, relative to the data directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// An image, or an index of images, that can't be pulled whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenImage {
    /// Its manifest's digest.
    pub digest: Digest,
    /// The tags that point at it.
    pub tags: Vec<Tag>,
    /// What of it can't be served, each with the reason.
    pub lacks: BTreeSet<(Digest, Lack)>,
}

/// Why a piece of an image can't be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// Its bytes don't hash to its name.
    Damaged,
    /// It isn't in the store.
    Missing,
    /// The disk doesn't give it.
    Unreadable,
    /// It is in the store, but not in this repository.
    NotLinked,
}

/// A manifest, as far as it matters for whether it can be pulled.
#[derive(Default)]
struct Looked {
    lacks: BTreeSet<(Digest, Lack)>,
    children: Vec<Digest>,
}

impl<'a> Inspector<'a> {
    /// An inspector of the repositories on this disk.
    pub fn new(disk: &'a Disk, blobs: &'a Blobs) -> Inspector<'a> {
        Inspector { disk, blobs }
    }

    /// Finds every repository, and what lies between them that shouldn't.
    pub fn names(&self) -> Result<Names, MetaError> {
        let mut names = Names::default();
        self.walk(Path::new(layout::REPOSITORIES), "", 0, &mut names)?;
        names.repositories.sort_unstable();
        Ok(names)
    }

    fn walk(&self, directory: &Path, name: &str, depth: usize, names: &mut Names) -> Result<(), MetaError> {
        if depth > DEEPEST_NAME {
            return Ok(());
        }
        let mut is_repository = false;
        for entry in self.disk.list(directory)?.unwrap_or_default() {
            let path = directory.join(&entry.name);
            if entry.name.starts_with('_') {
                is_repository |= layout::OF_A_REPOSITORY.contains(&entry.name.as_str()) && entry.is_directory;
                if !entry.is_directory {
                    let problem = "a file whose name begins with _: registry:2's garbage-collect would stop here and \
                                   delete what it then doesn't see; move it out of the repositories";
                    names.strange.push((path, problem.to_owned()));
                }
            } else if entry.leads_nowhere {
                let problem = "a symbolic link that leads nowhere: repositories may lie on a disk that isn't mounted, and the \
                               collector takes nothing away until it is, or the link is removed";
                names.strange.push((path, problem.to_owned()));
            } else if entry.is_directory {
                let child =
                    if name.is_empty() { entry.name.clone() } else { format!("{name}/{}", entry.name) };
                self.walk(&path, &child, depth + 1, names)?;
            }
        }
        if is_repository {
            match name.parse() {
                Ok(name) => names.repositories.push(name),
                Err(error) => {
                    let problem = format!("no client can ask for a repository of this name: {error}");
                    names.strange.push((directory.to_owned(), problem));
                }
            }
        }
        Ok(())
    }

    /// Looks at one repository. `is_bad` says of content whether it is known to be damaged.
    pub fn inspect(&self, name: &RepoName, is_bad: &dyn Fn(&Digest) -> bool) -> Result<Inspected, MetaError> {
        let mut found = Inspected::default();
        let tags = self.tags(name, &mut found)?;
        let revisions =
            self.links(|algorithm| layout::revisions(name, algorithm), Alias::Never, &mut found)?;
        let layers = self.links(|algorithm| layout::layers(name, algorithm), Alias::Allowed, &mut found)?;
        self.uploads(name, &mut found)?;
        let mut looked: BTreeMap<Digest, Looked> = BTreeMap::new();
        for digest in revisions.keys() {
            let manifest = self.manifest(name, digest, &revisions, &layers, is_bad, &mut found.faults)?;
            looked.insert(*digest, manifest);
        }
        for (tag, digest) in &tags {
            if !revisions.contains_key(digest) {
                if is_copy(self.disk, &layout::tag_current(name, tag), &layout::tag_mark(name, tag))? {
                    // It is fetched again when somebody asks.
                    continue;
                }
                let content_is_there = self.is_manifest(digest)?;
                let fault = Fault::TagWithoutManifest { tag: tag.clone(), digest: *digest, content_is_there };
                found.faults.push(fault);
                let lack = if content_is_there { Lack::NotLinked } else { Lack::Missing };
                looked.entry(*digest).or_default().lacks.insert((*digest, lack));
            }
        }
        hand_up(&mut looked);
        for (digest, Looked { lacks, .. }) in looked {
            if !lacks.is_empty() {
                let tags = tags.iter().filter(|(_, target)| *target == digest).map(|(tag, _)| tag.clone());
                found.broken.push(BrokenImage { digest, tags: tags.collect(), lacks });
            }
        }
        Ok(found)
    }

    /// Every tag with what it points at, by its link or, if that is damaged, by its history.
    fn tags(&self, name: &RepoName, found: &mut Inspected) -> Result<Vec<(Tag, Digest)>, MetaError> {
        let mut tags = Vec::new();
        for entry in self.disk.list(&layout::tags(name))?.unwrap_or_default() {
            let path = layout::tags(name).join(&entry.name);
            let Ok(tag) = entry.name.parse::<Tag>() else {
                let meant = None;
                found.faults.push(Fault::Link {
                    path,
                    holds: "a name that no tag can have".to_owned(),
                    meant,
                });
                continue;
            };
            let of = |algorithm| layout::tag_history(name, &tag, algorithm);
            let history = self.links(of, Alias::Never, found)?;
            let path = layout::tag_current(name, &tag);
            // A crash between the history and the link: the push was never acknowledged.
            let Some(held) = self.read_link(&path)? else { continue };
            found.links += 1;
            let target = held.parse::<Digest>().ok();
            let is_believed = match &target {
                Some(digest) => history.contains_key(digest) || self.holds(name, digest)?,
                None => false,
            };
            if is_believed {
                tags.extend(target.map(|digest| (tag, digest)));
                continue;
            }
            let meant = self.newest(name, &history)?;
            if meant.is_none() {
                tags.extend(target.map(|digest| (tag.clone(), digest)));
            }
            found.faults.push(Fault::Link { path, holds: shown(&held), meant });
            tags.extend(meant.map(|digest| (tag, digest)));
        }
        Ok(tags)
    }

    fn holds(&self, name: &RepoName, digest: &Digest) -> Result<bool, MetaError> {
        Ok(self.disk.stat(&layout::revision_link(name, digest))?.is_some())
    }

    /// Where a tag was going last, of what the repository still holds.
    fn newest(
        &self,
        name: &RepoName,
        history: &BTreeMap<Digest, (PathBuf, Digest)>,
    ) -> Result<Option<Digest>, MetaError> {
        let mut newest = None;
        for (digest, (link, _)) in history {
            if let Some(stat) = self.disk.stat(link)?
                && self.holds(name, digest)?
            {
                newest = newest.max(Some((stat.modified_nanoseconds, *digest)));
            }
        }
        Ok(newest.map(|(_, digest)| digest))
    }

    /// The links below a directory per algorithm, by the digest they are named by: the file, and whose content it is.
    fn links(
        &self,
        directory: impl Fn(Algorithm) -> PathBuf,
        alias: Alias,
        found: &mut Inspected,
    ) -> Result<BTreeMap<Digest, (PathBuf, Digest)>, MetaError> {
        let mut links = BTreeMap::new();
        for algorithm in Algorithm::ALL {
            let directory = directory(algorithm);
            for entry in self.disk.list(&directory)?.unwrap_or_default() {
                let path = directory.join(&entry.name).join("link");
                let Some(held) = self.read_link(&path)? else { continue };
                found.links += 1;
                let Some(digest) = layout::digest_of_directory(algorithm, &entry.name) else {
                    found.faults.push(Fault::Link { path, holds: shown(&held), meant: None });
                    continue;
                };
                let target = held.parse::<Digest>().ok();
                let is_alias = target.is_some_and(|target| target.algorithm() != algorithm);
                let content = match target {
                    Some(target) if target == digest || (is_alias && alias == Alias::Allowed) => target,
                    _ => {
                        let fault =
                            Fault::Link { path: path.clone(), holds: shown(&held), meant: Some(digest) };
                        found.faults.push(fault);
                        digest
                    }
                };
                links.insert(digest, (path, content));
            }
        }
        Ok(links)
    }

    fn manifest(
        &self,
        name: &RepoName,
        digest: &Digest,
        revisions: &BTreeMap<Digest, (PathBuf, Digest)>,
        layers: &BTreeMap<Digest, (PathBuf, Digest)>,
        is_bad: &dyn Fn(&Digest) -> bool,
        faults: &mut Vec<Fault>,
    ) -> Result<Looked, MetaError> {
        let mut looked = Looked::default();
        let bytes = match self.blobs.read(digest, LONGEST_MANIFEST) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                let lack = if is_bad(digest) { Lack::Damaged } else { Lack::Missing };
                looked.lacks.insert((*digest, lack));
                return Ok(looked);
            }
            Err(StorageError::Corrupt { .. }) => {
                looked.lacks.insert((*digest, Lack::Damaged));
                return Ok(looked);
            }
            Err(_) => {
                looked.lacks.insert((*digest, Lack::Unreadable));
                return Ok(looked);
            }
        };
        // One of an old kind is served as it is; what it is made of isn't known here.
        let Ok(manifest) = Manifest::parse_stored(&bytes) else { return Ok(looked) };
        // Of a copy only what was asked for is here; the rest is fetched when somebody wants it.
        let (link, mark) = (layout::revision_link(name, digest), layout::manifest_mark(name, digest));
        let is_copy = is_copy(self.disk, &link, &mark)?;
        for (role, descriptor) in manifest.references() {
            let named = &descriptor.digest;
            if role == Role::Child && revisions.contains_key(named) {
                looked.children.push(*named);
                continue;
            }
            let content = layers.get(named).or_else(|| revisions.get(named)).map(|(_, content)| *content);
            let elsewhere = is_copy || (role == Role::Layer && descriptor.media_type.is_non_distributable());
            let target = content.unwrap_or(*named);
            let is_there = self.blobs.find(&target)?.is_some();
            if is_bad(&target) {
                looked.lacks.insert((*named, Lack::Damaged));
            } else if !is_there && !elsewhere {
                looked.lacks.insert((*named, Lack::Missing));
            } else if is_there && content.is_none() && !elsewhere {
                looked.lacks.insert((*named, Lack::NotLinked));
                faults.push(Fault::NotLinked { manifest: *digest, role, digest: *named });
            }
        }
        Ok(looked)
    }

    fn uploads(&self, name: &RepoName, found: &mut Inspected) -> Result<(), MetaError> {
        for entry in self.disk.list(&layout::uploads(name))?.unwrap_or_default() {
            let path = layout::uploads(name).join(&entry.name);
            let mut wrong = |problem: &str| {
                found.faults.push(Fault::Upload { path: path.clone(), problem: problem.to_owned() });
            };
            if entry.name.parse::<larder_oci::UploadId>().is_err() {
                wrong("its name is no upload session's, and nobody will ever go on with it or purge it");
                continue;
            }
            let Some(bytes) = self.disk.read(&path.join("startedat"), layout::LONGEST_LINK)? else {
                wrong("it doesn't say when it was started, and registry:2 will never purge it");
                continue;
            };
            let text = String::from_utf8_lossy(&bytes);
            if humantime::parse_rfc3339(text.trim()).is_err() {
                wrong("what it says of when it was started is no time, and registry:2 will never purge it");
            }
        }
        Ok(())
    }

    /// A repository's tags and what they point at, in the order of their names.
    pub fn tag_list(&self, name: &RepoName) -> Result<Vec<(Tag, Digest)>, MetaError> {
        let mut tags = self.tags(name, &mut Inspected::default())?;
        tags.sort_unstable();
        Ok(tags)
    }

    /// Every manifest that a repository holds, with or without a tag, in the order of the digests.
    pub fn manifest_list(&self, name: &RepoName) -> Result<Vec<Digest>, MetaError> {
        let of = |algorithm| layout::revisions(name, algorithm);
        Ok(self.links(of, Alias::Never, &mut Inspected::default())?.into_keys().collect())
    }

    /// Whether a repository holds this content, as a blob or as a manifest.
    pub fn holds_content(&self, name: &RepoName, digest: &Digest) -> Result<bool, MetaError> {
        Ok(self.disk.stat(&layout::layer_link(name, digest))?.is_some() || self.holds(name, digest)?)
    }

    /// Whether this content is in the store, sound, and a manifest.
    pub(crate) fn is_manifest(&self, digest: &Digest) -> Result<bool, MetaError> {
        match self.blobs.read(digest, LONGEST_MANIFEST) {
            Ok(bytes) => Ok(bytes.is_some_and(|bytes| larder_oci::stored_media_type(&bytes).is_some())),
            Err(StorageError::Corrupt { .. } | StorageError::TooLarge { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read_link(&self, path: &Path) -> Result<Option<String>, MetaError> {
        match self.disk.read(path, layout::LONGEST_LINK) {
            Ok(bytes) => Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
            Err(StorageError::TooLarge { size, .. }) => Ok(Some(format!("{size} bytes, which is no digest"))),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a link may name content of another algorithm: registry:2 keeps a sha512 blob as an alias of its sha256.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alias {
    Allowed,
    Never,
}

/// What an index's children lack, the index lacks.
fn hand_up(looked: &mut BTreeMap<Digest, Looked>) {
    loop {
        let mut handed = Vec::new();
        for (digest, Looked { lacks, children }) in looked.iter() {
            let below = children.iter().filter_map(|child| looked.get(child));
            let more: BTreeSet<(Digest, Lack)> = below
                .flat_map(|child| child.lacks.iter().copied())
                .filter(|lack| !lacks.contains(lack))
                .collect();
            if !more.is_empty() {
                handed.push((*digest, more));
            }
        }
        if handed.is_empty() {
            return;
        }
        for (digest, more) in handed {
            looked.entry(digest).or_default().lacks.extend(more);
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests;
