//! docker's daemon: `/etc/docker/daemon.json` and `/etc/docker/certs.d`.

use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::Value;

use super::{Machine, Spoken, Trouble, is_authority, json, mirror_url, names};
use crate::check::Told;
use crate::finding::{Hop, Row};
use crate::net::Scheme;

fn certs_dir(machine: &Machine) -> PathBuf {
    machine.etc("docker/certs.d")
}

/// docker takes every `.crt` for an authority.
pub(super) fn authority_files(machine: &Machine, authority: &str) -> Vec<PathBuf> {
    let dir = certs_dir(machine).join(authority);
    names(&dir).into_iter().filter(|name| name.ends_with(".crt")).map(|name| dir.join(name)).collect()
}

pub(super) fn examine(machine: &Machine, spoken: &Spoken) -> Vec<Trouble> {
    let mut troubles = certificates(machine, spoken);
    let file = machine.etc("docker/daemon.json");
    let config = match json(&file) {
        Ok(config) => config,
        Err(trouble) => {
            troubles.push(trouble);
            return troubles;
        }
    };
    let list = |name: &str| -> Vec<String> {
        let list = config.as_ref().and_then(|config| config.get(name)?.as_array());
        list.into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    for mirror in list("registry-mirrors").iter().filter(|mirror| spoken.is_meant(mirror)) {
        troubles.extend(spoken.wrong_scheme(&file, mirror));
        if !mirror.contains("://") {
            troubles.push(mirror_url(
                &file,
                format!("registry-mirrors has {mirror}"),
                "docker refuses a mirror without a scheme, and doesn't start: `unsupported scheme`",
                format!("{}://{mirror}", spoken.endpoint.scheme),
            ));
        }
    }
    let insecure = list("insecure-registries");
    for entry in insecure.iter().filter(|entry| entry.contains("://") && spoken.is_meant(entry)) {
        troubles.push(mirror_url(
            &file,
            format!("insecure-registries has {entry}"),
            "entries there are host:port; docker refuses one with a scheme, and doesn't start",
            spoken.authority.clone(),
        ));
    }
    let listed = insecure.iter().any(|entry| covers(entry, spoken));
    let is_used = config.is_some() || machine.has("dockerd");
    if spoken.endpoint.scheme == Scheme::Http && is_used && !listed && !spoken.is_loopback() {
        troubles.push((
            Row::InsecureMissing,
            Told::failure(
                Hop::Client,
                format!("the registry speaks plain HTTP, and {} doesn't say so", file.display()),
                "docker speaks TLS unless it is told otherwise: `server gave HTTP response to HTTPS client`",
                format!(
                    "in {}: {{\"insecure-registries\": [\"{}\"]}}, then restart docker",
                    file.display(),
                    spoken.authority
                ),
            ),
        ));
    }
    if listed {
        troubles.extend(ignored(config.as_ref(), &file, spoken));
    }
    troubles
}

/// Whether an entry of insecure-registries is for the registry: its name, or a network with its address.
fn covers(entry: &str, spoken: &Spoken) -> bool {
    if spoken.is_meant(entry) || entry == spoken.host() {
        return true;
    }
    let (Some((network, length)), Ok(address)) = (entry.split_once('/'), spoken.host().parse::<IpAddr>())
    else {
        return false;
    };
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let bits = |address: IpAddr| match address {
        IpAddr::V4(four) => (u128::from(four.to_bits()) << 96, 32),
        IpAddr::V6(six) => (six.to_bits(), 128),
    };
    let ((ours, width), (theirs, other)) = (bits(address), bits(network));
    let shift = 128 - length.min(width);
    width == other && (length == 0 || ours >> shift == theirs >> shift)
}

/// The containerd store, chosen by a feature, looked past insecure-registries in the first releases of Engine 29.
fn ignored(config: Option<&Value>, file: &std::path::Path, spoken: &Spoken) -> Option<Trouble> {
    let chosen = config?.pointer("/features/containerd-snapshotter")?.as_bool()?;
    if !chosen || spoken.by_system {
        return None;
    }
    Some((
        Row::InsecureIgnored,
        Told::warning(
            Hop::Client,
            format!("{} switches the containerd store on, and relies on insecure-registries", file.display()),
            "releases 29.0 and 29.1 of docker list the registry as insecure, and then don't treat it so with that store",
            format!(
                "update docker; or give it the authority: /etc/docker/certs.d/{}/ca.crt",
                spoken.authority
            ),
        ),
    ))
}

fn certificates(machine: &Machine, spoken: &Spoken) -> Vec<Trouble> {
    let dir = certs_dir(machine).join(&spoken.authority);
    let found = names(&dir);
    let mut troubles = Vec::new();
    for name in &found {
        let path = dir.join(name);
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        let has_key = found.iter().any(|other| *other == format!("{stem}.key"));
        if name.ends_with(".cert") && !has_key && is_authority(&path) {
            troubles.push((
                Row::CertificateMixup,
                Told::failure(
                    Hop::Client,
                    format!("{} holds an authority", path.display()),
                    "docker takes .crt for an authority and .cert for its own certificate, which needs a .key beside it",
                    format!("sudo mv {} {}", path.display(), dir.join(format!("{stem}.crt")).display()),
                ),
            ));
        }
        if name.ends_with(".pem") && is_authority(&path) {
            troubles.push((
                Row::CertificateMixup,
                Told::failure(
                    Hop::Client,
                    format!("{} holds an authority", path.display()),
                    "docker looks at .crt, .cert and .key alone",
                    format!("sudo mv {} {}", path.display(), dir.join("ca.crt").display()),
                ),
            ));
        }
    }
    if found.is_empty() {
        let near = names(&certs_dir(machine))
            .into_iter()
            .find(|name| name.split(':').next() == Some(spoken.host()) && *name != spoken.authority);
        if let Some(near) = near.filter(|_| spoken.endpoint.scheme == Scheme::Https && !spoken.by_system) {
            let from = certs_dir(machine).join(near);
            troubles.push((
                Row::CertsDirectory,
                Told::failure(
                    Hop::Client,
                    format!("{} is there, and {} isn't", from.display(), dir.display()),
                    "docker looks for the directory by the registry's name with its port, exactly as in the image's name",
                    format!("sudo cp -r {} {}", from.display(), dir.display()),
                ),
            ));
        } else if machine.has("dockerd") {
            let file = format!("/etc/docker/certs.d/{}/ca.crt", spoken.authority);
            troubles.extend(spoken.authority_missing("docker", &file));
        }
    }
    troubles
}
