//! What doesn't depend on how large content is but on how much there is: pages of lists, and starting on a full
//! directory.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::client::{self, Request};
use super::fixture::{self, REPOSITORY};
use super::load::{Client, Load, Unit};
use super::output::{Figure, Results};
use super::stand::{Scene, Stand, Way, Who};
use crate::failure::{Context, Result, fail, same};
use crate::image::{Blob, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};

const PAGE: usize = 100;
const COMPARED: &[Who] = &[Who::DockerRegistry, Who::Larder];

/// A page in the middle of a list.
struct List {
    name: String,
    request: Request,
    /// Where the names stand in the answer.
    field: &'static str,
    names: Vec<String>,
    page: std::ops::Range<usize>,
}

/// A directory and what there is to be asked of it.
struct Crowd {
    dir: PathBuf,
    title: &'static str,
    list: List,
    /// Where its first manifest is.
    manifest: (String, String),
}

pub(super) fn measure(scene: &Scene<'_>, results: &mut Results) -> Result {
    let count = if scene.options.slice { 500 } else { 10_000 };
    let (of_tags, of_catalog) =
        (format!("list tags, {PAGE} of {count}"), format!("list repositories, {PAGE} of {count}"));
    let starts =
        [format!("start on {count} manifests, no index"), format!("start on {count} manifests, again")];
    let wants_start = starts.iter().any(|name| scene.options.wants(name));
    if scene.options.wants(&of_tags) || wants_start {
        let crowd = tags(scene, of_tags, count)?;
        lists(scene, results, &crowd)?;
        if wants_start {
            self::starts(scene, results, &crowd, &starts)?;
        }
    }
    if scene.options.wants(&of_catalog) {
        lists(scene, results, &repositories(scene, of_catalog, count)?)?;
    }
    Ok(())
}

/// One repository with so many tags, each of a manifest of its own.
fn tags(scene: &Scene<'_>, name: String, count: usize) -> Result<Crowd> {
    let dir = scene.ring.make_dir("fixture-tags")?;
    let names: Vec<String> = (0..count).map(|number| format!("t{number:05}")).collect();
    let mut first = None;
    for tag in &names {
        let manifest = image(tag);
        fixture::write_blob(&dir, &manifest)?;
        fixture::write_revision(&dir, REPOSITORY, &manifest.digest)?;
        fixture::write_tag(&dir, REPOSITORY, tag, &manifest.digest)?;
        first.get_or_insert((format!("/v2/{REPOSITORY}/manifests/{tag}"), manifest.digest));
    }
    let list = List::middle(name, &format!("/v2/{REPOSITORY}/tags/list"), "tags", names);
    Ok(Crowd { dir, title: "tags", list, manifest: first.context("a tag")? })
}

/// So many repositories, each with one tag, all of the same manifest.
fn repositories(scene: &Scene<'_>, name: String, count: usize) -> Result<Crowd> {
    let dir = scene.ring.make_dir("fixture-repositories")?;
    let names: Vec<String> = (0..count).map(|number| format!("r{number:05}")).collect();
    let manifest = image("all");
    fixture::write_blob(&dir, &manifest)?;
    let layer = Blob::new(OCI_LAYER, b"all".to_vec());
    fixture::write_blob(&dir, &layer)?;
    for repository in &names {
        // docker-registry 2.8.2 knows a repository by its layers.
        fixture::write_layer_link(&dir, repository, &layer.digest)?;
        fixture::write_revision(&dir, repository, &manifest.digest)?;
        fixture::write_tag(&dir, repository, "latest", &manifest.digest)?;
    }
    let first = format!("/v2/{}/manifests/latest", names.first().context("a repository")?);
    let list = List::middle(name, "/v2/_catalog", "repositories", names);
    Ok(Crowd { dir, title: "repositories", list, manifest: (first, manifest.digest) })
}

/// The manifest of an image without layers.
fn image(annotation: &str) -> Blob {
    let config = Blob::new(OCI_CONFIG, b"{}".to_vec());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": [],
        "annotations": { "bench": annotation },
    });
    Blob::new(OCI_MANIFEST, manifest.to_string().into_bytes())
}

fn lists(scene: &Scene<'_>, results: &mut Results, crowd: &Crowd) -> Result {
    let list = &crowd.list;
    if !scene.options.wants(&list.name) {
        return Ok(());
    }
    let mut stands = Vec::new();
    for who in COMPARED {
        let what = format!("starts on {} {}", list.names.len(), crowd.title);
        let started = results.report.step(&who.to_string(), &what, || {
            let name = format!("{who}-{}", crowd.title);
            let data = scene.ring.dir.join(format!("data-{name}"));
            fixture::copy(&crowd.dir, &data)?;
            Stand::start(scene, *who, Way::Plain, &name, &data)
        });
        stands.extend(started);
    }
    let load = Load {
        client: Client::Own,
        request: &list.request,
        status: 200,
        connections: 1,
        time: scene.options.time,
    };
    for round in 1..=scene.options.rounds {
        for stand in &stands {
            results.sample(stand.who, round, &list.name, || {
                let done = load.measure(stand, scene.options.warm_up, || list.check(stand))?;
                Ok(vec![Unit::Request.charge(&done)])
            });
        }
    }
    Ok(())
}

impl List {
    /// The page that begins behind the middle name.
    fn middle(name: String, path: &str, field: &'static str, names: Vec<String>) -> Self {
        let first = names.len() / 2;
        let last = names.get(first.saturating_sub(1)).cloned().unwrap_or_default();
        let request = Request::get(format!("{path}?n={PAGE}&last={last}"));
        let page = first..(first + PAGE).min(names.len());
        Self { name, request, field, names, page }
    }

    fn check(&self, stand: &Stand) -> Result {
        let (reply, body) = client::fetch_whole(&stand.target, &self.request)?;
        same("the status", &reply.status, &200)?;
        let answer: Value = serde_json::from_slice(&body)?;
        let names = answer.get(self.field).and_then(Value::as_array).context(self.field)?;
        let mut names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        // docker-registry 2.8.2 knows no pages of tags: it gives all of them, as they lie on the disk.
        if stand.who == Who::DockerRegistry && self.field == "tags" {
            names.sort_unstable();
            return same("all names", &names, &self.names.iter().map(String::as_str).collect());
        }
        let page = self.names.get(self.page.clone()).unwrap_or_default();
        same("the page's names", &names, &page.iter().map(String::as_str).collect())?;
        let link = reply.header("link").context("a Link to the next page")?;
        let last = page.last().context("a name")?;
        if !link.contains(&format!("last={last}")) || !link.contains("rel=\"next\"") {
            fail!("the page that ends with {last} has the Link {link:?}");
        }
        Ok(())
    }
}

/// CPU until a server that was just started has answered its first manifest.
fn starts(scene: &Scene<'_>, results: &mut Results, crowd: &Crowd, names: &[String; 2]) -> Result {
    for round in 1..=scene.options.rounds {
        for who in COMPARED {
            let data = scene.ring.dir.join(format!("data-{who}-start"));
            if data.try_exists()? {
                // What Larder derives; docker-registry writes nothing at a start.
                let derived = data.join("larder");
                if derived.try_exists()? {
                    fs::remove_dir_all(derived)?;
                }
            } else {
                fixture::copy(&crowd.dir, &data)?;
            }
            for name in names {
                results.sample(*who, round, name, || {
                    let stand = Stand::start(scene, *who, Way::Plain, &format!("{who}-start"), &data)?;
                    let (path, digest) = &crowd.manifest;
                    let request = Request::get(path.as_str()).with("Accept", OCI_MANIFEST);
                    let (reply, got) = client::fetch(&stand.target, &request)?;
                    let milliseconds = stand.meter.cpu_seconds_of_live_threads()? * 1e3;
                    same("the status", &reply.status, &200)?;
                    same("the manifest's digest", &got, digest)?;
                    // A page is answered when the index is whole, which is what the second start finds.
                    crowd.list.check(&stand)?;
                    stand.stop()?;
                    Ok(vec![Figure { unit: "ms CPU", value: milliseconds, raw: Value::Null }])
                });
            }
        }
    }
    Ok(())
}
