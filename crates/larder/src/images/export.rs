//! Out of the data directory, while a server works on it or not.
//!
//! What is written is an OCI layout. An archive also has the `manifest.json` of `docker save`, so that every docker
//! loads it.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use larder_core::Inspector;
use larder_oci::{Digest, Hasher, MediaType, Reference, RepoName};
use larder_storage::{Blobs, Disk};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;

use super::ImagesError;
use super::checked::Checked;
use super::gather::{Gathered, Gatherer};
use super::json::{at, set};
use super::read::{IMAGE_NAME, OUR_NAME, REF_NAME, blob_name};
use crate::progress::{Progress, size};

/// Exports images: `repository`, `repository:tag` or `repository@digest`.
pub(super) fn run(root: &Path, images: &[String], destination: &str) -> Result<(), Box<dyn Error>> {
    let disk = Arc::new(Disk::open_for_reading(root)?);
    let blobs = Blobs::new(Arc::clone(&disk));
    let named = images.iter().map(|image| parse(image)).collect::<Result<Vec<_>, _>>()?;
    let repositories: BTreeSet<&RepoName> = named.iter().map(|(name, _)| name).collect();
    let mut gatherer = Gatherer::new(Inspector::new(&disk, &blobs), &blobs, repositories.len() == 1);
    for (name, reference) in &named {
        gatherer.image(name, reference.as_ref())?;
    }
    let gathered = gatherer.finish();
    let total = gathered.content.values().sum();
    match destination {
        "-" => {
            let stdout = io::stdout().lock();
            if stdout.is_terminal() {
                return Err("standard output is a terminal: send the archive into a file or a pipe".into());
            }
            archive(&blobs, &gathered, BufWriter::with_capacity(1 << 20, stdout))?.flush()?;
        }
        path if [".tar", ".tar.gz", ".tgz"].iter().any(|ending| path.ends_with(ending)) => {
            let is_packed = !path.ends_with(".tar");
            let path = Path::new(path);
            let failed = |source| ImagesError::Write { path: path.to_owned(), source };
            let directory =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
            let file = BufWriter::with_capacity(1 << 20, file);
            let file = if is_packed {
                let packed = GzEncoder::new(file, Compression::fast());
                archive(&blobs, &gathered, packed)?.finish().map_err(failed)?
            } else {
                archive(&blobs, &gathered, file)?
            };
            let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
            keep(file, path)?;
        }
        path => layout(&blobs, &gathered, Path::new(path))?,
    }
    let count = gathered.entries.len();
    eprintln!("{count} {}, {}", if count == 1 { "image" } else { "images" }, size(total));
    Ok(())
}

fn parse(image: &str) -> Result<(RepoName, Option<Reference>), ImagesError> {
    let wrong = |problem: String| ImagesError::Name { name: image.to_owned(), problem };
    let (name, reference) = match (image.split_once('@'), image.rsplit_once(':')) {
        (Some((name, digest)), _) => (name, Some(digest)),
        (None, Some((name, tag))) => (name, Some(tag)),
        (None, None) => (image, None),
    };
    let reference = reference
        .map(|reference| reference.parse::<Reference>().map_err(|error| wrong(error.to_string())))
        .transpose()?;
    Ok((name.parse().map_err(|error: larder_oci::NameError| wrong(error.to_string()))?, reference))
}

/// A blob that is hashed as it is copied, and its length.
fn checked(blobs: &Blobs, digest: &Digest) -> Result<(Checked<File>, u64), Box<dyn Error>> {
    let Some(opened) = blobs.open(digest)? else { return Err(format!("{digest} has gone meanwhile").into()) };
    let problem = |digest: &Digest, _: &Digest| format!("{digest} is damaged: larder verify says more");
    Ok((Checked::new(opened.file, *digest, opened.size, problem), opened.size))
}

fn index(entries: &[Value]) -> Vec<u8> {
    json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries })
        .to_string()
        .into_bytes()
}

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

fn archive<W: Write>(blobs: &Blobs, gathered: &Gathered, to: W) -> Result<W, Box<dyn Error>> {
    let mut builder = tar::Builder::new(to);
    let total: u64 = gathered.content.values().sum();
    let (mut progress, mut done) = (Progress::new(), 0);
    let add = |builder: &mut tar::Builder<W>, name: &str, size: u64, from: &mut dyn Read| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(size);
        header.set_entry_type(tar::EntryType::Regular);
        builder.append_data(&mut header, name, from)
    };
    add(&mut builder, "oci-layout", LAYOUT.len() as u64, &mut &*LAYOUT)?;
    for digest in gathered.content.keys() {
        let (mut content, size) = checked(blobs, digest)?;
        add(&mut builder, &blob_name(digest), size, &mut content)?;
        done += size;
        progress.show(Some(done as f64 / total.max(1) as f64), done, "");
    }
    let (index, docker) =
        (index(&gathered.entries), Value::from(gathered.docker.clone()).to_string().into_bytes());
    add(&mut builder, "index.json", index.len() as u64, &mut index.as_slice())?;
    if !gathered.docker.is_empty() {
        add(&mut builder, "manifest.json", docker.len() as u64, &mut docker.as_slice())?;
    }
    Ok(builder.into_inner()?)
}

/// Into a directory; what an earlier export has put there stays.
fn layout(blobs: &Blobs, gathered: &Gathered, root: &Path) -> Result<(), Box<dyn Error>> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ImagesError::Write { path, source }
    };
    std::fs::create_dir_all(root).map_err(failed(root))?;
    let mark = root.join("oci-layout");
    if !mark.try_exists().map_err(failed(&mark))? {
        if std::fs::read_dir(root).map_err(failed(root))?.next().is_some() {
            let problem = "it holds something else than an OCI layout: name a new directory, or a file that ends in .tar";
            let what = root.display().to_string();
            return Err(ImagesError::Content { what, problem: problem.to_owned() }.into());
        }
        write(root, "oci-layout", LAYOUT)?;
    }
    let before: Value = match std::fs::read(root.join("index.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Value::Null,
        Err(error) => return Err(failed(root)(error).into()),
    };
    let total: u64 = gathered.content.values().sum();
    let (mut progress, mut done) = (Progress::new(), 0);
    for (digest, size) in &gathered.content {
        let path = root.join(blob_name(digest));
        let directory = path.parent().unwrap_or(root);
        std::fs::create_dir_all(directory).map_err(failed(directory))?;
        if !is_there(&path, digest, *size).map_err(failed(&path))? {
            let mut file = tempfile::NamedTempFile::new_in(root).map_err(failed(root))?;
            io::copy(&mut checked(blobs, digest)?.0, &mut file).map_err(failed(&path))?;
            keep(file, &path)?;
        }
        done += size;
        progress.show(Some(done as f64 / total.max(1) as f64), done, "");
    }
    write(root, "index.json", &index(&merged(&before, &gathered.entries)))
}

/// The entries of a layout with ours, which take the place of those with their names.
fn merged(before: &Value, ours: &[Value]) -> Vec<Value> {
    let annotation =
        |entry: &Value, name: &str| at(entry, &["annotations", name]).as_str().map(str::to_owned);
    // By the name here, or the one that others have given.
    let name = |entry: &Value| annotation(entry, OUR_NAME).or_else(|| annotation(entry, IMAGE_NAME));
    let replaced: Vec<Option<String>> = ours.iter().map(name).collect();
    let mut entries: Vec<Value> = at(before, &["manifests"]).as_array().cloned().unwrap_or_default();
    entries.retain(|entry| name(entry).is_none() || !replaced.contains(&name(entry)));
    for entry in ours {
        let mut entry = entry.clone();
        let short = annotation(&entry, REF_NAME);
        // Two repositories with the same tag: the later one is found by its whole name.
        if short.is_some() && entries.iter().any(|other| annotation(other, REF_NAME) == short) {
            let whole = at(&entry, &["annotations", OUR_NAME]).clone();
            if let Some(annotations) = entry.get_mut("annotations") {
                set(annotations, REF_NAME, whole);
            }
        }
        entries.push(entry);
    }
    entries
}

fn write(root: &Path, name: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let failed = |source| ImagesError::Write { path: root.join(name), source };
    let mut file = tempfile::NamedTempFile::new_in(root).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    Ok(keep(file, &root.join(name))?)
}

/// Whether an earlier export has written this, and it is still whole.
fn is_there(path: &Path, digest: &Digest, size: u64) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() != size {
        return Ok(false);
    }
    let (mut hasher, mut buffer) = (Hasher::new(digest.algorithm()), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish() == *digest),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Gives a file its name, when it is whole.
fn keep(file: tempfile::NamedTempFile, path: &Path) -> Result<(), ImagesError> {
    let failed = |source| ImagesError::Write { path: PathBuf::from(path), source };
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
