//! What `/api/cache` says, for people.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::{Server, block_on};

/// How long Larder may take: it asks nobody for this.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(server: &Server, as_json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let text = block_on(ask(server))?;
    if as_json {
        print!("{text}");
    } else {
        print!("{}", page(&serde_json::from_str(&text)?));
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(server: &Server) -> Result<String, Box<dyn Error>> {
    let url = server.url()?;
    let mut client = reqwest::Client::builder().timeout(PATIENCE);
    if let Some(path) = &server.ca {
        client = client.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&std::fs::read(path)?)?);
    }
    let mut request = client.build()?.get(format!("{url}/api/cache"));
    if let (Some(user), Some(password)) = (&server.user, server.password()?) {
        request = request.basic_auth(user, Some(password));
    }
    let answer = request.send().await.map_err(|error| format!("{url} does not answer: {error}"))?;
    let (status, text) = (answer.status(), answer.text().await?);
    match status.as_u16() {
        200 => Ok(text),
        401 | 403 => Err(format!("{url} shows this to whoever may see the catalog; see --user").into()),
        _ => Err(format!("{url} answers {status}: is it a Larder?").into()),
    }
}

fn page(status: &Value) -> String {
    let mut page = String::new();
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or_default();
    let empty = Value::Null;
    let cache = status.get("cache").unwrap_or(&empty);
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
        "now: {} blobs arriving; evicted so far: {} copies ({})",
        number(cache, "fills"),
        number(cache, "evicted"),
        bytes(number(cache, "evicted_bytes")),
    );
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

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_page_says_what_matters_and_leaves_out_what_is_not_known() {
        let status = json!({
            "cache": { "hits": 3, "misses": 1, "stale": 2, "bytes_from_cache": 1_500_000, "bytes_from_upstream": 999,
                       "fills": 1, "evicted": 0, "evicted_bytes": 0 },
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
            page(&status),
            "since the start: 3 hits (1.5 MB), 1 misses (999 B fetched), 2 copies served for want of an answer\n\
             now: 1 blobs arriving; evicted so far: 0 copies (0 B)\n\
             \ndocker.io (docker.io/)\n  asked: 4 × manifest found\n  \
             https://registry-1.docker.io, answers in 250 ms, 2.0 MB/s, has failed and goes last for 4 s\n    \
             its last failure: answers 503\n    ci: 7 of 100 pulls left in 360 min; its login is refused\n\
             \nlab (all other names): offline, nothing is asked\n"
        );
    }
}
