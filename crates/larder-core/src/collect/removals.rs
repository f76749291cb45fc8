//! What was removed lately: what can still be undone, and what the collector has to look at.
//!
//! Every deletion is noted in a file before it happens, durably, with all that it takes to undo it. Once its grace time
//! is over the collector lets go what hung on it, and the note is done with. So the queue of the collector costs nothing
//! beside what undoing needs, and a crash at any moment loses nothing: a note of a deletion that didn't happen finds
//! everything still in use.
//!
//! The notes are lines of JSON in segments below `larder/removals`. A start goes on in a new segment, behind a line that
//! a crash has torn nothing is written. A segment whose notes are all done is unlinked, oldest first.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use larder_meta::Removal;
use larder_oci::{Digest, RepoName};
use larder_storage::{Appended, Disk, StorageError};
use serde::{Deserialize, Serialize};

const DIRECTORY: &str = "larder/removals";

/// A segment is closed when it is longer than this, so that it can go as soon as its notes are done.
const SEGMENT: u64 = 1 << 20;

/// A segment that is longer than this was not written here.
const LONGEST_SEGMENT: u64 = 1 << 30;

/// A deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Names it: later ones are greater.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Who did it.
    pub by: String,
    /// Where.
    pub repository: RepoName,
    /// What.
    #[serde(flatten)]
    pub what: Removal,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Undone { undone: u64 },
    Done { done: u64 },
    Removed(Box<Removed>),
}

pub(crate) struct Removals {
    disk: Arc<Disk>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    next_segment: u64,
    /// Appends to the newest segment.
    writer: Option<(u64, Appended)>,
    /// How many notes of each segment aren't done with.
    segments: BTreeMap<u64, usize>,
    pending: BTreeMap<u64, Pending>,
    /// What the pending notes need, by repository: it can be undone.
    needed: HashMap<RepoName, HashMap<Digest, usize>>,
    /// The same in any repository.
    named: HashMap<Digest, usize>,
}

struct Pending {
    removed: Arc<Removed>,
    /// `None` if it could not be written: then it is lost with the process.
    segment: Option<u64>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// Looked at and put off.
    PutOff(Instant),
    /// The collector or an undo works on it.
    InWork,
}

impl Removed {
    /// When it happened.
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.at)
    }

    fn digests(&self) -> impl Iterator<Item = &Digest> {
        let what = &self.what;
        let doomed = what.doomed.iter().map(|doomed| &doomed.digest);
        let tagged = what.tags.iter().filter_map(|tag| tag.digest.as_ref());
        what.manifest.iter().chain(&what.blob).chain(&what.parts).chain(doomed).chain(tagged)
    }
}

impl Removals {
    /// Reads what an earlier process has left.
    pub(crate) fn open(disk: Arc<Disk>) -> Result<Removals, StorageError> {
        let mut state = State { next_id: 1, next_segment: 1, ..State::default() };
        let mut numbers: Vec<u64> = disk
            .list(Path::new(DIRECTORY))?
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| entry.name.strip_suffix(".jsonl")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        for number in numbers {
            state.read(number, &disk.read(&segment(number), LONGEST_SEGMENT)?.unwrap_or_default());
        }
        let removals = Removals { disk, state: Mutex::new(state) };
        removals.drop_done_segments(&mut removals.lock());
        Ok(removals)
    }

    /// Notes a deletion that is about to happen; durable when this returns.
    ///
    /// On a full disk it is noted in memory only: whoever makes room by deleting must be able to.
    pub(crate) fn note(
        &self,
        repository: &RepoName,
        by: String,
        at: SystemTime,
        what: &Removal,
    ) -> Result<(), StorageError> {
        let milliseconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut state = self.lock();
        let removed = Removed {
            id: state.next_id,
            at: u64::try_from(milliseconds).unwrap_or(u64::MAX),
            by,
            repository: repository.clone(),
            what: what.clone(),
        };
        state.next_id += 1;
        let id = removed.id;
        let written = self.write(&mut state, &Line::Removed(Box::new(removed.clone())));
        let segment = written.as_ref().ok().map(|(number, _)| *number);
        state.add(removed, segment);
        drop(state);
        match written.and_then(|(_, durable)| durable.sync()) {
            Ok(()) => Ok(()),
            Err(error @ StorageError::NoSpace { .. }) => {
                tracing::warn!(%repository, %error, "a deletion can't be noted on a full disk; a crash would make it final");
                Ok(())
            }
            Err(error) => {
                // It won't happen then.
                self.lock().forget(id);
                Err(error)
            }
        }
    }

    /// What can be undone, newest first.
    pub(crate) fn list(&self) -> Vec<Arc<Removed>> {
        let state = self.lock();
        let open = state.pending.values().rev().filter(|pending| pending.stage != Stage::InWork);
        open.map(|pending| Arc::clone(&pending.removed)).collect()
    }

    /// Takes up a note to work on it; `None` if it is done with or somebody else does.
    pub(crate) fn take(&self, id: u64) -> Option<Arc<Removed>> {
        let mut state = self.lock();
        let pending = state.pending.get_mut(&id)?;
        if pending.stage == Stage::InWork {
            return None;
        }
        pending.stage = Stage::InWork;
        let removed = Arc::clone(&pending.removed);
        state.count(&removed, -1);
        Some(removed)
    }

    /// Takes up the oldest note that happened before `before`; with `put_off`, also one that was put off.
    pub(crate) fn take_due(&self, before: SystemTime, put_off: bool, after: u64) -> Option<Arc<Removed>> {
        let id = {
            let (state, now) = (self.lock(), Instant::now());
            let is_due = |pending: &Pending| match pending.stage {
                Stage::Waiting => true,
                Stage::PutOff(until) => put_off || until <= now,
                Stage::InWork => false,
            };
            let mut later = state.pending.range(after + 1..);
            *later.find(|(_, pending)| is_due(pending) && pending.removed.time() <= before)?.0
        };
        self.take(id)
    }

    /// A note that was taken up is looked at again after this time.
    pub(crate) fn put_off(&self, id: u64, time: Duration) {
        let mut state = self.lock();
        let Some(pending) = state.pending.get_mut(&id) else { return };
        pending.stage = Stage::PutOff(Instant::now() + time);
        let removed = Arc::clone(&pending.removed);
        state.count(&removed, 1);
    }

    /// A note that was taken up is done with, also for a restart. A loss of power may forget that: then it is looked at
    /// again, and finds nothing.
    pub(crate) fn finish(&self, id: u64) {
        let mut state = self.lock();
        let segment = state.pending.get(&id).and_then(|pending| pending.segment);
        state.done(id);
        self.drop_done_segments(&mut state);
        if segment.is_some_and(|segment| state.segments.contains_key(&segment))
            && let Err(error) = self.write(&mut state, &Line::Done { done: id })
        {
            tracing::warn!(%error, "it can't be noted that a deletion is done with");
        }
    }

    /// A deletion that was taken up has been undone; durable when this returns.
    pub(crate) fn undone(&self, id: u64) -> Result<(), StorageError> {
        let mut state = self.lock();
        let written = self.write(&mut state, &Line::Undone { undone: id });
        state.done(id);
        drop(state);
        // Lost, it is looked at again, and everything is found in use.
        written?.1.sync()?;
        self.drop_done_segments(&mut self.lock());
        Ok(())
    }

    /// Whether a deletion that can be undone needs this link of a repository.
    pub(crate) fn need(&self, repository: &RepoName, digest: &Digest) -> bool {
        self.lock().needed.get(repository).is_some_and(|needed| needed.contains_key(digest))
    }

    /// Whether there is a deletion in this repository that can be undone.
    pub(crate) fn are_in(&self, repository: &RepoName) -> bool {
        self.lock().needed.contains_key(repository)
    }

    /// Whether a deletion that can be undone needs this content.
    pub(crate) fn name(&self, digest: &Digest) -> bool {
        self.lock().named.contains_key(digest)
    }

    /// How many aren't done with.
    pub(crate) fn count(&self) -> usize {
        self.lock().pending.len()
    }

    fn write(
        &self,
        state: &mut State,
        line: &Line,
    ) -> Result<(u64, larder_storage::AppendedSync), StorageError> {
        let full = |(_, writer): &(u64, Appended)| !writer.is_sound() || writer.length() > SEGMENT;
        if state.writer.as_ref().is_none_or(full) {
            let number = state.next_segment;
            state.writer = Some((number, Appended::create(&self.disk, &segment(number))?));
            state.next_segment += 1;
            state.segments.insert(number, 0);
        }
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        match &mut state.writer {
            Some((number, writer)) => {
                writer.append(&text)?;
                Ok((*number, writer.durable()))
            }
            None => Err(StorageError::Locked { path: PathBuf::from(DIRECTORY) }),
        }
    }

    /// Unlinks the oldest segments, up to the first that holds a note which isn't done with, or is written to.
    fn drop_done_segments(&self, state: &mut State) {
        let written = state.writer.as_ref().map(|(number, _)| *number);
        while let Some((&number, &open)) = state.segments.first_key_value() {
            if open > 0 {
                return;
            }
            if Some(number) == written {
                // All is done: the next note begins another one.
                state.writer = None;
            }
            if let Err(error) = self.disk.remove_file(&segment(number)) {
                tracing::warn!(%error, "notes of deletions that are done with stay behind");
                return;
            }
            state.segments.remove(&number);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn segment(number: u64) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{number:012}.jsonl"))
}

impl State {
    fn read(&mut self, number: u64, bytes: &[u8]) {
        self.segments.insert(number, 0);
        self.next_segment = self.next_segment.max(number + 1);
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Line::Removed(removed)) => {
                    self.next_id = self.next_id.max(removed.id + 1);
                    self.add(*removed, Some(number));
                }
                Ok(Line::Undone { undone: id } | Line::Done { done: id }) => self.forget(id),
                // The last line of a segment may be torn: its deletion never happened.
                Err(error) => tracing::warn!(segment = number, %error, "a note of a deletion can't be read"),
            }
        }
    }

    fn add(&mut self, removed: Removed, segment: Option<u64>) {
        if let Some(open) = segment.and_then(|number| self.segments.get_mut(&number)) {
            *open += 1;
        }
        let removed = Arc::new(removed);
        self.count(&removed, 1);
        let pending = Pending { removed: Arc::clone(&removed), segment, stage: Stage::Waiting };
        self.pending.insert(removed.id, pending);
    }

    /// Done with, without having been taken up.
    fn forget(&mut self, id: u64) {
        if let Some(pending) = self.pending.get(&id) {
            let removed = Arc::clone(&pending.removed);
            self.count(&removed, -1);
            self.done(id);
        }
    }

    fn done(&mut self, id: u64) {
        let segment = self.pending.remove(&id).and_then(|pending| pending.segment);
        if let Some(open) = segment.and_then(|number| self.segments.get_mut(&number)) {
            *open = open.saturating_sub(1);
        }
    }

    fn count(&mut self, removed: &Removed, by: isize) {
        let needed = self.needed.entry(removed.repository.clone()).or_default();
        for digest in removed.digests() {
            change(needed, digest, by);
            change(&mut self.named, digest, by);
        }
        if needed.is_empty() {
            self.needed.remove(&removed.repository);
        }
    }
}

fn change(counts: &mut HashMap<Digest, usize>, digest: &Digest, by: isize) {
    let count = counts.entry(*digest).or_default();
    *count = count.saturating_add_signed(by);
    if *count == 0 {
        counts.remove(digest);
    }
}

#[cfg(test)]
mod tests;
