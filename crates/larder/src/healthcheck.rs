//! `larder healthcheck`: for a container's health check, where there is no curl.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Environment, Source};

/// Asks a Larder whether it is alive: the one at a URL, or the one that a `config.yml`, or else this environment,
/// would start.
pub(crate) fn run(
    target: Option<&str>,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let is_file = |text: &&str| [".yml", ".yaml"].iter().any(|ending| text.ends_with(ending));
    let config = target.filter(is_file).map(Path::new);
    let address = match target.filter(|target| !is_file(target)) {
        Some(url) => address_of(url)?,
        None => {
            let source = Source::choose(config, None, environment, may_use_system_directory)?;
            let loaded = config::load(&source, environment)?;
            let (addr, socket) = (loaded.config.http.addr, loaded.config.http.unix_socket);
            let host = if addr.host.is_empty() { "localhost" } else { &addr.host };
            socket.map_or_else(|| format!("{host}:{}", addr.port), |path| path.display().to_string())
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(larder_server::probe(&address, "/healthz")) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => {
            eprintln!("{address} answers, but not as a healthy Larder does");
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(format!("{address} does not answer: {error}").into()),
    }
}

fn address_of(url: &str) -> Result<String, io::Error> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or(url);
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty() {
        return Err(io::Error::other(format!("{url} names no host; write http://localhost:5000")));
    }
    Ok(if authority.rsplit(']').next().is_some_and(|end| end.contains(':')) {
        authority.to_owned()
    } else {
        format!("{authority}:5000")
    })
}
