//! Lines to standard output and standard error that nobody waits for.
//!
//! A terminal that was stopped, a pipe whose reader hangs, a log collector that is down: writing to
//! them blocks. A request must not wait for its log line, so one thread per stream writes them, from
//! a queue of bounded length. What doesn't fit is counted, and the count is written when there is room.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that wait to be written: some megabytes at most.
const QUEUE: usize = 8192;

/// How long a stopping process waits for its last lines.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Writes lines in the order in which they come.
#[derive(Clone)]
pub(crate) struct LineWriter {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(String),
    /// Everything before this is written when the sender is dropped.
    Flush(SyncSender<()>),
}

impl LineWriter {
    /// Starts the thread that writes to `stream`; `name` is for the line that counts lost ones.
    pub(crate) fn start(name: &'static str, stream: impl Write + Send + 'static) -> LineWriter {
        let (queue, lines) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = LineWriter { queue, lost: Arc::clone(&lost) };
        // Ends with the process: there is nothing to clean up.
        std::thread::spawn(move || write_all(name, stream, &lines, &lost));
        writer
    }

    /// Queues a line, which ends with its own line break. Never blocks.
    pub(crate) fn write(&self, line: String) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits a moment for what was queued.
    pub(crate) fn flush(&self) {
        let (done, wait) = sync_channel(0);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(LAST_WORDS);
        }
    }
}

fn write_all(name: &str, mut stream: impl Write, lines: &Receiver<Message>, lost: &AtomicU64) {
    while let Ok(message) = lines.recv() {
        // A stream that can't be written has nowhere to be reported.
        match message {
            Message::Line(line) => drop(stream.write_all(line.as_bytes())),
            Message::Flush(done) => {
                let _ = stream.flush();
                drop(done);
            }
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let _ =
                writeln!(stream, "({missing} lines of the {name} were lost: whoever reads it is too slow)");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// A stream that takes a line only when it is let.
    struct Gated {
        gate: Receiver<()>,
        written: SyncSender<String>,
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
        let (written, seen) = sync_channel(4 * QUEUE);
        let writer = LineWriter::start("test", Gated { gate, written });
        for _ in 0..QUEUE + 100 {
            writer.write("line\n".to_owned());
        }
        for _ in 0..4 * QUEUE {
            open.send(()).unwrap();
        }
        let mut lines = Vec::new();
        while !lines.iter().any(|line: &String| line.contains("were lost")) {
            lines.push(seen.recv_timeout(Duration::from_secs(30)).unwrap());
            assert!(lines.len() < 2 * QUEUE);
        }
        drop(open);
    }
}
