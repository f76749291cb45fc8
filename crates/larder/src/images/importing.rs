//! Images on their way from a source to their places.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use larder_oci::{Digest, Reference, RepoName};

use super::ImagesError;
use super::checked::Checked;
use super::names::{self, Here, Name, Renaming};
use super::read::{self, Found};
use super::source::Source;
use super::target::Target;
use crate::cli::Import;
use crate::explain;
use crate::progress::{Progress, size};

/// What one command moves.
pub(super) struct Importing<'a, W, E> {
    command: &'a Import,
    target: Target<'a>,
    output: &'a mut W,
    errors: &'a mut E,
    images: u64,
    bytes: u64,
    failed: u64,
    /// What has come to each place, and what it was called: two images are never put into one.
    placed: HashMap<Here, (Digest, String)>,
    /// The repositories that each manifest has come to.
    repositories: HashMap<Digest, BTreeSet<RepoName>>,
}

impl<'a, W: Write, E: Write> Importing<'a, W, E> {
    pub(super) fn new(command: &'a Import, target: Target<'a>, output: &'a mut W, errors: &'a mut E) -> Self {
        let (placed, repositories) = (HashMap::new(), HashMap::new());
        Importing { command, target, output, errors, images: 0, bytes: 0, failed: 0, placed, repositories }
    }

    /// Takes the images of a source, which is called `what`. What is wrong with one of them is said.
    pub(super) fn source(
        &mut self,
        what: &str,
        place: &str,
        source: Result<Source, ImagesError>,
    ) -> Result<(), Box<dyn Error>> {
        let found = source.and_then(|source| Ok((read::images(&source)?, source)));
        match found {
            Ok((images, source)) => self.take(place, &source, images),
            Err(error) => self.complain(what, error),
        }
    }

    /// Says how it went.
    pub(super) fn finish(self) -> Result<ExitCode, Box<dyn Error>> {
        let images = if self.images == 1 { "image" } else { "images" };
        writeln!(self.output, "{} {images}, {} new", self.images, size(self.bytes))?;
        if self.failed > 0 {
            writeln!(self.output, "{} could not be imported", self.failed)?;
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn complain(&mut self, what: &str, error: ImagesError) -> Result<(), Box<dyn Error>> {
        if error.ends_all() {
            return Err(error.into());
        }
        let said = explain::with_causes(&error);
        let names_it = said.strip_prefix(what).is_some_and(|rest| rest.starts_with(": "));
        let whose = if names_it { String::new() } else { format!("{what}: ") };
        writeln!(self.errors, "{whose}{said}")?;
        self.failed += 1;
        Ok(())
    }

    fn take(&mut self, place: &str, source: &Source, images: Vec<Found>) -> Result<(), Box<dyn Error>> {
        let is_about = |image: &Found| image.manifests.last().and_then(|manifest| manifest.subject);
        let (mut attached, images): (Vec<Found>, Vec<Found>) =
            images.into_iter().partition(|image| image.names.is_empty() && is_about(image).is_some());
        let name = self.command.name.as_deref();
        let has_tag = |name: &str| matches!(name.rsplit_once(':'), Some((_, tag)) if !tag.contains('/'));
        if name.is_some_and(has_tag) && (images.len() != 1 || !self.placed.is_empty()) {
            return Err(
                "--as with a tag names one image, and there are several: leave the tag out, or use --prefix"
                    .into(),
            );
        }
        let is_only_one = images.len() == 1;
        for image in images {
            let digest = image.manifests.last().map(|last| last.digest);
            let what = digest.map_or_else(String::new, |digest| format!("the image {digest}"));
            let renaming = Renaming { prefix: self.command.prefix.as_deref(), name };
            let places: Result<Vec<(String, Here)>, ImagesError> = match (image.names.as_slice(), name) {
                ([], Some(name)) => {
                    let by_digest = digest.filter(|_| !is_only_one);
                    names::named(name, None, by_digest).map(|here| vec![(what.clone(), here)])
                }
                ([], None) => Err(ImagesError::Content {
                    what: what.clone(),
                    problem: "it has no name: give it one with --as REPOSITORY:TAG".to_owned(),
                }),
                (names, _) => {
                    let here = |name: &Name| Ok((name.to_string(), names::here(name, renaming)?));
                    names.iter().map(here).collect()
                }
            };
            match places {
                Ok(places) => {
                    for (called, here) in places {
                        let outcome = self.push(place, source, &image, &called, here);
                        outcome.or_else(|error| self.complain(&called, error))?;
                    }
                }
                Err(error) => self.complain(&source.what(), error)?,
            }
        }
        // Signatures and the like go where that has gone which they are about, one after the other.
        loop {
            let before = attached.len();
            for image in std::mem::take(&mut attached) {
                let there = is_about(&image).and_then(|subject| self.repositories.get(&subject)).cloned();
                let Some((there, last)) = there.zip(image.manifests.last()) else {
                    attached.push(image);
                    continue;
                };
                for repository in there {
                    let here = Here { repository, reference: Reference::Digest(last.digest) };
                    let called = last.digest.to_string();
                    let outcome = self.push(place, source, &image, &called, here);
                    outcome.or_else(|error| self.complain(&called, error))?;
                }
            }
            if attached.len() == before {
                break;
            }
        }
        for image in attached {
            let digest = image.manifests.last().map_or_else(String::new, |last| last.digest.to_string());
            let problem = "it has no name, and what it is about isn't here".to_owned();
            self.complain(&source.what(), ImagesError::Content { what: digest, problem })?;
        }
        Ok(())
    }

    /// Puts an image in its place, or leaves nothing of it there.
    fn push(
        &mut self,
        place: &str,
        source: &Source,
        image: &Found,
        called: &str,
        here: Here,
    ) -> Result<(), ImagesError> {
        let repository = here.repository.clone();
        let outcome = self.bring(place, source, image, called, here);
        match &outcome {
            Ok(()) => self.target.keep(),
            Err(_) => {
                if let Err(error) = self.target.take_back(&repository) {
                    let said = explain::with_causes(&error);
                    let _ = writeln!(
                        self.errors,
                        "{called}: what had come of it could not be taken away: {said}"
                    );
                }
            }
        }
        outcome
    }

    fn bring(
        &mut self,
        place: &str,
        source: &Source,
        image: &Found,
        called: &str,
        here: Here,
    ) -> Result<(), ImagesError> {
        let Some(last) = image.manifests.last() else { return Ok(()) };
        if let Some((digest, other)) = self.placed.get(&here)
            && *digest != last.digest
        {
            let problem = format!(
                "{here} has just become {other}: give one of them another place with --prefix or --as"
            );
            return Err(ImagesError::Name { name: called.to_owned(), problem });
        }
        let mut progress = Progress::new();
        let total: u64 = image.blobs.values().map(|(_, size)| size).sum();
        let (mut done, mut moved) = (0, 0);
        let words = format!("{place}{here}");
        for (digest, (file, length)) in &image.blobs {
            if !self.target.has_blob(&here.repository, digest)? {
                let mut show = |bytes: u64| {
                    progress.show(Some((done + bytes) as f64 / total.max(1) as f64), done + bytes, &words);
                };
                self.target.put_blob(
                    &here.repository,
                    digest,
                    &|| opened(source, file, digest),
                    &mut show,
                )?;
                moved += length;
            }
            done += length;
        }
        for manifest in &image.manifests {
            let name = (manifest.digest == last.digest).then_some(&here.reference);
            self.target.put_manifest(&here.repository, name, manifest)?;
        }
        for manifest in &image.manifests {
            self.repositories.entry(manifest.digest).or_default().insert(here.repository.clone());
        }
        progress.end();
        let note = image.note.as_ref().map_or_else(String::new, |note| format!("; {note}"));
        let said = writeln!(self.output, "{here}  ({} new{note})", size(moved));
        said.map_err(|source| ImagesError::Write { path: "standard output".into(), source })?;
        self.images += 1;
        self.bytes += moved;
        self.placed.insert(here, (last.digest, called.to_owned()));
        Ok(())
    }
}

/// A blob's bytes. A damaged one ends in an error: the registry need not be asked what it thinks of it.
fn opened<'a>(
    source: &'a Source,
    name: &str,
    digest: &Digest,
) -> Result<Box<dyn io::Read + 'a>, ImagesError> {
    let Some((reader, size)) = source.file(name)? else {
        return Err(ImagesError::Missing { what: name.to_owned() });
    };
    let problem = |_: &Digest, hashed: &Digest| format!("it is damaged: its bytes hash to {hashed}");
    Ok(Box::new(Checked::new(reader, *digest, size, problem)))
}
