//! How far a long command is, for whoever sits before it: one line on standard error that is written over, and only
//! where that is a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often the line is written.
const EVERY: Duration = Duration::from_millis(200);

/// Characters of the bar.
const WIDTH: usize = 24;

/// The line.
pub(crate) struct Progress {
    is_shown: bool,
    begun: Instant,
    written: Option<Instant>,
    width: usize,
}

impl Progress {
    /// A line that is shown if standard error is a terminal.
    pub(crate) fn new() -> Progress {
        let is_shown = std::io::stderr().is_terminal();
        Progress { is_shown, begun: Instant::now(), written: None, width: 0 }
    }

    /// Shows that this part is done, from 0 to 1, so many bytes so far, and whatever else there is to say.
    pub(crate) fn show(&mut self, part: Option<f64>, bytes: u64, words: &str) {
        if !self.is_shown || self.written.is_some_and(|written| written.elapsed() < EVERY) {
            return;
        }
        self.written = Some(Instant::now());
        let rate = bytes as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        let line = format!("{}{} ({}/s) {words}", bar(part), size(bytes), size(rate as u64));
        self.write(&line);
    }

    /// Takes the line away.
    pub(crate) fn end(&mut self) {
        if self.written.take().is_some() {
            self.write("");
            let _ = write!(std::io::stderr(), "\r");
        }
    }

    fn write(&mut self, line: &str) {
        let width = line.chars().count();
        let _ = write!(std::io::stderr(), "\r{line}{}", " ".repeat(self.width.saturating_sub(width)));
        let _ = std::io::stderr().flush();
        self.width = width;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn bar(part: Option<f64>) -> String {
    let Some(part) = part else { return String::new() };
    let part = part.clamp(0.0, 1.0);
    let full = (part * WIDTH as f64) as usize;
    format!("[{}{}] {:3.0}% ", "=".repeat(full), " ".repeat(WIDTH.saturating_sub(full)), part * 100.0)
}

/// A number of bytes for a person: three digits at most, in powers of 1024.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    for unit in units {
        value /= 1024.0;
        if value < 1000.0 || unit == "PiB" {
            return if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") };
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_few_digits() {
        let shown: Vec<String> =
            [0, 1023, 1024, 10 << 20, 1_023_000_000, 5 << 40].map(size).into_iter().collect();
        assert_eq!(shown, ["0 bytes", "1023 bytes", "1.0 KiB", "10 MiB", "976 MiB", "5.0 TiB"]);
    }

    #[test]
    fn a_bar_is_never_longer_than_full() {
        assert_eq!(bar(Some(7.0)), format!("[{}] 100% ", "=".repeat(24)));
        assert_eq!(bar(None), "");
    }
}
