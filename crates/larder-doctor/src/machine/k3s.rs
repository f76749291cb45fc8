//! k3s and RKE2: `registries.yaml`, out of which they make containerd's files at their start.

use std::path::PathBuf;

use serde_json::Value;

use super::{Machine, Spoken, Trouble, containerd, text, unreadable, yaml};
use crate::check::Told;
use crate::finding::{Hop, Row};

/// The two that are made alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distribution {
    K3s,
    Rke2,
}

pub(super) const DISTRIBUTIONS: [Distribution; 2] = [Distribution::K3s, Distribution::Rke2];

impl Distribution {
    fn name(self) -> &'static str {
        match self {
            Distribution::K3s => "k3s",
            Distribution::Rke2 => "rke2",
        }
    }

    pub(super) fn file(self, machine: &Machine) -> PathBuf {
        machine.etc("rancher").join(self.name()).join("registries.yaml")
    }

    /// Where its data is, by its configuration file.
    pub(super) fn data(self, machine: &Machine) -> PathBuf {
        let file = machine.etc("rancher").join(self.name()).join("config.yaml");
        let tree = text(&file).ok().flatten().and_then(|text| yaml::read(&text).ok()).unwrap_or_default();
        match tree.get("data-dir").and_then(Value::as_str) {
            Some(dir) => machine.root.join(dir.trim_start_matches('/')),
            None => machine.root.join("var/lib/rancher").join(self.name()),
        }
    }
}

pub(super) fn examine(machine: &Machine, spoken: &Spoken) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for file in DISTRIBUTIONS.map(|distribution| distribution.file(machine)) {
        let content = match text(&file) {
            Ok(Some(content)) => content,
            Ok(None) => continue,
            Err(trouble) => {
                troubles.push(trouble);
                continue;
            }
        };
        let tree = match yaml::read(&content) {
            Ok(tree) => tree,
            Err(why) => {
                troubles.push(unreadable(&file, &why));
                continue;
            }
        };
        let mirrors = tree.get("mirrors").and_then(Value::as_object).into_iter().flatten();
        for (name, mirror) in mirrors {
            let endpoints = mirror.get("endpoint").and_then(Value::as_array).into_iter().flatten();
            for endpoint in endpoints.filter_map(Value::as_str).filter(|endpoint| spoken.is_meant(endpoint)) {
                troubles.extend(spoken.wrong_scheme(&file, endpoint));
                if !endpoint.contains("://") {
                    troubles.push((
                        Row::MirrorUrl,
                        Told::warning(
                            Hop::Client,
                            format!("{}: the endpoint of {name} is {endpoint}", file.display()),
                            "endpoints are URLs; of one without a scheme k3s means https (on localhost http), and its older releases a path",
                            format!("{}://{endpoint}", spoken.endpoint.scheme),
                        ),
                    ));
                    continue;
                }
                // k3s takes any path but none and /v2 for the whole of it.
                let path = endpoint.splitn(4, '/').nth(3).unwrap_or_default().trim_matches('/');
                if !path.is_empty() && path != "v2" {
                    troubles.extend(containerd::path(&file, endpoint, true));
                }
            }
        }
        let config = tree.get("configs").and_then(|configs| configs.get(&spoken.authority));
        let ca = config.and_then(|config| config.pointer("/tls/ca_file")?.as_str());
        if let Some(ca) = ca
            && super::certificates(&machine.root.join(ca.trim_start_matches('/'))).is_empty()
        {
            troubles.push((
                Row::AuthorityMissing,
                Told::failure(
                    Hop::Client,
                    format!("{} names the authority {ca}, and no certificate is there", file.display()),
                    "containerd then fails at this host, and goes on to the next without a word",
                    format!("sudo install -D -m 644 ca.crt {ca}, then restart k3s"),
                ),
            ));
        }
    }
    troubles
}
