//! The process itself, as every exporter shows it. What `/proc` doesn't tell is left out.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use rustix::process::{Resource, getrlimit};

/// Ticks in a second in `/proc`: part of Linux's contract with programs on all that Larder is built for.
const TICKS: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut gauge = |name, help, value: Option<f64>| match value {
            None => Ok(()),
            Some(value) => {
                encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
            }
        };
        let memory = |name| kibibytes(&read("/proc/self/status")?, name).map(|kibibytes| kibibytes * 1024.0);
        gauge("process_resident_memory_bytes", "Resident memory size in bytes", memory("VmRSS:"))?;
        gauge("process_virtual_memory_bytes", "Virtual memory size in bytes", memory("VmSize:"))?;
        gauge("process_open_fds", "Number of open file descriptors", open_files())?;
        let most_files = getrlimit(Resource::Nofile).current.map(|most| most as f64);
        gauge("process_max_fds", "Maximum number of open file descriptors", most_files)?;
        let stat = read("/proc/self/stat").unwrap_or_default();
        gauge("process_threads", "Number of threads", field(&stat, 20))?;
        let started = read("/proc/stat").and_then(|text| booted(&text)).zip(field(&stat, 22));
        let started = started.map(|(booted, ticks)| booted + ticks / TICKS);
        gauge("process_start_time_seconds", "Start time since 1970 in seconds", started)?;
        let Some((user, system)) = field(&stat, 14).zip(field(&stat, 15)) else { return Ok(()) };
        let help = "User and system CPU time spent in seconds";
        encoder
            .encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&((user + system) / TICKS), None)
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// A field of `/proc/self/stat`, counted from 1. The second is the program's name in parentheses, which may
/// hold anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn kibibytes(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn booted(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn open_files() -> Option<f64> {
    // The listing itself has one open.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}
