//! What the swap ring puts into the directory, from either side.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::failure::{Context, Result, fail, same};
use crate::http::Body;
use crate::image::{self, Blob, DOCKER_LIST, DOCKER_MANIFEST, Image, OCI_INDEX, OCI_MANIFEST};
use crate::random::Random;
use crate::registry::{Registry, STYLES, Style};
use crate::report::Report;
use crate::server::Program;

/// Everything that was ever pushed, deleted or not: what is asked for when two registries are compared.
#[derive(Default)]
pub(super) struct World {
    manifests: BTreeMap<String, BTreeSet<String>>,
    blobs: BTreeMap<String, BTreeSet<String>>,
    /// (repository, subject, artifact)
    pub(super) artifact: Option<(String, String, String)>,
}

/// An upload that was begun and left.
pub(super) struct HalfDone {
    pub(super) repository: String,
    pub(super) location: String,
    pub(super) sent: Vec<u8>,
    pub(super) rest: Vec<u8>,
    pub(super) digest: String,
}

impl World {
    pub(super) fn repositories(&self) -> impl Iterator<Item = &str> {
        self.blobs.keys().chain(self.manifests.keys()).map(String::as_str)
    }

    pub(super) fn manifests_of(&self, repository: &str) -> impl Iterator<Item = &str> {
        self.manifests.get(repository).into_iter().flatten().map(String::as_str)
    }

    pub(super) fn blobs_of(&self, repository: &str) -> impl Iterator<Item = &str> {
        self.blobs.get(repository).into_iter().flatten().map(String::as_str)
    }

    pub(super) fn blob(&mut self, repository: &str, digest: &str) {
        self.blobs.entry(repository.to_owned()).or_default().insert(digest.to_owned());
    }

    fn image(&mut self, repository: &str, image: &Image) {
        for blob in image.all_blobs() {
            self.blob(repository, &blob.digest);
        }
        let manifests = self.manifests.entry(repository.to_owned()).or_default();
        manifests.extend(image.all_manifests().into_iter().map(|manifest| manifest.digest.clone()));
    }

    fn push(&mut self, registry: &Registry, repository: &str, tag: &str, image: &Image) -> Result {
        self.image(repository, image);
        registry.push_image(repository, tag, image)
    }

    /// After a collection: what no manifest names may be gone, and how its absence is answered is no matter.
    pub(super) fn forget_unreferenced(&mut self, registry: &Registry) -> Result {
        for (repository, blobs) in &mut self.blobs {
            let mut named = BTreeSet::new();
            for digest in self.manifests.get(repository).into_iter().flatten() {
                if let Some(served) = registry.manifest(repository, digest)? {
                    named.extend(image::references(&serde_json::from_slice(&served.bytes)?).1);
                }
            }
            blobs.retain(|digest| named.contains(digest));
        }
        Ok(())
    }
}

/// What registry:2 has collected over the years.
pub(super) fn fill(report: &mut Report, registry: &Registry, world: &mut World) -> Result<HalfDone> {
    report.case("peer", "images of one and several architectures", || {
        world.push(
            registry,
            "swap/app",
            "multi",
            &Image::index(100, &["amd64", "arm64"], &[5000, 50_000]),
        )?;
        world.push(registry, "swap/app", "single", &Image::single(110, "amd64", &[5000]))?;
        world.push(registry, "swap/app/nested", "one", &Image::single(111, "amd64", &[700]))?;
        world.push(
            registry,
            "other.name/with_all-kinds",
            "v1.0_rc-1",
            &Image::single(112, "amd64", &[700, 800]),
        )
    });
    report.case("peer", "docker's own media types", || docker_types(registry, world));
    report.case("peer", "60 tags", || {
        let images = [120, 121, 122].map(|seed| Image::single(seed, "amd64", &[900]));
        for number in 0..60 {
            let image = images.get(number % 3).context("an image")?;
            world.push(registry, "swap/many", &format!("t{number:02}"), image)?;
        }
        Ok(())
    });
    report.case("peer", "a moved tag", || {
        world.push(registry, "swap/moved", "latest", &Image::single(130, "amd64", &[900]))?;
        world.push(registry, "swap/moved", "latest", &Image::single(131, "amd64", &[900]))
    });
    report.case("peer", "a deleted manifest, a repository without tags", || {
        let (gone, kept) = (Image::single(140, "amd64", &[900]), Image::single(141, "amd64", &[900]));
        world.push(registry, "swap/deleted", "gone", &gone)?;
        world.push(registry, "swap/deleted", "kept", &kept)?;
        delete_manifest(registry, "swap/deleted", &gone)?;
        let all_gone = Image::single(142, "amd64", &[900]);
        world.push(registry, "swap/emptied", "gone", &all_gone)?;
        delete_manifest(registry, "swap/emptied", &all_gone)
    });
    report.case("peer", "blobs in every way of uploading, one of them deleted", || {
        for (seed, style) in (150..).zip(STYLES) {
            let bytes = Random::new(seed).bytes(10_000);
            let digest = image::sha256(&bytes);
            world.blob("swap/blobs", &digest);
            registry.push_blob("swap/blobs", &digest, &bytes, style)?;
            if seed == 150 {
                same("the status", &registry.delete(&format!("/v2/swap/blobs/blobs/{digest}"))?, &202)?;
            }
        }
        Ok(())
    });
    report.case("peer", "an image and an index without the mediaType field", || {
        let without = |manifest: &mut Value| {
            manifest.as_object_mut().map(|fields| fields.remove("mediaType"));
        };
        let image = Image::single(160, "amd64", &[900]).with_manifest(OCI_MANIFEST, without)?;
        world.push(registry, "swap/typeless", "image", &image)?;
        let index = Image::index_of(vec![image]).with_manifest(OCI_INDEX, without)?;
        world.push(registry, "swap/typeless", "index", &index)
    });
    report.case("peer", "an artifact of unknown types", || {
        let artifact = Image::single(165, "amd64", &[900]).with_manifest(OCI_MANIFEST, |manifest| {
            image::set(manifest, "", "artifactType", json!("application/vnd.ring.thing"));
            image::set(manifest, "/config", "mediaType", json!("application/vnd.ring.config"));
            image::set(manifest, "", "annotations", json!({ "ring": "\u{e9}\u{1f980} <&>" }));
        })?;
        world.push(registry, "swap/artifact", "thing", &artifact)
    });
    report.case("peer", "a blob that was pushed by its sha512 digest", || {
        // 2.8.2 files it under its sha256 digest, and beside that a link from the other name. The image is what
        // keeps its own collector from taking it away.
        let image = Image::single(168, "amd64", &[900]);
        let layer = image.blobs.last().context("a layer")?;
        let digest = image::sha512(&layer.bytes);
        world.blob("swap/alias", &digest);
        registry.push_blob("swap/alias", &digest, &layer.bytes, Style::Put)?;
        world.push(registry, "swap/alias", "one", &image)
    });
    report.case("peer", "a BuildKit cache index", || {
        // Its `manifests` are layers: the peer only asks whether they are linked in the repository at all.
        let layers = Image::single(170, "amd64", &[900, 901]);
        for blob in &layers.blobs {
            world.blob("swap/cache", &blob.digest);
            registry.push_blob("swap/cache", &blob.digest, &blob.bytes, Style::Put)?;
        }
        let index = buildkit_cache(&layers);
        registry.put_manifest("swap/cache", "cache", &index).map(drop)
    });
    half_done(registry)
}

/// What Larder adds, much of which the peer could not have taken itself.
pub(super) fn add(report: &mut Report, registry: &Registry, world: &mut World, program: Program) -> Result {
    report.case("larder", "pushes: new repository, new tags, a moved tag", || {
        world.push(
            registry,
            "swap/new",
            "multi",
            &Image::index(200, &["amd64", "arm64", "s390x"], &[5000, 60_000]),
        )?;
        world.push(registry, "swap/app", "new", &Image::single(210, "amd64", &[5000]))?;
        world.push(registry, "swap/moved", "latest", &Image::single(211, "amd64", &[900]))?;
        world.push(registry, "swap/emptied", "back", &Image::single(142, "amd64", &[900]))
    });
    report.case("larder", "pushes an artifact with a subject", || {
        let subject = Image::single(110, "amd64", &[5000]);
        let artifact = Image::single(220, "amd64", &[300]).with_manifest(OCI_MANIFEST, |manifest| {
            image::set(manifest, "", "artifactType", json!("application/vnd.ring.bill"));
            image::set(manifest, "", "subject", subject.manifest.descriptor());
        })?;
        world.image("swap/app", &artifact);
        for blob in artifact.all_blobs() {
            registry.push_blob("swap/app", &blob.digest, &blob.bytes, Style::Put)?;
        }
        registry.put_manifest("swap/app", artifact.digest(), &artifact.manifest)?;
        let names = ["swap/app", subject.digest(), artifact.digest()].map(str::to_owned);
        let [repository, subject, artifact] = names;
        world.artifact = Some((repository, subject, artifact));
        Ok(())
    });
    report.case("larder", "deletes a manifest, mounts a blob", || {
        let image = Image::single(230, "amd64", &[900]);
        world.push(registry, "swap/deleted", "gone-too", &image)?;
        delete_manifest(registry, "swap/deleted", &image)?;
        let mounted = Image::single(111, "amd64", &[700]);
        let digest = &mounted.blobs.first().context("a blob")?.digest;
        world.blob("swap/mounted", digest);
        let path = format!("/v2/swap/mounted/blobs/uploads/?mount={digest}&from=swap/app/nested");
        registry.http.send("POST", &path, &[], Body::Whole(&[]))?.expect("the mount", &[201]).map(drop)
    });
    if program == Program::Larder {
        report.case("larder", "deletes a tag", || {
            same("the status", &registry.delete("/v2/swap/many/manifests/t59")?, &202)?;
            let tags = registry.tags("swap/many")?.context("the tags")?;
            same("the number of tags", &tags.len(), &59)
        });
        report.case("larder", "pushes an image whose layer is named by sha512", || {
            sha512_layer(registry, world)
        });
        report.case("larder", "pushes a manifest by its sha512 digest", || {
            let mut image = Image::single(245, "amd64", &[900]);
            image.manifest.digest = image::sha512(&image.manifest.bytes);
            world.image("swap/sha512", &image);
            for blob in &image.blobs {
                registry.push_blob("swap/sha512", &blob.digest, &blob.bytes, Style::Put)?;
            }
            registry.put_manifest("swap/sha512", image.digest(), &image.manifest).map(drop)
        });
    }
    report.case("larder", "leaves an upload half done", || half_done(registry).map(drop));
    Ok(())
}

/// What the peer changes while Larder is away.
pub(super) fn change(report: &mut Report, registry: &Registry, world: &mut World) -> Result {
    report.case("peer", "pushes, moves a tag and deletes behind Larder's back", || {
        world.push(registry, "swap/behind", "one", &Image::single(300, "amd64", &[900]))?;
        world.push(registry, "swap/moved", "latest", &Image::single(301, "amd64", &[900]))?;
        delete_manifest(registry, "swap/app", &Image::single(210, "amd64", &[5000]))
    });
    Ok(())
}

/// Larder must keep such a blob below `blobs/sha512` with a link that says `sha512:…`: that the peer serves, and its
/// collector spares. A push to 2.8.2 itself goes below `blobs/sha256`, and its collector, which reads only the sha512
/// name in the manifest, takes it away.
fn sha512_layer(registry: &Registry, world: &mut World) -> Result {
    let mut image = Image::single(240, "amd64", &[900]);
    let layer = image.blobs.last_mut().context("a layer")?;
    layer.digest = image::sha512(&layer.bytes);
    let digest = layer.digest.clone();
    let image = image
        .with_manifest(OCI_MANIFEST, |manifest| image::set(manifest, "/layers/0", "digest", json!(digest)))?;
    world.push(registry, "swap/sha512", "one", &image)
}

fn docker_types(registry: &Registry, world: &mut World) -> Result {
    let docker = |seed, architecture| {
        Image::single(seed, architecture, &[900]).with_manifest(DOCKER_MANIFEST, |manifest| {
            image::set(manifest, "", "mediaType", json!(DOCKER_MANIFEST));
            image::set(
                manifest,
                "/config",
                "mediaType",
                json!("application/vnd.docker.container.image.v1+json"),
            );
            image::set(
                manifest,
                "/layers/0",
                "mediaType",
                json!("application/vnd.docker.image.rootfs.diff.tar.gzip"),
            );
        })
    };
    let list = Image::index_of(vec![docker(115, "amd64")?, docker(116, "arm64")?]);
    let list =
        list.with_manifest(DOCKER_LIST, |list| image::set(list, "", "mediaType", json!(DOCKER_LIST)))?;
    world.push(registry, "swap/docker", "list", &list)?;
    world.push(registry, "swap/docker", "image", &docker(117, "amd64")?)
}

fn buildkit_cache(layers: &Image) -> Blob {
    let descriptors: Vec<Value> = layers.blobs.iter().map(Blob::descriptor).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors });
    Blob::new(OCI_INDEX, index.to_string().into_bytes())
}

fn half_done(registry: &Registry) -> Result<HalfDone> {
    let bytes = Random::new(180).bytes(20_000);
    let digest = image::sha256(&bytes);
    let (sent, rest) = bytes.split_at(12_345);
    let location = registry.append(&registry.begin_upload("swap/blobs")?, 0, sent)?;
    let repository = "swap/blobs".to_owned();
    Ok(HalfDone { repository, location, sent: sent.to_vec(), rest: rest.to_vec(), digest })
}

fn delete_manifest(registry: &Registry, repository: &str, image: &Image) -> Result {
    let path = format!("/v2/{repository}/manifests/{}", image.digest());
    match registry.delete(&path)? {
        202 => Ok(()),
        status => fail!("DELETE {path} answered {status}"),
    }
}
