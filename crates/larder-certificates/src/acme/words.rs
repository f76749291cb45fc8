//! Why there is no certificate, in an operator's words: what the authority said, what that means here, and what to do.

use instant_acme::{Error, Problem};

use super::AcmeSettings;
use super::challenges::Proof;
use super::order::Refusal;
use super::transport::Unanswered;

/// What is told of a failed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Explained {
    /// The probable cause, and the authority's own words.
    pub(super) reason: String,
    /// What to do.
    pub(super) fix: String,
}

/// The types of RFC 8555, section 6.7, without their prefix.
const PREFIX: &str = "urn:ietf:params:acme:error:";

pub(super) fn explain(refusal: &Refusal, settings: &AcmeSettings) -> Explained {
    let authority = settings.authority();
    let told = |reason: String, fix: String| Explained { reason, fix };
    match refusal {
        Refusal::File(error) => told(
            with_cause(error),
            "let the registry's user write there, and see that the disk isn't full".to_owned(),
        ),
        Refusal::Transport(error) => told(
            with_cause(error),
            "name a readable PEM file in http.tls.letsencrypt.directoryca, or install the system's bundle of certificate authorities (ca-certificates)"
                .to_owned(),
        ),
        Refusal::Account(path) => told(
            format!("{path} holds no account that can be used"),
            format!("put it back from a backup; or remove it, and another account is made: rm {path}"),
        ),
        Refusal::Protocol(error) => protocol(error, settings),
        Refusal::Proof(failed) => {
            let (host, problem) = match failed.first() {
                Some((host, problem)) => (host.as_str(), Some(problem)),
                None => ("", None),
            };
            let (cause, fix) = cause(problem.map_or("", failed_proof), host, settings);
            let words: Vec<String> =
                failed.iter().map(|(host, problem)| format!("{host}: {}", quoted(problem))).collect();
            told(format!("{cause}. {authority} says of {}", words.join("; of ")), fix)
        }
        Refusal::NoProof { host, offered } => told(
            format!(
                "{authority} doesn't take {} as a proof for {host}, only {}",
                settings.proof.name(),
                offered.join(", ")
            ),
            match settings.proof {
                Proof::TlsAlpn => "let it be proven on port 80: http.tls.letsencrypt.addr: \":80\"",
                Proof::Http => "let it be proven on port 443: leave http.tls.letsencrypt.addr out",
            }
            .to_owned(),
        ),
        Refusal::Chain(what) => told(
            format!("what {authority} has signed can't be used: {what}"),
            "ask those who run the authority; the certificate from before, if there is one, stays in use".to_owned(),
        ),
        Refusal::Made(error) => told(format!("a request could not be made: {error}"), host_names()),
        Refusal::Ended(words) => told(
            format!("{words} at {authority}, without a word why"),
            "wait for the next try; if it is the same then, ask those who run the authority".to_owned(),
        ),
    }
}

fn protocol(error: &Error, settings: &AcmeSettings) -> Explained {
    let (authority, url) = (settings.authority(), &settings.directory_url);
    let told = |reason: String, fix: String| Explained { reason, fix };
    match error {
        Error::Api(problem) => {
            let about = settings.hosts.first().map(String::as_str).unwrap_or_default();
            let (cause, fix) = cause(kind(problem), about, settings);
            told(format!("{cause}. {authority} says {}", quoted(problem)), fix)
        }
        Error::Timeout(_) => told(
            format!("{authority} has not decided within three minutes"),
            "nothing, at first: it is asked again; if it stays so, look for the authority's status page".to_owned(),
        ),
        Error::Json(_) => told(
            format!("what answers at {url} is no ACME directory, or a proxy on the way answers in its place"),
            format!("see what it says: curl -v {url}"),
        ),
        Error::Other(cause) => match cause.downcast_ref::<Unanswered>() {
            Some(unanswered) if unanswered.is_trust => told(
                format!("{authority} is asked over TLS and {}", unanswered.words),
                "for a private authority: http.tls.letsencrypt.directoryca names the PEM file of the one that signed its certificate; else the \
                 system's bundle (ca-certificates) is old or missing, or the clock is wrong"
                    .to_owned(),
            ),
            Some(unanswered) => told(
                format!("{authority} can't be asked: {}", unanswered.words),
                format!("let this machine reach it, through HTTPS_PROXY if need be: curl {url}"),
            ),
            None => told(format!("{authority} can't be asked: {cause}"), format!("see what it says: curl -v {url}")),
        },
        other => told(
            format!("{authority} answers what can't be understood: {other}"),
            format!("see whether {url} is an ACME directory: curl -v {url}"),
        ),
    }
}

/// What a type of problem means here, and what to do.
fn cause(kind: &str, host: &str, settings: &AcmeSettings) -> (String, String) {
    let (port, authority) = (settings.proof.port(), settings.authority());
    let other_way = match settings.proof {
        Proof::TlsAlpn => "or let it be proven on port 80 instead: http.tls.letsencrypt.addr: \":80\"",
        Proof::Http => {
            "or let it be proven on the registry's own port, reached as 443: leave http.tls.letsencrypt.addr out"
        }
    };
    let here = match settings.proof {
        Proof::TlsAlpn => "the registry's own port (http.addr)",
        Proof::Http => "http.tls.letsencrypt.addr",
    };
    match kind {
        "connection" => (
            format!("the authority gets no connection to port {port} of {host}"),
            format!(
                "let port {port} of {host} lead to {here}: in the firewall, in the router's port forwarding, in the cloud's security group; nothing on the way may end TLS; {other_way}"
            ),
        ),
        "dns" => (
            format!("the authority finds no address of {host}"),
            format!("publish an A or AAAA record of {host} that leads to this machine; then: dig +short {host}"),
        ),
        "unauthorized" | "incorrectResponse" | "tls" => (
            format!("somebody else than this registry answers at port {port} of {host}"),
            format!(
                "let {host} lead to this machine (dig +short {host}), in its AAAA record, too; and nothing may stand in front that ends TLS or \
                 answers itself: a proxy keeps the certificate then, {other_way}"
            ),
        ),
        "caa" => (
            format!("a CAA record of {host}, or of a domain above it, lets other authorities sign only"),
            format!("allow this one there (dig CAA {host}), for Let's Encrypt: CAA 0 issue \"letsencrypt.org\""),
        ),
        "rateLimited" => (
            "the authority has been asked too often".to_owned(),
            "wait: it is asked again as soon as it allows; make trials at a staging directory (http.tls.letsencrypt.directoryurl: \
             https://acme-staging-v02.api.letsencrypt.org/directory)"
                .to_owned(),
        ),
        "rejectedIdentifier" | "unsupportedIdentifier" => {
            (format!("{authority} doesn't sign for one of these hosts"), host_names())
        }
        "invalidContact" | "unsupportedContact" => (
            "the address for messages isn't taken".to_owned(),
            "put a mailbox that exists into http.tls.letsencrypt.email, or leave it out".to_owned(),
        ),
        "externalAccountRequired" => (
            format!("{authority} only serves those who have an account with it already, which Larder can't tell it of"),
            "choose another authority (http.tls.letsencrypt.directoryurl), or get the certificate by another program and name its files in \
             http.tls.certificate and key"
                .to_owned(),
        ),
        "userActionRequired" => (
            "the authority wants something to be agreed to".to_owned(),
            "open the address that it names in a browser".to_owned(),
        ),
        "serverInternal" => (
            "the authority has a fault of its own".to_owned(),
            "nothing: it is asked again; Let's Encrypt tells of faults at https://letsencrypt.status.io".to_owned(),
        ),
        "badNonce" => (
            "the authority takes its own numbers for old, several times in a row".to_owned(),
            "nothing: it is asked again; behind a proxy that caches its answers, go past that".to_owned(),
        ),
        _ => (
            "the authority refuses the order".to_owned(),
            format!("do what it says; it is asked again by itself, and at once after a reload (SIGHUP) of {host}'s registry"),
        ),
    }
}

fn host_names() -> String {
    "http.tls.letsencrypt.hosts must be names of the public DNS that belong to you; for a house or a lab there is http.tls.auto, or an authority of \
     your own (directoryurl)"
        .to_owned()
}

fn kind(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    // A compound problem says what it is about in its parts.
    let part = problem.subproblems.iter().find_map(|part| part.r#type.as_deref());
    part.filter(|_| kind.ends_with("compound")).unwrap_or(kind).trim_start_matches(PREFIX)
}

/// Some authorities have one type for all failed proofs, and tell only in words that they never came as far as asking.
fn failed_proof(problem: &Problem) -> &str {
    let detail = problem.detail.as_deref().unwrap_or_default().to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| detail.contains(words));
    match kind(problem) {
        "unauthorized" | "malformed" | "serverInternal"
            if says(&["resolve", "no such host", "nxdomain", "servfail"]) =>
        {
            "dns"
        }
        "unauthorized" | "malformed" | "serverInternal"
            if says(&[
                "failed to connect",
                "connection refused",
                "timed out",
                "timeout",
                "unreachable",
                "no route",
            ]) =>
        {
            "connection"
        }
        other => other,
    }
}

/// In the authority's own words.
fn quoted(problem: &Problem) -> String {
    let parts = problem.subproblems.iter().map(|part| {
        let about =
            part.identifier.as_ref().map(|one| format!("{}: ", one.authorized(false))).unwrap_or_default();
        format!("; {about}{}", part.detail.as_deref().unwrap_or_default())
    });
    let detail = problem.detail.as_deref().unwrap_or("nothing more");
    format!("\"{detail}{}\" ({})", parts.collect::<String>(), problem.r#type.as_deref().unwrap_or("no type"))
}

pub(super) fn with_cause(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
