use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Replaces a file outside the data directory, such as a users file: whole or not at all, durable
/// when this returns.
///
/// `mode` is for a new file; an existing one keeps its mode, and its owner where this process may give
/// files away. A symbolic link is followed, so that the
/// file it points at is replaced and not the link.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one durable replacement outside the data directory"
)]
pub fn replace_file(path: &Path, bytes: &[u8], mode: Option<u32>) -> io::Result<()> {
    let target = match std::fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let kept = match std::fs::metadata(&target) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let staged = directory.join(format!(".larder-{:032x}", rand::random::<u128>()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode.unwrap_or(0o600) & 0o600)
            .open(&staged)?;
        let mode = kept.as_ref().map(|kept| kept.permissions().mode()).or(mode).unwrap_or(0o600);
        if let Some(kept) = &kept {
            // Refused to all but root; then the file belongs to whoever edits it.
            let _ = std::os::unix::fs::fchown(&file, Some(kept.uid()), Some(kept.gid()));
        }
        file.set_permissions(std::fs::Permissions::from_mode(mode & 0o7777))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&staged, &target)?;
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&staged);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_keeps_its_mode_and_a_new_one_gets_the_given() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        replace_file(&path, b"one", Some(0o640)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        replace_file(&path, b"two", Some(0o600)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        replace_file(&real, b"one", None).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace_file(&link, b"two", None).unwrap();
        assert_eq!(std::fs::read(&real).unwrap(), b"two");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
