//! Where images come from: a directory, an archive, or a stream that is written down first.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::ImagesError;
use crate::progress::Progress;

/// How often a link of an archive may lead to another one.
const MOST_LINKS: usize = 8;

/// How gzip begins.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// How other ways of packing begin, and what unpacks them.
const PACKED: [(&[u8], &str); 3] = [
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd -dc"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz -dc"),
    (b"BZh", "bzip2 -dc"),
];

/// A file's bytes, and how many they are.
pub(crate) type Opened<'a> = (Box<dyn Read + 'a>, u64);

/// Files by name, in a directory or an archive, readable in any order.
pub(crate) enum Source {
    /// A directory.
    Directory(PathBuf),
    /// An archive: where in the file each entry lies.
    Archive {
        /// What it is called, for whoever is told about it.
        what: String,
        /// The archive, unpacked.
        file: File,
        /// The entries: where they begin and how long they are.
        entries: BTreeMap<String, (u64, u64)>,
        /// Entries that stand for another one.
        links: BTreeMap<String, String>,
    },
}

impl Source {
    /// What it is called, for whoever is told about it.
    pub(crate) fn what(&self) -> Cow<'_, str> {
        match self {
            Source::Directory(path) => path.to_string_lossy(),
            Source::Archive { what, .. } => what.into(),
        }
    }

    /// A directory or an archive on the disk.
    pub(crate) fn open(path: &Path) -> Result<Source, ImagesError> {
        let failed = |source| ImagesError::Read { what: path.display().to_string(), source };
        if path.metadata().map_err(failed)?.is_dir() {
            return Ok(Source::Directory(path.to_owned()));
        }
        let file = File::open(path).map_err(failed)?;
        let mut beginning = [0; 6];
        let read = file.read_at(&mut beginning, 0).map_err(failed)?;
        let beginning = beginning.get(..read).unwrap_or_default();
        if is_packed(beginning, &path.display().to_string())? {
            return Source::from_stream(file, &path.display().to_string(), "");
        }
        Source::of_archive(file, &path.display().to_string())
    }

    /// An archive that comes as a stream, packed or not. It is written to a file without a name in the directory for
    /// temporary files, since what an image is made of is said at its end.
    pub(crate) fn from_stream(stream: impl Read, what: &str, place: &str) -> Result<Source, ImagesError> {
        let failed = |source| ImagesError::Read { what: what.to_owned(), source };
        let mut buffered = io::BufReader::with_capacity(1 << 20, stream);
        let mut unpacked: Box<dyn Read> = if is_packed(buffered.fill_buf().map_err(failed)?, what)? {
            Box::new(MultiGzDecoder::new(buffered))
        } else {
            Box::new(buffered)
        };
        let spooled = |source| ImagesError::Spool { directory: std::env::temp_dir(), source };
        let mut file = tempfile::tempfile().map_err(spooled)?;
        let (mut progress, mut total, mut buffer) = (Progress::new(), 0, vec![0; 1 << 20]);
        loop {
            let read = unpacked.read(&mut buffer).map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => ImagesError::Content {
                    what: what.to_owned(),
                    problem: format!("it is cut off: {source}"),
                },
                _ => failed(source),
            })?;
            if read == 0 {
                break;
            }
            file.write_all(buffer.get(..read).unwrap_or_default()).map_err(spooled)?;
            total += read as u64;
            progress.show(None, total, &format!("{place}{what}"));
        }
        Source::of_archive(file, what)
    }

    fn of_archive(mut file: File, what: &str) -> Result<Source, ImagesError> {
        let failed = |source| ImagesError::Read { what: what.to_owned(), source };
        let wrong = |problem: String| ImagesError::Content { what: what.to_owned(), problem };
        let length = file.metadata().map_err(failed)?.len();
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let (mut entries, mut links, mut last) = (BTreeMap::new(), BTreeMap::new(), None);
        let mut archive = tar::Archive::new(&file);
        for entry in archive.entries_with_seek().map_err(failed)? {
            // What the library says of it quotes the bytes, which are no words.
            let Ok(entry) = entry else {
                return Err(wrong(match last {
                    Some(last) => format!("it is cut off or damaged after {last}"),
                    None => "it is no tar archive, or its beginning is damaged".to_owned(),
                }));
            };
            let Some(name) = entry.path().ok().and_then(|path| plain(&path)) else { continue };
            last = Some(name.clone());
            let kind = entry.header().entry_type();
            if kind.is_file() {
                let (at, size) = (entry.raw_file_position(), entry.size());
                // Whoever skips over an entry doesn't notice that the file ends within it.
                if at.checked_add(size).is_none_or(|end| end > length) {
                    return Err(wrong(format!("it is cut off within {name}")));
                }
                entries.insert(name, (at, size));
            } else if kind.is_symlink() || kind.is_hard_link() {
                let Some(to) = entry.link_name().map_err(failed)? else { continue };
                // A symbolic link is relative to where it stands, a hard one to the archive.
                let directory = Path::new(&name).parent().filter(|_| kind.is_symlink());
                if let Some(to) = plain(&directory.unwrap_or(Path::new("")).join(to)) {
                    links.insert(name, to);
                }
            }
        }
        if entries.is_empty() {
            return Err(wrong("it is empty, or no tar archive".to_owned()));
        }
        Ok(Source::Archive { what: what.to_owned(), file, entries, links })
    }

    /// A file's bytes, from their beginning, and how many they are; `None` if there is no such file.
    pub(crate) fn file(&self, name: &str) -> Result<Option<Opened<'_>>, ImagesError> {
        let failed = |source| ImagesError::Read { what: name.to_owned(), source };
        match self {
            Source::Directory(root) => {
                let Some(name) = plain(Path::new(name)) else { return Ok(None) };
                match File::open(root.join(name)) {
                    Ok(file) => {
                        let size = file.metadata().map_err(failed)?.len();
                        Ok(Some((Box::new(file), size)))
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(failed(error)),
                }
            }
            Source::Archive { file, entries, links, .. } => {
                let mut name = plain(Path::new(name)).unwrap_or_default();
                for _ in 0..MOST_LINKS {
                    match links.get(&name) {
                        Some(to) => name.clone_from(to),
                        None => break,
                    }
                }
                let Some((at, size)) = entries.get(&name).copied() else { return Ok(None) };
                Ok(Some((Box::new(Part { file, at, left: size }), size)))
            }
        }
    }

    /// The whole of a small file.
    pub(crate) fn small_file(&self, name: &str) -> Result<Option<Vec<u8>>, ImagesError> {
        /// Manifests and configs have 4 MiB at most in any registry; a list of many images may have more.
        const LONGEST: u64 = 64 << 20;
        let Some((reader, size)) = self.file(name)? else { return Ok(None) };
        if size > LONGEST {
            return Err(ImagesError::Content {
                what: name.to_owned(),
                problem: format!("it has {size} bytes"),
            });
        }
        let mut bytes = Vec::new();
        reader
            .take(LONGEST)
            .read_to_end(&mut bytes)
            .map_err(|source| ImagesError::Read { what: name.to_owned(), source })?;
        Ok(Some(bytes))
    }
}

/// A part of a file. Several can be read at once, each where it is.
struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(buffer.get_mut(..length).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Whether this is the beginning of something that gzip has packed.
///
/// # Errors
/// Something else has packed it.
fn is_packed(beginning: &[u8], what: &str) -> Result<bool, ImagesError> {
    match PACKED.iter().find(|(magic, _)| beginning.starts_with(magic)) {
        Some((_, unpack)) => Err(ImagesError::Content {
            what: what.to_owned(),
            problem: format!("Larder unpacks gzip alone: {unpack} … | larder import -"),
        }),
        None => Ok(beginning.starts_with(GZIP)),
    }
}

/// A name as it is looked up: without `./`, with `..` worked out; `None` for one that leads out.
fn plain(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_worked_out_and_none_leads_out() {
        let of = |text: &str| plain(Path::new(text));
        assert_eq!(of("./a/../b/layer.tar").as_deref(), Some("b/layer.tar"));
        assert_eq!(of("../a"), None);
        assert_eq!(of("/etc/passwd"), None);
    }
}
