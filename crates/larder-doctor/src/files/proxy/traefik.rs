//! Traefik, which takes what it does from two places: what an entry point does from its own start, and routes from a
//! file or from a container's labels. Either half alone leaves a trap, so both are printed.

use std::net::IpAddr;

use super::{ProxyPlan, port};

/// A file of Traefik's file provider. What the entry point needs is no matter of such a file, so it stands in front as a
/// comment, whole: without the sign and the three blanks before each line it is Traefik's static configuration.
pub(super) fn file(plan: &ProxyPlan) -> String {
    let ProxyPlan { name, listen, backend, certificate, key } = plan;
    let entry_point = if listen.contains(':') { listen.clone() } else { format!(":{listen}") };
    let store = store(name, certificate, key, 2);
    format!(
        "\
# /etc/traefik/dynamic/registry.yml, which Traefik's file provider reads. What an entry point does, Traefik takes from its
# static configuration alone, /etc/traefik/traefik.yml, and only when it starts. This belongs there (or as flags:
# --entryPoints.websecure.transport.respondingTimeouts.readTimeout=0):
#
#   entryPoints:
#     websecure:
#       address: \"{entry_point}\"
#       transport:
#         respondingTimeouts:
#           readTimeout: 0s   # Traefik's own 60 s are for a whole request: every layer that takes longer is cut
#   providers:
#     file:
#       filename: /etc/traefik/dynamic/registry.yml
#
http:
  routers:
    registry:
      rule: Host(`{name}`)
      entryPoints: [websecure]
      service: registry
      tls: {{}}
      # No middlewares, nor any of the entry point's: buffering stores each layer here first, compress packs layers a
      # second time and drops their length, basicAuth and forwardAuth ask for logins in the registry's place.
  services:
    registry:
      loadBalancer:
        passHostHeader: true
        servers:
          - url: http://{backend}
tls:
  certificates:
    - certFile: {certificate}   # the server's certificate, then its intermediates
      keyFile: {key}
{store}"
    )
}

/// A compose file in which the registry's container says by labels how it is reached. Labels know no certificates: those
/// come from a file again, which compose makes.
pub(super) fn compose(plan: &ProxyPlan) -> String {
    let ProxyPlan { name, listen, backend, certificate, key } = plan;
    let registry_port = port(backend);
    format!(
        "\
# compose.yml (docker compose 2.23.1 and later): Traefik, and a registry whose labels say how it is reached.
services:
  traefik:
    image: traefik:v3.6
    restart: always
    ports: [\"{listen}:443\"]
    command:
      - --entryPoints.websecure.address=:443
      # Traefik's own 60 s are for a whole request: every layer that takes longer is cut.
      - --entryPoints.websecure.transport.respondingTimeouts.readTimeout=0
      - --providers.docker.exposedByDefault=false
      - --providers.file.filename=/etc/traefik/certificates.yml
    configs:
      - source: certificates
        target: /etc/traefik/certificates.yml
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock:ro
      - {certificate}:{certificate}:ro
      - {key}:{key}:ro
  registry:
    image: larder
    restart: always
    stop_grace_period: 60s
    volumes:
      - registry:/var/lib/registry
    # No middlewares, nor any of the entry point's: buffering stores each layer at Traefik first, compress packs layers a
    # second time and drops their length, basicAuth and forwardAuth ask for logins in the registry's place.
    labels:
      - traefik.enable=true
      - traefik.http.routers.registry.rule=Host(`{name}`)
      - traefik.http.routers.registry.entryPoints=websecure
      - traefik.http.routers.registry.tls=true   # with a resolver of Traefik's own: ….tls.certResolver=NAME, and no file
      - traefik.http.services.registry.loadBalancer.server.port={registry_port}
volumes:
  registry:
configs:
  certificates:
    content: |
      tls:
        certificates:
          - certFile: {certificate}   # the server's certificate, then its intermediates
            keyFile: {key}
{}",
        store(name, certificate, key, 8),
    )
}

/// What a client that reaches a bare address is shown: it names no server, and Traefik then shows what its default store
/// holds. `indent` is how far the lines stand to the right.
fn store(name: &str, certificate: &str, key: &str, indent: usize) -> String {
    if name.parse::<IpAddr>().is_err() {
        return String::new();
    }
    let blanks = " ".repeat(indent);
    format!(
        "{blanks}stores:\n{blanks}  default:\n{blanks}    defaultCertificate:\n{blanks}      certFile: {certificate}\n\
         {blanks}      keyFile: {key}\n"
    )
}
