//! What each client has to be told.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::merge::{self, MergeError};

/// A client that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientProgram {
    /// docker's daemon.
    Docker,
    /// containerd, as Kubernetes and `ctr` use it.
    Containerd,
    /// k3s.
    K3s,
    /// podman, buildah, skopeo, CRI-O.
    Podman,
    /// BuildKit's daemon.
    Buildkit,
    /// nerdctl, which reads containerd's files.
    Nerdctl,
    /// A pod's secret.
    Kubernetes,
    /// A workflow.
    GithubActions,
}

/// What is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPlan {
    /// `HOST[:PORT]`, as it stands in image names.
    pub registry: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The upstream that stands at the registry's root, as `proxy.remoteurl` makes it: docker.io.
    pub root: Option<String>,
    /// The upstreams that stand below their own names.
    pub upstreams: Vec<String>,
    /// The registry's authority, in PEM.
    pub authority: Option<String>,
}

/// A file of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFile {
    /// Where it belongs; relative to the repository for a workflow, and empty for what goes nowhere.
    pub path: PathBuf,
    /// What it has to say.
    pub content: String,
    /// How it is merged into what is there.
    kind: Kind,
    /// What makes it count.
    pub then: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Toml,
    /// Never merged: replaced when it is ours alone, else left to a person.
    Whole,
    Yaml,
}

impl ClientFile {
    /// What has to be known before it is taken over, where something has to: a sentence.
    pub fn caveat(&self) -> Option<&'static str> {
        let has_path = self.kind == Kind::Json && self.content.contains("/docker.io\"");
        has_path.then_some(
            "for Engine 25 or newer; an older one doesn't start with it: leave registry-mirrors out",
        )
    }

    /// The file's new text, from what is there now. Nothing that stands there is taken away.
    ///
    /// # Errors
    /// What is there can't be read as what it should be, or says something else where this has to stand.
    pub fn merged(&self, present: Option<&str>) -> Result<String, MergeError> {
        let Some(present) = present.filter(|text| !text.trim().is_empty()) else {
            return Ok(self.content.clone());
        };
        if present == self.content {
            return Ok(self.content.clone());
        }
        match self.kind {
            Kind::Json => merge::json(present, &self.content),
            Kind::Toml => merge::toml(present, &self.content),
            Kind::Whole => Ok(self.content.clone()),
            Kind::Yaml => Err(MergeError::ByHand),
        }
    }
}

impl ClientPlan {
    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.registry)
    }

    /// Where an upstream's images are below the registry: at its root, or below the upstream's name.
    fn location(&self, upstream: &str) -> String {
        if self.root.as_deref() == Some(upstream) {
            self.registry.clone()
        } else {
            format!("{}/{upstream}", self.registry)
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let others = self.upstreams.iter().filter(|one| Some(*one) != self.root.as_ref());
        self.root.iter().chain(others).map(String::as_str)
    }

    fn authority_file(&self, path: impl Into<PathBuf>, then: &'static str) -> Option<ClientFile> {
        let content = self.authority.clone()?;
        self.tls.then(|| ClientFile { path: path.into(), content, kind: Kind::Whole, then })
    }
}

/// The server that containerd asks when the mirror can't help.
fn server(upstream: &str) -> String {
    if upstream == "docker.io" {
        "https://registry-1.docker.io".to_owned()
    } else {
        format!("https://{upstream}")
    }
}

impl ClientProgram {
    /// The files that tell this client about the registry.
    pub fn files(self, plan: &ClientPlan) -> Vec<ClientFile> {
        match self {
            ClientProgram::Docker => docker(plan),
            ClientProgram::Containerd | ClientProgram::Nerdctl => containerd(self, plan),
            ClientProgram::K3s => k3s(plan),
            ClientProgram::Podman => podman(plan),
            ClientProgram::Buildkit => buildkit(plan),
            ClientProgram::Kubernetes => vec![kubernetes(plan)],
            ClientProgram::GithubActions => vec![actions(plan)],
        }
    }
}

fn docker(plan: &ClientPlan) -> Vec<ClientFile> {
    let mut settings = json!({});
    let mut set = |name: &str, value: String| {
        if let Some(settings) = settings.as_object_mut() {
            settings.insert(name.to_owned(), json!([value]));
        }
    };
    // dockerd mirrors Docker Hub alone, and before Engine 25 knows no path in a mirror's URL.
    match plan.root.as_deref() {
        Some("docker.io") => set("registry-mirrors", plan.url()),
        _ if plan.upstreams.iter().any(|one| one == "docker.io") => {
            set("registry-mirrors", format!("{}/docker.io", plan.url()));
        }
        _ => {}
    }
    if !plan.tls {
        set("insecure-registries", plan.registry.clone());
    }
    let restart = "sudo systemctl restart docker";
    let mut files = Vec::new();
    if settings.as_object().is_some_and(|settings| !settings.is_empty()) {
        files.push(ClientFile {
            path: "/etc/docker/daemon.json".into(),
            content: format!("{settings:#}\n"),
            kind: Kind::Json,
            then: restart,
        });
    }
    files.extend(plan.authority_file(format!("/etc/docker/certs.d/{}/ca.crt", plan.registry), ""));
    files
}

fn containerd(program: ClientProgram, plan: &ClientPlan) -> Vec<ClientFile> {
    let certs = Path::new("/etc/containerd/certs.d");
    // A colon is refused in some places; containerd reads `host_port_` for it.
    let own = certs.join(match plan.registry.split_once(':') {
        Some((host, port)) => format!("{host}_{port}_"),
        None => plan.registry.clone(),
    });
    let authority = own.join("ca.crt");
    let ca = match &plan.authority {
        Some(_) if plan.tls => format!("  ca = \"{}\"\n", authority.display()),
        _ => String::new(),
    };
    let hosts = |path: PathBuf, content: String| ClientFile { path, content, kind: Kind::Toml, then: "" };
    let mut files = Vec::new();
    if program == ClientProgram::Containerd {
        files.push(ClientFile {
            path: "/etc/containerd/config.toml".into(),
            content: "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n"
                .to_owned(),
            kind: Kind::Toml,
            then: "sudo systemctl restart containerd",
        });
    }
    files.push(hosts(
        own.join("hosts.toml"),
        format!("server = \"{url}\"\n\n[host.\"{url}\"]\n{ca}", url = plan.url()),
    ));
    for upstream in plan.all() {
        let host = if plan.root.as_deref() == Some(upstream) {
            format!("[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n{ca}", plan.url())
        } else {
            format!(
                "[host.\"{}/v2/{upstream}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n{ca}",
                plan.url()
            )
        };
        files.push(hosts(
            certs.join(upstream).join("hosts.toml"),
            format!("server = \"{}\"\n\n{host}", server(upstream)),
        ));
    }
    files.extend(plan.authority_file(authority, ""));
    files
}

fn k3s(plan: &ClientPlan) -> Vec<ClientFile> {
    let authority = "/etc/rancher/k3s/registry-ca.crt";
    let mut content = String::from("mirrors:\n");
    for upstream in plan.all() {
        let endpoint = if plan.root.as_deref() == Some(upstream) {
            plan.url()
        } else {
            format!("{}/v2/{upstream}", plan.url())
        };
        content.push_str(&format!("  {upstream}:\n    endpoint: [\"{endpoint}\"]\n"));
    }
    content.push_str(&format!("  \"{}\":\n    endpoint: [\"{}\"]\n", plan.registry, plan.url()));
    if plan.tls && plan.authority.is_some() {
        content
            .push_str(&format!("configs:\n  \"{}\":\n    tls:\n      ca_file: {authority}\n", plan.registry));
    }
    let mut files = vec![ClientFile {
        path: "/etc/rancher/k3s/registries.yaml".into(),
        content,
        kind: Kind::Yaml,
        then: "sudo systemctl restart k3s",
    }];
    files.extend(plan.authority_file(authority, ""));
    files
}

fn podman(plan: &ClientPlan) -> Vec<ClientFile> {
    let insecure = if plan.tls { "" } else { "insecure = true\n" };
    let mut content = format!("[[registry]]\nlocation = \"{}\"\n{insecure}", plan.registry);
    for upstream in plan.all() {
        content.push_str(&format!(
            "\n[[registry]]\nprefix = \"{upstream}\"\nlocation = \"{upstream}\"\n\n[[registry.mirror]]\nlocation = \"{}\"\n{insecure}",
            plan.location(upstream)
        ));
    }
    let mut files = vec![ClientFile {
        path: "/etc/containers/registries.conf.d/50-larder.conf".into(),
        content,
        kind: Kind::Whole,
        then: "",
    }];
    files.extend(plan.authority_file(format!("/etc/containers/certs.d/{}/ca.crt", plan.registry), ""));
    files
}

fn buildkit(plan: &ClientPlan) -> Vec<ClientFile> {
    let authority = "/etc/buildkit/registry-ca.crt";
    let mut content = String::new();
    for upstream in plan.all() {
        content
            .push_str(&format!("[registry.\"{upstream}\"]\nmirrors = [\"{}\"]\n\n", plan.location(upstream)));
    }
    content.push_str(&format!("[registry.\"{}\"]\n", plan.registry));
    // Left out, BuildKit speaks plain HTTP to this machine's own addresses.
    content.push_str(if plan.tls { "http = false\n" } else { "http = true\n" });
    if plan.tls && plan.authority.is_some() {
        content.push_str(&format!("ca = [\"{authority}\"]\n"));
    }
    let mut files = vec![ClientFile {
        path: "/etc/buildkit/buildkitd.toml".into(),
        content,
        kind: Kind::Toml,
        then: "docker buildx create --use --driver docker-container --buildkitd-config /etc/buildkit/buildkitd.toml",
    }];
    files.extend(plan.authority_file(authority, ""));
    files
}

fn kubernetes(plan: &ClientPlan) -> ClientFile {
    let content = format!(
        "\
# kubectl create secret docker-registry larder --docker-server={registry} --docker-username=USER --docker-password=PASSWORD
# What the nodes need is printed by `larder client containerd` (or k3s): kubelet itself knows no mirrors.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: default
imagePullSecrets:
  - name: larder
",
        registry = plan.registry
    );
    ClientFile { path: PathBuf::new(), content, kind: Kind::Yaml, then: "" }
}

fn actions(plan: &ClientPlan) -> ClientFile {
    let mut mirrors = String::new();
    for file in buildkit(&ClientPlan { authority: None, ..plan.clone() }).into_iter().take(1) {
        for line in file.content.lines() {
            mirrors.push_str(&format!("            {line}\n"));
        }
    }
    let content = format!(
        "\
jobs:
  build:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v4
      - uses: docker/setup-buildx-action@v3
        with:
          buildkitd-config-inline: |
{mirrors}      - uses: docker/login-action@v3
        with:
          registry: {registry}
          username: ${{{{ secrets.REGISTRY_USER }}}}
          password: ${{{{ secrets.REGISTRY_PASSWORD }}}}
      - uses: docker/build-push-action@v6
        with:
          push: true
          tags: {registry}/${{{{ github.repository }}}}:${{{{ github.sha }}}}
          cache-from: type=registry,ref={registry}/${{{{ github.repository }}}}:buildcache
          cache-to: type=registry,ref={registry}/${{{{ github.repository }}}}:buildcache,mode=max
",
        registry = plan.registry
    );
    ClientFile { path: ".github/workflows/build.yml".into(), content, kind: Kind::Yaml, then: "" }
}
