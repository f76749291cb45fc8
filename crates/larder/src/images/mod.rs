//! `larder import` and `larder export`: images from and to directories, archives and a Docker engine.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{Export, Import};
use crate::config::Environment;
use crate::data_place;
use engine::Engine;
use importing::Importing;
use source::Source;
use target::Target;

mod checked;
mod json;
mod importing;
mod source;
mod read;
mod docker_archive;
mod names;
mod target;
mod remote;
mod login;
mod engine;
mod export;
mod gather;

/// Why an image could not be moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImagesError {
    /// Something can't be read.
    #[error("could not read {what}")]
    Read {
        /// What.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// A stream can't be written down.
    #[error("could not keep the stream in {}; set TMPDIR to a directory with room for it", directory.display())]
    Spool {
        /// Where.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something isn't what it should be.
    #[error("{what}: {problem}")]
    Content {
        /// What.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// A file that something else names isn't there.
    #[error("{what} is missing")]
    Missing {
        /// Which.
        what: String,
    },
    /// A name that means no place here.
    #[error("{name:?} can't be an image's name here: {problem}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The registry or the engine said no.
    #[error("{url} answers {status}: {words}")]
    Refused {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// What it says.
        words: String,
    },
    /// The registry or the engine can't be asked.
    #[error("could not ask {0}")]
    Ask(String, #[source] reqwest::Error),
    /// This registry said no.
    #[error(transparent)]
    Registry(#[from] larder_core::RegistryError),
    /// Something can't be written.
    #[error("could not write {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl ImagesError {
    /// Whether it is about more than the image at hand, so that there is no use in going on with the next.
    fn ends_all(&self) -> bool {
        match self {
            ImagesError::Read { .. }
            | ImagesError::Content { .. }
            | ImagesError::Missing { .. }
            | ImagesError::Name { .. } => false,
            ImagesError::Refused { status, .. } => *status == 401 || *status >= 500,
            ImagesError::Spool { .. }
            | ImagesError::Ask(..)
            | ImagesError::Registry(_)
            | ImagesError::Write { .. } => true,
        }
    }
}

/// Imports images, and says of each where it is now. One that can't be imported is named, and the others go on; then
/// the exit code is 1.
///
/// # Errors
/// What keeps all others from being imported, too; those before it are there.
pub(crate) fn import(
    command: &Import,
    environment: &Environment,
    may_use_system_directory: bool,
    output: &mut impl Write,
    errors: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let target = match &command.to {
        Some(to) => Target::remote(to, command, &runtime)?,
        None => {
            let config = data_place::config(&command.place, environment, may_use_system_directory)?;
            Target::local(&config, &runtime)?
        }
    };
    let mut importing = Importing::new(command, target, output, errors);
    if command.docker {
        let engine = Engine::at(environment.non_empty("DOCKER_HOST"), &runtime)?;
        let images = engine.images(&command.sources)?;
        for (number, names) in images.iter().enumerate() {
            let what = names.join(", ");
            let place = format!("{}/{} ", number + 1, images.len());
            let stream = engine.save(names);
            let source = stream.and_then(|stream| Source::from_stream(stream, &what, &place));
            importing.source(&what, &place, source)?;
        }
    } else {
        for path in &command.sources {
            importing.source(path, "", open(path)?)?;
        }
    }
    importing.finish()
}

fn open(path: &str) -> Result<Result<Source, ImagesError>, Box<dyn Error>> {
    if path != "-" {
        return Ok(Source::open(Path::new(path)));
    }
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        return Err("standard input is a terminal: send an archive, as docker save writes it".into());
    }
    Ok(Source::from_stream(stdin, "standard input", ""))
}

/// Exports images into a layout or an archive.
///
/// # Errors
/// An image that isn't there or isn't whole; then nothing appears that could be taken for the export.
pub(crate) fn export(
    command: &Export,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    let root = data_place::root(&command.place, environment, may_use_system_directory)?;
    let Some((destination, images)) = command.arguments.split_last() else {
        return Err("name images and where they are to go".into());
    };
    export::run(&root, images, destination)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
