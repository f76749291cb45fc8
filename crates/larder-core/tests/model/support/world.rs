//! A registry on a directory of its own, and everything that a test needs to talk to it.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_core::{
    Blob, BlobContent, Collection, Environment, Registry, RegistryError, Settings, UploadPurging,
};
use larder_oci::{Access, Actor, Digest, Operation};
use larder_storage::Disk;
use larder_storage::hook::DiskHook;
use tempfile::TempDir;

/// An empty directory. In memory where that exists: these tests make thousands of syncs, and what
/// they check is which ones are made, not how long they take.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn settings() -> Settings {
    let upload_purging = UploadPurging {
        enabled: true,
        age: Duration::from_secs(7 * 24 * 3600),
        interval: Duration::from_secs(24 * 3600),
        dry_run: false,
    };
    let collection = Collection {
        enabled: true,
        grace: Duration::from_secs(3600),
        unreferenced: Duration::from_secs(24 * 3600),
    };
    Settings { deletes: true, read_only: false, upload_purging, collection }
}

pub(crate) fn open(root: &Path) -> Registry {
    Registry::open(root, settings(), Environment::system()).unwrap()
}

pub(crate) fn open_with(root: &Path, hook: Arc<dyn DiskHook>) -> Registry {
    let disk = Arc::new(Disk::open_with(root, Some(hook)).unwrap());
    Registry::on(disk, settings(), Environment::system()).unwrap()
}

/// A runtime whose drop waits for everything that the registry still does on blocking threads: only
/// then is the directory's lock free.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn access<Op: Operation>(repository: &str) -> Access<Op> {
    Access::granted_by_policy(repository.parse().unwrap(), Actor::Anonymous)
}

pub(crate) fn admin() -> larder_oci::AdminAccess {
    larder_oci::AdminAccess::granted_by_policy(Actor::Anonymous)
}

/// Uploads content in one go.
pub(crate) async fn upload(
    registry: &Registry,
    repository: &str,
    content: &Bytes,
    digest: &Digest,
) -> Result<(), RegistryError> {
    let push = access(repository);
    let started = registry.start_upload(&push, Some(digest.algorithm())).await?;
    let mut writer = registry.write_upload(&push, started.id, None).await?;
    writer.write(content.clone()).await?;
    writer.finish(digest).await
}

/// A blob's bytes, which must be what its digest says.
pub(crate) fn bytes_of(blob: &Blob) -> Vec<u8> {
    let bytes = match &blob.content {
        BlobContent::Memory(bytes) => bytes.to_vec(),
        BlobContent::File { file, size } => {
            let mut bytes = vec![0; usize::try_from(*size).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(file.metadata().unwrap().len(), *size);
            bytes
        }
        elsewhere @ (BlobContent::Growing(_) | BlobContent::Upstream { .. }) => {
            panic!("not a stored blob: {elsewhere:?}")
        }
    };
    assert_eq!(
        Digest::of(blob.digest.algorithm(), &bytes),
        blob.digest,
        "a blob with wrong bytes was served"
    );
    bytes
}
