//! What `/api/v1/cache` says, for people.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::Asked;
use crate::output;
use crate::words::{bytes, counted, span};

/// Evictions that are shown; `--json` has all that are remembered.
const EVICTED: usize = 10;

pub(super) fn run(asked: &Asked, next: usize, as_json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let status = asked.ask("GET", &format!("/api/v1/cache?next={next}"))?;
    if as_json {
        writeln!(output::standard(), "{status:#}")?;
    } else {
        output::standard().write_all(page(&status, SystemTime::now()).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn page(status: &Value, now: SystemTime) -> String {
    let mut page = String::new();
    let empty = Value::Null;
    let (cache, stock) = (status.get("cache").unwrap_or(&empty), status.get("stock").unwrap_or(&empty));
    let _ = writeln!(page, "{}", of_stock(stock));
    let (hits, misses) = (number(cache, "hits"), number(cache, "misses"));
    let _ = writeln!(
        page,
        "since the start: {hits} hits ({}), {misses} misses ({} fetched), {} copies served for want of an answer",
        bytes(number(cache, "bytes_from_cache")),
        bytes(number(cache, "bytes_from_upstream")),
        number(cache, "stale"),
    );
    let _ = writeln!(
        page,
        "now: {} blobs arriving ({}); evicted so far: {} copies ({})",
        number(cache, "fills"),
        bytes(number(stock, "arriving_bytes")),
        number(cache, "evicted"),
        bytes(number(cache, "evicted_bytes")),
    );
    images(&mut page, "\ngoes next:", list(status, "next"), now);
    images(&mut page, "\nwould go first, and is kept:", list(status, "held"), now);
    let evicted = list(status, "evicted");
    if !evicted.is_empty() {
        page.push_str("\nwent last:\n");
    }
    for each in evicted.iter().take(EVICTED) {
        let why = match text(each, "why") {
            Some("unused") => "unused",
            Some("too_large") => "beyond cache.maxbytes",
            _ => "for cache.minfreebytes",
        };
        let (at, used) = (ago(each, "at", now), ago(each, "last_access", now));
        let _ = writeln!(page, "  {at} ago  {}  {}, {why}, last used {used} ago", name(each), size(each));
    }
    for upstream in list(status, "upstreams") {
        let prefix =
            text(upstream, "prefix").map_or("all other names".to_owned(), |prefix| format!("{prefix}/"));
        let offline = upstream.get("offline").and_then(Value::as_bool) == Some(true);
        let _ = write!(page, "\n{} ({prefix})", text(upstream, "name").unwrap_or_default());
        let _ = writeln!(page, "{}", if offline { ": offline, nothing is asked" } else { "" });
        for requests in list(upstream, "requests") {
            let (kind, outcome) = (text(requests, "kind"), text(requests, "outcome"));
            let count = number(requests, "count");
            let _ = writeln!(
                page,
                "  asked: {count} × {} {}",
                kind.unwrap_or_default(),
                outcome.unwrap_or_default()
            );
        }
        for url in list(upstream, "urls") {
            page.push_str(&of_url(url));
        }
    }
    page
}

/// How much is here, beside its bounds.
fn of_stock(stock: &Value) -> String {
    let known = |key: &str| stock.get(key).and_then(Value::as_u64);
    let mut line =
        format!("{}, {}", counted(number(stock, "images"), "image"), bytes(number(stock, "bytes")));
    if let Some(most) = known("max_bytes") {
        let _ = write!(line, " of {}", bytes(most));
    }
    let _ = write!(line, "; {} free on the disk", bytes(number(stock, "free_bytes")));
    if let Some(least) = known("min_free_bytes") {
        let _ = write!(line, ", {} to stay free", bytes(least));
    }
    match known("unused_for_seconds") {
        Some(seconds) => {
            let time = span(Duration::from_secs(seconds));
            let _ = write!(line, "; what is unused for {time} goes");
        }
        None => line.push_str("; nothing goes for want of use"),
    }
    let held = number(stock, "held_images");
    if held > 0 {
        let _ = write!(line, "; {} kept", counted(held, "image"));
    }
    line
}

fn images(page: &mut String, title: &str, images: &[Value], now: SystemTime) {
    if !images.is_empty() {
        let _ = writeln!(page, "{title}");
    }
    for image in images {
        let used = ago(image, "last_access", now);
        let _ = write!(page, "  {}  {}, last used {used} ago", name(image), size(image));
        if let Some(by) = text(image, "held_by") {
            let _ = write!(page, ", kept by {by}");
        }
        page.push('\n');
    }
}

/// As people call it.
fn name(image: &Value) -> String {
    let repository = text(image, "repository").unwrap_or_default();
    let tags: Vec<&str> = list(image, "tags").iter().filter_map(Value::as_str).collect();
    match (tags.is_empty(), text(image, "digest").unwrap_or_default()) {
        (true, digest) => format!("{repository}@{digest}"),
        (false, _) => format!("{repository}:{}", tags.join(",")),
    }
}

fn size(image: &Value) -> String {
    bytes(number(image, "bytes"))
}

/// How long ago that was, in its largest unit.
fn ago(value: &Value, key: &str, now: SystemTime) -> String {
    let at = text(value, key).and_then(|text| humantime::parse_rfc3339(text).ok());
    span(at.and_then(|at| now.duration_since(at).ok()).unwrap_or_default())
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn of_url(url: &Value) -> String {
    let mut lines = format!("  {}", text(url, "url").unwrap_or_default());
    let real = |key: &str| url.get(key).and_then(Value::as_f64);
    if let Some(seconds) = real("first_byte_seconds") {
        let _ = write!(lines, ", answers in {:.0} ms", seconds * 1e3);
    }
    if let Some(rate) = real("bytes_per_second") {
        let _ = write!(lines, ", {:.1} MB/s", rate / 1e6);
    }
    if let Some(rest) = real("resting_seconds") {
        let _ = write!(lines, ", has failed and goes last for {rest:.0} s");
    }
    lines.push('\n');
    if let Some(failure) = text(url, "last_failure") {
        let _ = writeln!(lines, "    its last failure: {failure}");
    }
    for account in list(url, "accounts") {
        let number = |key: &str| account.get(key).and_then(Value::as_u64);
        let mut facts = Vec::new();
        if let (Some(left), Some(limit)) = (number("remaining"), number("limit")) {
            let hours =
                number("window_seconds").map_or(String::new(), |window| format!(" in {} min", window / 60));
            facts.push(format!("{left} of {limit} pulls left{hours}"));
        }
        if let Some(pause) = number("renews_in_seconds") {
            facts.push(format!("used up, asked again in {pause} s"));
        }
        if account.get("login_refused").and_then(Value::as_bool) == Some(true) {
            facts.push("its login is refused".to_owned());
        }
        if !facts.is_empty() {
            let _ =
                writeln!(lines, "    {}: {}", text(account, "account").unwrap_or_default(), facts.join("; "));
        }
    }
    lines
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_page_says_what_matters_and_leaves_out_what_is_not_known() {
        let status = json!({
            "cache": { "hits": 3, "misses": 1, "stale": 2, "bytes_from_cache": 1_500_000, "bytes_from_upstream": 999,
                       "fills": 1, "evicted": 3, "evicted_bytes": 7 },
            "stock": { "images": 4, "held_images": 1, "bytes": 40_000_000, "arriving_bytes": 5, "free_bytes": 9_000_000_000_u64,
                       "max_bytes": 50_000_000, "min_free_bytes": null, "unused_for_seconds": 604_800 },
            "next": [{ "repository": "docker.io/library/nginx", "tags": ["1", "latest"], "digest": "sha256:a", "bytes": 2000,
                       "last_access": "2026-01-01T00:00:00Z" }],
            "held": [{ "repository": "base", "tags": [], "digest": "sha256:b", "bytes": 1,
                       "last_access": "2026-01-03T11:00:00Z", "held_by": "base/**" }],
            "evicted": [{ "repository": "app", "tags": ["2"], "digest": "sha256:c", "bytes": 7, "why": "too_large",
                          "at": "2026-01-03T11:58:00Z", "last_access": "2026-01-01T12:00:00Z" }],
            "upstreams": [
                { "name": "docker.io", "prefix": "docker.io", "offline": false, "received_bytes": 999,
                  "requests": [{ "kind": "manifest", "outcome": "found", "count": 4 }],
                  "urls": [{ "url": "https://registry-1.docker.io", "resting_seconds": 4, "first_byte_seconds": 0.25,
                             "bytes_per_second": 2e6, "last_failure": "answers 503",
                             "accounts": [{ "account": "ci", "limit": 100, "remaining": 7, "window_seconds": 21600,
                                            "renews_in_seconds": null, "login_refused": true },
                                          { "account": "anonymous", "limit": null, "login_refused": false }] }] },
                { "name": "lab", "prefix": null, "offline": true, "urls": [], "requests": [] },
            ],
        });
        assert_eq!(
            page(&status, humantime::parse_rfc3339("2026-01-03T12:00:00Z").unwrap()),
            "4 images, 40.0 MB of 50.0 MB; 9.0 GB free on the disk; what is unused for 7 d goes; 1 image kept\n\
             since the start: 3 hits (1.5 MB), 1 misses (999 B fetched), 2 copies served for want of an answer\n\
             now: 1 blobs arriving (5 B); evicted so far: 3 copies (7 B)\n\
             \ngoes next:\n  docker.io/library/nginx:1,latest  2.0 kB, last used 2 d ago\n\
             \nwould go first, and is kept:\n  base@sha256:b  1 B, last used 60 min ago, kept by base/**\n\
             \nwent last:\n  2 min ago  app:2  7 B, beyond cache.maxbytes, last used 2 d ago\n\
             \ndocker.io (docker.io/)\n  asked: 4 × manifest found\n  \
             https://registry-1.docker.io, answers in 250 ms, 2.0 MB/s, has failed and goes last for 4 s\n    \
             its last failure: answers 503\n    ci: 7 of 100 pulls left in 360 min; its login is refused\n\
             \nlab (all other names): offline, nothing is asked\n"
        );
    }
}
