//! What the running server has seen: the proxy in front by its headers, and what was refused lately.

use std::path::Path;

use larder_doctor::{Finding, Hop, Journal, Row, Severity, Stage};
use serde_json::Value;

use super::warning;
use crate::config::Config;

const STAGE: Stage = Stage::Front;
/// `larder problems` has them all.
const MOST_SHOWN: usize = 10;

/// Whether clients are told an address that only the proxy can say: nobody wrote it down, and TLS doesn't end here.
pub(super) fn needs_scheme(config: &Config) -> bool {
    config.http.host.is_none() && config.http.tls.is_none()
}

/// Asks the server that runs on this directory, if one does.
pub(super) async fn check(journal: &mut Journal<'_>, root: &Path, needs_scheme: bool) {
    let answer = match larder_server::ask_running(root, "GET", "/api/v1/problems").await {
        Ok(Some((200, body))) => serde_json::from_slice(&body).unwrap_or(Value::Null),
        Ok(None) => return journal.skip(STAGE, format!("no Larder runs on {}", root.display())),
        Ok(Some((status, _))) => {
            return journal.skip(STAGE, format!("the running Larder answers {status}: it is an older one"));
        }
        Err(error) => {
            return journal.skip(
                STAGE,
                format!(
                    "the running Larder can't be asked: {error}; run this command as its user, where it runs"
                ),
            );
        }
    };
    told(journal, &answer, needs_scheme);
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What a proxy leaves out that the registry can't know.
fn silent(proxy: &str, by: &str, names_client: bool, tells_scheme: bool) -> Option<Finding> {
    const CLIENTS: &str = "its clients are one to the registry: they share limits on guessed passwords, and the log shows the proxy";
    const SCHEME: &str =
        "if clients come to it by https, they are sent to http:// for tokens, and `docker login` fails";
    let (missing, cause) = match (names_client, tells_scheme) {
        (true, true) => return None,
        (true, false) => ("by which scheme they come (X-Forwarded-Proto)", SCHEME.to_owned()),
        (false, true) => ("who its clients are (X-Forwarded-For)", CLIENTS.to_owned()),
        (false, false) => (
            "who its clients are (X-Forwarded-For), or by which scheme they come (X-Forwarded-Proto)",
            format!("{CLIENTS}; {SCHEME}"),
        ),
    };
    Some(warning(
        STAGE,
        Row::FrontSilent,
        format!("the proxy at {proxy}{by} doesn't say {missing}"),
        &cause,
        "nginx: proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; \
         proxy_set_header X-Forwarded-Proto $scheme;  larder proxy prints the whole file, for others too",
    ))
}

/// What of the server's answer a person should know.
pub(super) fn told(journal: &mut Journal<'_>, answer: &Value, needs_scheme: bool) {
    let fronts = list(answer, "fronts");
    if fronts.is_empty() {
        journal.good(
            STAGE,
            "no request has shown the headers of a proxy: clients come directly, or it sends none",
        );
    }
    for front in fronts {
        let proxy = text(front, "proxy");
        let by = match text(front, "via") {
            "" => String::new(),
            via => format!(" ({via})"),
        };
        if front.get("trusted").and_then(Value::as_bool) != Some(true) {
            journal.find(warning(
                STAGE,
                Row::FrontUntrusted,
                format!("the proxy at {proxy}{by} tells of its clients and isn't believed"),
                "all its clients are one to the registry: they share limits on guessed passwords, and the log shows the proxy",
                format!("http.trustedproxies: [{proxy}]"),
            ));
            continue;
        }
        let (proto, host) = (text(front, "proto"), text(front, "host"));
        let names_client = front.get("names_client").and_then(Value::as_bool) == Some(true);
        if let Some(told) = silent(proxy, &by, names_client, !proto.is_empty() || !needs_scheme) {
            journal.find(told);
            continue;
        }
        let scheme = if proto.is_empty() { "no scheme" } else { proto };
        let host = if host.is_empty() { String::new() } else { format!(" for {host}") };
        journal.good(STAGE, format!("the proxy at {proxy}{by} passes {scheme} on{host}"));
    }
    let problems = list(answer, "problems");
    if problems.is_empty() {
        journal.good(STAGE, "nothing was refused lately");
    }
    for problem in problems.iter().take(MOST_SHOWN) {
        let count = problem.get("count").and_then(Value::as_u64).unwrap_or(1);
        let times = if count == 1 { String::new() } else { format!(", {count} times") };
        journal.find(Finding {
            row: Row::RefusedLately,
            severity: Severity::Warning,
            stage: STAGE,
            seen: match text(problem, "client") {
                // What stands until somebody mends it.
                "" => format!("this registry itself, since {}", text(problem, "first")),
                client => format!("{client} until {}{times}", text(problem, "last")),
            },
            cause: text(problem, "reason").to_owned(),
            hop: Hop::Named(text(problem, "hop").to_owned()),
            fix: text(problem, "fix").to_owned(),
        });
    }
    if let Some(more) = problems.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
        journal.skip(STAGE, format!("{more} more: larder problems"));
    }
}
