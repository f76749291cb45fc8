//! One measured run: who sends, how often, and what the server used meanwhile.

use std::time::Duration;

use super::client::{self, Request, Target};
use super::cpu::Meter;
use crate::failure::{Context, Result, fail};
use crate::process::Run;

/// A request that takes longer than this is an error to wrk.
const WRK_TIMEOUT: &str = "30s";

/// Who sends the requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Client {
    /// wrk in one thread, which leaves the server the other core: for small answers.
    Wrk,
    /// [`client`]: for large answers, for HEAD, and where each request counts.
    Own,
}

/// What a run did and what it cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) requests: u64,
    /// Of bodies; 0 where the client doesn't count them apart.
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
}

pub(super) fn run(
    client: Client,
    target: &Target,
    request: &Request,
    status: u16,
    connections: usize,
    seconds: u64,
    meter: Meter,
) -> Result<Done> {
    match client {
        Client::Own => {
            client::load(target, request, status, connections, Duration::from_secs(seconds), meter)
        }
        Client::Wrk => wrk(target, request, connections, seconds, meter),
    }
}

/// wrk makes its connections within the measured time; with TLS their handshakes are part of the charge.
fn wrk(target: &Target, request: &Request, connections: usize, seconds: u64, meter: Meter) -> Result<Done> {
    let scheme = if target.tls.is_some() { "https" } else { "http" };
    let mut run = Run::new("wrk")
        .args(["-t1", "--timeout", WRK_TIMEOUT])
        .arg(format!("-c{connections}"))
        .arg(format!("-d{seconds}s"));
    for (name, value) in &request.headers {
        run = run.arg("-H").arg(format!("{name}: {value}"));
    }
    let run = run.arg(format!("{scheme}://{}{}", target.host, request.path));
    let cpu = meter.cpu_seconds()?;
    let printed = run.ok()?;
    let cpu_seconds = meter.cpu_seconds()? - cpu;
    let (requests, seconds) = parse(&printed)?;
    Ok(Done { requests, bytes: 0, seconds, cpu_seconds })
}

/// Requests and seconds of what wrk printed. An answer that is no success, or a broken connection, is a failure.
fn parse(printed: &str) -> Result<(u64, f64)> {
    for bad in ["Non-2xx or 3xx responses:", "Socket errors:"] {
        if let Some(line) = printed.lines().find(|line| line.trim_start().starts_with(bad)) {
            fail!("wrk saw wrong answers: {}", line.trim());
        }
    }
    let line =
        printed.lines().find(|line| line.contains(" requests in ")).context("wrk's sum of requests")?;
    let (requests, rest) = line.trim().split_once(" requests in ").context("wrk's sum of requests")?;
    let time = rest.split(',').next().unwrap_or_default();
    let requests: u64 = requests.parse().context(format!("wrk's requests {requests:?}"))?;
    if requests == 0 {
        fail!("wrk got no answer at all");
    }
    Ok((requests, duration(time).context(format!("wrk's time {time:?}"))?))
}

/// Seconds of wrk's `1.10s`, `900.00ms`, `12.00us` or `1.50m`.
fn duration(text: &str) -> Option<f64> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Running 1s test @ http://127.0.0.1:1/x\n  1 threads and 4 connections\n  Thread Stats\n\
        \x20 62094 requests in 1.10s, 74.85MB read\nRequests/sec:  56454.17\nTransfer/sec:     68.05MB\n";

    #[test]
    fn requests_and_time_are_read() {
        assert_eq!(parse(GOOD).unwrap(), (62094, 1.1));
    }

    #[test]
    fn every_wrong_answer_is_a_failure() {
        for line in
            ["  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 1, write 0, timeout 0\n"]
        {
            assert!(parse(&format!("{GOOD}{line}")).is_err(), "{line}");
        }
        assert!(parse(&GOOD.replace("62094", "0")).is_err());
        assert!(parse("").is_err());
    }

    #[test]
    fn every_unit_of_wrk_is_known() {
        let read: Vec<f64> =
            ["1.50s", "900.00ms", "2.00m"].iter().filter_map(|text| duration(text)).collect();
        assert_eq!(read, [1.5, 0.9, 120.0]);
        assert_eq!(duration("3.0h"), None);
    }
}
