//! `http`: where and how clients are answered, and what they may cost.

use super::super::{
    Key,
    Kind::*,
    Status::{self, Ignored, Unneeded, Works},
};
use super::{key, own};

const CLIENT_AUTH: &[&str] = &[
    "require-and-verify-client-cert",
    "request-client-cert",
    "require-any-client-cert",
    "verify-client-cert-if-given",
];

const CLIENT_NAME: &[&str] = &["none", "cn", "dns", "email", "uri"];

const NO_SECRET: Status = Unneeded("Larder signs nothing with it.");
const NO_RELATIVE_URLS: Status =
    Unneeded("Larder's Location headers are always relative, which every client accepts.");
const NO_H2C: Status = Ignored("Whether HTTP/2 is spoken without TLS doesn't depend on this key.");
/// `Network::private()` of larder-server.
const PRIVATE: &str = "[127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, \"::1/128\", fc00::/7, fe80::/10]";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("http", Section, Works, "", "Where and how clients are answered."),
    key("http.addr", Text, Works, ":5000", "Where clients are answered: `host:port`, or the path of a socket file with `net: unix`."),
    key("http.net", Words(&["tcp", "unix"]), Works, "tcp", "The kind of that address. A socket that systemd passes goes before both."),
    key("http.host", Text, Works, "", "The registry's address as clients know it, with scheme and host: where they are sent for tokens."),
    key("http.prefix", Text, Works, "", "A path that all addresses stand below, such as `/images/`."),
    key("http.secret", Secret, NO_SECRET, "", "What registry:2 signs the state of uploads with."),
    key("http.relativeurls", Boolean, NO_RELATIVE_URLS, "", "Whether `Location` headers are without a host."),
    key("http.draintimeout", Duration, Works, "30s", "How long a stop waits for requests that are under way; `0` doesn't wait."),
    key("http.headers", Headers, Works, "", "Headers that every answer of the registry gets."),
    own("http.trustedproxies", Texts, PRIVATE, "Whose `X-Forwarded-…` and `Forwarded` headers are believed: addresses and ranges. `[]` believes nobody."),
    key("http.debug", Section, Works, "", "A second listener for health and metrics, without credentials."),
    key("http.debug.addr", Text, Works, "", "Its address, `host:port`; without it there is none."),
    key("http.debug.prometheus", Section, Works, "", "Metrics there."),
    key("http.debug.prometheus.enabled", Boolean, Works, "false", "Whether there are metrics."),
    key("http.debug.prometheus.path", Text, Works, "/metrics", "Their path."),
    key("http.http2", Section, Works, "", "HTTP/2, which is spoken over TLS."),
    key("http.http2.disabled", Boolean, Works, "false", "Whether clients are kept on HTTP/1.1."),
    key("http.h2c", Section, NO_H2C, "", "HTTP/2 without TLS."),
    key("http.h2c.enabled", Boolean, NO_H2C, "", "Whether it is spoken."),
    key("http.tls", Section, Works, "", "Encryption. The files are read again when they change."),
    key("http.tls.certificate", Text, Works, "", "A PEM file with the certificate and its chain; with it there is TLS."),
    key("http.tls.key", Text, Works, "", "A PEM file with its private key."),
    own("http.tls.auto", Boolean, "false", "Whether an authority of Larder's own, made once and kept in the data directory, signs a certificate instead, which is renewed by itself. Clients trust it as `/setup` says."),
    own("http.tls.names", Texts, "", "Names and addresses that this certificate is for, beside this machine's own and those of `http.host` and of the upstreams' `hostnames`."),
    key("http.tls.clientcas", Texts, Works, "", "PEM files with the authorities that sign clients' certificates; with them clients are asked for one."),
    key("http.tls.clientauth", Words(CLIENT_AUTH), Works, "", "What is asked of clients where there are `clientcas`; `require-and-verify-client-cert` when left out. A certificate that is shown must always be signed by one of them."),
    own("http.tls.clientname", Words(CLIENT_NAME), "none", "By what of his certificate a client is known who shows one and no other credentials: `cn` (the subject's common name), `dns`, `email` or `uri` (a subject alternative name). Rules name him as `certificate:NAME`."),
    key("http.tls.minimumtls", Words(&["tls1.0", "tls1.1", "tls1.2", "tls1.3"]), Works, "tls1.2", "The oldest version that is spoken; never one before 1.2."),
    key("http.tls.ciphersuites", Texts, Works, "", "The cipher suites of TLS 1.2 by Go's names; all that are held safe when left out."),
    key("http.tls.letsencrypt", Section, Works, "", "A certificate that is ordered by ACME from Let's Encrypt or another authority, kept and renewed. Naming it agrees to its terms."),
    key("http.tls.letsencrypt.cachefile", Text, Works, "", "Where account and certificate are kept; below `larder/acme` in the data directory when left out. In a directory they get one of their own, `larder`; beside a file, such as registry:2's, one with its name and `.larder`."),
    key("http.tls.letsencrypt.email", Text, Works, "", "Whom the authority writes to when something is wrong."),
    key("http.tls.letsencrypt.hosts", Texts, Works, "", "Required. The names that the certificate is for, without `*`. The authority must reach this registry by each of them."),
    key("http.tls.letsencrypt.directoryurl", Text, Works, "https://acme-v02.api.letsencrypt.org/directory", "The `https` address of the authority's directory."),
    own("http.tls.letsencrypt.directoryca", Text, "", "A PEM file with the authorities that vouch for that address, beside the system's: for a private one."),
    own("http.tls.letsencrypt.addr", Text, "", "Where the authority's questions are answered by plain HTTP (HTTP-01), `host:port`; it asks at port 80 of each host. When left out, it asks at port 443 (TLS-ALPN-01), which must lead to `http.addr`."),
    own("http.tls.letsencrypt.retry", Duration, "5m", "The pause after an order has failed; doubled with each further failure, up to six hours. An authority that names a longer one gets it."),
];

#[rustfmt::skip]
pub(super) const LIMITS: &[Key] = &[
    own("http.limits", Section, "", "What clients may cost."),
    own("http.limits.connections", Integer, "10000", "The most connections at once; the next wait."),
    own("http.limits.connectionsperaddress", Integer, "5000", "The most connections at once from one address, or from one /64 of IPv6; the next are closed."),
    own("http.limits.headbytes", Size, "400KiB", "The longest head of a request; with HTTP/2 at most 128 KiB."),
    own("http.limits.idletime", Duration, "120s", "How long a connection may stay without a whole head of a request."),
    own("http.limits.bodysilence", Duration, "15m", "How long a client may send nothing in the middle of a body."),
];
