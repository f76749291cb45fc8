//! Lines to standard output and standard error that nobody waits for.
//!
//! A terminal that was stopped, a pipe whose reader hangs, a log collector that is down: writing to
//! them blocks. A request must not wait for its log line, so one thread per stream writes them, from
//! a buffer of bounded length. What doesn't fit is counted, and the count is written when there is room.
//!
//! The thread is woken once for all lines of a moment: a wake-up and a system call for each line would
//! cost more than answering a small request does.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What may wait to be written, in bytes: some ten thousand lines.
const LONGEST_BACKLOG: usize = 2 << 20;

/// How long lines are gathered before they are written together.
const MOMENT: Duration = Duration::from_millis(10);

/// How long a stopping process waits for its last lines.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Writes lines in the order in which they come.
#[derive(Clone)]
pub(crate) struct LineWriter {
    backlog: Arc<Backlog>,
}

#[derive(Default)]
struct Backlog {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Whole lines.
    text: Vec<u8>,
    /// Lines for which there was no room.
    lost: u64,
    /// The thread has taken lines that it has not yet written.
    writing: bool,
    /// Somebody waits for the last line: don't gather.
    flushing: bool,
}

impl LineWriter {
    /// Starts the thread that writes to `stream`; `name` is for the line that counts lost ones.
    pub(crate) fn start(name: &'static str, stream: impl Write + Send + 'static) -> LineWriter {
        let backlog = Arc::new(Backlog::default());
        let writer = LineWriter { backlog: Arc::clone(&backlog) };
        // Ends with the process: there is nothing to clean up.
        std::thread::spawn(move || backlog.write_to(name, stream));
        writer
    }

    /// Queues a line, given without its line break. Never blocks.
    pub(crate) fn write(&self, line: &str) {
        let mut waiting = self.backlog.lock();
        if waiting.text.len() + line.len() >= LONGEST_BACKLOG {
            waiting.lost += 1;
            return;
        }
        let is_first = waiting.text.is_empty();
        waiting.text.extend_from_slice(line.as_bytes());
        waiting.text.push(b'\n');
        drop(waiting);
        if is_first {
            self.backlog.changed.notify_all();
        }
    }

    /// Waits a moment for what was queued.
    pub(crate) fn flush(&self) {
        let mut waiting = self.backlog.lock();
        waiting.flushing = true;
        self.backlog.changed.notify_all();
        let deadline = Instant::now() + LAST_WORDS;
        while !waiting.text.is_empty() || waiting.writing {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            waiting = self.backlog.wait(waiting, left);
        }
        waiting.flushing = false;
    }
}

impl Backlog {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, waiting: MutexGuard<'a, Waiting>, longest: Duration) -> MutexGuard<'a, Waiting> {
        self.changed.wait_timeout(waiting, longest).unwrap_or_else(PoisonError::into_inner).0
    }

    fn write_to(&self, name: &str, mut stream: impl Write) {
        let mut text = Vec::new();
        loop {
            let mut waiting = self.lock();
            while waiting.text.is_empty() {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let gathered = Instant::now() + MOMENT;
            while let Some(left) = gathered.checked_duration_since(Instant::now())
                && !waiting.flushing
            {
                waiting = self.wait(waiting, left);
            }
            text.clear();
            std::mem::swap(&mut text, &mut waiting.text);
            let lost = std::mem::take(&mut waiting.lost);
            waiting.writing = true;
            drop(waiting);
            // A stream that can't be written has nowhere to be reported.
            let _ = stream.write_all(&text);
            if lost > 0 {
                let _ =
                    writeln!(stream, "({lost} lines of the {name} were lost: whoever reads it is too slow)");
            }
            let _ = stream.flush();
            self.lock().writing = false;
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A stream that takes something only when it is let.
    struct Gated {
        gate: Receiver<()>,
        written: Sender<String>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.gate.recv().map_err(std::io::Error::other)?;
            self.written.send(String::from_utf8_lossy(bytes).into_owned()).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stream_that_stalls_holds_nobody_up_and_what_was_lost_is_counted() {
        let (open, gate) = channel();
        let (written, seen) = channel();
        let writer = LineWriter::start("test", Gated { gate, written });
        let line = "x".repeat(1023);
        let fitting = LONGEST_BACKLOG / 1024;
        // Up to two backlogs fit: one that is being written, and one that waits.
        for _ in 0..2 * fitting + 100 {
            writer.write(&line);
        }
        for _ in 0..100 {
            open.send(()).unwrap();
        }
        let mut lines = 0;
        loop {
            let text = seen.recv_timeout(Duration::from_secs(30)).unwrap();
            if text.contains("were lost") || text.contains("lines of the test") {
                break;
            }
            lines += text.matches('\n').count();
        }
        assert!(lines < 2 * fitting + 100, "{lines}");
        assert!(lines >= fitting - 1, "{lines}");
    }

    #[test]
    fn lines_come_whole_and_in_order_and_a_flush_waits_for_them() {
        let (open, gate) = channel();
        let (written, seen) = channel();
        let writer = LineWriter::start("test", Gated { gate, written });
        for _ in 0..10_000 {
            open.send(()).unwrap();
        }
        for number in 0..1000 {
            writer.write(&format!("line {number}"));
        }
        writer.flush();
        let text: String = seen.try_iter().collect();
        let expected: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        assert_eq!(text, expected);
    }
}
