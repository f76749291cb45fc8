//! What `larder init` writes, as text.

use std::path::Path;

use super::{Plan, Shape, Tls, users};

pub(super) fn config(arguments: &Plan) -> String {
    let (data, users, user) = (quoted(&arguments.data), quoted(&users(arguments)), text(&arguments.user));
    let port = arguments.port;
    let tls = match &arguments.tls {
        Tls::None => String::new(),
        Tls::Files { certificate, key } => {
            format!("  tls:\n    certificate: {}\n    key: {}\n", quoted(certificate), quoted(key))
        }
        Tls::Own { names } if names.is_empty() => {
            "  tls:\n    auto: true        # names: [registry.lan] adds what this machine doesn't know\n"
                .to_owned()
        }
        Tls::Own { names } => {
            format!("  tls:\n    auto: true\n    names: [{}]\n", list(names))
        }
        Tls::Ordered { names, email } => {
            let email =
                email.as_ref().map(|email| format!("      email: {}\n", text(email))).unwrap_or_default();
            format!("  tls:\n    letsencrypt:\n      hosts: [{}]\n{email}", list(names))
        }
    };
    let upstreams: String =
        arguments.upstreams.iter().map(|host| format!("  - name: {}\n", text(host))).collect();
    let upstreams = if upstreams.is_empty() { upstreams } else { format!("upstreams:\n{upstreams}") };
    let rules = match arguments.shape {
        Shape::Home => format!(
            "  rules:\n    - {{who: anonymous, may: pull}}\n    - {{who: {user}, may: [pull, push, delete, list, admin]}}\n"
        ),
        Shape::Team => format!(
            "  groups:\n    team: [{user}]\n  rules:\n    - {{who: {user}, may: [pull, push, delete, list, admin]}}\n    - {{who: team, may: [pull, push, list]}}\n"
        ),
    };
    format!(
        "\
# Every key is in `larder config reference`; `larder config check {}` says what is in force.
version: 0.1
storage:
  filesystem:
    rootdirectory: {data}
  delete:
    enabled: true
http:
  addr: :{port}
{tls}auth:
  htpasswd:
    realm: Larder
    path: {users}        # larder user add NAME --file {users}
access:
{rules}{upstreams}",
        arguments.into.join("config.yml").display()
    )
}

pub(super) fn service(arguments: &Plan) -> String {
    format!(
        "\
[Unit]
Description=Larder, a container registry
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={} serve {}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
# Longer than http.draintimeout, so that running pulls end well.
TimeoutStopSec=60
LimitNOFILE=65536
ProtectSystem=strict
ReadWritePaths={}
ProtectHome=true
PrivateTmp=true
NoNewPrivileges=true

[Install]
WantedBy=multi-user.target
",
        arguments.program.display(),
        arguments.into.join("config.yml").display(),
        arguments.data.display()
    )
}

pub(super) fn compose(arguments: &Plan) -> String {
    let (into, data) = (arguments.into.display(), arguments.data.display());
    let port = arguments.port;
    format!(
        "\
services:
  larder:
    image: larder
    command: [serve, {into}/config.yml]
    restart: always
    stop_grace_period: 60s
    ports: [\"{port}:{port}\"]
    volumes:
      - {into}:{into}:ro
      - {data}:{data}
"
    )
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| text(name)).collect();
    names.join(", ")
}

/// A path as a YAML string.
fn quoted(path: &Path) -> String {
    text(&path.display().to_string())
}

/// JSON's strings are YAML's, too.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
