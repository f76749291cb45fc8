//! Each upstream, each of its URLs, as the server would ask it: with its login, its authorities, its proxy.

use larder_core::{Upstream as _, UpstreamError, UpstreamFailure};
use larder_doctor::{Finding, Hop, Journal, Row, Severity, Stage};
use larder_oci::{Reference, RepoName};
use larder_upstream::{BaseUrl, RemoteRegistry, Settings, UrlSnapshot};

use crate::config::{Config, Upstream};

const STAGE: Stage = Stage::Upstream;

/// Docker's own image to ask about limits with: a HEAD of it counts for nothing.
const HUB_PREVIEW: (&str, &str) = ("ratelimitpreview/test", "latest");
/// What no registry has. Whether it says "no" or "log in" is its own affair: either way it is reached and speaks.
const NOBODYS: (&str, &str) = ("larder-doctor/nobodys", "none");

/// Asks them all.
pub(super) async fn check(journal: &mut Journal<'_>, config: &Config) {
    if config.upstreams.is_empty() {
        journal.skip(STAGE, "none is configured");
    }
    for upstream in &config.upstreams {
        let name = &upstream.reached.name;
        if upstream.asked.offline {
            journal.skip(
                STAGE,
                format!("{name} is switched off (offline): copies are served, and nothing is asked"),
            );
            continue;
        }
        for url in &upstream.reached.urls {
            journal.begin(STAGE, format!("{name} at {url}"));
            ask(journal, upstream, url).await;
        }
    }
}

async fn ask(journal: &mut Journal<'_>, upstream: &Upstream, url: &BaseUrl) {
    let name = upstream.reached.name.as_str();
    let settings = Settings { urls: vec![url.clone()], ..upstream.reached.clone() };
    let remote = match RemoteRegistry::new(settings) {
        Ok(remote) => remote,
        Err(error) => {
            let told = Told {
                row: Row::UpstreamTls,
                severity: Severity::Failure,
                cause: "the server doesn't start with it",
                fix: "upstreams[].ca must name a readable PEM file, upstreams[].proxy a URL".to_owned(),
            };
            return journal.find(told.about(name, crate::doctor::with_causes(&error)));
        }
    };
    let (repository, tag) = if name == "docker.io" { HUB_PREVIEW } else { NOBODYS };
    let (Ok(repository), Ok(tag)) = (repository.parse::<RepoName>(), tag.parse()) else { return };
    let outcome = remote.head_manifest(&repository, &Reference::Tag(tag)).await;
    let snapshot = remote.snapshot().urls.into_iter().next();
    if let Some(told) = snapshot.as_ref().and_then(refused_login) {
        let label = told.1;
        return journal.find(told.0.about(name, format!("{url} doesn't take the login of {label}")));
    }
    if let Err(error) = &outcome
        && let Some(told) = told_of(error, url).await
    {
        return journal.find(told.about(name, error.detail.as_ref()));
    }
    journal.good(STAGE, format!("{name} answers at {url}"));
    for told in snapshot.iter().flat_map(limits) {
        match told {
            Ok(words) => journal.good(STAGE, format!("{name}: {words}")),
            Err(words) => journal.find(running_out().about(name, words)),
        }
    }
}

/// A finding's words beside what was seen.
struct Told {
    row: Row,
    severity: Severity,
    cause: &'static str,
    fix: String,
}

impl Told {
    fn about(self, upstream: &str, seen: impl Into<String>) -> Finding {
        let Told { row, severity, cause, fix } = self;
        let (hop, cause) = (Hop::Upstream(upstream.to_owned()), cause.to_owned());
        Finding { row, severity, stage: STAGE, seen: seen.into(), cause, hop, fix }
    }
}

/// With whose login it is.
fn refused_login(url: &UrlSnapshot) -> Option<(Told, String)> {
    let account = url.accounts.iter().find(|account| account.login_refused)?;
    let told = Told {
        row: Row::UpstreamLogin,
        severity: Severity::Failure,
        cause: "the password is wrong, was changed, or has run out; what is private there can't be fetched, and the \
                limits are those of nobody in particular",
        fix: "put the login right: upstreams[].username and password, proxy.password, or the accounts' own (a token \
              instead of the password, where two factors are wanted)"
            .to_owned(),
    };
    Some((told, account.label.clone()))
}

/// What to say of a failure; `None` for one that is as it should be for somebody who asks for what nobody has.
async fn told_of(error: &UpstreamError, url: &BaseUrl) -> Option<Told> {
    const COPIES: &str = "what isn't here can't be pulled (502, 504); copies are served";
    let host = url.host_and_port();
    let told = |row, cause, fix: String| Some(Told { row, severity: Severity::Failure, cause, fix });
    match error.failure {
        UpstreamFailure::Unauthorized | UpstreamFailure::Denied | UpstreamFailure::Offline => None,
        UpstreamFailure::Unreachable if !has_address(&host).await => {
            let name = host.split(':').next().unwrap_or(&host);
            let fix = format!("getent hosts {name}: mend /etc/resolv.conf, or in a container its --dns");
            told(Row::UpstreamName, COPIES, fix)
        }
        UpstreamFailure::Unreachable | UpstreamFailure::TimedOut => told(
            Row::UpstreamUnreachable,
            COPIES,
            format!(
                "let this machine out to {host}, or name the way: upstreams[].proxy: http://proxy:3128; without one, offline: true"
            ),
        ),
        UpstreamFailure::Tls => told(
            Row::UpstreamTls,
            "its authority isn't known to this machine: a company's own, or one that inspects TLS on the way",
            "upstreams[].ca: /etc/ssl/upstream-ca.pem, with that authority's certificate".to_owned(),
        ),
        UpstreamFailure::RateLimited { .. } => Some(Told { severity: Severity::Failure, ..running_out() }),
        UpstreamFailure::Failed { .. } | UpstreamFailure::Garbled | UpstreamFailure::Cut => told(
            Row::UpstreamFailed,
            "it is down, or something on the way answers in its place",
            format!("compare: larder doctor {host}; the URL must be that of a registry"),
        ),
    }
}

async fn has_address(host: &str) -> bool {
    let with_port = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        host.to_owned()
    } else {
        format!("{host}:443")
    };
    tokio::net::lookup_host(with_port).await.is_ok_and(|mut found| found.next().is_some())
}

fn running_out() -> Told {
    Told {
        row: Row::UpstreamLimit,
        severity: Severity::Warning,
        cause: "the upstream counts pulls for this address or this login; until its window is over, copies are served and \
                what isn't here ends in 429",
        fix: "give the upstream a login, or more of them, which take turns: upstreams[].accounts".to_owned(),
    }
}

/// What is left: fine, or not.
fn limits(url: &UrlSnapshot) -> Vec<Result<String, String>> {
    let counted = url.accounts.iter().filter_map(|account| {
        let remaining = account.remaining?;
        let of = account.limit.map_or(String::new(), |limit| format!(" of {limit}"));
        let words = format!("{remaining}{of} pulls left for {}", account.label);
        let is_scarce = account.limit.is_some_and(|limit| remaining < limit / 10) || remaining == 0;
        Some(if is_scarce { Err(words) } else { Ok(words) })
    });
    counted.collect()
}
