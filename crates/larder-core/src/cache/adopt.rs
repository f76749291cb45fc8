//! Taking over the directory of another registry's cache.
//!
//! registry:2 with `proxy.remoteurl` notes in `scheduler-state.json` when what it fetched is to expire. Whatever stands
//! there is a copy; all else in the directory counts as pushed, as nothing says that it isn't.

use std::collections::HashMap;
use std::path::Path;

use larder_meta::{AccessTime, Adopted};
use larder_oci::{Digest, RepoName};
use serde::Deserialize;

use crate::error::RegistryError;
use crate::registry::{Inner, Registry};

/// Where registry:2 keeps it, below the data directory.
const STATE: &str = "scheduler-state.json";

/// Says which state has been taken over: the file's time.
const ADOPTED: &str = "larder/adopted-copies";

/// The longest state that is read: a million entries.
const LONGEST_STATE: u64 = 512 << 20;

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "EntryType", default)]
    kind: u8,
}

const MANIFEST: u8 = 1;

impl Registry {
    /// Takes note of what registry:2 had fetched into this directory, unless that was done; gives how many tags,
    /// manifests and blobs are known as copies now. They count as used at this moment.
    pub async fn adopt_copies(&self) -> Result<usize, RegistryError> {
        self.asking_the_index(Inner::adopt_copies).await
    }
}

impl Inner {
    fn adopt_copies(&self) -> Result<usize, RegistryError> {
        let (state, adopted) = (Path::new(STATE), Path::new(ADOPTED));
        let Some(stat) = self.disk.stat(state)? else { return Ok(0) };
        let stamp = stat.modified_nanoseconds.to_string();
        if self.disk.read(adopted, 64)?.is_some_and(|known| known == stamp.as_bytes()) {
            return Ok(0);
        }
        let Some(text) = self.disk.read(state, LONGEST_STATE)? else { return Ok(0) };
        let mut count = 0;
        for (repository, copies) in by_repository(&text) {
            count += self.meta.adopt_copies(&repository, &copies)?;
            let at = (self.environment.now)();
            let digests = copies.manifests.iter().chain(&copies.blobs);
            let accesses: Vec<AccessTime> = digests
                .map(|digest| AccessTime { repository: repository.clone(), digest: *digest, at })
                .collect();
            self.meta.note_accesses(&accesses)?;
        }
        self.disk.put(adopted, stamp.as_bytes())?;
        tracing::info!(count, "took over what another registry's cache had fetched into this directory");
        Ok(count)
    }
}

/// What can't be read is passed over: it then counts as pushed.
fn by_repository(text: &[u8]) -> HashMap<RepoName, Adopted> {
    let mut found: HashMap<RepoName, Adopted> = HashMap::new();
    let entries: HashMap<String, Entry> = serde_json::from_slice(text)
        .inspect_err(|error| tracing::warn!(%error, "{STATE} can't be read; what it names counts as pushed"))
        .unwrap_or_default();
    for (key, entry) in entries {
        let Some((repository, digest)) = key.split_once('@') else { continue };
        let (Ok(repository), Ok(digest)) = (repository.parse(), digest.parse::<Digest>()) else { continue };
        let copies = found.entry(repository).or_default();
        if entry.kind == MANIFEST {
            copies.manifests.insert(digest)
        } else {
            copies.blobs.insert(digest)
        };
    }
    found
}
