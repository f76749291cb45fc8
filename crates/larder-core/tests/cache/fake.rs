//! An upstream in memory, with faults.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use larder_core::{
    Allowance, BlobChunks, BlobStream, FetchedManifest, ManifestHead, Upstream, UpstreamError,
    UpstreamFailure, UpstreamFuture,
};
use larder_oci::{Descriptor, Digest, Reference, RepoName, Tag};
use tokio::sync::Semaphore;

/// How the upstream behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Nobody listens.
    Down,
    /// Takes the question and never answers, until the client itself gives up after a minute.
    BlackHole,
    /// Answers rightly, after so long.
    Slow(Duration),
    /// Fails in this way.
    Fails(UpstreamFailure),
    /// Has nothing.
    Empty,
    /// Breaks off each connection after half of what is left to send.
    CutInHalf,
    /// Breaks off each connection before a single byte of content.
    CutAtOnce,
    /// Breaks off each connection after so many bytes of content.
    CutAfter(usize),
    /// Sends as many bytes as it should, and wrong ones.
    Corrupt,
    /// Sends a byte more than it said.
    TooLong,
    /// Stops sending after half, and says nothing.
    Stalls,
}

/// What it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) heads: usize,
    pub(crate) manifests: usize,
    pub(crate) sizes: usize,
    pub(crate) lists: usize,
    /// Per digest, from which offsets.
    pub(crate) blobs: HashMap<Digest, Vec<u64>>,
}

pub(crate) struct Fake {
    pub(crate) state: Mutex<State>,
    /// Chunks may pass only with a permit, if there is one of these.
    pub(crate) gate: Mutex<Option<Arc<Semaphore>>>,
}

pub(crate) struct State {
    pub(crate) fault: Fault,
    pub(crate) allowance: Allowance,
    pub(crate) manifests: HashMap<(String, Reference), Bytes>,
    pub(crate) blobs: HashMap<(String, Digest), Bytes>,
    pub(crate) referrers: HashMap<(String, Digest), Vec<Descriptor>>,
    pub(crate) asked: Asked,
    pub(crate) says_digest: bool,
    pub(crate) says_length: bool,
    pub(crate) knows_ranges: bool,
}

pub(crate) const CHUNK: usize = 16 << 10;

impl Fake {
    pub(crate) fn new() -> Arc<Fake> {
        let state = State {
            fault: Fault::None,
            allowance: Allowance::Plenty,
            manifests: HashMap::new(),
            blobs: HashMap::new(),
            referrers: HashMap::new(),
            asked: Asked::default(),
            says_digest: true,
            says_length: true,
            knows_ranges: true,
        };
        Arc::new(Fake { state: Mutex::new(state), gate: Mutex::default() })
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    pub(crate) fn asked(&self) -> Asked {
        self.state.lock().unwrap().asked.clone()
    }

    /// Forgets what was asked so far.
    pub(crate) fn reset(&self) {
        self.state.lock().unwrap().asked = Asked::default();
    }

    pub(crate) fn put_blob(&self, repository: &str, bytes: &Bytes) -> Digest {
        let digest = Digest::sha256(bytes);
        self.state.lock().unwrap().blobs.insert((repository.to_owned(), digest), bytes.clone());
        digest
    }

    pub(crate) fn put_manifest(&self, repository: &str, tag: Option<&str>, bytes: &Bytes) -> Digest {
        let digest = Digest::sha256(bytes);
        let mut state = self.state.lock().unwrap();
        let mut put = |reference| state.manifests.insert((repository.to_owned(), reference), bytes.clone());
        put(Reference::Digest(digest));
        if let Some(tag) = tag {
            put(Reference::Tag(tag.parse().unwrap()));
        }
        digest
    }

    /// Holds every chunk back until the gate has permits.
    pub(crate) fn close_gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.gate.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }

    fn failed(failure: UpstreamFailure) -> UpstreamError {
        UpstreamError {
            upstream: "fake".into(),
            host: "fake.test".into(),
            failure,
            detail: "a fault of the test".into(),
            cause: None,
        }
    }

    /// What every question meets first. `Ok(false)`: there is nothing.
    async fn meet(&self) -> Result<bool, UpstreamError> {
        let fault = self.state.lock().unwrap().fault;
        match fault {
            Fault::Down => Err(Fake::failed(UpstreamFailure::Unreachable)),
            Fault::BlackHole => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Err(Fake::failed(UpstreamFailure::TimedOut))
            }
            Fault::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(true)
            }
            Fault::Fails(failure) => Err(Fake::failed(failure)),
            Fault::Empty => Ok(false),
            Fault::None
            | Fault::CutInHalf
            | Fault::CutAtOnce
            | Fault::CutAfter(_)
            | Fault::Corrupt
            | Fault::TooLong
            | Fault::Stalls => {
                tokio::task::yield_now().await;
                Ok(true)
            }
        }
    }

    fn found(&self, repository: &RepoName, reference: &Reference) -> Option<Bytes> {
        let key = (repository.to_string(), reference.clone());
        self.state.lock().unwrap().manifests.get(&key).cloned()
    }

    fn blob_bytes(&self, repository: &RepoName, digest: &Digest) -> Option<Bytes> {
        self.state.lock().unwrap().blobs.get(&(repository.to_string(), *digest)).cloned()
    }
}

impl Upstream for Fake {
    fn name(&self) -> &str {
        "fake"
    }

    fn allowance(&self, _: &RepoName) -> Allowance {
        self.state.lock().unwrap().allowance
    }

    fn head_manifest<'a>(
        &'a self,
        repository: &'a RepoName,
        reference: &'a Reference,
    ) -> UpstreamFuture<'a, Option<ManifestHead>> {
        Box::pin(async move {
            self.state.lock().unwrap().asked.heads += 1;
            if !self.meet().await? {
                return Ok(None);
            }
            let says_digest = self.state.lock().unwrap().says_digest;
            Ok(self.found(repository, reference).map(|bytes| ManifestHead {
                digest: says_digest.then(|| Digest::sha256(&bytes)),
                media_type: None,
                size: Some(bytes.len() as u64),
            }))
        })
    }

    fn manifest<'a>(
        &'a self,
        repository: &'a RepoName,
        reference: &'a Reference,
    ) -> UpstreamFuture<'a, Option<FetchedManifest>> {
        Box::pin(async move {
            self.state.lock().unwrap().asked.manifests += 1;
            if !self.meet().await? {
                return Ok(None);
            }
            let Some(bytes) = self.found(repository, reference) else { return Ok(None) };
            let fault = self.state.lock().unwrap().fault;
            let bytes = match fault {
                Fault::CutInHalf | Fault::CutAtOnce | Fault::CutAfter(_) => {
                    return Err(Fake::failed(UpstreamFailure::Cut));
                }
                Fault::Stalls => {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    return Err(Fake::failed(UpstreamFailure::TimedOut));
                }
                Fault::Corrupt | Fault::TooLong => Bytes::from_static(b"<html>captive portal</html>"),
                _ => bytes,
            };
            Ok(Some(FetchedManifest { bytes, media_type: None }))
        })
    }

    fn blob_size<'a>(
        &'a self,
        repository: &'a RepoName,
        digest: &'a Digest,
    ) -> UpstreamFuture<'a, Option<Option<u64>>> {
        Box::pin(async move {
            self.state.lock().unwrap().asked.sizes += 1;
            if !self.meet().await? {
                return Ok(None);
            }
            let says_length = self.state.lock().unwrap().says_length;
            let bytes = self.blob_bytes(repository, digest);
            Ok(bytes.map(|bytes| says_length.then_some(bytes.len() as u64)))
        })
    }

    fn tags<'a>(&'a self, repository: &'a RepoName) -> UpstreamFuture<'a, Option<Vec<Tag>>> {
        Box::pin(async move {
            self.state.lock().unwrap().asked.lists += 1;
            if !self.meet().await? {
                return Ok(None);
            }
            let state = self.state.lock().unwrap();
            let of_it = state.manifests.keys().filter(|(name, _)| *name == repository.to_string());
            let tags: Vec<Tag> = of_it
                .filter_map(|(_, reference)| match reference {
                    Reference::Tag(tag) => Some(tag.clone()),
                    Reference::Digest(_) => None,
                })
                .collect();
            Ok(Some(tags).filter(|tags| !tags.is_empty()))
        })
    }

    fn referrers<'a>(
        &'a self,
        repository: &'a RepoName,
        subject: &'a Digest,
    ) -> UpstreamFuture<'a, Vec<Descriptor>> {
        Box::pin(async move {
            self.state.lock().unwrap().asked.lists += 1;
            self.meet().await?;
            let state = self.state.lock().unwrap();
            Ok(state.referrers.get(&(repository.to_string(), *subject)).cloned().unwrap_or_default())
        })
    }

    fn blob<'a>(
        &'a self,
        repository: &'a RepoName,
        digest: &'a Digest,
        from: u64,
    ) -> UpstreamFuture<'a, Option<BlobStream>> {
        Box::pin(async move {
            self.state.lock().unwrap().asked.blobs.entry(*digest).or_default().push(from);
            if !self.meet().await? {
                return Ok(None);
            }
            let Some(bytes) = self.blob_bytes(repository, digest) else { return Ok(None) };
            let (fault, says_length, knows_ranges) = {
                let state = self.state.lock().unwrap();
                (state.fault, state.says_length, state.knows_ranges)
            };
            let size = bytes.len() as u64;
            let from = if knows_ranges { from } else { 0 };
            if from > 0 && from >= size {
                return Err(Fake::failed(UpstreamFailure::Failed { status: 416 }));
            }
            let mut rest = bytes.slice(usize::try_from(from).unwrap()..);
            let mut ends_with = None;
            match fault {
                Fault::CutInHalf => {
                    let half = rest.len().div_ceil(2);
                    ends_with = (half < rest.len()).then_some(UpstreamFailure::Cut);
                    rest.truncate(half);
                }
                Fault::CutAfter(length) => {
                    ends_with = (length < rest.len()).then_some(UpstreamFailure::Cut);
                    rest.truncate(length);
                }
                Fault::CutAtOnce => (rest, ends_with) = (Bytes::new(), Some(UpstreamFailure::Cut)),
                Fault::Corrupt => rest = rest.iter().map(|byte| byte ^ 1).collect(),
                Fault::TooLong => rest = [&rest[..], b"!"].concat().into(),
                Fault::Stalls => {
                    rest.truncate(rest.len() / 2);
                    ends_with = Some(UpstreamFailure::TimedOut);
                }
                _ => {}
            }
            let gate = self.gate.lock().unwrap().clone();
            let chunks = Box::new(Chunks { rest, ends_with, gate });
            Ok(Some(BlobStream { size: says_length.then_some(size), from, chunks }))
        })
    }
}

struct Chunks {
    rest: Bytes,
    ends_with: Option<UpstreamFailure>,
    gate: Option<Arc<Semaphore>>,
}

impl BlobChunks for Chunks {
    fn next(&mut self) -> UpstreamFuture<'_, Option<Bytes>> {
        Box::pin(async move {
            if self.rest.is_empty() {
                if self.ends_with == Some(UpstreamFailure::TimedOut) {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
                return self.ends_with.take().map_or(Ok(None), |failure| Err(Fake::failed(failure)));
            }
            if let Some(gate) = &self.gate {
                gate.acquire().await.unwrap().forget();
            }
            tokio::task::yield_now().await;
            Ok(Some(self.rest.split_to(self.rest.len().min(CHUNK))))
        })
    }
}
