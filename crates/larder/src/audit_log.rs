//! The writer of the audit log.
//!
//! A thread of its own writes the lines, so that no pull waits for a disk. What waits to be written is bounded: lines of
//! pulls have less room than lines of changes. A line for which there is no room is counted, and as soon as lines can be
//! written again a line of the audit log itself says how many are missing, and since when.
//!
//! While lines can't be written, on a full disk, they wait and are tried again every second; the log says so at the
//! beginning and at the end. The lines of changes are synced before anybody hears that they are written; those that
//! come while a sync runs share the next one.

use std::fmt::Write as _;
use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use larder_server::AuditTrail;
use larder_storage::{LogFile, LogRotation, StorageError};
use tokio::sync::oneshot;

/// What may wait to be written, in bytes, for a line of a pull to be taken: some five thousand lines.
const MOST_OFFERED: usize = 2 << 20;

/// The same for a line of a change: some forty thousand lines, so hours of a full disk.
const MOST_KEPT: usize = 16 << 20;

/// How long lines of pulls are gathered before they are written together.
const MOMENT: Duration = Duration::from_millis(50);

/// The pause after a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a stopping process waits for its last lines.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The audit log, for whoever has something to tell it.
pub(crate) struct AuditLog {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    is_failing: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    /// Whole lines.
    lines: Vec<u8>,
    /// Who waits for them.
    askers: Vec<oneshot::Sender<()>>,
    lost: Option<Lost>,
    is_stopping: bool,
}

/// Lines for which there was no room.
struct Lost {
    since: SystemTime,
    changes: u64,
    others: u64,
}

/// Where the lines go: the file, and a failing one in tests.
trait Destination: Send + 'static {
    fn append(&mut self, lines: &[u8]) -> Result<(), StorageError>;
    fn sync(&mut self) -> Result<(), StorageError>;
}

impl AuditLog {
    /// Opens the file and starts the thread.
    ///
    /// # Errors
    /// The file can't be opened: no request is answered without it.
    pub(crate) fn open(path: &Path, rotation: LogRotation) -> Result<AuditLog, StorageError> {
        Ok(AuditLog::over(LogFile::open(path, rotation)?))
    }

    fn over(destination: impl Destination) -> AuditLog {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        let thread = std::thread::spawn(move || writer.write_to(destination));
        AuditLog { shared, thread: Mutex::new(Some(thread)) }
    }

    /// Writes what waits, and ends. To be called when the last request has been answered.
    pub(crate) fn close(&self) {
        self.shared.lock().is_stopping = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the audit log has failed");
        }
    }
}

impl AuditTrail for AuditLog {
    fn offer(&self, line: &str) {
        let mut waiting = self.shared.lock();
        if waiting.lines.len() + line.len() >= MOST_OFFERED {
            waiting.lose(|lost| lost.others += 1);
            return;
        }
        let is_first = waiting.lines.is_empty();
        waiting.push(line);
        drop(waiting);
        if is_first {
            self.shared.changed.notify_all();
        }
    }

    fn keep(&self, line: &str) -> oneshot::Receiver<()> {
        let (asker, receiver) = oneshot::channel();
        let mut waiting = self.shared.lock();
        if waiting.lines.len() + line.len() >= MOST_KEPT {
            waiting.lose(|lost| lost.changes += 1);
            return receiver;
        }
        waiting.push(line);
        // While nothing can be written nobody is made to wait.
        if !self.is_failing() {
            waiting.askers.push(asker);
        }
        drop(waiting);
        self.shared.changed.notify_all();
        receiver
    }

    fn is_failing(&self) -> bool {
        self.shared.is_failing.load(Ordering::Relaxed)
    }
}

impl Waiting {
    fn push(&mut self, line: &str) {
        self.lines.extend_from_slice(line.as_bytes());
        self.lines.push(b'\n');
    }

    fn lose(&mut self, count: impl FnOnce(&mut Lost)) {
        let lost = self.lost.get_or_insert_with(|| {
            tracing::error!(
                "lines of the audit log are lost: they come faster than they can be written; \
                 the log itself will say how many"
            );
            Lost { since: SystemTime::now(), changes: 0, others: 0 }
        });
        count(lost);
    }
}

impl Lost {
    fn line(&self) -> String {
        let mut line = String::new();
        let (now, since) = (SystemTime::now(), self.since);
        // Writing to a string doesn't fail.
        let _ = writeln!(
            line,
            r#"{{"time":"{}","action":"lost","changes":{},"others":{},"since":"{}","reason":"there was no room for these lines"}}"#,
            humantime::format_rfc3339_millis(now),
            self.changes,
            self.others,
            humantime::format_rfc3339_millis(since),
        );
        line
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut destination: impl Destination) {
        while let Some((lines, mut askers)) = self.next() {
            if !self.write(&mut destination, &lines, &mut askers) {
                return;
            }
            if !askers.is_empty()
                && let Err(error) = destination.sync()
            {
                // The lines are in the file; what a loss of power would leave of them nobody knows.
                tracing::error!(error = %with_cause(&error), "the audit log could not be synced");
            }
            for asker in askers {
                // Whoever has left doesn't want to know any more.
                let _ = asker.send(());
            }
        }
    }

    /// The lines that wait, and who waits for them; `None` when there will be no more.
    fn next(&self) -> Option<(Vec<u8>, Vec<oneshot::Sender<()>>)> {
        let mut waiting = self.lock();
        while waiting.lines.is_empty() && waiting.lost.is_none() {
            if waiting.is_stopping {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let gathered = Instant::now() + MOMENT;
        while waiting.askers.is_empty()
            && !waiting.is_stopping
            && let Some(left) = gathered.checked_duration_since(Instant::now())
        {
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut lines = mem::take(&mut waiting.lines);
        if let Some(lost) = waiting.lost.take() {
            tracing::error!(changes = lost.changes, others = lost.others, "lines of the audit log were lost");
            lines.extend_from_slice(lost.line().as_bytes());
        }
        Some((lines, mem::take(&mut waiting.askers)))
    }

    /// Writes these lines, however long it takes; gives up only when the process is to end.
    fn write(
        &self,
        destination: &mut impl Destination,
        lines: &[u8],
        askers: &mut Vec<oneshot::Sender<()>>,
    ) -> bool {
        let mut patience = None;
        while let Err(error) = destination.append(lines) {
            if !self.is_failing.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    error = %with_cause(&error),
                    "the audit log can't be written; its lines wait, and are tried again every second"
                );
            }
            // Those who wait for these lines, or for later ones, go on without them.
            askers.clear();
            let mut waiting = self.lock();
            waiting.askers.clear();
            if waiting.is_stopping {
                let until = *patience.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                if Instant::now() >= until {
                    let unwritten = [lines, &waiting.lines].map(count_lines).iter().sum::<usize>();
                    tracing::error!(lines = unwritten, "the audit log ends without its last lines");
                    return false;
                }
            }
            drop(self.changed.wait_timeout(waiting, AGAIN).unwrap_or_else(PoisonError::into_inner));
        }
        if self.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the audit log can be written again, and what waited is in it");
        }
        true
    }
}

impl Destination for LogFile {
    fn append(&mut self, lines: &[u8]) -> Result<(), StorageError> {
        let done = LogFile::append(self, lines)?;
        if let Some(full) = &done.rotated {
            tracing::info!(file = %full.display(), "the audit log is continued in a new file");
        }
        for file in &done.removed {
            tracing::info!(file = %file.display(), "the oldest file of the audit log was removed, as audit.maxfiles says");
        }
        if let Some(error) = &done.problem {
            tracing::error!(error = %with_cause(error), "the audit log's full file could not be put aside, or an old one not be removed");
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        LogFile::sync(self)
    }
}

fn count_lines(lines: &[u8]) -> usize {
    lines.iter().filter(|byte| **byte == b'\n').count()
}

fn with_cause(error: &StorageError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
