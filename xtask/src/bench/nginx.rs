//! nginx as the yardstick: what a good web server needs for the same bytes as plain files.

use std::path::Path;

use crate::failure::Result;
use crate::image::OCI_MANIFEST;
use crate::places::{LOOPBACK, Ring, free_port};
use crate::process::{Daemon, Run};
use crate::tls::Authority;

/// Starts nginx over a directory of files and returns where it listens.
pub(super) fn start(
    ring: &Ring,
    name: &str,
    files: &Path,
    authority: Option<&Authority>,
) -> Result<(String, Daemon)> {
    let host = format!("{LOOPBACK}:{}", free_port(LOOPBACK)?);
    let home = ring.make_dir(format!("home-{name}"))?;
    let config = ring.write(&format!("{name}.conf"), config(&host, &home, files, authority))?;
    let daemon = Run::new("nginx")
        .arg("-p")
        .arg(&home)
        .arg("-e")
        .arg(home.join("error.log"))
        .arg("-c")
        .arg(config)
        .daemon(ring, name)?;
    Ok((host, daemon))
}

/// Debian's own nginx.conf (a worker for each core, sendfile, tcp_nopush, gzip for HTML, the access log in a file),
/// but for what a thousand busy connections want: more of them for each worker, and no end after 1,000 requests,
/// because neither registry ends a connection for its age.
fn config(host: &str, home: &Path, files: &Path, authority: Option<&Authority>) -> String {
    let home = home.display();
    let (ssl, certificate) = match authority {
        None => ("", String::new()),
        Some(authority) => {
            let (certificate, key) = (authority.certificate.display(), authority.key.display());
            (" ssl http2", format!("ssl_certificate {certificate};\nssl_certificate_key {key};"))
        }
    };
    format!(
        "daemon off;
user root;
worker_processes auto;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{
    worker_connections 4096;
}}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_prefer_server_ciphers on;
    access_log {home}/access.log;
    gzip on;
    keepalive_requests 1000000000;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen {host}{ssl};
        {certificate}
        root {};
        location /v2/bench/manifests/ {{
            default_type {OCI_MANIFEST};
        }}
    }}
}}
",
        files.display()
    )
}
