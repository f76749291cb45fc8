use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What tells one content of a file from another without reading it: for files that are looked at now
/// and then instead of being watched, because notifications don't arrive on network mounts and in
/// containers.
///
/// The size alone says little: all bcrypt hashes are of one length. The time of the last change of the inode is
/// in it because tools that set the modification time back can't set that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
    device: u64,
}

impl FileStamp {
    /// The file's stamp right now. Follows symbolic links: Kubernetes exchanges the directory behind them.
    pub fn of(path: &Path) -> io::Result<FileStamp> {
        std::fs::metadata(path).map(|metadata| FileStamp::from(&metadata))
    }
}

impl From<&Metadata> for FileStamp {
    fn from(metadata: &Metadata) -> FileStamp {
        FileStamp {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}
