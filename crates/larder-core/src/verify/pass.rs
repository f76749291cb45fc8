use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use larder_meta::{Inspected, Inspector, MetaStore};
use larder_oci::{Algorithm, Digest, RepoName};
use larder_storage::{Blobs, Checked, Disk, StorageError};
use serde::{Deserialize, Serialize};

use super::PASS_FILE;
use super::report::{BrokenFound, DamagedBlob, FaultFound, VerifyReport};
use crate::error::RegistryError;

/// The longest account of a pass that is taken up again: a directory with so many faults has other worries.
const LONGEST_PASS_FILE: u64 = 64 << 20;

/// Where a pass works.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The directory.
    pub disk: &'a Disk,
    /// Its blobs.
    pub blobs: &'a Blobs,
    /// Whoever may change it; without, nothing is changed.
    pub meta: Option<&'a MetaStore>,
}

/// A look at everything, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// When it was begun, in seconds since 1970.
    pub started: u64,
    /// When it was through.
    pub finished: Option<u64>,
    /// Whether links are mended on the way.
    pub repair: bool,
    /// The last blob that was hashed.
    after: Option<Digest>,
    /// The last repository that was looked at; once there is one, the blobs are done.
    after_repository: Option<RepoName>,
    /// Whether all blobs are done.
    blobs_done: bool,
    /// What was found.
    pub report: VerifyReport,
    #[serde(skip)]
    shard: Shard,
    #[serde(skip)]
    repositories: Option<VecDeque<RepoName>>,
}

/// What is left of the 256th of all blobs that is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shard {
    number: Option<usize>,
    rest: VecDeque<Digest>,
}

/// What one step of a pass has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A blob was hashed, or a directory of them found empty.
    Blobs,
    /// A repository was looked at.
    Repositories,
    /// The pace said stop; nothing was noted.
    Stopped,
    /// There is nothing left.
    Finished,
}

impl Pass {
    /// A new pass.
    pub fn new(now: SystemTime, repair: bool) -> Pass {
        Pass {
            started: seconds(now),
            finished: None,
            repair,
            after: None,
            after_repository: None,
            blobs_done: false,
            report: VerifyReport::default(),
            shard: Shard::default(),
            repositories: None,
        }
    }

    /// The pass that the directory says was made last; `None` if there is none, or what it says of it can't be read.
    pub fn last(disk: &Disk) -> Result<Option<Pass>, RegistryError> {
        let Some(bytes) = disk.read(Path::new(PASS_FILE), LONGEST_PASS_FILE)? else { return Ok(None) };
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Writes down how far it is.
    pub fn save(&self, disk: &Disk) -> Result<(), RegistryError> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        disk.put(Path::new(PASS_FILE), &bytes)?;
        Ok(())
    }

    /// How much of the blobs is done, from 0 to 1: digests are spread evenly.
    pub fn part_done(&self) -> f64 {
        match (self.blobs_done, &self.after) {
            (true, _) => 1.0,
            (false, None) => 0.0,
            // What is named by sha512 is rare, and comes last.
            (false, Some(digest)) if digest.algorithm() == Algorithm::Sha512 => 1.0,
            (false, Some(digest)) => match digest.hash() {
                [first, second, ..] => f64::from(u16::from_be_bytes([*first, *second])) / 65536.0,
                _ => 0.0,
            },
        }
    }

    /// Does the next piece: a blob, or a repository. `pace` is told of the bytes that are read, may wait, and may stop.
    pub fn step(
        &mut self,
        place: Place<'_>,
        now: SystemTime,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Stage, RegistryError> {
        if self.finished.is_some() {
            return Ok(Stage::Finished);
        }
        if !self.blobs_done {
            let Some(digest) = self.next_blob(place)? else {
                self.blobs_done = true;
                return Ok(Stage::Blobs);
            };
            return self.blob(place, digest, pace);
        }
        match self.next_repository(place)? {
            Some(name) => {
                self.repository(place, &name)?;
                self.after_repository = Some(name);
                Ok(Stage::Repositories)
            }
            None => {
                self.finished = Some(seconds(now));
                Ok(Stage::Finished)
            }
        }
    }

    fn next_blob(&mut self, place: Place<'_>) -> Result<Option<Digest>, RegistryError> {
        loop {
            if let Some(digest) = self.shard.rest.pop_front() {
                if self.after.is_none_or(|after| digest > after) {
                    return Ok(Some(digest));
                }
                continue;
            }
            let number = match (self.shard.number, &self.after) {
                (Some(number), _) => number + 1,
                (None, Some(after)) => shard_of(after),
                (None, None) => 0,
            };
            let Some(algorithm) = Algorithm::ALL.get(number / 256) else { return Ok(None) };
            let first_byte = u8::try_from(number % 256).unwrap_or_default();
            self.shard =
                Shard { number: Some(number), rest: place.blobs.shard(*algorithm, first_byte)?.into() };
        }
    }

    fn blob(
        &mut self,
        place: Place<'_>,
        digest: Digest,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Stage, RegistryError> {
        let mut look = || match place.blobs.check(&digest, pace) {
            Ok(checked) => Ok(Ok(checked)),
            // One blob that the disk doesn't give is a finding, and keeps nobody from looking at the others.
            Err(StorageError::Io { source, .. }) => Ok(Err(source.to_string())),
            Err(error) => Err(error),
        };
        let mut checked = look()?;
        if matches!(checked, Ok(Checked::Damaged(_)) | Err(_)) {
            // Memory and cables have their moments, too: only what is bad twice is bad.
            checked = look()?;
        }
        match checked {
            Ok(Checked::Stopped) => {
                self.shard.rest.push_front(digest);
                return Ok(Stage::Stopped);
            }
            Ok(Checked::Absent) => {}
            Ok(Checked::Sound { size }) => self.count(size),
            Ok(Checked::Damaged(damage)) => {
                self.count(damage.size);
                let moved_to = match place.meta {
                    Some(_) => place.blobs.set_aside(&digest, &damage)?,
                    None => None,
                };
                let is_mended = place.meta.is_some() && moved_to.is_none();
                if !is_mended {
                    let problem = format!("its {} bytes hash to {}", damage.size, damage.found);
                    self.found_damage(
                        place,
                        DamagedBlob { digest, problem, moved_to, repositories: vec![] },
                    )?;
                }
            }
            Err(problem) => {
                // Not moved: a disk that doesn't answer today may tomorrow.
                let problem = format!("it can't be read: {problem}");
                let blob = DamagedBlob { digest, problem, moved_to: None, repositories: vec![] };
                self.found_damage(place, blob)?;
            }
        }
        self.after = Some(digest);
        Ok(Stage::Blobs)
    }

    fn count(&mut self, bytes: u64) {
        self.report.blobs += 1;
        self.report.bytes += bytes;
    }

    fn found_damage(&mut self, place: Place<'_>, mut blob: DamagedBlob) -> Result<(), RegistryError> {
        let inspector = Inspector::new(place.disk, place.blobs);
        for name in inspector.names()?.repositories {
            if inspector.holds_content(&name, &blob.digest)? {
                blob.repositories.push(name);
            }
        }
        if let Some(meta) = place.meta {
            meta.content_is_gone(&blob.repositories);
        }
        self.report.damaged.push(blob);
        Ok(())
    }

    fn next_repository(&mut self, place: Place<'_>) -> Result<Option<RepoName>, RegistryError> {
        let left = match &mut self.repositories {
            Some(left) => left,
            None => {
                let names = Inspector::new(place.disk, place.blobs).names()?;
                let first = self.after_repository.as_ref();
                if first.is_none() {
                    let strange = names.strange.iter().map(|(path, problem)| FaultFound {
                        repository: None,
                        problem: format!("{}: {problem}", path.display()),
                        mendable: false,
                        mended: false,
                    });
                    self.report.faults.extend(strange);
                }
                let left =
                    names.repositories.into_iter().filter(|name| first.is_none_or(|first| name > first));
                self.repositories.insert(left.collect())
            }
        };
        Ok(left.pop_front())
    }

    fn repository(&mut self, place: Place<'_>, name: &RepoName) -> Result<(), RegistryError> {
        let mut found = self.look_at(place, name)?;
        if let Some(meta) = place.meta.filter(|_| self.repair) {
            // A link that is there again shows what else is wrong: as deep as indexes are nested.
            for _ in 0..4 {
                let mut mended = false;
                for fault in &found.faults {
                    let is_mended = meta.mend(name, fault)?;
                    mended |= is_mended;
                    if is_mended {
                        self.report.faults.push(FaultFound { mended: true, ..FaultFound::of(name, fault) });
                    }
                }
                if !mended {
                    break;
                }
                found = self.look_at(place, name)?;
            }
        }
        if let Some(meta) = place.meta.filter(|_| self.repair) {
            meta.content_is_gone([name]);
            meta.reconcile(name)?;
        }
        self.report.repositories += 1;
        self.report.links += found.links;
        self.report.faults.extend(found.faults.iter().map(|fault| FaultFound::of(name, fault)));
        self.report.broken.extend(found.broken.into_iter().map(|image| BrokenFound::of(name, image)));
        Ok(())
    }

    /// What is wrong in a repository, and still is at a second look: a push may have been under way at the first.
    fn look_at(&self, place: Place<'_>, name: &RepoName) -> Result<Inspected, RegistryError> {
        let inspector = Inspector::new(place.disk, place.blobs);
        // What was damaged and has been pushed again since is whole.
        let is_bad = |digest: &Digest| {
            let of = |blob: &DamagedBlob| {
                blob.digest == *digest && (blob.moved_to.is_none() || is_absent(place, digest))
            };
            self.report.damaged.iter().any(of)
        };
        let mut found = inspector.inspect(name, &is_bad)?;
        if !found.faults.is_empty() || !found.broken.is_empty() {
            let again = inspector.inspect(name, &is_bad)?;
            found.faults.retain(|fault| again.faults.contains(fault));
            found.broken.retain(|image| again.broken.contains(image));
        }
        Ok(found)
    }
}

/// Whether content that was moved away hasn't come back. That it can't be looked for is no reason to call it whole.
fn is_absent(place: Place<'_>, digest: &Digest) -> bool {
    !matches!(place.blobs.find(digest), Ok(Some(_)))
}

fn shard_of(digest: &Digest) -> usize {
    let first = usize::from(digest.hash().first().copied().unwrap_or_default());
    first + 256 * usize::from(digest.algorithm() == Algorithm::Sha512)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
