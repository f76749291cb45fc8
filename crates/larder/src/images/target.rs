//! Where imported images go: the data directory, or a registry that runs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::io::Read;

use bytes::Bytes;
use larder_auth::{Identity, Mode, Policy};
use larder_core::{Environment, ManifestPush, Precondition, Registry, RegistryError};
use larder_oci::{Access, Digest, Pull, Push, Reference, RepoName};
use tokio::runtime::Runtime;

use super::ImagesError;
use super::read::FoundManifest;
use super::remote::Remote;
use crate::cli::Import;
use crate::config::Config;
use crate::{data_place, serve};

/// How much is read at a time.
const AT_ONCE: usize = 1 << 20;

/// A way to open a file from its beginning, as often as it takes.
pub(super) type Opener<'a> = dyn Fn() -> Result<Box<dyn Read + 'a>, ImagesError> + 'a;

/// A registry that takes images in.
pub(super) enum Target<'a> {
    /// The data directory, which this process works on alone.
    Local(Local<'a>),
    /// A registry that is spoken to.
    Remote(Remote<'a>),
}

/// The data directory.
pub(super) struct Local<'a> {
    registry: Registry,
    policy: Policy,
    runtime: &'a Runtime,
    /// Where each blob has come to, so that other repositories need no second copy.
    blobs: RefCell<HashMap<Digest, RepoName>>,
    /// What has come of the image at hand and wasn't there before.
    brought: RefCell<Brought>,
}

/// What has come to a repository, in this order.
#[derive(Default)]
struct Brought {
    blobs: Vec<Digest>,
    manifests: Vec<Digest>,
}

impl<'a> Target<'a> {
    /// The data directory of a configuration.
    ///
    /// # Errors
    /// A server works on it: then images go to that.
    pub(super) fn local(config: &Config, runtime: &'a Runtime) -> Result<Target<'a>, Box<dyn Error>> {
        let root = std::path::absolute(&config.storage.root_directory)?;
        data_place::refuse_half_restored(&root)?;
        let registry = match Registry::open(&root, serve::settings(config), Environment::system()) {
            Ok(registry) => registry,
            Err(error) if data_place::is_locked(&error) => {
                return Err(format!(
                    "a running Larder works on {}: push to it with --to, such as --to localhost:{}",
                    root.display(),
                    config.http.addr.port
                )
                .into());
            }
            Err(error) => return Err(error.into()),
        };
        // Whoever may write the directory may do everything in it.
        let policy = Policy::new(Mode::Open);
        Ok(Target::Local(Local {
            registry,
            policy,
            runtime,
            blobs: RefCell::default(),
            brought: RefCell::default(),
        }))
    }

    /// A registry at an address.
    pub(super) fn remote(
        to: &str,
        command: &Import,
        runtime: &'a Runtime,
    ) -> Result<Target<'a>, Box<dyn Error>> {
        Ok(Target::Remote(Remote::at(to, command, runtime)?))
    }

    /// Whether the repository has a blob, or can have it without its bytes being moved.
    pub(super) fn has_blob(&self, repository: &RepoName, digest: &Digest) -> Result<bool, ImagesError> {
        match self {
            Target::Local(local) => local.has_blob(repository, digest),
            Target::Remote(remote) => remote.has_blob(repository, digest),
        }
    }

    /// Puts a blob into a repository. `show` is told how much of it has been moved.
    pub(super) fn put_blob(
        &self,
        repository: &RepoName,
        digest: &Digest,
        open: &Opener<'_>,
        show: &mut dyn FnMut(u64),
    ) -> Result<(), ImagesError> {
        match self {
            Target::Local(local) => local.put_blob(repository, digest, open, show),
            Target::Remote(remote) => remote.put_blob(repository, digest, open, show),
        }
    }

    /// Puts a manifest into a repository, under a name or by its digest alone.
    pub(super) fn put_manifest(
        &self,
        repository: &RepoName,
        name: Option<&Reference>,
        manifest: &FoundManifest,
    ) -> Result<(), ImagesError> {
        let by_digest = Reference::Digest(manifest.digest);
        let reference = name.unwrap_or(&by_digest);
        match self {
            Target::Local(local) => local.put_manifest(repository, reference, manifest),
            Target::Remote(remote) => remote.put_manifest(repository, reference, manifest),
        }
    }

    /// The image at hand has come whole.
    pub(super) fn keep(&self) {
        if let Target::Local(local) = self {
            local.brought.take();
        }
    }

    /// The image at hand won't come: takes away what has come of it. A registry that is spoken to sees to that itself.
    pub(super) fn take_back(&self, repository: &RepoName) -> Result<(), ImagesError> {
        match self {
            Target::Local(local) => local.take_back(repository),
            Target::Remote(_) => Ok(()),
        }
    }
}

impl Local<'_> {
    fn push(&self, repository: &RepoName) -> Result<Access<Push>, ImagesError> {
        self.policy
            .push(&Identity::Anonymous, repository)
            .map_err(|denied| denied_here(repository, &denied.reason))
    }

    fn pull(&self, repository: &RepoName) -> Result<Access<Pull>, ImagesError> {
        self.policy
            .pull(&Identity::Anonymous, repository)
            .map_err(|denied| denied_here(repository, &denied.reason))
    }

    fn has_blob(&self, repository: &RepoName, digest: &Digest) -> Result<bool, ImagesError> {
        let (pull, push) = (self.pull(repository)?, self.push(repository)?);
        let from = self.blobs.borrow().get(digest).cloned();
        let from = from.map(|from| self.pull(&from)).transpose()?;
        let registry = &self.registry;
        let there = self.runtime.block_on(async {
            if registry.blob(&pull, digest).await?.is_some() {
                return Ok::<bool, RegistryError>(true);
            }
            let mounted = match from {
                Some(from) => registry.mount(&push, &from, digest).await?,
                None => false,
            };
            if mounted {
                self.brought.borrow_mut().blobs.push(*digest);
            }
            Ok(mounted)
        })?;
        if there {
            self.blobs.borrow_mut().insert(*digest, repository.clone());
        }
        Ok(there)
    }

    fn put_blob(
        &self,
        repository: &RepoName,
        digest: &Digest,
        open: &Opener<'_>,
        show: &mut dyn FnMut(u64),
    ) -> Result<(), ImagesError> {
        let (push, registry, mut reader) = (self.push(repository)?, &self.registry, open()?);
        let started = self.runtime.block_on(registry.start_upload(&push, Some(digest.algorithm())))?;
        let written = self.runtime.block_on(async {
            let mut writer = registry.write_upload(&push, started.id, None).await?;
            let (mut buffer, mut moved) = (vec![0; AT_ONCE], 0);
            loop {
                let read = reader
                    .read(&mut buffer)
                    .map_err(|source| ImagesError::Read { what: digest.to_string(), source })?;
                if read == 0 {
                    break;
                }
                writer.write(Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default())).await?;
                moved += read as u64;
                show(moved);
            }
            writer.finish(digest).await?;
            Ok::<(), ImagesError>(())
        });
        if let Err(error) = written {
            // What was wrong is told; a session that stays goes like any other that was given up.
            let _ = self.runtime.block_on(registry.cancel_upload(&push, started.id));
            return Err(error);
        }
        self.brought.borrow_mut().blobs.push(*digest);
        self.blobs.borrow_mut().insert(*digest, repository.clone());
        Ok(())
    }

    fn put_manifest(
        &self,
        repository: &RepoName,
        reference: &Reference,
        manifest: &FoundManifest,
    ) -> Result<(), ImagesError> {
        let push = ManifestPush {
            reference: reference.clone(),
            tags: Vec::new(),
            media_type: Some(manifest.media_type.clone()),
            bytes: manifest.bytes.clone().into(),
            precondition: Precondition::Always,
        };
        let by_digest = Reference::Digest(manifest.digest);
        let was_there = self.runtime.block_on(self.registry.manifest(&self.pull(repository)?, &by_digest))?;
        self.runtime.block_on(self.registry.push_manifest(&self.push(repository)?, push))?;
        if was_there.is_none() {
            self.brought.borrow_mut().manifests.push(manifest.digest);
        }
        Ok(())
    }

    fn take_back(&self, repository: &RepoName) -> Result<(), ImagesError> {
        let Brought { blobs, manifests } = self.brought.take();
        self.blobs.borrow_mut().retain(|digest, place| place != repository || !blobs.contains(digest));
        let push = self.push(repository)?;
        self.runtime.block_on(self.registry.take_back_push(&push, manifests, blobs))?;
        Ok(())
    }
}

fn denied_here(repository: &RepoName, reason: &str) -> ImagesError {
    ImagesError::Content { what: repository.to_string(), problem: reason.to_owned() }
}
