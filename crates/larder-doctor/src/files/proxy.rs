//! Front configurations without the traps: no limit on bodies, nothing buffered, no short timeouts, the client's own
//! host and scheme passed on, paths untouched, every header let through.

mod traefik;

/// A program that can stand in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProgram {
    /// nginx, as a file of `conf.d`.
    Nginx,
    /// Caddy, as a site of the Caddyfile.
    Caddy,
    /// Traefik, as a file of its file provider.
    Traefik,
    /// Traefik, as a compose file in which the registry carries labels.
    TraefikLabels,
    /// HAProxy, as a frontend and a backend.
    Haproxy,
    /// Apache httpd, as a virtual host.
    Apache,
}

/// What the front is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyPlan {
    /// The name by which clients reach it.
    pub name: String,
    /// `PORT` or `ADDRESS:PORT` to listen on.
    pub listen: String,
    /// The registry behind it: `HOST:PORT`, plain HTTP.
    pub backend: String,
    /// Where the certificate with its intermediates is.
    pub certificate: String,
    /// Where its key is. HAProxy reads both from the certificate's file.
    pub key: String,
}

impl ProxyProgram {
    /// The configuration.
    pub fn configuration(self, plan: &ProxyPlan) -> String {
        let ProxyPlan { name, listen, backend, certificate, key } = plan;
        match self {
            ProxyProgram::Nginx => format!(
                "\
# /etc/nginx/conf.d/registry.conf
server {{
    listen {listen} ssl;
    server_name {name};
    ssl_certificate     {certificate};   # the server's certificate, then its intermediates
    ssl_certificate_key {key};

    client_max_body_size 0;              # nginx' own limit is 1 MB: 413
    client_body_timeout 15m;             # a client that compresses a layer falls silent
    send_timeout 15m;

    location / {{
        proxy_pass http://{backend};     # no slash and no path at its end: either rewrites paths
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;                # with the port
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_request_buffering off;     # or each layer is stored here before the registry sees a byte
        proxy_buffering off;
        proxy_read_timeout 15m;
        proxy_send_timeout 15m;
    }}
}}
"
            ),
            ProxyProgram::Caddy => format!(
                "\
# Caddyfile. Without the line `tls`, Caddy gets a certificate from Let's Encrypt by itself.
https://{name}:{} {{
{}    tls {certificate} {key}
    reverse_proxy {backend} {{
        flush_interval -1
        transport http {{
            keepalive 1m                 # Caddy's own 2m is when Larder ends idle connections, too: a 502 now and then
        }}
    }}
}}
",
                port(listen),
                address(listen).map_or(String::new(), |address| format!("    bind {address}\n")),
            ),
            ProxyProgram::Traefik => traefik::file(plan),
            ProxyProgram::TraefikLabels => traefik::compose(plan),
            ProxyProgram::Haproxy => format!(
                "\
# /etc/haproxy/haproxy.cfg
frontend registry
    mode http
    bind {} ssl crt {certificate}        # certificate, intermediates and key in one file
    timeout client 15m
    timeout http-request 30s
    option forwardfor
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    default_backend registry

backend registry
    mode http
    timeout connect 5s
    timeout server 15m
    server registry {backend}
",
                if listen.contains(':') { listen.clone() } else { format!(":{listen}") },
            ),
            ProxyProgram::Apache => format!(
                "\
# /etc/apache2/sites-available/registry.conf; a2enmod ssl proxy proxy_http headers reqtimeout
Listen {listen}
<VirtualHost *:{}>
    ServerName {name}
    SSLEngine on
    SSLCertificateFile    {certificate}
    SSLCertificateKeyFile {key}

    AllowEncodedSlashes NoDecode
    LimitRequestBody 0
    RequestReadTimeout header=30 body=0
    Timeout 900
    ProxyTimeout 900
    ProxyPreserveHost On
    RequestHeader set X-Forwarded-Proto \"https\"
    SetEnv proxy-sendchunked 1
    ProxyPass        / http://{backend}/ nocanon ttl=60
    ProxyPassReverse / http://{backend}/
</VirtualHost>
",
                port(listen),
            ),
        }
    }
}

/// Of `PORT` or `ADDRESS:PORT`.
fn port(listen: &str) -> &str {
    listen.rsplit(':').next().unwrap_or(listen)
}

fn address(listen: &str) -> Option<&str> {
    listen.rsplit_once(':').map(|(address, _)| address)
}
