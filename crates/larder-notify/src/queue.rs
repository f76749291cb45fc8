//! One endpoint's queue on the disk.
//!
//! Below the endpoint's directory lie segments: files of at most a sixteenth of what the queue may hold, to which
//! checksummed lines are appended (`queue/line.rs`). Changes and pulls go to segments of their own, so that pulls
//! can be forgotten first when the queue is full, by unlinking their oldest segment. Every event has a number, by
//! which the two are one order. The `cursor` says up to which number events are done with; a segment whose events
//! all are is unlinked.
//!
//! A start reads the segments, takes what is behind the cursor, and writes to new segments only: behind a
//! line that a crash has torn nothing is ever appended. In memory there is only where each event lies.

mod cursor;
mod line;

use std::collections::VecDeque;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_storage::{Appended, AppendedSync, Disk, DiskOperation, StorageError};

use cursor::Cursor;
pub(crate) use line::Line;

/// A queue holds so many segments, about. The oldest one is what is forgotten at once when it is full.
const SEGMENTS: u64 = 16;

/// A segment that is longer than this was not written here.
const LONGEST_SEGMENT: u64 = 4 << 30;

/// What a queue may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) events: usize,
    pub(crate) bytes: u64,
}

/// What becomes of an event when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Kept the longest.
    Change,
    /// Forgotten first.
    Pull,
}

/// An event that is to be queued: when it happened, in seconds since 1970, and its JSON on one line.
pub(crate) struct Entry {
    pub(crate) seconds: u64,
    pub(crate) body: Vec<u8>,
}

/// The event at the head of the queue.
pub(crate) enum Head {
    Event(Line),
    /// The event with this number can't be read any more.
    Damaged(u64),
}

/// What came of an append.
#[derive(Default)]
pub(crate) struct Written {
    /// What to wait for until it is durable.
    pub(crate) durable: Vec<AppendedSync>,
    /// How many older events were forgotten for it.
    pub(crate) dropped: u64,
}

pub(crate) struct Queue {
    disk: Arc<Disk>,
    directory: PathBuf,
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    next: u64,
    changes: Stream,
    pulls: Stream,
    cursor: Cursor,
}

#[derive(Default)]
struct Stream {
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// Appends to the newest of them, if it was begun by this process and has not failed.
    writer: Option<Appended>,
}

struct Segment {
    path: PathBuf,
    bytes: u64,
    events: usize,
    /// Where the events lie that aren't done with.
    places: VecDeque<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    number: u64,
    offset: u64,
    length: usize,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Change, Kind::Pull];

    fn extension(self) -> &'static str {
        match self {
            Kind::Change => "changes",
            Kind::Pull => "pulls",
        }
    }
}

impl Queue {
    /// Opens what an earlier process left, or begins. Gives how many events had to be forgotten because the
    /// limits are narrower now.
    pub(crate) fn open(
        disk: &Arc<Disk>,
        directory: &Path,
        limits: Limits,
    ) -> Result<(Queue, u64), StorageError> {
        let cursor = Cursor::open(disk, &directory.join("cursor"))?;
        let mut state = State {
            next: cursor.position() + 1,
            changes: Stream::default(),
            pulls: Stream::default(),
            cursor,
        };
        let mut names: Vec<String> =
            disk.list(directory)?.unwrap_or_default().into_iter().map(|entry| entry.name).collect();
        names.sort();
        for kind in Kind::ALL {
            for name in
                names.iter().filter(|name| Path::new(name).extension() == Some(kind.extension().as_ref()))
            {
                let path = directory.join(name);
                let segment = load(disk, &path, state.cursor.position())?;
                state.next = state.next.max(segment.newest + 1);
                if segment.segment.places.is_empty() {
                    disk.remove_file(&path)?;
                } else {
                    state.stream(kind).segments.push_back(segment.segment);
                }
            }
        }
        let queue = Queue {
            disk: Arc::clone(disk),
            directory: directory.to_owned(),
            limits,
            state: Mutex::new(state),
        };
        let dropped = queue.make_room(&mut queue.lock(), 0, 0);
        Ok((queue, dropped))
    }

    /// Puts events behind all others. They survive a crash of the process, and a loss of power once what is
    /// given back was waited for.
    pub(crate) fn append(&self, kind: Kind, entries: &[Entry]) -> Result<Written, StorageError> {
        let mut state = self.lock();
        let mut written = Written::default();
        let most = self.segment_events();
        for entries in entries.chunks(most) {
            let first = state.next;
            let mut bytes = Vec::new();
            let mut places = VecDeque::with_capacity(entries.len());
            for entry in entries {
                let (number, offset) = (state.next, bytes.len() as u64);
                line::write(&mut bytes, number, entry.seconds, &entry.body);
                let length = bytes.len() - usize::try_from(offset).unwrap_or_default();
                places.push_back(Place { number, offset, length });
                state.next += 1;
            }
            written.dropped += self.make_room(&mut state, entries.len(), bytes.len() as u64);
            let path = self.directory.join(format!("{first:020}.{}", kind.extension()));
            let full = |segment: &Segment| {
                segment.bytes >= self.limits.bytes / SEGMENTS || segment.events + entries.len() > most
            };
            let durable = state.stream(kind).append(&self.disk, path, &bytes, places, full)?;
            written.durable.push(durable);
        }
        Ok(written)
    }

    /// The event at the head, or `None` if the queue is empty.
    pub(crate) fn head(&self) -> Result<Option<Head>, StorageError> {
        loop {
            let Some((place, path)) = self.lock().head() else { return Ok(None) };
            // Without the lock: nobody who appends waits for this read.
            let Some((file, _)) = self.disk.open_file(&path)? else {
                if self.lock().head().is_some_and(|(other, _)| other.number == place.number) {
                    return Ok(Some(Head::Damaged(place.number)));
                }
                // The queue was full and has forgotten it in the meantime.
                continue;
            };
            let mut bytes = vec![0; place.length];
            file.read_exact_at(&mut bytes, place.offset).map_err(|source| {
                let operation = DiskOperation::Read;
                StorageError::Io { operation, path: self.disk.root().join(&path), source }
            })?;
            let line = line::read(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
            return Ok(Some(match line {
                Some(line) if line.number == place.number => Head::Event(line),
                _ => Head::Damaged(place.number),
            }));
        }
    }

    /// Is done with the event of this number and all before it.
    pub(crate) fn finish(&self, number: u64) -> Result<(), StorageError> {
        let mut state = self.lock();
        let noted = state.cursor.note(&self.disk, number);
        for kind in Kind::ALL {
            state.stream(kind).finish(&self.disk, number);
        }
        noted
    }

    /// How many events wait.
    pub(crate) fn pending(&self) -> usize {
        self.lock().pending()
    }

    /// Makes everything durable that this process has written: for an orderly stop.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        let mut state = self.lock();
        state.cursor.sync()?;
        for kind in Kind::ALL {
            if let Some(writer) = &state.stream(kind).writer {
                writer.durable().sync()?;
            }
        }
        Ok(())
    }

    /// Forgets the oldest segments, of pulls first, until so much more has its place.
    fn make_room(&self, state: &mut State, events: usize, bytes: u64) -> u64 {
        let mut dropped = 0;
        while state.pending() + events > self.limits.events || state.bytes() + bytes > self.limits.bytes {
            let stream = if state.pulls.segments.is_empty() { &mut state.changes } else { &mut state.pulls };
            let Some(segment) = stream.segments.pop_front() else { break };
            if stream.segments.is_empty() {
                stream.writer = None;
            }
            dropped += segment.places.len() as u64;
            remove(&self.disk, &segment.path);
        }
        dropped
    }

    fn segment_events(&self) -> usize {
        (self.limits.events / usize::try_from(SEGMENTS).unwrap_or(1)).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stream(&mut self, kind: Kind) -> &mut Stream {
        match kind {
            Kind::Change => &mut self.changes,
            Kind::Pull => &mut self.pulls,
        }
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.changes.segments.iter().chain(&self.pulls.segments)
    }

    fn pending(&self) -> usize {
        self.segments().map(|segment| segment.places.len()).sum()
    }

    fn bytes(&self) -> u64 {
        self.segments().map(|segment| segment.bytes).sum()
    }

    fn head(&self) -> Option<(Place, PathBuf)> {
        let first = |stream: &Stream| {
            let segment = stream.segments.iter().find(|segment| !segment.places.is_empty())?;
            Some((*segment.places.front()?, segment.path.clone()))
        };
        [first(&self.changes), first(&self.pulls)].into_iter().flatten().min_by_key(|(place, _)| place.number)
    }
}

impl Stream {
    /// Appends to the newest segment, or begins one at `path` if that is `full` or can't be written.
    fn append(
        &mut self,
        disk: &Arc<Disk>,
        path: PathBuf,
        bytes: &[u8],
        mut places: VecDeque<Place>,
        full: impl Fn(&Segment) -> bool,
    ) -> Result<AppendedSync, StorageError> {
        if self.segments.back().is_none_or(full) {
            self.writer = None;
        }
        let writer = match self.writer.take() {
            // After a failed sync it appends no more.
            Some(writer) if writer.is_sound() => writer,
            _ => {
                let writer = Appended::create(disk, &path)?;
                self.segments.push_back(Segment { path, bytes: 0, events: 0, places: VecDeque::new() });
                writer
            }
        };
        // Left out if this fails: the next append begins another segment.
        let writer = self.writer.insert(writer);
        let start = writer.length();
        if let Err(error) = writer.append(bytes) {
            self.writer = None;
            return Err(error);
        }
        let durable = writer.durable();
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes = start + bytes.len() as u64;
            segment.events += places.len();
            places.iter_mut().for_each(|place| place.offset += start);
            segment.places.append(&mut places);
        }
        Ok(durable)
    }

    fn finish(&mut self, disk: &Disk, number: u64) {
        for segment in &mut self.segments {
            while segment.places.front().is_some_and(|place| place.number <= number) {
                segment.places.pop_front();
            }
        }
        while self.segments.front().is_some_and(|segment| segment.places.is_empty())
            && (self.segments.len() > 1 || self.writer.is_none())
        {
            if let Some(segment) = self.segments.pop_front() {
                remove(disk, &segment.path);
            }
        }
    }
}

/// What stays behind is done with, or was to be forgotten: the next start looks at it again.
fn remove(disk: &Disk, path: &Path) {
    if let Err(error) = disk.remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a segment of queued notifications stays behind");
    }
}

struct Loaded {
    segment: Segment,
    newest: u64,
}

/// Reads a segment of an earlier process: its whole lines behind the cursor.
fn load(disk: &Disk, path: &Path, done: u64) -> Result<Loaded, StorageError> {
    let bytes = disk.read(path, LONGEST_SEGMENT)?.unwrap_or_default();
    let (mut offset, mut newest, mut damaged) = (0, 0, 0);
    let mut places = VecDeque::new();
    for text in bytes.split_inclusive(|byte| *byte == b'\n') {
        let line = text.strip_suffix(b"\n").and_then(line::read);
        match line {
            Some(Line { number, .. }) => {
                newest = newest.max(number);
                if number > done {
                    places.push_back(Place { number, offset, length: text.len() });
                }
            }
            None => damaged += 1,
        }
        offset += text.len() as u64;
    }
    if damaged > 0 {
        // One at the end is what a crash leaves of an event whose client was told nothing.
        tracing::warn!(path = %path.display(), lines = damaged, "torn or damaged notifications are passed over");
    }
    let events = places.len();
    Ok(Loaded { segment: Segment { path: path.to_owned(), bytes: offset, events, places }, newest })
}

#[cfg(test)]
mod tests;
