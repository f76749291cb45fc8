//! What a server costs, from the kernel's accounting: CPU of its process and of all below it.

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
}
