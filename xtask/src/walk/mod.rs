//! `cargo xtask walk`: what somebody does in the first week with a registry. Pushes with docker and skopeo, deletes a
//! tag and sees the disk shrink, takes a second deletion back, backs the running registry up twice, loses the whole
//! directory, restores and pulls. Every figure is of the disk.

mod copies;
mod space;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::failure::{Context, Result, same};
use crate::hands::Hands;
use crate::image::{self, Blob, Image, OCI_LAYER, OCI_MANIFEST};
use crate::places::Ring;
use crate::registry::Registry;
use crate::report::Report;
use crate::server::{Plan, Program, Server};

/// Long enough to take a deletion back, short enough to wait for.
const GRACE_SECONDS: u64 = 10;
const REPOSITORY: &str = "team/app";

pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("walk");
    let ring = Ring::fresh("walk")?;
    let data = ring.make_dir("registry")?;
    let mut walk = Walk { ring: &ring, hands: Hands::new(&ring)?, data, pushed: BTreeMap::new() };
    let Some(server) = report.step("larder", "starts on an empty directory", || walk.start("walk")) else {
        return Ok(report);
    };
    if space::cases(&mut report, &mut walk, &server)? {
        copies::cases(&mut report, &mut walk, server)?;
    }
    report.about("");
    walk.hands.stop(&mut report);
    Ok(report)
}

struct Walk<'a> {
    ring: &'a Ring,
    hands: Hands<'a>,
    data: PathBuf,
    /// What has to be there: tags and their digests.
    pushed: BTreeMap<String, String>,
}

impl Walk<'_> {
    fn start(&self, name: &str) -> Result<Server> {
        let lines = format!("  maintenance:\n    gc:\n      grace: {GRACE_SECONDS}s\n");
        Plan { storage_lines: &lines, ..Plan::open(Program::Larder, &self.data) }.start(self.ring, name)
    }

    /// docker and skopeo pull each tag with its digest.
    fn pulls_all(&self, server: &Server) -> Result {
        for (tag, digest) in &self.pushed {
            let reference = format!("{}/{REPOSITORY}:{tag}", server.host);
            same(&format!("what skopeo pulled as {tag}"), &self.hands.skopeo_pull(&reference)?, digest)?;
            let (pulled, _) = self.hands.docker_pull(&reference)?;
            same(&format!("what docker pulled as {tag}"), &pulled, digest)?;
        }
        let tags = Registry::new(server.http()).tags(REPOSITORY)?.unwrap_or_default();
        same("the tags", &tags, &self.pushed.keys().cloned().collect())
    }
}

/// All that an image is made of, itself included, with the lengths.
fn contents(registry: &Registry, tag: &str) -> Result<BTreeMap<String, u64>> {
    let served = registry.manifest(REPOSITORY, tag)?.context(format!("the image {tag}"))?;
    let manifest: Value = serde_json::from_slice(&served.bytes)?;
    let mut contents = BTreeMap::from([(served.digest, served.bytes.len() as u64)]);
    let layers = manifest.get("layers").and_then(Value::as_array).into_iter().flatten();
    for each in manifest.get("config").into_iter().chain(layers) {
        let digest = each.get("digest").and_then(Value::as_str).context("a digest")?;
        let size = each.get("size").and_then(Value::as_u64).context("a size")?;
        contents.insert(digest.to_owned(), size);
    }
    Ok(contents)
}

/// An image on top of the first layer of one that is in the registry.
fn on_the_base_of(registry: &Registry, tag: &str, seed: u64, length: usize) -> Result<Image> {
    let served = registry.manifest(REPOSITORY, tag)?.context("the image below")?;
    let below: Value = serde_json::from_slice(&served.bytes)?;
    let text = |value: &Value, at: &str| value.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let layer = text(&below, "/layers/0/digest").context("its layer")?;
    let config = text(&below, "/config/digest").context("its config")?;
    let fetch = |digest: &str| registry.blob(REPOSITORY, digest)?.context(digest);
    let base = Blob::new(OCI_LAYER, fetch(&layer)?);
    let diff_id = serde_json::from_slice::<Value>(&fetch(&config)?)?;
    let diff_id = text(&diff_id, "/rootfs/diff_ids/0").context("its layer's diff id")?;

    let mut image = Image::single(seed, image::native_architecture(), &[length]);
    let own = image.blobs.pop().context("a layer")?;
    let mut config: Value = serde_json::from_slice(&image.blobs.first().context("a config")?.bytes)?;
    let own_diff_id = text(&config, "/rootfs/diff_ids/0").context("a diff id")?;
    image::set(&mut config, "/rootfs", "diff_ids", json!([diff_id, own_diff_id]));
    let config = Blob::new(image::OCI_CONFIG, config.to_string().into_bytes());
    let descriptors = [&config, &base, &own].map(Blob::descriptor);
    image.blobs = vec![config, base, own];
    image.with_manifest(OCI_MANIFEST, |manifest| {
        let [config, layers @ ..] = descriptors;
        image::set(manifest, "", "config", config);
        image::set(manifest, "", "layers", json!(layers));
    })
}
