//! `cargo xtask proxies`: nginx, caddy, haproxy and traefik in front of the registry, plain and ending TLS, none of them
//! telling the registry that it does. A large layer goes through both ways whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::arguments::Arguments;
use crate::failure::{Context, Result, fail, same};
use crate::http::{Body, Http};
use crate::image::{Image, check_layout};
use crate::places::{LOOPBACK, Ring, free_port};
use crate::process::{Daemon, Run};
use crate::report::Report;
use crate::server::{Plan, Program};
use crate::tls::Authority;

/// Large enough for every buffer of every proxy to overflow.
const LARGE_LAYER: usize = 40 << 20;
const START_LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
enum Proxy {
    Nginx,
    Caddy,
    Haproxy,
    Traefik,
}

/// A proxy in front of a registry, as the clients see it.
struct Front<'a> {
    host: String,
    authority: Option<&'a Authority>,
    home: PathBuf,
    daemon: Daemon,
}

pub(crate) fn ring(arguments: &Arguments) -> Result<Report> {
    let program = Program::chosen(arguments)?;
    let mut report = Report::new("proxies");
    let ring = Ring::fresh("proxies")?;
    let authority = Authority::make(&ring, &[LOOPBACK])?;
    let image = Image::single(1, crate::image::native_architecture(), &[LARGE_LAYER, 5000]);
    let layout = ring.make_dir("layout")?;
    image.write_layout(&layout, "large")?;

    let proxies = [Proxy::Nginx, Proxy::Caddy, Proxy::Haproxy, Proxy::Traefik];
    for (proxy, tls) in proxies.into_iter().flat_map(|p| [(p, false), (p, true)]) {
        let title = format!("{proxy:?}-{}", if tls { "https" } else { "http" }).to_lowercase();
        report.about(&title);
        // A registry for each, or the second client would find every layer there already.
        let data = ring.make_dir(format!("data-{title}"))?;
        // Larder's Locations are relative unasked; the peer wants to be told.
        let http_lines = if program == Program::DockerRegistry { "  relativeurls: true\n" } else { "" };
        let plan = Plan { http_lines, ..Plan::open(program, &data) };
        let started = report.step("proxy", "registry and proxy start", || {
            let server = plan.start(&ring, &format!("registry-{title}"))?;
            let authority = tls.then_some(&authority);
            let front = start(proxy, &ring, &title, LOOPBACK, authority, &server.host)?;
            Ok((server, front))
        });
        let Some((server, front)) = started else { continue };
        report.case("curl", "Locations are relative", || relative(&front));
        round(&mut report, "skopeo", &front, &image, |out| skopeo(&front, &layout, out));
        round(&mut report, "crane", &front, &image, |out| crane(&front, &layout, out));
        report.case("registry", "has what was pushed through the proxy", || {
            let registry = crate::registry::Registry::new(server.http());
            registry.walk("ring/skopeo", "large", &mut crate::registry::Walked::default())
        });
        report.case("proxy", "ends", || front.daemon.stop());
        report.case("registry", "ends", || server.daemon.stop());
    }
    Ok(report)
}

fn start<'a>(
    proxy: Proxy,
    ring: &Ring,
    title: &str,
    address: &str,
    authority: Option<&'a Authority>,
    backend: &str,
) -> Result<Front<'a>> {
    let host = format!("{address}:{}", free_port(address)?);
    let home = ring.make_dir(format!("home-{title}"))?;
    let run = match proxy {
        Proxy::Nginx => {
            let config = ring.write(&format!("{title}.conf"), nginx(&host, authority, backend, &home))?;
            Run::new("nginx").arg("-p").arg(&home).arg("-e").arg(home.join("error.log")).arg("-c").arg(config)
        }
        Proxy::Caddy => {
            let config = ring.write(&format!("{title}.Caddyfile"), caddy(&host, authority, backend))?;
            Run::new("caddy").args(["run", "--adapter", "caddyfile", "--config"]).arg(config)
        }
        Proxy::Haproxy => {
            let config = ring.write(&format!("{title}.cfg"), haproxy(&host, authority, backend))?;
            Run::new("haproxy").arg("-db").arg("-f").arg(config)
        }
        Proxy::Traefik => {
            let daemon = crate::traefik::start(ring, title, &traefik(&host, authority, backend))?;
            return Ok(Front { host, authority, home, daemon });
        }
    };
    let run = run.env("HOME", &home).env("XDG_DATA_HOME", &home).env("XDG_CONFIG_HOME", &home);
    let mut daemon = run.daemon(ring, &format!("proxy-{title}"))?;
    daemon.wait_until("it listens", START_LIMIT, || std::net::TcpStream::connect(&host).is_ok())?;
    Ok(Front { host, authority, home, daemon })
}

fn nginx(host: &str, authority: Option<&Authority>, backend: &str, home: &Path) -> String {
    let (ssl, certificate) = match authority {
        None => ("", String::new()),
        Some(authority) => {
            let (certificate, key) = (authority.certificate.display(), authority.key.display());
            (" ssl", format!("    ssl_certificate {certificate};\n    ssl_certificate_key {key};\n"))
        }
    };
    let home = home.display();
    format!(
        "daemon off;\nuser root;\npid {home}/nginx.pid;\nevents {{}}\nhttp {{\n  access_log {home}/access.log;\n  \
         client_body_temp_path {home}/body;\n  proxy_temp_path {home}/proxy;\n  fastcgi_temp_path {home}/f;\n  \
         uwsgi_temp_path {home}/u;\n  scgi_temp_path {home}/s;\n  server {{\n    listen {host}{ssl};\n{certificate}    \
         client_max_body_size 0;\n    location / {{\n      proxy_pass http://{backend};\n      \
         proxy_set_header Host $http_host;\n    }}\n  }}\n}}\n"
    )
}

fn caddy(host: &str, authority: Option<&Authority>, backend: &str) -> String {
    let (scheme, tls) = match authority {
        None => ("http", String::new()),
        Some(authority) => {
            ("https", format!("  tls {} {}\n", authority.certificate.display(), authority.key.display()))
        }
    };
    format!(
        "{{\n  admin off\n  auto_https off\n}}\n{scheme}://{host} {{\n{tls}  reverse_proxy \
         {backend} {{\n    header_up -X-Forwarded-Proto\n    header_up -X-Forwarded-Host\n  }}\n}}\n"
    )
}

fn haproxy(host: &str, authority: Option<&Authority>, backend: &str) -> String {
    let ssl = authority.map_or(String::new(), |authority| format!(" ssl crt {}", authority.pair.display()));
    format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\nfrontend front\n  \
         bind {host}{ssl}\n  default_backend back\nbackend back\n  server registry {backend}\n"
    )
}

fn traefik(host: &str, authority: Option<&Authority>, backend: &str) -> String {
    let (tls, store) = match authority {
        None => ("", String::new()),
        Some(authority) => {
            let (certificate, key) = (authority.certificate.display(), authority.key.display());
            let store = "tls:\n  stores:\n    default:\n      defaultCertificate:";
            ("      tls: {}\n", format!("{store}\n        certFile: {certificate}\n        keyFile: {key}\n"))
        }
    };
    format!(
        "#   entryPoints:\n#     front:\n#       address: {host}\n#   providers:\n#     file:\n#       \
         filename: /etc/traefik/dynamic/registry.yml\nhttp:\n  routers:\n    registry:\n      rule: PathPrefix(`/`)\n      \
         service: registry\n      middlewares: [silent]\n{tls}  middlewares:\n    silent:\n      headers:\n        \
         customRequestHeaders: {{X-Forwarded-Proto: \"\", X-Forwarded-Host: \"\"}}\n  services:\n    registry:\n      \
         loadBalancer:\n        servers:\n          - url: http://{backend}\n{store}"
    )
}

/// An absolute Location would name the scheme that the registry speaks, not the one that the client does.
fn relative(front: &Front<'_>) -> Result {
    let location = match front.authority {
        None => {
            let http = Http { address: front.host.clone() };
            let answer = http.send("POST", "/v2/ring/curl/blobs/uploads/", &[], Body::Whole(&[]))?;
            answer.expect("the POST", &[202])?.header("location").context("Location")?.to_owned()
        }
        Some(authority) => {
            let url = format!("https://{}/v2/ring/curl/blobs/uploads/", front.host);
            let curl = Run::new("curl").args(["--silent", "--show-error", "--fail", "--dump-header", "-"]);
            let head = curl.arg("--cacert").arg(&authority.ca).args(["--data", "", &url]).ok()?;
            let line = head.lines().find(|line| line.to_lowercase().starts_with("location:"));
            line.and_then(|line| line.split_once(':'))
                .context(format!("Location in {head}"))?
                .1
                .trim()
                .to_owned()
        }
    };
    if location.starts_with("/v2/") { Ok(()) } else { fail!("Location is {location}") }
}

/// Pushes, pulls, and compares what came back.
fn round(
    report: &mut Report,
    client: &str,
    front: &Front<'_>,
    image: &Image,
    push_and_pull: impl FnOnce(&Path) -> Result,
) {
    report.case(client, "push and pull of an image with a 40 MB layer", || {
        let out = front.home.join(format!("pulled-{client}"));
        push_and_pull(&out)?;
        same("the pulled digest", &check_layout(&out)?.as_str(), &image.digest())
    });
}

fn skopeo(front: &Front<'_>, layout: &Path, out: &Path) -> Result {
    let transport = |prefix: &str| match front.authority {
        Some(authority) => format!("--{prefix}-cert-dir={}", authority.certs_dir.display()),
        None => format!("--{prefix}-tls-verify=false"),
    };
    let remote = format!("docker://{}/ring/skopeo:large", front.host);
    let skopeo = || Run::new("skopeo").env("HOME", &front.home).args(["copy", "--preserve-digests"]);
    skopeo().arg(transport("dest")).arg(format!("oci:{}:large", layout.display())).arg(&remote).ok()?;
    skopeo().arg(transport("src")).arg(&remote).arg(format!("oci:{}:pulled", out.display())).ok().map(drop)
}

fn crane(front: &Front<'_>, layout: &Path, out: &Path) -> Result {
    let crane = || {
        let run = Run::new("crane").env("HOME", &front.home).env("DOCKER_CONFIG", &front.home);
        match front.authority {
            Some(authority) => run.env("SSL_CERT_FILE", &authority.ca),
            None => run.arg("--insecure"),
        }
    };
    let remote = format!("{}/ring/crane:large", front.host);
    crane().arg("push").arg(layout).arg(&remote).ok()?;
    crane().args(["pull", "--format=oci", &remote]).arg(out).ok().map(drop)
}
