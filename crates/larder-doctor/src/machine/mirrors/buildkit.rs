//! The mirrors of BuildKit and of docker buildx's builders.

use toml_edit::DocumentMut;

use super::{Engine, Mirror, behind, is_near, path_of};
use crate::machine::{Machine, Spoken, buildkit, toml};

/// Where a BuildKit listens that root has started.
const SOCKET: &str = "unix:///run/buildkit/buildkitd.sock";

impl Machine {
    /// Those of `buildkitd.toml` files, and those that builders were made with.
    pub(crate) fn buildkit_mirrors(&self, spoken: &Spoken) -> Vec<Mirror> {
        let mut mirrors = Vec::new();
        for (file, is_rootless) in buildkit::files(self) {
            let Ok(Some(config)) = toml(&file) else { continue };
            let (daemon, told_by) = (self.buildkit_address(is_rootless), file.display().to_string());
            mirrors.extend(mirrors_of(&config, Engine::BuildKit, &daemon, &told_by, spoken));
        }
        for builder in buildkit::builders(self).0 {
            let told_by = builder.file.display().to_string();
            for mirror in mirrors_of(&builder.config, Engine::Buildx, &builder.name, &told_by, spoken) {
                // The nodes of a builder say the same.
                if !mirrors.contains(&mirror) {
                    mirrors.push(mirror);
                }
            }
        }
        mirrors
    }

    /// Where the BuildKit listens that has read root's file, or the one of a BuildKit without root.
    fn buildkit_address(&self, is_rootless: bool) -> String {
        let own =
            self.runtime_dir.as_ref().map(|dir| format!("unix://{}/buildkit/buildkitd.sock", dir.display()));
        let (usual, other) = match own {
            Some(own) if is_rootless => (own, SOCKET.to_owned()),
            Some(own) => (SOCKET.to_owned(), own),
            None => (SOCKET.to_owned(), SOCKET.to_owned()),
        };
        match &self.buildkit_host {
            Some(named) if *named != other => named.clone(),
            _ => usual,
        }
    }
}

fn mirrors_of(
    config: &DocumentMut,
    engine: Engine,
    daemon: &str,
    told_by: &str,
    spoken: &Spoken,
) -> Vec<Mirror> {
    let mirror = |(upstream, written): (String, String)| {
        // The registry's own table.
        if spoken.is_meant(&upstream) {
            return None;
        }
        Some(Mirror {
            engine,
            daemon: daemon.to_owned(),
            told_by: told_by.to_owned(),
            door: behind(path_of(&written)),
            // BuildKit's library is containerd's, which says so to every host but the upstream's own.
            says_upstream: true,
            is_exact: is_near(spoken, &written)?,
            upstream,
            written,
        })
    };
    buildkit::mirrors(config).into_iter().filter_map(mirror).collect()
}
