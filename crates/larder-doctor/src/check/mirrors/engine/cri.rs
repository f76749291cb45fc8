//! Kubernetes' way: `crictl` asks a runtime as the kubelet does.

use std::path::PathBuf;

use serde_json::Value;
use tokio::process::Command;

use super::{finish, shortened};

/// Variables that send crictl elsewhere than its file: of k3s and RKE2 the file is right.
const ELSEWHERE: [&str; 2] = ["CONTAINER_RUNTIME_ENDPOINT", "IMAGE_SERVICE_ENDPOINT"];

/// A runtime that answers.
pub(in crate::check::mirrors) struct Cri {
    program: PathBuf,
    first: Vec<String>,
    config: Option<PathBuf>,
    /// Where it looks for `hosts.toml` files, if it says so; empty for nowhere.
    pub(super) config_path: Option<String>,
}

impl Cri {
    /// The runtime that listens at an address.
    pub(super) async fn at(program: PathBuf, endpoint: &str) -> Result<Cri, String> {
        let first =
            ["--runtime-endpoint", endpoint, "--image-endpoint", endpoint].map(str::to_owned).to_vec();
        let cri = Cri { program, first, config: None, config_path: None };
        let cri = cri.reach(&format!("at {endpoint}")).await?;
        // CRI-O and cri-dockerd have files of their own.
        let told = cri.run(&["version"]).await.unwrap_or_default();
        let told = String::from_utf8_lossy(&told);
        match told.lines().find_map(|line| line.strip_prefix("RuntimeName:")).map(str::trim) {
            Some(name) if name != "containerd" => {
                Err(format!("Kubernetes' runtime at {endpoint} is {name}, which doesn't read it"))
            }
            _ => Ok(cri),
        }
    }

    pub(super) async fn of_k3s(program: PathBuf) -> Result<Cri, String> {
        let cri = Cri { program, first: vec!["crictl".to_owned()], config: None, config_path: None };
        cri.reach("of k3s").await
    }

    pub(super) async fn of_rke2(program: PathBuf, config: PathBuf) -> Result<Cri, String> {
        let cri = Cri { program, first: Vec::new(), config: Some(config), config_path: None };
        cri.reach("of RKE2").await
    }

    async fn reach(mut self, place: &str) -> Result<Cri, String> {
        let told = self
            .run(&["info"])
            .await
            .map_err(|why| format!("no runtime {place} answers crictl (as root?): {}", shortened(&why)))?;
        let info: Value = serde_json::from_slice(&told).unwrap_or_default();
        let path = info.pointer("/config/registry/configPath").and_then(Value::as_str);
        self.config_path = path.map(str::to_owned);
        Ok(self)
    }

    /// Pulls an image and takes it away again.
    pub(super) async fn pull(&self, reference: &str) -> Result<(), String> {
        self.run(&["pull", reference]).await?;
        let _ = self.run(&["rmi", reference]).await;
        Ok(())
    }

    async fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let mut command = Command::new(&self.program);
        command.args(&self.first).args(arguments);
        for name in ELSEWHERE {
            command.env_remove(name);
        }
        if let Some(config) = &self.config {
            command.env("CRI_CONFIG_FILE", config);
        }
        finish(&mut command, None).await
    }
}
