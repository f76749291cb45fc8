//! Proxies with one fault each.

use super::{Front, Proxy, address, backend, examine};
use crate::failure::Result;
use crate::places::Ring;
use crate::report::Report;
use crate::server::{Auth, Program};
use crate::tls::Authority;

/// A fault: what is wrong, the proxy, its front (`@listen`, `@backend` are filled in), and what must be found.
struct Fault {
    what: &'static str,
    proxy: Proxy,
    front: &'static str,
    program: Program,
    auth: Auth,
    tls: bool,
    /// The rows; of the first, its hop and a part of its fix.
    rows: &'static [&'static str],
    hop: &'static str,
    fix: &'static str,
    /// Whether other things may be found, too: registry:2 lacks what Larder has.
    among_others: bool,
}

/// What is right about most: nothing is buffered or limited, and the host passed on.
const NGINX: Fault = Fault {
    what: "",
    proxy: Proxy::Nginx,
    front: "",
    program: Program::Larder,
    auth: Auth::None,
    tls: false,
    rows: &[],
    hop: "proxy nginx",
    fix: "",
    among_others: false,
};
const HAPROXY: Fault = Fault { proxy: Proxy::Haproxy, hop: "proxy in front of the registry", ..NGINX };
const CADDY: Fault = Fault { proxy: Proxy::Caddy, hop: "proxy Caddy", ..NGINX };

const FAULTS: &[Fault] = &[
    Fault {
        what: "nginx as it comes, with its limit of 1 MB",
        front: "server { listen @listen; location / { proxy_pass http://@backend; proxy_set_header Host $http_host; } }",
        rows: &["body-limit"],
        fix: "client_max_body_size 0;",
        ..NGINX
    },
    Fault {
        what: "nginx that buffers",
        front: "server { listen @listen; client_max_body_size 0; location / { proxy_pass http://@backend; proxy_set_header Host $http_host; } }",
        rows: &["buffered"],
        fix: "proxy_request_buffering off;",
        ..NGINX
    },
    Fault {
        what: "nginx that waits 2 s for a silent client",
        front: "server { listen @listen; client_max_body_size 0; client_body_timeout 2s; location / { proxy_pass http://@backend; proxy_http_version 1.1; proxy_request_buffering off; proxy_set_header Host $http_host; } }",
        rows: &["cut-while-silent"],
        fix: "client_body_timeout 15m",
        ..NGINX
    },
    Fault {
        what: "nginx that strips WWW-Authenticate",
        front: "server { listen @listen; client_max_body_size 0; location / { proxy_pass http://@backend; proxy_hide_header WWW-Authenticate; proxy_set_header Host $http_host; } }",
        auth: Auth::Basic,
        rows: &["challenge-missing"],
        fix: "proxy_hide_header",
        ..NGINX
    },
    Fault {
        what: "nginx that drops Authorization",
        front: "server { listen @listen; client_max_body_size 0; location / { proxy_pass http://@backend; proxy_set_header Authorization \"\"; proxy_set_header Host $http_host; } }",
        auth: Auth::Basic,
        rows: &["authorization-dropped"],
        fix: "proxy_set_header Authorization",
        ..NGINX
    },
    Fault {
        what: "nginx that forgets the scheme, before registry:2",
        front: "server { listen @listen ssl; ssl_certificate @crt; ssl_certificate_key @key; client_max_body_size 0; location / { proxy_pass http://@backend; proxy_http_version 1.1; proxy_request_buffering off; proxy_set_header Host $http_host; } }",
        program: Program::DockerRegistry,
        tls: true,
        rows: &["location-scheme"],
        fix: "X-Forwarded-Proto",
        among_others: true,
        ..NGINX
    },
    Fault {
        what: "nginx that forgets the port, before registry:2",
        front: "server { listen @listen; client_max_body_size 0; location / { proxy_pass http://@backend; proxy_http_version 1.1; proxy_request_buffering off; proxy_set_header Host $host; } }",
        program: Program::DockerRegistry,
        rows: &["location-host"],
        fix: "$http_host",
        among_others: true,
        ..NGINX
    },
    Fault {
        what: "nginx with a login for browsers",
        front: "server { listen @listen; location / { return 302 https://sso.lan/login; } }",
        rows: &["login-page"],
        fix: "leave the path /v2/ out",
        ..NGINX
    },
    Fault {
        what: "nginx with its own page",
        front: "server { listen @listen; default_type text/html; location / { return 200 '<html><title>Welcome to nginx!</title></html>'; } }",
        rows: &["html"],
        fix: "path /v2/",
        ..NGINX
    },
    Fault {
        what: "nginx without a route",
        front: "server { listen @listen; location / { return 404; } }",
        rows: &["no-route-for-v2"],
        fix: "path /v2/",
        ..NGINX
    },
    Fault {
        what: "nginx without a registry behind it",
        front: "server { listen @listen; location / { proxy_pass http://127.0.0.1:1; } }",
        rows: &["base-status"],
        fix: "start the registry",
        ..NGINX
    },
    Fault {
        what: "nginx that forbids PATCH",
        front: "server { listen @listen; client_max_body_size 0; location / { limit_except GET POST PUT DELETE { deny all; } proxy_pass http://@backend; proxy_set_header Host $http_host; } }",
        rows: &["method-refused"],
        fix: "PATCH",
        ..NGINX
    },
    Fault {
        what: "HAProxy that waits 2 s for a silent registry",
        front: "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 2s\nfrontend f\n bind @listen\n default_backend b\nbackend b\n server r @backend\n",
        rows: &["cut-while-silent"],
        hop: "proxy HAProxy",
        fix: "timeout server 15m",
        ..HAPROXY
    },
    Fault {
        what: "HAProxy that gathers requests, for 2 s",
        front: "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n timeout http-request 2s\n option http-buffer-request\nfrontend f\n bind @listen\n default_backend b\nbackend b\n server r @backend\n",
        rows: &["cut-while-sending"],
        hop: "proxy HAProxy",
        fix: "http-buffer-request",
        ..HAPROXY
    },
    Fault {
        what: "Caddy that reads a body for 2 s",
        front: "{\n admin off\n auto_https off\n servers {\n  timeouts {\n   read_body 2s\n  }\n }\n}\nhttp://@listen {\n reverse_proxy @backend\n}\n",
        rows: &["cut-while-sending"],
        fix: "read_body 0",
        ..CADDY
    },
    Fault {
        what: "Caddy that takes 1 MB",
        front: "{\n admin off\n auto_https off\n}\nhttp://@listen {\n request_body {\n  max_size 1MB\n }\n reverse_proxy @backend\n}\n",
        rows: &["body-limit"],
        fix: "request_body max_size",
        ..CADDY
    },
];

pub(super) fn cases(report: &mut Report, ring: &Ring, authority: &Authority) {
    for (number, fault) in FAULTS.iter().enumerate() {
        report.case("doctor", fault.what, || case(ring, authority, fault, &format!("fault-{number}")));
    }
    report.case("doctor", "a credential helper that isn't installed", || {
        let (server, _) = backend(ring, "helper", Program::Larder, Auth::None)?;
        let docker = ring.make_dir("doctor-home/docker")?.join("config.json");
        std::fs::write(&docker, r#"{"credsStore":"desktop"}"#)?;
        let found = examine(ring, &server.host, &[], false);
        std::fs::remove_file(docker)?;
        found?.exactly(&["helper-missing"], "this machine", "desktop")
    });
}

fn case(ring: &Ring, authority: &Authority, fault: &Fault, title: &str) -> Result {
    let (server, _) = backend(ring, title, fault.program, fault.auth)?;
    let host = address()?;
    let front = fault
        .front
        .replace("@listen", &host)
        .replace("@backend", &server.host)
        .replace("@crt", &authority.certificate.display().to_string())
        .replace("@key", &authority.key.display().to_string());
    let front: Front = fault.proxy.start(ring, title, &host, &front)?;
    let ca = authority.ca.display().to_string();
    let more: &[&str] = if fault.tls { &["--ca", &ca] } else { &[] };
    let found = examine(ring, &front.host, more, fault.auth != Auth::None)?;
    if fault.among_others {
        found.has(fault.rows.first().copied().unwrap_or_default(), fault.hop, fault.fix)
    } else {
        found.exactly(fault.rows, fault.hop, fault.fix)
    }
}
