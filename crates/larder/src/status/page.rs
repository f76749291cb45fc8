//! What `/api/v1/status` says, for people: a line each, aligned.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::words::{bytes, span};

/// Names of a certificate that are shown; one of an own authority has every address of the machine.
const NAMES: usize = 4;

/// Quotas that are shown; `/api/v1/quotas` has all.
const QUOTAS: usize = 5;

/// The lines, as they come.
struct Page {
    text: String,
    now: SystemTime,
}

/// The whole screen.
pub(super) fn page(status: &Value, now: SystemTime) -> String {
    let mut page = Page { text: String::new(), now };
    page.registry(status);
    page.content(status);
    page.quotas(status);
    page.cache(status);
    page.collection(status);
    page.certificate(status);
    page.problems(status);
    page.text
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    value.pointer(path).filter(|found| !found.is_null())
}

fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    at(value, path)?.as_str()
}

fn known(value: &Value, path: &str) -> Option<u64> {
    at(value, path)?.as_u64()
}

fn number(value: &Value, path: &str) -> u64 {
    known(value, path).unwrap_or_default()
}

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// So much of a thing.
fn of(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// A share in percent.
fn percent(part: u64, whole: u64) -> Option<u64> {
    part.saturating_mul(100).checked_div(whole)
}

/// How often the one goes into the other, in tenths.
fn ratio(named: u64, kept: u64) -> Option<String> {
    let tenths = named.saturating_mul(10).checked_div(kept)?;
    Some(format!("{}.{}", tenths / 10, tenths % 10))
}

impl Page {
    fn line(&mut self, what: &str, words: &str) {
        let _ = writeln!(self.text, "{what:<14}{words}");
    }

    fn time(&self, value: &Value, path: &str) -> Option<SystemTime> {
        humantime::parse_rfc3339(text(value, path)?).ok()
    }

    fn since(&self, value: &Value, path: &str) -> Option<Duration> {
        self.now.duration_since(self.time(value, path)?).ok()
    }

    fn registry(&mut self, status: &Value) {
        let addresses: Vec<&str> = list(status, "/addresses").iter().filter_map(Value::as_str).collect();
        let version = text(status, "/version").unwrap_or("?");
        let up = self.since(status, "/started").map(|time| format!(", up for {}", span(time)));
        self.line(
            "registry",
            &format!("larder {version} at {}{}", addresses.join(", "), up.unwrap_or_default()),
        );
        let mode = match text(status, "/mode/is") {
            Some("read-write") => "read and write".to_owned(),
            Some("read-only") => "read only (storage.maintenance.readonly)".to_owned(),
            Some("maintenance") => {
                let why = text(status, "/mode/reason").filter(|reason| !reason.is_empty());
                let why = why.map(|reason| format!(" ({reason})")).unwrap_or_default();
                format!("maintenance since {}{why}: pulls only", text(status, "/mode/since").unwrap_or("?"))
            }
            other => other.unwrap_or("?").to_owned(),
        };
        self.line("mode", &mode);
        for (name, why) in at(status, "/failing").and_then(Value::as_object).into_iter().flatten() {
            self.line("failing", &format!("{name}: {}", why.as_str().unwrap_or_default()));
        }
    }

    fn content(&mut self, status: &Value) {
        let tags = of(number(status, "/tags"), "tag", "tags");
        let manifests = of(number(status, "/manifests"), "manifest", "manifests");
        self.line("repositories", &format!("{}, {tags}, {manifests}", number(status, "/repositories")));
        let kept = match at(status, "/content") {
            None => "being counted for the first time".to_owned(),
            Some(content) => {
                let (kept, named) = (number(content, "/bytes"), number(content, "/named_bytes"));
                let mut line =
                    format!("{} in {}", bytes(kept), of(number(content, "/files"), "file", "files"));
                match ratio(named, kept) {
                    // A push under way, a deletion that can be undone.
                    Some(_) if named < kept => {
                        let _ = write!(
                            line,
                            "; images name {} of it, the rest none does right now",
                            bytes(named)
                        );
                    }
                    Some(ratio) => {
                        let _ = write!(line, "; images name {}, {ratio} times that", bytes(named));
                    }
                    None => {}
                }
                let counted = self.since(content, "/counted_at").unwrap_or_default();
                if counted >= Duration::from_secs(2) {
                    let _ = write!(line, " (counted {} ago)", span(counted));
                }
                line
            }
        };
        self.line("kept", &kept);
        let (free, size) = (number(status, "/disk/free_bytes"), number(status, "/disk/size_bytes"));
        let share = percent(free, size).map(|percent| format!(" ({percent} %)")).unwrap_or_default();
        self.line("disk", &format!("{} free of {}{share}", bytes(free), bytes(size)));
    }

    /// Those that are the fullest.
    fn quotas(&mut self, status: &Value) {
        let mut quotas: Vec<&Value> = list(status, "/quotas").iter().collect();
        quotas.sort_by_key(|quota| std::cmp::Reverse(number(quota, "/percent")));
        let mut what = "quotas";
        for quota in quotas.iter().take(QUOTAS) {
            self.line(std::mem::take(&mut what), &of_quota(quota));
        }
        if let Some(more) = quotas.len().checked_sub(QUOTAS).filter(|more| *more > 0) {
            self.line("", &format!("and {more} that {} less full", if more == 1 { "is" } else { "are" }));
        }
    }

    fn cache(&mut self, status: &Value) {
        let upstreams = list(status, "/upstreams");
        if upstreams.is_empty() {
            return self.line("cache", "no upstreams");
        }
        let (hits, misses) = (number(status, "/cache/hits"), number(status, "/cache/misses"));
        let mut line = match percent(hits, hits + misses) {
            None => "nothing asked since the start".to_owned(),
            Some(percent) => format!(
                "{percent} % of {} were here; {} from here, {} fetched",
                of(hits + misses, "question", "questions"),
                bytes(number(status, "/cache/bytes_from_cache")),
                bytes(number(status, "/cache/bytes_from_upstream"))
            ),
        };
        if let Some(stock) = at(status, "/stock") {
            let images = of(number(stock, "/images"), "image", "images");
            let _ = write!(line, "; {images}, {}", bytes(number(stock, "/bytes")));
        }
        self.line("cache", &line);
        let mut what = "upstreams";
        for upstream in upstreams {
            self.line(std::mem::take(&mut what), &of_upstream(upstream));
        }
    }

    fn collection(&mut self, status: &Value) {
        let Some(collection) = at(status, "/collection") else { return };
        let mut line = match at(collection, "/last") {
            None => "nothing taken away since the start".to_owned(),
            Some(last) => {
                let ago = self.since(last, "/at").unwrap_or_default();
                let took = match number(last, "/took/contents") {
                    0 => "what went is needed elsewhere, and freed nothing".to_owned(),
                    files => {
                        let freed = bytes(number(last, "/took/bytes"));
                        format!("{}, {freed} freed", of(files, "file", "files"))
                    }
                };
                format!("{} ago: {took}", span(ago))
            }
        };
        let waiting = number(collection, "/deletions_waiting");
        if waiting > 0 {
            let verb = if waiting == 1 { "can" } else { "can all" };
            let _ = write!(line, "; {} {verb} be undone", of(waiting, "deletion", "deletions"));
            let left = self
                .time(collection, "/next_final_at")
                .map(|at| at.duration_since(self.now).unwrap_or_default());
            if let Some(left) = left {
                let _ = write!(line, ", the next is final in {}", span(left));
            }
        }
        if at(collection, "/running").and_then(Value::as_bool) == Some(true) {
            line.push_str("; at work");
        }
        self.line("collection", &line);
    }

    fn certificate(&mut self, status: &Value) {
        let Some(certificate) = at(status, "/certificate") else {
            return self.line("certificate", "none: plain HTTP");
        };
        let end = text(certificate, "/end").unwrap_or("?");
        let left = self.time(certificate, "/end").and_then(|end| end.duration_since(self.now).ok());
        let when = left
            .map_or_else(|| format!("ENDED at {end}"), |left| format!("ends in {}, at {end}", span(left)));
        let names: Vec<&str> = list(certificate, "/names").iter().filter_map(Value::as_str).collect();
        let shown = names.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        self.line("certificate", &format!("{when}; for {shown}{more}"));
    }

    fn problems(&mut self, status: &Value) {
        let count = number(status, "/problems/count");
        let latest = list(status, "/problems/latest");
        let more = count.saturating_sub(latest.len() as u64);
        let words = match (count, more) {
            (0, _) => "none".to_owned(),
            (_, 0) => count.to_string(),
            _ => format!("{count}; larder problems shows all"),
        };
        self.line("problems", &words);
        for problem in latest {
            let who = text(problem, "/client").unwrap_or("this registry");
            let times = match number(problem, "/count") {
                0 | 1 => String::new(),
                count => format!(", {count} times"),
            };
            self.line("", &format!("{who}: {}{times}", text(problem, "/reason").unwrap_or_default()));
        }
    }
}

fn of_quota(quota: &Value) -> String {
    let patterns: Vec<&str> = list(quota, "/repositories").iter().filter_map(Value::as_str).collect();
    let mut line = format!("{}: {} % full", patterns.join(", "), number(quota, "/percent"));
    let parts = [
        known(quota, "/max_bytes")
            .map(|most| format!("{} of {}", bytes(number(quota, "/bytes")), bytes(most))),
        known(quota, "/max_tags")
            .map(|most| format!("{} of {}", number(quota, "/tags"), of(most, "tag", "tags"))),
    ];
    for part in parts.into_iter().flatten() {
        let _ = write!(line, "; {part}");
    }
    line
}

fn of_upstream(upstream: &Value) -> String {
    let urls = list(upstream, "/urls");
    let mut line = text(upstream, "/name").unwrap_or("?").to_owned();
    if at(upstream, "/offline").and_then(Value::as_bool) == Some(true) {
        line.push_str(": offline, nothing is asked");
        return line;
    }
    let resting: Vec<&Value> = urls.iter().filter(|url| at(url, "/resting_seconds").is_some()).collect();
    match resting.first() {
        None if list(upstream, "/requests").is_empty() => line.push_str(": not asked yet"),
        None => line.push_str(": well"),
        Some(first) => {
            let failure = text(first, "/last_failure").unwrap_or("it failed");
            let _ = write!(
                line,
                ": {} of {} {} after a failure: {failure}",
                resting.len(),
                of(urls.len() as u64, "URL", "URLs"),
                if resting.len() == 1 { "rests" } else { "rest" }
            );
        }
    }
    for account in urls.iter().flat_map(|url| list(url, "/accounts")) {
        let who = text(account, "/account").unwrap_or("?");
        if let Some(left) = known(account, "/remaining") {
            let limit = known(account, "/limit").map(|limit| format!(" of {limit}")).unwrap_or_default();
            let _ = write!(line, "; {who}: {left}{limit} pulls left");
        }
        if let Some(pause) = known(account, "/renews_in_seconds") {
            let _ = write!(line, "; {who}: used up, asked again in {}", span(Duration::from_secs(pause)));
        }
        if at(account, "/login_refused").and_then(Value::as_bool) == Some(true) {
            let _ = write!(line, "; the login of {who} is refused");
        }
    }
    line
}

#[cfg(test)]
mod tests;
