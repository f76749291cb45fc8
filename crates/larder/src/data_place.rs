//! Which data directory a command means.

use std::error::Error;
use std::path::{Path, PathBuf};

use larder_core::RegistryError;
use larder_core::backup::RESTORING;
use larder_storage::Ownership;

use crate::cli::DataPlace;
use crate::config::{self, Config, Environment, Source};

/// The data directory that is meant: the one that is named, or the one that a start would use.
///
/// # Errors
/// A configuration that a start would refuse as well, or none that says where data lies.
pub(crate) fn root(
    place: &DataPlace,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(data) = &place.data {
        return Ok(std::path::absolute(data)?);
    }
    let source = Source::choose(place.config.as_deref(), None, environment, may_use_system_directory)?;
    Ok(std::path::absolute(config::load(&source, environment)?.config.storage.root_directory)?)
}

/// The configuration that is meant, with its data directory.
///
/// # Errors
/// As [`root`].
pub(crate) fn config(
    place: &DataPlace,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Result<Config, Box<dyn Error>> {
    let source = Source::choose(
        place.config.as_deref(),
        place.data.as_deref(),
        environment,
        may_use_system_directory,
    )?;
    Ok(config::load(&source, environment)?.config)
}

/// An error of the system about a path, in words that name it, and whose it is if that is what the system objects to.
pub(crate) fn refused(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Box<dyn Error> {
    move |error| {
        format!("could not {action} {}{}: {error}", path.display(), Ownership::told(path, &error)).into()
    }
}

/// The first of the directories of images that is there and that this process may not write to, and whose it is. A registry that ran as
/// another user has left them: what is there can be pulled, and every push fails.
pub(crate) fn unwritable(root: &Path) -> Option<Ownership> {
    use rustix::fs::{Access, access};
    let directories =
        ["docker/registry/v2/repositories", "docker/registry/v2/blobs", "docker/registry/v2/blobs/sha256"];
    let mut paths = directories.iter().map(|directory| root.join(directory));
    let refused = paths.find(|path| {
        matches!(access(path, Access::WRITE_OK | Access::EXEC_OK), Err(rustix::io::Errno::ACCESS))
    })?;
    Ownership::of(&refused)
}

/// Whether another process works on the directory.
pub(crate) fn is_locked(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Meta(error)
            if matches!(error, larder_core::MetaError::Storage(larder_storage::StorageError::Locked { .. }))
    )
}

/// What a restore hasn't finished would be served as if it were all there is.
pub(crate) fn refuse_half_restored(root: &Path) -> Result<(), Box<dyn Error>> {
    if root.join(RESTORING).try_exists().map_err(refused("look into", root))? {
        return Err(
            format!("a restore into {} has not ended: run it again, and it goes on", root.display()).into()
        );
    }
    Ok(())
}
