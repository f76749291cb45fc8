//! Archives of small files.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use larder_oci::Digest;
use larder_storage::Disk;

use super::files::SmallFile;
use super::{BackupError, LeftOut, SNAPSHOTS};

const ENDING: &str = ".tar.gz";

/// Writes small files into an archive.
pub(super) struct Archive<W: Write>(tar::Builder<W>);

impl<W: Write> Archive<GzEncoder<W>> {
    /// An archive that is packed: links are alike, and a fifth remains.
    pub(super) fn packed(to: W) -> Archive<GzEncoder<W>> {
        Archive(tar::Builder::new(GzEncoder::new(to, Compression::fast())))
    }

    pub(super) fn finish_packed(self) -> io::Result<W> {
        self.0.into_inner()?.finish()
    }
}

impl<W: Write> Archive<W> {
    pub(super) fn plain(to: W) -> Archive<W> {
        Archive(tar::Builder::new(to))
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.0.into_inner()
    }

    pub(super) fn add(&mut self, file: &SmallFile) -> io::Result<()> {
        let nanoseconds = u64::try_from(file.modified_nanoseconds).unwrap_or_default();
        self.add_from(&file.path, file.mode, nanoseconds, file.bytes.len() as u64, file.bytes.as_slice())
    }

    /// Adds `size` bytes from a reader.
    pub(super) fn add_from(
        &mut self,
        path: &Path,
        mode: u32,
        nanoseconds: u64,
        size: u64,
        from: impl Read,
    ) -> io::Result<()> {
        let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
        // The order of a tag's history, and which links are copies, hang on more than seconds.
        let exact = format!("{seconds}.{rest:09}");
        self.0.append_pax_extensions([("mtime", exact.as_bytes())])?;
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode & 0o777);
        header.set_mtime(seconds);
        header.set_size(size);
        header.set_entry_type(tar::EntryType::Regular);
        self.0.append_data(&mut header, path, from)
    }
}

/// The names of a backup's snapshots, oldest first.
pub fn snapshots(disk: &Disk) -> Result<Vec<String>, BackupError> {
    let entries = disk.list(Path::new(SNAPSHOTS))?.unwrap_or_default();
    let mut names: Vec<String> =
        entries.iter().filter_map(|entry| entry.name.strip_suffix(ENDING)).map(str::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}

pub(super) fn path_of(name: &str) -> PathBuf {
    Path::new(SNAPSHOTS).join(format!("{name}{ENDING}"))
}

/// Where a snapshot says which content was linked and not to be had when it was made.
pub(super) fn absent_path(name: &str) -> PathBuf {
    Path::new(SNAPSHOTS).join(format!("{name}.absent"))
}

/// Notes, before the snapshot appears, what it can't have.
pub(super) fn note_absent(
    disk: &Disk,
    name: &str,
    gone: &BTreeSet<Digest>,
    damaged: &[LeftOut],
) -> Result<(), BackupError> {
    let all: BTreeSet<Digest> =
        gone.iter().copied().chain(damaged.iter().map(|left_out| left_out.digest)).collect();
    if !all.is_empty() {
        let lines: String = all.iter().map(|digest| format!("{digest}\n")).collect();
        disk.put(&absent_path(name), lines.as_bytes())?;
    }
    Ok(())
}

/// What a snapshot can't have.
pub(super) fn absent(disk: &Disk, name: &str) -> Result<BTreeSet<Digest>, BackupError> {
    let bytes = disk.read(&absent_path(name), u64::MAX)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(|line| line.parse().ok()).collect())
}

/// Reads a snapshot's files, one after the other.
pub(super) fn read(
    disk: &Disk,
    name: &str,
    each: &mut dyn FnMut(SmallFile) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let path = path_of(name);
    let Some((file, _)) = disk.open_file(&path)? else {
        let (path, there) = (disk.root().to_owned(), snapshots(disk)?.join(", "));
        return Err(BackupError::NoSnapshot { path, name: name.to_owned(), there });
    };
    let what = disk.root().join(path).display().to_string();
    let mut archive = tar::Archive::new(GzDecoder::new(io::BufReader::new(file)));
    let failed = |source| BackupError::Archive { what: what.clone(), source };
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let mut file = head(&mut entry, &what)?;
        entry.read_to_end(&mut file.bytes).map_err(failed)?;
        each(file)?;
    }
    Ok(())
}

/// An entry of an archive, without its bytes.
///
/// # Errors
/// One that a backup never holds: a path that leads out of the directory, or what is no file.
pub(super) fn head<R: Read>(entry: &mut tar::Entry<'_, R>, what: &str) -> Result<SmallFile, BackupError> {
    let failed = |source| BackupError::Archive { what: what.to_owned(), source };
    let path = entry.path().map_err(failed)?.into_owned();
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !is_plain || !entry.header().entry_type().is_file() || path.as_os_str().is_empty() {
        let entry = path.display().to_string();
        return Err(BackupError::Foreign { what: what.to_owned(), entry });
    }
    let mode = entry.header().mode().map_err(failed)?;
    let seconds = entry.header().mtime().map_err(failed)?;
    let mut exact = None;
    for extension in entry.pax_extensions().map_err(failed)?.into_iter().flatten() {
        let extension = extension.map_err(failed)?;
        if extension.key() == Ok("mtime") {
            exact = extension.value().ok().and_then(nanoseconds);
        }
    }
    let coarse = i64::try_from(seconds).unwrap_or_default().saturating_mul(1_000_000_000);
    Ok(SmallFile { path, bytes: Vec::new(), mode, modified_nanoseconds: exact.unwrap_or(coarse) })
}

fn nanoseconds(text: &str) -> Option<i64> {
    let (seconds, rest) = text.split_once('.').unwrap_or((text, "0"));
    let digits: String = rest.chars().chain("000000000".chars()).take(9).collect();
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(digits.parse().ok()?)
}
