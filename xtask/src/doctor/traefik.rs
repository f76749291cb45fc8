//! The real Traefik with one fault each: what the doctor calls it, whose doing it is, and what to do.

use super::{Proxy, address, backend, examine};
use crate::failure::{Result, fail};
use crate::places::Ring;
use crate::report::Report;
use crate::server::{Auth, Program, bcrypt_line};
use crate::tls::Authority;

/// A fault of Traefik's, and what must be found: exactly these rows, and of the last one the rest.
struct Fault {
    what: &'static str,
    /// More lines of the entry point.
    entry_point: &'static str,
    /// The router's rule.
    rule: &'static str,
    /// More of the router: its TLS, its middlewares.
    router: &'static str,
    /// Middlewares. `@users` is a line of htpasswd.
    middlewares: &'static str,
    /// Whether anything stands behind.
    has_registry: bool,
    auth: Auth,
    /// What is written before the host: Traefik speaks TLS wherever it is spoken to so.
    scheme: &'static str,
    /// How long the slow uploads take, in seconds.
    slow: &'static str,
    rows: &'static [&'static str],
    seen: &'static str,
    cause: &'static str,
    fix: &'static str,
}

const HOP: &str = "proxy Traefik";

/// What is right: a route for everything, and time.
const RIGHT: Fault = Fault {
    what: "",
    entry_point: "    transport: {respondingTimeouts: {readTimeout: 0s}}",
    rule: "Host(`127.0.0.1`)",
    router: "",
    middlewares: "",
    has_registry: true,
    auth: Auth::None,
    scheme: "http://",
    slow: "0",
    rows: &[],
    seen: "",
    cause: "",
    fix: "",
};

const FAULTS: &[Fault] = &[
    Fault {
        what: "Traefik as it comes ends a slow push after its 60 s",
        entry_point: "",
        slow: "65",
        rows: &["cut-while-sending"],
        seen: "is ended after 60 s: ",
        cause: "how long a request may take in all",
        fix: "entryPoints.websecure.transport.respondingTimeouts.readTimeout=0",
        ..RIGHT
    },
    Fault {
        what: "Traefik with a read timeout of 2 s",
        entry_point: "    transport: {respondingTimeouts: {readTimeout: 2s}}",
        slow: "4",
        rows: &["cut-while-sending"],
        seen: "is ended after 2 s: ",
        cause: "how long a request may take in all",
        fix: "entryPoints.websecure.transport.respondingTimeouts.readTimeout=0",
        ..RIGHT
    },
    Fault {
        what: "Traefik that takes 1 MB, by its buffering middleware",
        router: "      middlewares: [small]\n",
        middlewares: "    small: {buffering: {maxRequestBodyBytes: 1000000}}\n",
        rows: &["body-limit"],
        seen: "a body of 2 MB is answered with 413",
        cause: "a proxy in front limits the size of a body",
        fix: "take maxRequestBodyBytes out of the buffering middleware",
        ..RIGHT
    },
    Fault {
        what: "Traefik that buffers",
        router: "      middlewares: [whole]\n",
        middlewares: "    whole: {buffering: {memRequestBodyBytes: 4000000}}\n",
        rows: &["buffered"],
        seen: "when the body has ended",
        cause: "onto its own disk",
        fix: "take the buffering middleware off this router",
        ..RIGHT
    },
    Fault {
        what: "Traefik that asks for the login of an open registry",
        router: "      middlewares: [login]\n",
        middlewares: "    login: {basicAuth: {users: ['@users']}}\n",
        rows: &["challenge-foreign"],
        seen: "is not the registry's: 401",
        cause: "basicAuth) asks for the password in the registry's place",
        fix: "take the middleware basicAuth off this router",
        ..RIGHT
    },
    Fault {
        what: "Traefik that asks for the login and removes it, before a registry with one of its own",
        router: "      middlewares: [login]\n",
        middlewares: "    login: {basicAuth: {users: ['@users'], removeHeader: true}}\n",
        auth: Auth::Basic,
        rows: &["challenge-foreign", "authorization-dropped"],
        seen: "is answered with 401",
        cause: "takes it and doesn't pass it on",
        fix: "let the registry alone check passwords",
        ..RIGHT
    },
    Fault {
        what: "Traefik that knows other users than the registry",
        router: "      middlewares: [login]\n",
        middlewares: "    login: {basicAuth: {users: ['other:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=']}}\n",
        auth: Auth::Basic,
        rows: &["challenge-foreign", "challenge-foreign"],
        seen: "is answered with 401",
        cause: "basicAuth) asks for the password in the registry's place",
        fix: "take the middleware basicAuth off this router",
        ..RIGHT
    },
    Fault {
        what: "Traefik that empties Authorization",
        router: "      middlewares: [silent]\n",
        middlewares: "    silent: {headers: {customRequestHeaders: {Authorization: ''}}}\n",
        auth: Auth::Basic,
        rows: &["authorization-dropped"],
        seen: "the same words as without any login",
        cause: "doesn't pass the Authorization header on",
        fix: "customRequestHeaders",
        ..RIGHT
    },
    Fault {
        what: "Traefik without a route for the host",
        rule: "Host(`other.lan`)",
        rows: &["no-route-for-v2"],
        seen: "/v2/ answers 404 Not Found",
        cause: "no router of Traefik is for this host",
        fix: "traefik.http.routers.registry.rule=Host(`127.0.0.1`)",
        ..RIGHT
    },
    Fault {
        what: "Traefik without a registry behind it",
        has_registry: false,
        rows: &["base-status"],
        seen: "/v2/ answers 502 Bad Gateway",
        cause: "the registry behind it doesn't answer",
        fix: "start the registry",
        ..RIGHT
    },
    Fault {
        what: "Traefik that shows its own certificate",
        router: "      tls: {}\n",
        scheme: "",
        rows: &["wrong-name"],
        seen: "TRAEFIK DEFAULT CERT",
        cause: "Traefik shows its built-in certificate",
        fix: "below tls.certificates in a file of Traefik's file provider",
        ..RIGHT
    },
    Fault {
        what: "Traefik that shows its own certificate and has no route",
        rule: "Host(`other.lan`)",
        router: "      tls: {}\n",
        scheme: "",
        rows: &["wrong-name", "no-route-for-v2"],
        seen: "/v2/ answers 404 Not Found",
        cause: "no router of Traefik is for this host",
        fix: "larder proxy traefik 127.0.0.1",
        ..RIGHT
    },
    Fault {
        what: "Traefik whose route is for plain HTTP alone",
        scheme: "",
        rows: &["wrong-name", "no-route-for-v2"],
        seen: "/v2/ answers 404 Not Found",
        cause: "its router has no tls",
        fix: "traefik.http.routers.registry.tls=true",
        ..RIGHT
    },
];

pub(super) fn cases(report: &mut Report, ring: &Ring, authority: &Authority) {
    for (number, fault) in FAULTS.iter().enumerate() {
        report.case("doctor", fault.what, || case(ring, authority, fault, &format!("traefik-{number}")));
    }
}

fn case(ring: &Ring, authority: &Authority, fault: &Fault, title: &str) -> Result {
    let (server, _) = backend(ring, title, Program::Larder, fault.auth)?;
    let host = address()?;
    // Nobody listens on the port of an address that was free a moment ago.
    let behind = if fault.has_registry { server.host.clone() } else { address()? };
    let front = Proxy::Traefik.start(ring, title, &host, &text(fault, &host, &behind)?)?;
    let ca = authority.ca.display().to_string();
    let more = ["--ca", &ca, "--slow", fault.slow];
    // A login is tried wherever somebody asks for one.
    let with_login = fault.auth != Auth::None || fault.middlewares.contains("basicAuth");
    let found = examine(ring, &format!("{}{}", fault.scheme, front.host), &more, with_login)?;
    found.exactly(fault.rows, HOP, "")?;
    let Some(last) = found.0.last() else { fail!("nothing was found") };
    for (part, told) in
        [(fault.seen, &last.seen), (fault.cause, &last.cause), (fault.fix, &last.fix), (HOP, &last.hop)]
    {
        if !told.contains(part) {
            fail!("{part:?} is not in {told:?}");
        }
    }
    Ok(())
}

/// The fault's configuration in the form that is printed.
fn text(fault: &Fault, host: &str, behind: &str) -> Result<String> {
    let Fault { entry_point, rule, router, middlewares, .. } = fault;
    let middlewares = match *middlewares {
        "" => String::new(),
        middlewares => format!("  middlewares:\n{}", middlewares.replace("@users", bcrypt_line()?.trim())),
    };
    let entry_point = if entry_point.is_empty() { String::new() } else { format!("#   {entry_point}\n") };
    Ok(format!(
        "#   entryPoints:\n#     front:\n#       address: {host}\n{entry_point}#   providers:\n#     file:\n#       \
         filename: /etc/traefik/dynamic/registry.yml\nhttp:\n  routers:\n    registry:\n      rule: {rule}\n      service: \
         registry\n{router}{middlewares}  services:\n    registry:\n      loadBalancer:\n        servers:\n          - url: \
         http://{behind}\n"
    ))
}
