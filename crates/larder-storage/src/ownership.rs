//! Whose a path is, for whoever is told "permission denied".

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The file or directory that stands in the way, whose it is, and who this process is. A container, a service and a
/// shell are three users on one directory; that is what "permission denied" nearly always means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The deepest part of the path that can be looked at.
    pub path: PathBuf,
    /// The user whom it belongs to.
    pub owner: u32,
    /// Its permission bits.
    pub mode: u32,
    /// The user that this process is.
    pub user: u32,
}

impl Ownership {
    /// What is in the way of reading or entering a path. `None` if not even `/` can be looked at.
    pub fn of(path: &Path) -> Option<Ownership> {
        let (path, found) = path.ancestors().find_map(|part| Some((part, look(part)?)))?;
        let user = rustix::process::geteuid().as_raw();
        Some(Ownership { path: path.to_owned(), owner: found.uid(), mode: found.mode() & 0o7777, user })
    }

    /// What belongs behind the name of a path that could not be used: nothing, unless `error` says that it isn't permitted.
    pub fn told(path: &Path, error: &io::Error) -> String {
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        let ownership = is_denied.then(|| Ownership::of(path)).flatten();
        ownership.map(|ownership| format!(" ({ownership})")).unwrap_or_default()
    }
}

fn look(path: &Path) -> Option<Metadata> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    std::fs::metadata(path).ok()
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ownership { path, owner, mode, user } = self;
        let path = path.display();
        if owner == user {
            return write!(f, "{path} belongs to this process's user {user}, and its mode is {mode:03o}");
        }
        write!(
            f,
            "{path} belongs to user {owner}, with mode {mode:03o}, and this process runs as user {user}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_part_that_is_there_says_whose_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let ownership = Ownership::of(&directory.path().join("a/b/c")).expect("something is there");
        assert_eq!(ownership.path, directory.path());
        assert_eq!(ownership.owner, ownership.user, "who made it is who asks");
        let other = Ownership { owner: 1000, user: 65534, mode: 0o700, path: "/srv/registry".into() };
        assert_eq!(
            other.to_string(),
            "/srv/registry belongs to user 1000, with mode 700, and this process runs as user 65534"
        );
    }

    #[test]
    fn only_a_refusal_is_explained_by_whose_it_is() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(Ownership::told(Path::new("/no/such"), &denied).starts_with(" (/ belongs to "));
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Ownership::told(Path::new("/no/such"), &missing), "");
    }
}
