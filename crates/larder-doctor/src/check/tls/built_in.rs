//! The certificate that a proxy shows for want of another: it vouches for itself, but giving it to clients helps nobody.

use crate::check::{Told, Visit};
use crate::finding::{Hop, Row};
use crate::hop::Front;
use crate::net::Certificate;

/// What is wrong if this is one, and not for the host that was asked for. Whose it is counts as having shown itself.
pub(super) fn of(visit: &mut Visit<'_, '_>, leaf: &Certificate) -> Option<(Row, Told)> {
    let host = visit.target.host.clone();
    let is_of = |name: &str| name.eq_ignore_ascii_case(&host);
    if leaf.names.is_empty() || leaf.names.iter().any(|name| is_of(name)) {
        return None;
    }
    let subject = leaf.subject.to_ascii_lowercase();
    let seen = format!("the certificate is for {} ({}), not for {host}", leaf.names.join(", "), leaf.subject);
    if subject.contains("traefik default cert") {
        visit.front = Some(Front::Traefik);
        let told = Told::failure(
            visit.front_hop(),
            seen,
            "Traefik shows its built-in certificate: it has none for this name, or couldn't get or read the one that it was told of",
            format!(
                "name certificate and key for {host} below tls.certificates in a file of Traefik's file provider (its static \
                 configuration doesn't take them), or give the router a certResolver; clients that come by a bare address get \
                 tls.stores.default.defaultCertificate. Traefik's log says what it couldn't read"
            ),
        );
        return Some((Row::WrongName, told));
    }
    let known = ["synology", "localhost", "fake certificate"];
    let is_known = known
        .iter()
        .any(|word| subject.contains(word) || leaf.names.iter().any(|name| name.eq_ignore_ascii_case(word)));
    is_known.then(|| {
        let told = Told::failure(
            Hop::Registry,
            seen,
            "the server shows its built-in certificate: no router or virtual host of it is for this name",
            format!("add a rule for the host {host} to the proxy, and name the certificate there"),
        );
        (Row::WrongName, told)
    })
}
