//! What a server costs, from the kernel's accounting: CPU and memory of its process and of all below it.

use std::collections::BTreeMap;
use std::fs;

use crate::failure::{Context, Result};

/// One line of `/proc/<pid>/stat`, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time of all threads, ended ones included.
    ticks: u64,
}

/// A server as the kernel knows it: a process and its descendants, whoever they are when one looks.
#[derive(Clone, Copy)]
pub(super) struct Meter {
    root: u32,
}

impl Meter {
    pub(super) fn of(root: u32) -> Self {
        Self { root }
    }

    /// CPU seconds that were used until now, in steps of the kernel's tick (10 ms on most systems).
    pub(super) fn cpu_seconds(self) -> Result<f64> {
        let ticks: u64 = self.processes()?.values().map(|stat| stat.ticks).sum();
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// The same in nanoseconds' steps, but of threads that haven't ended: for what is over before one could end.
    pub(super) fn cpu_seconds_of_live_threads(self) -> Result<f64> {
        let mut nanoseconds = 0;
        for pid in self.processes()?.keys() {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let path = task?.path().join("schedstat");
                // A thread may end between the listing and the reading.
                let Ok(line) = fs::read_to_string(&path) else { continue };
                let first = line.split(' ').next().and_then(|first| first.parse::<u64>().ok());
                nanoseconds += first.context(path.display())?;
            }
        }
        Ok(nanoseconds as f64 / 1e9)
    }

    /// Bytes in memory now. What processes share is counted for each of them.
    pub(super) fn resident_bytes(self) -> Result<u64> {
        self.of_status("VmRSS:")
    }

    /// The most bytes that were in memory since the start, likewise.
    pub(super) fn peak_bytes(self) -> Result<u64> {
        self.of_status("VmHWM:")
    }

    /// The sum of a size in `/proc/<pid>/status`, which is in KiB there.
    fn of_status(self, name: &str) -> Result<u64> {
        let mut bytes = 0;
        for pid in self.processes()?.keys() {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let size = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            bytes += size.context(format!("{name} of process {pid}"))? << 10;
        }
        Ok(bytes)
    }

    fn processes(self) -> Result<BTreeMap<u32, Stat>> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // A process may end between the listing and the reading.
            let Ok(line) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            all.insert(pid, Stat::parse(&line).context(format!("/proc/{pid}/stat"))?);
        }
        let mut ours = BTreeMap::new();
        let root = all.remove(&self.root).context(format!("the server's process {}", self.root))?;
        ours.insert(self.root, root);
        loop {
            let below: Vec<u32> =
                all.iter().filter(|(_, stat)| ours.contains_key(&stat.parent)).map(|(pid, _)| *pid).collect();
            if below.is_empty() {
                return Ok(ours);
            }
            ours.extend(below.into_iter().filter_map(|pid| Some((pid, all.remove(&pid)?))));
        }
    }
}

impl Stat {
    /// The second field is the program's name in brackets, which may hold blanks and brackets itself.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self { parent: u32::try_from(number(1)?).ok()?, ticks: number(11)? + number(12)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_whatever_the_program_is_called() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 150 25 900 800 20 0 3 0 99 1 2";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 7, ticks: 175 }));
        assert_eq!(Stat::parse("42 (a) S 7 42"), None);
    }

    #[test]
    fn time_that_was_used_is_charged() {
        let meter = Meter::of(std::process::id());
        let before = meter.cpu_seconds().unwrap();
        let start = std::time::Instant::now();
        while start.elapsed() < std::time::Duration::from_millis(200) {
            std::hint::black_box(start.elapsed());
        }
        assert!(meter.cpu_seconds().unwrap() > before);
    }

    #[test]
    fn live_threads_are_charged_in_small_steps() {
        let meter = Meter::of(std::process::id());
        let before = meter.cpu_seconds_of_live_threads().unwrap();
        let start = std::time::Instant::now();
        while start.elapsed() < std::time::Duration::from_millis(20) {
            std::hint::black_box(start.elapsed());
        }
        assert!(meter.cpu_seconds_of_live_threads().unwrap() > before);
    }

    #[test]
    fn memory_that_was_used_and_given_back_shows_in_the_peak() {
        let meter = Meter::of(std::process::id());
        let before = meter.resident_bytes().unwrap();
        drop(std::hint::black_box(vec![1_u8; 64 << 20]));
        assert!(meter.peak_bytes().unwrap() > before + (48 << 20));
    }
}
