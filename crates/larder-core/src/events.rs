//! What happens in a repository, for whoever wants to be told.
//!
//! Changes are reported by the operation itself, on the thread that made them and before the operation answers:
//! a client that has left, or a handler that was dropped, loses no event of a change that was made. Pulls are
//! reported by whoever answers the client: whether content was sent, or only "you have it already", is known there.

use std::sync::Arc;

use larder_oci::{Access, Actor, Digest, Manifest, Operation, RepoName, Tag};
use larder_storage::StorageError;

use crate::error::RegistryError;
use crate::pull::StoredManifest;
use crate::registry::Registry;

/// Something that happened in a repository.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A manifest was stored; once per tag that was moved to it, or once without a tag.
    ManifestPushed {
        /// What it says.
        manifest: &'a Manifest,
        /// Its digest.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// The tag that points at it now.
        tag: Option<&'a Tag>,
    },
    /// A manifest was given to a client, or its headers.
    ManifestPulled {
        /// The manifest.
        manifest: &'a StoredManifest,
        /// The tag that it was asked for by.
        tag: Option<&'a Tag>,
    },
    /// A manifest was removed.
    ManifestDeleted {
        /// Its digest.
        digest: Digest,
    },
    /// A tag was removed, alone or because its manifest was.
    TagDeleted {
        /// The tag.
        tag: &'a Tag,
    },
    /// A blob was uploaded.
    BlobPushed {
        /// Its digest.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// A blob or a part of it was given to a client, or its headers.
    BlobPulled {
        /// Its digest.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// A blob of another repository became one of this repository.
    BlobMounted {
        /// The other repository.
        from: &'a RepoName,
        /// The blob's digest.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// A blob was taken out of the repository.
    BlobDeleted {
        /// Its digest.
        digest: Digest,
    },
}

/// Where changes are reported to: made for one request, so that it can tell who asked and from where.
pub trait EventSink: Send + Sync {
    /// Takes note of what this actor did to this repository, in this order; durable when it returns.
    ///
    /// # Errors
    /// When it could not be made durable: then the operation fails too, though the change was made, and its
    /// client tries again.
    fn changed(&self, actor: &Actor, repository: &RepoName, events: &[Event<'_>])
    -> Result<(), StorageError>;
}

/// One operation's way to the sink, if there is one.
#[derive(Clone)]
pub(crate) struct Reporting(Option<(Arc<dyn EventSink>, Actor)>);

impl Registry {
    /// The same registry; what is changed through this handle is reported to `sink`.
    pub fn reporting_to(&self, sink: Arc<dyn EventSink>) -> Registry {
        Registry { sink: Some(sink), ..self.clone() }
    }

    pub(crate) fn reporting<Op: Operation>(&self, access: &Access<Op>) -> Reporting {
        Reporting(self.sink.as_ref().map(|sink| (Arc::clone(sink), access.actor().clone())))
    }
}

impl Reporting {
    /// What no request does is reported by this name.
    pub(crate) fn to(sink: Option<Arc<dyn EventSink>>, name: &str) -> Reporting {
        Reporting(sink.map(|sink| (sink, Actor::User(name.into()))))
    }

    /// Reports what was done; the events aren't even made when nobody listens.
    pub(crate) fn changed<'a>(
        &self,
        repository: &RepoName,
        events: impl FnOnce() -> Vec<Event<'a>>,
    ) -> Result<(), RegistryError> {
        let Some((sink, actor)) = &self.0 else { return Ok(()) };
        Ok(sink.changed(actor, repository, &events())?)
    }
}
