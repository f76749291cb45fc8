//! `larder client` and `larder proxy`: the files of the other side.

mod page;
mod trust;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, ValueEnum};
use larder_doctor::{ClientPlan, ClientProgram, ProxyPlan, ProxyProgram, Target};
use larder_storage::replace_file;

pub(crate) use page::page;

/// `larder client`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientArguments {
    /// Which client.
    client: ClientName,
    /// The registry as it stands in image names: registry.lan:5000. With http:// in front if it speaks plain HTTP.
    registry: String,
    /// The upstream that the registry serves without a name in front, as proxy.remoteurl makes it.
    #[arg(long, value_name = "HOST")]
    root: Option<String>,
    /// An upstream that the registry serves below its name, such as ghcr.io. May be given more than once.
    #[arg(long = "upstream", value_name = "HOST")]
    upstreams: Vec<String>,
    /// The file with the authority that the registry's certificate is from, if clients don't know it.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Write the files. What they say already stays; a copy of each changed one is kept beside it.
    #[arg(long)]
    write: bool,
    /// Write below this directory instead of /.
    #[arg(long, value_name = "DIR", requires = "write")]
    into: Option<PathBuf>,
}

/// A client's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClientName {
    Docker,
    Containerd,
    K3s,
    Podman,
    Buildkit,
    Nerdctl,
    Kubernetes,
    GithubActions,
}

/// `larder proxy`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyArguments {
    /// Which proxy.
    proxy: ProxyName,
    /// The name by which clients reach it.
    name: String,
    /// The registry behind it, which it reaches by plain HTTP.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    registry: String,
    /// The port, or address and port, to listen on.
    #[arg(long, value_name = "[ADDRESS:]PORT", default_value = "443")]
    listen: String,
    /// The file with the certificate and its intermediates.
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/registry/fullchain.pem")]
    certificate: String,
    /// The file with its key.
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/registry/key.pem")]
    key: String,
}

/// A proxy's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProxyName {
    Nginx,
    Caddy,
    Traefik,
    TraefikLabels,
    Haproxy,
    Apache,
}

/// Prints a front configuration.
pub(crate) fn proxy(arguments: &ProxyArguments, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let program = match arguments.proxy {
        ProxyName::Nginx => ProxyProgram::Nginx,
        ProxyName::Caddy => ProxyProgram::Caddy,
        ProxyName::Traefik => ProxyProgram::Traefik,
        ProxyName::TraefikLabels => ProxyProgram::TraefikLabels,
        ProxyName::Haproxy => ProxyProgram::Haproxy,
        ProxyName::Apache => ProxyProgram::Apache,
    };
    let plan = ProxyPlan {
        name: arguments.name.clone(),
        listen: arguments.listen.clone(),
        backend: arguments.registry.clone(),
        certificate: arguments.certificate.clone(),
        key: arguments.key.clone(),
    };
    write!(out, "{}", program.configuration(&plan))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a client's files, or merges them into what is there.
pub(crate) fn client(arguments: &ClientArguments, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let target: Target = arguments.registry.parse()?;
    let authority = match &arguments.ca {
        Some(path) => Some(fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?),
        None => None,
    };
    let plan = ClientPlan {
        registry: target.authority(),
        tls: !target.is_plain(),
        root: arguments.root.clone(),
        upstreams: arguments.upstreams.clone(),
        authority,
    };
    let program = match arguments.client {
        ClientName::Docker => ClientProgram::Docker,
        ClientName::Containerd => ClientProgram::Containerd,
        ClientName::K3s => ClientProgram::K3s,
        ClientName::Podman => ClientProgram::Podman,
        ClientName::Buildkit => ClientProgram::Buildkit,
        ClientName::Nerdctl => ClientProgram::Nerdctl,
        ClientName::Kubernetes => ClientProgram::Kubernetes,
        ClientName::GithubActions => ClientProgram::GithubActions,
    };
    let files = program.files(&plan);
    if files.is_empty() {
        writeln!(out, "# nothing has to be told: images are named {}/…", plan.registry)?;
    }
    let root = arguments.into.as_deref().unwrap_or(Path::new("/"));
    let mut failed = false;
    for file in files {
        let has_place = file.path.is_absolute();
        if !arguments.write || !has_place {
            if !file.path.as_os_str().is_empty() {
                writeln!(out, "# {}", file.path.display())?;
            }
            writeln!(out, "{}", file.content.trim_end())?;
            if let Some(caveat) = file.caveat() {
                writeln!(out, "# note: {caveat}")?;
            }
            if !file.then.is_empty() {
                writeln!(out, "# then: {}", file.then)?;
            }
            writeln!(out)?;
            continue;
        }
        let path = root.join(file.path.strip_prefix("/").unwrap_or(&file.path));
        let present = read(&path)?;
        match file.merged(present.as_deref()) {
            Ok(text) if present.as_deref() == Some(text.as_str()) => {
                writeln!(out, "{}: nothing to change", path.display())?;
            }
            Ok(text) => {
                replace(&path, present.as_deref(), &text)?;
                write!(out, "{}", difference(&path, present.as_deref().unwrap_or_default(), &text))?;
                if let Some(caveat) = file.caveat() {
                    writeln!(out, "note: {caveat}")?;
                }
                if !file.then.is_empty() {
                    writeln!(out, "then: {}", file.then)?;
                }
            }
            Err(error) => {
                failed = true;
                writeln!(out, "{}: {error}\n{}", path.display(), file.content.trim_end())?;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read(path: &Path) -> Result<Option<String>, Box<dyn Error>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

/// Writes a file, after a copy of what was there.
fn replace(path: &Path, present: Option<&str>, text: &str) -> Result<(), Box<dyn Error>> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    if let Some(present) = present {
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".before-larder-{seconds}"));
        replace_file(&path.with_file_name(name), present.as_bytes(), None).map_err(failed)?;
    }
    replace_file(path, text.as_bytes(), None).map_err(failed)?;
    Ok(())
}

/// What changed, line by line: what both begin and end with is left out.
fn difference(path: &Path, before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let begin = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old, new) = (old.get(begin..).unwrap_or_default(), new.get(begin..).unwrap_or_default());
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let mut text = format!("--- {0}\n+++ {0}\n@@ line {1} @@\n", path.display(), begin + 1);
    for line in old.get(..old.len() - end).unwrap_or_default() {
        text.push_str(&format!("-{line}\n"));
    }
    for line in new.get(..new.len() - end).unwrap_or_default() {
        text.push_str(&format!("+{line}\n"));
    }
    text
}

#[cfg(test)]
mod tests;
