//! Pulls images through a running Larder and drops what comes, so that it has them.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;

use larder_core::Upstream as _;
use larder_oci::{Digest, Reference, RepoName};
use larder_upstream::RemoteRegistry;
use serde_json::{Value, json};

use super::{Wanted, Warm, block_on, platform};

/// Where an image is that names no registry.
const HUB: &str = "docker.io";

/// What was fetched of one image.
struct Warmed {
    image: String,
    manifests: usize,
    blobs: usize,
    bytes: u64,
}

pub(super) fn run(arguments: &Warm) -> Result<ExitCode, Box<dyn Error>> {
    let mut wanted = arguments.platform.clone();
    if wanted.is_empty() {
        wanted.push(Wanted::of_this_machine());
    }
    let images: Vec<(RepoName, Reference)> =
        arguments.images.iter().map(|image| parse(image)).collect::<Result<_, _>>()?;
    let larder = RemoteRegistry::new(arguments.server.settings()?)?;
    let mut code = ExitCode::SUCCESS;
    for (repository, reference) in images {
        let name = format!("{repository}{}{reference}", separator(&reference));
        match block_on(warm(&larder, &repository, &reference, &wanted, !arguments.json)) {
            Ok(warmed) => print(&Warmed { image: name, ..warmed }, arguments.json),
            Err(error) => {
                code = ExitCode::FAILURE;
                if arguments.json {
                    println!("{}", json!({ "image": name, "error": error.to_string() }));
                } else {
                    eprintln!("{name}: {error}");
                }
            }
        }
    }
    Ok(code)
}

fn separator(reference: &Reference) -> char {
    match reference {
        Reference::Tag(_) => ':',
        Reference::Digest(_) => '@',
    }
}

/// An image's name as people write it. The first part is a registry's if it has a dot or a colon, as for docker.
fn parse(image: &str) -> Result<(RepoName, Reference), Box<dyn Error>> {
    let (name, reference) = match image.split_once('@') {
        Some((name, digest)) => (name.split_once(':').map_or(name, |(name, _)| name), digest),
        None => match image.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (image, "latest"),
        },
    };
    let names_registry = name.split_once('/').is_some_and(|(first, _)| first.contains('.'));
    let name = match (names_registry, name.contains('/')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("{HUB}/{name}"),
        (false, false) => format!("{HUB}/library/{name}"),
    };
    let refused = |error: &dyn Error| format!("{image:?} is no image: {error}");
    Ok((name.parse().map_err(|error| refused(&error))?, reference.parse().map_err(|error| refused(&error))?))
}

/// Fetches an image, for these platforms if it is for several.
async fn warm(
    larder: &RemoteRegistry,
    repository: &RepoName,
    reference: &Reference,
    wanted: &[Wanted],
    tells: bool,
) -> Result<Warmed, Box<dyn Error>> {
    let mut warmed = Warmed { image: String::new(), manifests: 0, blobs: 0, bytes: 0 };
    let (mut manifests, mut seen) = (vec![reference.clone()], BTreeSet::new());
    let mut blobs = Vec::new();
    while let Some(reference) = manifests.pop() {
        let fetched = larder.manifest(repository, &reference).await?;
        let fetched = fetched.ok_or_else(|| format!("{repository} has no manifest {reference}"))?;
        warmed.manifests += 1;
        let manifest: Value = serde_json::from_slice(&fetched.bytes)?;
        if manifest.get("manifests").is_some() {
            let children = platform::chosen(&manifest, wanted);
            if children.is_empty() {
                return Err("it has no image for this platform; see --platform".into());
            }
            manifests.extend(children.into_iter().map(Reference::Digest));
            continue;
        }
        let layers = manifest.get("layers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for blob in manifest.get("config").into_iter().chain(layers) {
            let digest: Option<Digest> =
                blob.get("digest").and_then(Value::as_str).and_then(|text| text.parse().ok());
            let is_elsewhere =
                blob.get("urls").and_then(Value::as_array).is_some_and(|urls| !urls.is_empty());
            blobs.extend(digest.filter(|digest| !is_elsewhere && seen.insert(*digest)));
        }
    }
    let count = blobs.len();
    for (number, digest) in (1..).zip(blobs) {
        let stream = larder.blob(repository, &digest, 0).await?;
        let mut stream = stream.ok_or_else(|| format!("{repository} has no blob {digest}"))?;
        while let Some(piece) = stream.chunks.next().await? {
            warmed.bytes += piece.len() as u64;
        }
        warmed.blobs += 1;
        if tells {
            eprintln!("{number}/{count} {digest}");
        }
    }
    Ok(warmed)
}

fn print(warmed: &Warmed, as_json: bool) {
    let Warmed { image, manifests, blobs, bytes } = warmed;
    if as_json {
        println!("{}", json!({ "image": image, "manifests": manifests, "blobs": blobs, "bytes": bytes }));
    } else {
        println!("{image}: {manifests} manifests, {blobs} blobs, {bytes} bytes are at hand");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_as_people_write_them() {
        for (image, repository, reference) in [
            ("nginx", "docker.io/library/nginx", "latest"),
            ("nginx:1.27", "docker.io/library/nginx", "1.27"),
            ("bitnami/redis:7", "docker.io/bitnami/redis", "7"),
            ("docker.io/library/nginx:1", "docker.io/library/nginx", "1"),
            ("ghcr.io/owner/app", "ghcr.io/owner/app", "latest"),
        ] {
            let parsed = parse(image).unwrap();
            assert_eq!(
                (parsed.0.as_str(), parsed.1.to_string().as_str()),
                (repository, reference),
                "{image}"
            );
        }
        let digest = format!("sha256:{}", "a".repeat(64));
        let (name, reference) = parse(&format!("nginx:1@{digest}")).unwrap();
        assert_eq!((name.as_str(), reference.to_string()), ("docker.io/library/nginx", digest));
        for wrong in ["Nginx", "nginx:-", "nginx@sha256:1", ""] {
            assert!(parse(wrong).unwrap_err().to_string().contains("is no image"), "{wrong}");
        }
    }
}
