//! `larder status`: a running Larder on one screen.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::ask::{Asked, Asker};

/// Repositories in one question.
const PAGE: usize = 1000;
/// Problems that are shown; `larder problems` has all.
const PROBLEMS: usize = 3;

/// `larder status`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    #[command(flatten)]
    asked: Asked,
    /// Print what was answered as JSON.
    #[arg(long)]
    json: bool,
}

/// Asks, and prints. The exit code is 1 when it isn't ready.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let asker = arguments.asked.asker()?;
    let ready = asker.get("/readyz")?;
    let status = json!({
        "registry": asker.authority(),
        "ready": ready.status == 200,
        "words": ready.body.trim(),
        "repositories": or_words(repositories(&asker)),
        "cache": or_words(asker.json("/api/v1/cache")),
        "problems": or_words(asker.json("/api/v1/problems")),
    });
    if arguments.json {
        writeln!(out, "{status:#}")?;
    } else {
        print(&status, out)?;
    }
    Ok(if ready.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What isn't for everybody leaves the rest as it is.
fn or_words(answer: Result<Value, Box<dyn Error>>) -> Value {
    answer.unwrap_or_else(|error| json!({ "unknown": error.to_string() }))
}

fn repositories(asker: &Asker) -> Result<Value, Box<dyn Error>> {
    let mut count = 0_usize;
    let mut path = format!("/v2/_catalog?n={PAGE}");
    loop {
        let page = asker.json(&path)?;
        let names = page.get("repositories").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        count += names.len();
        match names.last().and_then(Value::as_str) {
            // Names are of letters, digits, slashes and separators that stand in a query as they are.
            Some(last) if names.len() == PAGE => path = format!("/v2/_catalog?n={PAGE}&last={last}"),
            _ => return Ok(json!(count)),
        }
    }
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn print(status: &Value, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:<14}{}: {}", "registry", text(status, "/registry"), text(status, "/words"))?;
    match status.pointer("/repositories/unknown").and_then(Value::as_str) {
        Some(why) => writeln!(out, "{:<14}{why}", "repositories")?,
        None => writeln!(out, "{:<14}{}", "repositories", number(status, "/repositories"))?,
    }
    match status.pointer("/cache/unknown").and_then(Value::as_str) {
        Some(why) => writeln!(out, "{:<14}{why}", "cache")?,
        None => cache(status, out)?,
    }
    if let Some(why) = status.pointer("/problems/unknown").and_then(Value::as_str) {
        return writeln!(out, "{:<14}{why}", "problems");
    }
    let problems =
        status.pointer("/problems/problems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    writeln!(out, "{:<14}{}", "problems", problems.len())?;
    for problem in problems.iter().take(PROBLEMS) {
        writeln!(out, "{:<14}{} {}", "", text(problem, "/client"), text(problem, "/reason"))?;
    }
    Ok(())
}

fn cache(status: &Value, out: &mut impl Write) -> io::Result<()> {
    let (hits, misses) = (number(status, "/cache/cache/hits"), number(status, "/cache/cache/misses"));
    let asked = hits + misses;
    let rate = (100 * hits)
        .checked_div(asked)
        .map_or_else(|| "nothing asked yet".to_owned(), |percent| format!("{percent} % of {asked}"));
    writeln!(
        out,
        "{:<14}hits {rate}; {} MB from here, {} MB from upstreams",
        "cache",
        number(status, "/cache/cache/bytes_from_cache") / 1_000_000,
        number(status, "/cache/cache/bytes_from_upstream") / 1_000_000
    )?;
    let upstreams = status.pointer("/cache/upstreams").and_then(Value::as_array);
    for upstream in upstreams.into_iter().flatten() {
        let urls = upstream.get("urls").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let resting = urls
            .iter()
            .filter(|url| url.get("resting_seconds").is_some_and(|rests| !rests.is_null()))
            .count();
        let state = if upstream.get("offline").and_then(Value::as_bool) == Some(true) {
            "offline".to_owned()
        } else if resting > 0 {
            format!("{resting} of {} URLs rest after failures", urls.len())
        } else {
            "well".to_owned()
        };
        writeln!(out, "{:<14}{}: {state}", "upstream", text(upstream, "/name"))?;
        for account in urls.iter().filter_map(|url| url.get("accounts")?.as_array()).flatten() {
            if let Some(remaining) = account.get("remaining").and_then(Value::as_u64) {
                let limit = account.get("limit").and_then(Value::as_u64);
                let of = limit.map_or(String::new(), |limit| format!(" of {limit}"));
                writeln!(out, "{:<14}  {}: {remaining}{of} pulls left", "", text(account, "/account"))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_screen_has_it_all() {
        let status = json!({
            "registry": "reg.lan:5000", "words": "ok", "repositories": 95,
            "cache": {
                "cache": {"hits": 3, "misses": 1, "bytes_from_cache": 5_000_000, "bytes_from_upstream": 1_000_000},
                "upstreams": [{"name": "docker.io", "offline": false, "urls": [
                    {"resting_seconds": 12, "accounts": [{"account": "anonymous", "remaining": 7, "limit": 100}]}]}],
            },
            "problems": {"problems": [{"client": "10.0.0.7", "reason": "wrong password"}]},
        });
        let mut out = Vec::new();
        print(&status, &mut out).expect("written");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "registry      reg.lan:5000: ok\n\
             repositories  95\n\
             cache         hits 75 % of 4; 5 MB from here, 1 MB from upstreams\n\
             upstream      docker.io: 1 of 1 URLs rest after failures\n              \
             \u{20} anonymous: 7 of 100 pulls left\n\
             problems      1\n              10.0.0.7 wrong password\n"
        );
    }

    #[test]
    fn what_is_not_for_everybody_is_said_and_leaves_the_rest() {
        let status = json!({"registry": "r", "words": "ok", "repositories": 1, "cache": {"unknown": "no"}, "problems": {"unknown": "no"}});
        let mut out = Vec::new();
        print(&status, &mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert!(text.ends_with("repositories  1\ncache         no\nproblems      no\n"), "{text}");
    }
}
