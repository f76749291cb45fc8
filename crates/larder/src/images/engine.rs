//! A Docker engine on this machine, by its socket.

use std::error::Error;
use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::ImagesError;
use super::json::{at, parsed};

/// Where the engine listens unless `DOCKER_HOST` says otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// A Docker engine, or what speaks like one (podman's service does).
pub(super) struct Engine<'a> {
    client: Client,
    socket: String,
    runtime: &'a Runtime,
}

impl<'a> Engine<'a> {
    /// The engine that docker's own client would ask.
    ///
    /// # Errors
    /// `DOCKER_HOST` names something else than a socket.
    pub(super) fn at(docker_host: Option<&str>, runtime: &'a Runtime) -> Result<Engine<'a>, Box<dyn Error>> {
        let socket = match docker_host {
            None => SOCKET,
            Some(host) => host.strip_prefix("unix://").ok_or_else(|| {
                format!("DOCKER_HOST is {host}, and Larder asks an engine by its socket only (unix://…): pipe docker save to larder import -")
            })?,
        };
        let client = Client::builder().unix_socket(socket).build()?;
        Ok(Engine { client, socket: socket.to_owned(), runtime })
    }

    /// The names of each image that is wanted; of all that have one when none is named.
    pub(super) fn images(&self, wanted: &[String]) -> Result<Vec<Vec<String>>, ImagesError> {
        if !wanted.is_empty() {
            return Ok(wanted.iter().map(|name| vec![name.clone()]).collect());
        }
        let answer = self.ask("/images/json", &[])?;
        let bytes = self.runtime.block_on(answer.bytes()).map_err(|error| self.failed(error))?;
        let list: Value = parsed(&format!("what {} lists", self.socket), &bytes)?;
        let list = list.as_array().cloned().unwrap_or_default();
        let names = |image: &Value| -> Vec<String> {
            let tags = at(image, &["RepoTags"]).as_array().into_iter().flatten().filter_map(Value::as_str);
            tags.filter(|tag| !tag.contains("<none>")).map(str::to_owned).collect()
        };
        let named: Vec<Vec<String>> = list.iter().map(names).filter(|names| !names.is_empty()).collect();
        if named.len() < list.len() {
            eprintln!("{} images of the engine have no name and are left out", list.len() - named.len());
        }
        Ok(named)
    }

    /// The archive of an image under these names, as `docker save` gives it.
    pub(super) fn save(&self, names: &[String]) -> Result<impl Read + use<'a>, ImagesError> {
        let parameters: Vec<(&str, &str)> = names.iter().map(|name| ("names", name.as_str())).collect();
        let answer = self.ask("/images/get", &parameters)?;
        Ok(Answer { runtime: self.runtime, answer, piece: Bytes::new() })
    }

    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Response, ImagesError> {
        let mut url = reqwest::Url::parse("http://docker/").map_err(|error| ImagesError::Content {
            what: self.socket.clone(),
            problem: error.to_string(),
        })?;
        url.set_path(path);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let answer =
            self.runtime.block_on(self.client.get(url).send()).map_err(|error| self.failed(error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let bytes = self.runtime.block_on(answer.bytes()).unwrap_or_default();
        let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let words = at(&said, &["message"]).as_str().unwrap_or("it doesn't say why").to_owned();
        Err(ImagesError::Refused { url: self.socket.clone(), status, words })
    }

    fn failed(&self, error: reqwest::Error) -> ImagesError {
        ImagesError::Ask(format!("the Docker engine at {}", self.socket), error)
    }
}

/// An answer's body, read as it comes.
struct Answer<'a> {
    runtime: &'a Runtime,
    answer: Response,
    piece: Bytes,
}

impl Read for Answer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.answer.chunk()).map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buffer.len());
        if let Some(room) = buffer.get_mut(..length) {
            self.piece.copy_to_slice(room);
        }
        Ok(length)
    }
}
