//! TLS or not, and what the certificate is worth.

mod built_in;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::header::DATE;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::check::{Told, Visit};
use crate::finding::{Hop, Row, Stage};
use crate::hop;
use crate::net::{Ask, Certificate, Client, Endpoint, Scheme, Seen, TlsTrouble, Verdict, connect, handshake};

const STAGE: Stage = Stage::Tls;

/// Certificates are renewed a month before; one that has only this long left is being forgotten.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What servers say when a TLS port is spoken to in the clear: Go's and nginx's words.
const PLAIN_TO_TLS: [&str; 2] =
    ["HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS port"];

/// Issuers of companies that open TLS on its way.
const INSPECTORS: [&str; 12] = [
    "zscaler",
    "netskope",
    "fortinet",
    "fortigate",
    "palo alto",
    "blue coat",
    "bluecoat",
    "umbrella",
    "sophos",
    "mcafee",
    "forcepoint",
    "check point",
];

/// A way to the registry in the scheme that it speaks, and what its certificate is worth if it has one.
pub(crate) async fn check(
    visit: &mut Visit<'_, '_>,
    address: SocketAddr,
) -> Option<(Client, Option<Verdict>)> {
    if visit.target.scheme == Some(Scheme::Http) {
        return Some(written_as_plain(visit, address).await);
    }
    let trouble = match shake(visit, address).await {
        Ok(seen) => {
            let client = visit.client(Scheme::Https, address);
            judge(visit, &client, &seen).await;
            return Some((client, Some(seen.verdict)));
        }
        Err(trouble) => trouble,
    };
    let plain = visit.client(Scheme::Http, address);
    if let Ok(answer) = plain.ask(Ask::get("/v2/")).await {
        if visit.target.scheme.is_none() && visit.target.is_loopback() {
            visit.good(STAGE, "plain HTTP, which docker and podman take from the machine itself");
            visit.is_trusted = true;
            return Some((plain, None));
        }
        let authority = visit.target.authority();
        let told = Told::failure(
            hop::hop(&answer, None),
            format!("{address} answers plain HTTP, and not TLS ({trouble})"),
            "clients speak TLS unless they are told otherwise, and say `http: server gave HTTP response to HTTPS client`",
            format!(
                "give the registry a certificate (http.tls, or a proxy in front); or, inside a network that you trust, for docker in \
                 /etc/docker/daemon.json: {{\"insecure-registries\": [\"{authority}\"]}}"
            ),
        );
        visit.find(STAGE, Row::PlainHttp, told);
        return Some((plain, None));
    }
    let told = Told::failure(
        Hop::Registry,
        format!("{address}: {trouble}"),
        "what listens there speaks neither TLS with this machine nor HTTP",
        format!(
            "look at what listens: openssl s_client -connect {address} -servername {}",
            visit.target.host
        ),
    );
    visit.find(STAGE, Row::TlsFailed, told);
    None
}

async fn shake(visit: &Visit<'_, '_>, address: SocketAddr) -> Result<Seen, TlsTrouble> {
    let stream = connect(address).await.map_err(|trouble| TlsTrouble::Other(trouble.to_string()))?;
    handshake(stream, &visit.target.host, &visit.trust).await.map(|(_, seen)| seen)
}

/// `http://` was written down: right, unless the port speaks TLS.
async fn written_as_plain(visit: &mut Visit<'_, '_>, address: SocketAddr) -> (Client, Option<Verdict>) {
    let plain = visit.client(Scheme::Http, address);
    let answer = plain.ask(Ask::get("/v2/")).await;
    let says = match &answer {
        Ok(answer) => PLAIN_TO_TLS.iter().any(|words| answer.text().contains(words)),
        Err(_) => false,
    };
    let is_tls = says || (answer.is_err() && shake(visit, address).await.is_ok());
    if !is_tls {
        visit.is_trusted = true;
        visit.good(STAGE, "plain HTTP, as written");
        return (plain, None);
    }
    let seen = match &answer {
        Ok(answer) => format!("asked in plain HTTP, {address} answers {}", hop::words(answer)),
        Err(trouble) => {
            format!("asked in plain HTTP, {address} gives no answer ({trouble}), but it speaks TLS")
        }
    };
    let told = Told::failure(
        Hop::Client,
        seen,
        "the port speaks TLS, and the registry or mirror is written down with http://",
        format!("write https://{}", visit.target.authority()),
    );
    visit.find(STAGE, Row::TlsOnHttpPort, told);
    let client = visit.client(Scheme::Https, address);
    let Ok(seen) = shake(visit, address).await else { return (client, None) };
    judge(visit, &client, &seen).await;
    (client, Some(seen.verdict))
}

/// What the certificate is worth, in words.
async fn judge(visit: &mut Visit<'_, '_>, client: &Client, seen: &Seen) {
    let Some(leaf) = seen.chain.first().and_then(Certificate::read) else {
        let told = Told::failure(
            Hop::Registry,
            "the certificate can't be read",
            "what the server shows is no X.509 certificate",
            "reissue it",
        );
        visit.find(STAGE, Row::TlsFailed, told);
        return;
    };
    match &seen.verdict {
        Verdict::Trusted => {
            visit.is_trusted = true;
            visit.good(
                STAGE,
                format!("the certificate is believed, by {} until {}", leaf.issuer, date(leaf.not_after)),
            );
            soon(visit, &leaf);
        }
        Verdict::TrustedByFile(files) => {
            visit.is_trusted = true;
            visit.good(STAGE, format!("the certificate is believed by what reads {}", files.join(", ")));
            soon(visit, &leaf);
        }
        Verdict::Unreadable(words) => {
            let told = Told::failure(
                Hop::Registry,
                format!("the certificate of {} isn't taken: {words}", client.endpoint),
                "it has a form or a signature that clients don't take",
                "reissue it with a current tool",
            );
            visit.find(STAGE, Row::TlsFailed, told);
        }
        Verdict::Refused(error) => refused(visit, client, seen, &leaf, error).await,
    }
}

fn soon(visit: &mut Visit<'_, '_>, leaf: &Certificate) {
    let Ok(left) = leaf.not_after.duration_since(visit.now()) else { return };
    if left < SOON {
        let told = Told::warning(
            Hop::Registry,
            format!("the certificate is valid until {}", date(leaf.not_after)),
            "nobody has renewed it yet",
            "renew it; Larder takes a renewed file up by itself, registry:2 has to be restarted",
        );
        visit.find(STAGE, Row::Expired, told);
    }
}

async fn refused(
    visit: &mut Visit<'_, '_>,
    client: &Client,
    seen: &Seen,
    leaf: &Certificate,
    error: &CertificateError,
) {
    if let Some((row, told)) = built_in::of(visit, leaf) {
        visit.find(STAGE, row, told);
        return;
    }
    let (row, told) = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            dates(visit, client, leaf, Row::Expired).await
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            dates(visit, client, leaf, Row::NotYetValid).await
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            names(visit, leaf)
        }
        CertificateError::UnknownIssuer => unknown(visit, seen, leaf).await,
        other => (
            Row::TlsFailed,
            Told::failure(
                Hop::Registry,
                format!("the certificate isn't taken: {}", rustls::Error::InvalidCertificate(other.clone())),
                "it has a form or a signature that clients don't take",
                "reissue it with a current tool, as a server's certificate",
            ),
        ),
    };
    visit.find(STAGE, row, told);
}

/// An expired or too young certificate, or a clock that makes it so.
async fn dates(visit: &Visit<'_, '_>, client: &Client, leaf: &Certificate, row: Row) -> (Row, Told) {
    let server_time = match client.ask(Ask::get("/v2/")).await {
        Ok(answer) => answer.header(DATE).and_then(super::base::http_date),
        Err(_) => None,
    };
    let now = visit.now();
    let seen = format!(
        "the certificate is valid from {} to {}, and this machine's clock says {}",
        date(leaf.not_before),
        date(leaf.not_after),
        date(now)
    );
    if let Some(theirs) = server_time.filter(|theirs| (leaf.not_before..=leaf.not_after).contains(theirs)) {
        return (
            Row::ClockWrong,
            Told::failure(
                Hop::Client,
                format!("{seen}; the registry's says {}", date(theirs)),
                "this machine's clock is wrong, so that a good certificate looks expired or too young",
                "sudo timedatectl set-ntp true",
            ),
        );
    }
    let (cause, fix) = match row {
        Row::Expired => (
            "it has run out: nobody renewed it, or it was renewed on disk and the server still has the old one in memory",
            "renew it and reload the server that shows it (Larder takes a renewed file up by itself)",
        ),
        _ => {
            ("it was made on a machine whose clock is ahead", "set that machine's clock, and issue it again")
        }
    };
    (row, Told::failure(Hop::Registry, seen, cause, fix))
}

fn names(visit: &Visit<'_, '_>, leaf: &Certificate) -> (Row, Told) {
    let host = &visit.target.host;
    if leaf.names.is_empty() {
        return (
            Row::NoNames,
            Told::failure(
                Hop::Registry,
                format!("the certificate names only its subject ({}), and no subjectAltName", leaf.subject),
                "clients have stopped looking at the common name: `certificate relies on legacy Common Name field`",
                format!("reissue it: openssl req … -addext 'subjectAltName={}'", alternative(host)),
            ),
        );
    }
    let (cause, fix) = if host.parse::<std::net::IpAddr>().is_ok() {
        (
            "the registry is reached by its address, and the certificate doesn't hold addresses or not this one",
            format!(
                "use a name that is in the certificate, or reissue it with subjectAltName={}",
                alternative(host)
            ),
        )
    } else {
        (
            "it belongs to another name: the wrong virtual host answers, or the name is missing in it",
            format!("reissue it with subjectAltName={}", alternative(host)),
        )
    };
    let seen = format!("the certificate is for {}, not for {host}", leaf.names.join(", "));
    (Row::WrongName, Told::failure(Hop::Registry, seen, cause, fix))
}

fn alternative(host: &str) -> String {
    let kind = if host.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
    format!("{kind}:{host}")
}

/// An authority that this machine doesn't know: which of the four reasons it is.
async fn unknown(visit: &Visit<'_, '_>, seen: &Seen, leaf: &Certificate) -> (Row, Told) {
    let authority = visit.target.authority();
    let install = format!(
        "sudo install -D -m 644 ca.crt /etc/docker/certs.d/{authority}/ca.crt   # podman: /etc/containers/certs.d/{authority}/ca.crt"
    );
    let shown = format!("the certificate of {authority} is issued by {}", leaf.issuer);
    if INSPECTORS.iter().any(|inspector| leaf.issuer.to_ascii_lowercase().contains(inspector)) {
        return (
            Row::Inspected,
            Told::failure(
                Hop::Network,
                shown,
                "a company's inspection of TLS stands in between, and its authority is not known to this machine",
                format!(
                    "leave {authority} out of the inspection, or install its authority as ca.crt: {install}"
                ),
            ),
        );
    }
    if leaf.is_self_issued {
        return (
            Row::SelfSigned,
            Told::failure(
                Hop::Client,
                format!("the certificate of {authority} is issued by itself ({})", leaf.subject),
                "nobody else vouches for it, so each client has to be given it",
                install.replace("ca.crt /etc", "registry.crt /etc"),
            ),
        );
    }
    if let Some(missing) = missing_intermediate(visit, seen).await {
        return (
            Row::IncompleteChain,
            Told::failure(
                Hop::Registry,
                format!("{shown}, and the server doesn't show the certificate of that issuer"),
                format!(
                    "the intermediate certificate {missing} is missing: browsers fetch it, docker and containerd don't"
                ),
                "cat server.crt intermediate.crt > fullchain.crt, and let the server show that file",
            ),
        );
    }
    let last = seen.chain.last().and_then(Certificate::read).map_or_else(String::new, |last| last.issuer);
    (
        Row::UnknownAuthority,
        Told::failure(
            Hop::Client,
            format!("{shown}; its chain of {} ends at {last}", seen.chain.len()),
            "that is an authority of your own which this machine hasn't been given, or the server leaves out an intermediate \
             certificate: `certificate signed by unknown authority`",
            install,
        ),
    )
}

/// The subject of the certificate that would make the chain whole: fetched from where the last one shown says, and tried.
async fn missing_intermediate(visit: &Visit<'_, '_>, seen: &Seen) -> Option<String> {
    let last = seen.chain.last().and_then(Certificate::read)?;
    let (endpoint, path) = Endpoint::of_url(&last.issuer_url?)?;
    if endpoint.scheme != Scheme::Http {
        return None;
    }
    let client = Client::to(endpoint, visit.trust.clone()).await.ok()?;
    let answer = client.ask(Ask::get(path)).await.ok()?;
    let fetched = CertificateDer::from(answer.body.to_vec());
    let subject = Certificate::read(&fetched)?.subject;
    let mut chain = seen.chain.clone();
    chain.push(fetched);
    let name = ServerName::try_from(visit.target.host.clone()).ok()?;
    let whole = visit.trust.judge(&chain, &name);
    (whole != Verdict::Refused(CertificateError::UnknownIssuer)).then_some(subject)
}

fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
