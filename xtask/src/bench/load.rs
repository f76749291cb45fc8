//! One measured run: who sends, how often, and what the server used meanwhile.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Connection, Request};
use super::output::Figure;
use super::stand::Stand;
use crate::failure::{Context, Failure, Result, fail};
use crate::process::Run;

/// A request that takes longer than this is an error to wrk.
const WRK_TIMEOUT: &str = "30s";

/// Who sends the requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Client {
    /// wrk in one thread, which leaves the server the other core: for small answers.
    Wrk,
    /// Ours ([`Connection`]): for large answers, for HEAD, and where each request counts.
    Own,
}

/// A request that is sent over and over until the time is over, each time answered with the same status.
pub(super) struct Load<'a> {
    pub(super) client: Client,
    pub(super) request: &'a Request,
    pub(super) status: u16,
    pub(super) connections: usize,
    pub(super) time: Duration,
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

/// What a case is charged by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// CPU microseconds for a request.
    Request,
    /// CPU milliseconds for 10⁹ bytes of body.
    Gigabyte,
}

impl Load<'_> {
    /// A measured run after a short one, and between two looks at the answer.
    pub(super) fn measure(
        &self,
        stand: &Stand,
        warm_up: Duration,
        check: impl Fn() -> Result,
    ) -> Result<Done> {
        check().context("before the run")?;
        let request = &stand.admitted(self.request)?;
        let warm = Load { request, client: Client::Own, connections: 1, time: warm_up, ..*self };
        warm.run(stand).context("warming up")?;
        let done = Load { request, ..*self }.run(stand)?;
        check().context("after the run")?;
        Ok(done)
    }

    /// The request goes out as it is: it must be [`admitted`](Stand::admitted).
    pub(super) fn run(&self, stand: &Stand) -> Result<Done> {
        match self.client {
            Client::Own => self.own(stand),
            Client::Wrk => self.wrk(stand),
        }
    }

    /// The answers under way when the time is over are read to their ends. The connections stand before the clock and
    /// the meter start.
    fn own(&self, stand: &Stand) -> Result<Done> {
        let mut open = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            let mut connection = Connection::open(&stand.target)?;
            // A TLS connection's first exchange ends its handshake.
            if stand.target.tls.is_some() {
                connection.exchange(&Request { method: "HEAD", ..self.request.clone() }, |_| ())?;
            }
            open.push(connection);
        }
        let cpu = stand.meter.cpu_seconds()?;
        let start = Instant::now();
        let work = |mut connection: Connection| {
            let (mut requests, mut bytes) = (0, 0);
            while requests == 0 || start.elapsed() < self.time {
                let reply = connection.exchange(self.request, |_| ())?;
                if reply.status != self.status {
                    let Request { method, path, .. } = self.request;
                    fail!("{method} {path} answered {}, not {}", reply.status, self.status);
                }
                requests += 1;
                bytes += reply.length;
            }
            Ok((requests, bytes))
        };
        let outcomes = at_once(open, work);
        let seconds = start.elapsed().as_secs_f64();
        let mut done = Done { requests: 0, bytes: 0, seconds, cpu_seconds: stand.meter.cpu_seconds()? - cpu };
        for (requests, bytes) in outcomes? {
            done.requests += requests;
            done.bytes += bytes;
        }
        Ok(done)
    }

    /// wrk makes its connections within the measured time; with TLS their handshakes are part of the charge.
    fn wrk(&self, stand: &Stand) -> Result<Done> {
        let scheme = if stand.target.tls.is_some() { "https" } else { "http" };
        let mut run = Run::new("wrk")
            .args(["-t1", "--timeout", WRK_TIMEOUT])
            .arg(format!("-c{}", self.connections))
            .arg(format!("-d{}s", self.time.as_secs().max(1)));
        for (name, value) in &self.request.headers {
            run = run.arg("-H").arg(format!("{name}: {value}"));
        }
        let run = run.arg(format!("{scheme}://{}{}", stand.target.host, self.request.path));
        let cpu = stand.meter.cpu_seconds()?;
        let printed = run.ok()?;
        let cpu_seconds = stand.meter.cpu_seconds()? - cpu;
        let (requests, seconds) = parse(&printed)?;
        Ok(Done { requests, bytes: 0, seconds, cpu_seconds })
    }
}

/// Does the same with each of several things in a thread of its own. The first failure is everybody's.
pub(super) fn at_once<T: Send, R: Send>(
    things: Vec<T>,
    work: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = things.into_iter().map(|thing| scope.spawn(move || work(thing))).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.map(|ended| ended.unwrap_or_else(|_| Err(Failure::new("a client's thread panicked")))).collect()
    })
}

impl Unit {
    /// CPU for one unit of what was done.
    pub(super) fn charge(self, done: &Done) -> Figure {
        let (unit, value) = match self {
            Self::Request => ("µs/request", done.cpu_seconds * 1e6 / done.requests as f64),
            Self::Gigabyte => ("ms/GB", done.cpu_seconds * 1e3 / (done.bytes as f64 / 1e9)),
        };
        let raw = json!({
            "requests": done.requests,
            "bytes": done.bytes,
            "seconds": done.seconds,
            "cpu_seconds": done.cpu_seconds,
        });
        Figure { unit, value, raw }
    }
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
