//! From a name to addresses.

use std::net::SocketAddr;

use crate::check::{Told, Visit};
use crate::finding::{Hop, Row, Stage};
use crate::net::resolve;

const STAGE: Stage = Stage::Resolve;

pub(crate) async fn check(visit: &mut Visit<'_, '_>) -> Option<Vec<SocketAddr>> {
    let host = visit.target.host.clone();
    match resolve(&host, visit.port()).await {
        Ok(addresses) => {
            let listed: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            visit.good(STAGE, format!("{host} is {}", listed.join(", ")));
            proxy_environment(visit);
            Some(addresses)
        }
        Err(trouble) => {
            let cause = if host.ends_with(".local") {
                "names in .local are found by multicast, which this machine's resolver and the resolver of docker, containerd \
                 and podman don't do"
            } else {
                "this machine's resolver doesn't know the name; docker, containerd and podman ask the same one, and print its \
                 refusal as `no such host`"
            };
            let told = Told::failure(
                Hop::Resolver,
                format!("looking up {host}: {trouble}"),
                cause,
                format!(
                    "add a DNS record for {host}, or on this machine: echo 'ADDRESS {host}' | sudo tee -a /etc/hosts"
                ),
            );
            visit.find(STAGE, Row::NameUnknown, told);
            None
        }
    }
}

/// docker's daemon, containerd and podman obey these variables; the doctor goes straight to the registry.
fn proxy_environment(visit: &mut Visit<'_, '_>) {
    let value = |name: &str| {
        let environment = &visit.options.environment;
        environment
            .iter()
            .find(|(known, value)| known.eq_ignore_ascii_case(name) && !value.is_empty())
            .cloned()
    };
    let Some((name, proxy)) = value("HTTPS_PROXY").or_else(|| value("HTTP_PROXY")) else { return };
    let host = &visit.target.host;
    let exceptions = value("NO_PROXY").map(|(_, value)| value).unwrap_or_default();
    if visit.target.is_loopback() || excepted(host, &exceptions) {
        return;
    }
    let told = Told::warning(
        Hop::Client,
        format!("{name} is set (to {}), and NO_PROXY doesn't name {host}", without_login(&proxy)),
        "clients that were started with this environment reach the registry through that proxy, with its limits, its \
         certificates and its view of the network; this examination goes straight there",
        format!("export NO_PROXY={}", [exceptions.as_str(), host].join(",").trim_start_matches(',')),
    );
    visit.find(STAGE, Row::ProxyEnvironment, told);
}

/// Whether Go's reading of NO_PROXY leaves the host out (golang.org/x/net/http/httpproxy): a name counts for all below it.
fn excepted(host: &str, exceptions: &str) -> bool {
    exceptions.split(',').map(str::trim).filter(|one| !one.is_empty()).any(|one| {
        let name = one.split(':').next().unwrap_or(one).trim_start_matches('.').to_ascii_lowercase();
        one == "*" || host == name || host.ends_with(&format!(".{name}"))
    })
}

/// A proxy's URL may hold a password.
fn without_login(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_counts_for_the_name_and_for_what_is_below_it() {
        assert!(excepted("reg.lan", "localhost,reg.lan"));
        assert!(excepted("a.reg.lan", ".reg.lan"));
        assert!(excepted("a.reg.lan", "reg.lan:5000"));
        assert!(excepted("anything", "*"));
        assert!(!excepted("notreg.lan", "reg.lan"));
        assert!(!excepted("reg.lan", ""));
    }

    #[test]
    fn a_proxys_password_is_not_shown() {
        assert_eq!(without_login("http://bob:secret@proxy:3128"), "…@proxy:3128");
    }
}
