#![expect(clippy::disallowed_methods, reason = "tests make the archives that they import")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use larder_core::{OfflinePass, Stage};
use larder_oci::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::cli::DataPlace;

fn place(root: &Path) -> DataPlace {
    DataPlace { data: Some(root.to_owned()), config: None }
}

fn import_into(root: &Path, change: impl FnOnce(&mut Import)) -> Result<String, Box<dyn Error>> {
    let mut command = Import { place: place(root), ..Import::default() };
    change(&mut command);
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    import(&command, &Environment::default(), false, &mut output, &mut errors)?;
    if errors.is_empty() { Ok(String::from_utf8(output)?) } else { Err(String::from_utf8(errors)?.into()) }
}

fn export_to(root: &Path, images: &[&str], destination: &Path) -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = images.iter().map(|image| (*image).to_owned()).collect();
    arguments.push(destination.to_str().unwrap().to_owned());
    export(&Export { arguments, place: place(root) }, &Environment::default(), false).map(|_| ())
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, bytes).unwrap();
}

/// What `docker save` wrote for decades: layers under names of their own, a layer that two images share as a link.
fn docker_archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, "aaa/layer.tar", b"the layer below");
    append(&mut builder, "bbb/layer.tar", b"the layer above");
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "ccc/layer.tar", "../aaa/layer.tar").unwrap();
    append(&mut builder, "one.json", br#"{"architecture":"amd64","os":"linux"}"#);
    append(&mut builder, "two.json", br#"{"architecture":"amd64","os":"linux","x":2}"#);
    let list = json!([
        { "Config": "one.json", "RepoTags": ["alpine:3", "localhost:5000/base:1"],
          "Layers": ["aaa/layer.tar", "bbb/layer.tar"] },
        { "Config": "two.json", "RepoTags": ["ghcr.io/team/app:2"], "Layers": ["ccc/layer.tar"] },
    ]);
    append(&mut builder, "manifest.json", list.to_string().as_bytes());
    builder.into_inner().unwrap()
}

/// Every file of a directory, by name.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn is_clean(root: &Path) -> bool {
    let mut pass = OfflinePass::reading(root, None).unwrap();
    while pass.step(&mut |_| std::ops::ControlFlow::Continue(())).unwrap() != Stage::Finished {}
    assert!(pass.pass.report.blobs > 0);
    pass.pass.report.is_clean()
}

fn scratch() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn what_docker_save_writes_is_imported_with_its_bytes_as_they_are() {
    let (data, work) = (scratch(), scratch());
    let archive = work.path().join("images.tar");
    std::fs::write(&archive, docker_archive()).unwrap();
    let said = import_into(data.path(), |command| {
        command.sources = vec![archive.to_str().unwrap().to_owned()];
    })
    .unwrap();
    let names: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["alpine:3", "base:1", "team/app:2", "3"]);
    assert!(said.ends_with("3 images, 110 bytes new\n"), "{said}");
    assert!(is_clean(data.path()));
    let out = work.path().join("layout");
    export_to(data.path(), &["team/app:2"], &out).unwrap();
    let layer = Digest::sha256(b"the layer below");
    let kept = std::fs::read(out.join("blobs/sha256").join(layer.hex())).unwrap();
    assert_eq!(kept, b"the layer below");
}

#[test]
fn what_is_exported_and_imported_elsewhere_is_the_same() {
    let (data, elsewhere, work) = (scratch(), scratch(), scratch());
    let archive = work.path().join("images.tar");
    std::fs::write(&archive, docker_archive()).unwrap();
    let into = |root: &Path, source: &Path| {
        import_into(root, |command| command.sources = vec![source.to_str().unwrap().to_owned()]).unwrap()
    };
    into(data.path(), &archive);
    for destination in ["layout", "archive.tar"] {
        let (destination, again) = (work.path().join(destination), work.path().join("again"));
        export_to(data.path(), &["alpine", "team/app:2"], &destination).unwrap();
        into(elsewhere.path(), &destination);
        export_to(data.path(), &["alpine", "team/app"], &again).unwrap();
        let first = files(&again);
        std::fs::remove_dir_all(&again).unwrap();
        export_to(elsewhere.path(), &["alpine", "team/app"], &again).unwrap();
        assert_eq!(files(&again), first);
        std::fs::remove_dir_all(&again).unwrap();
    }
    assert!(is_clean(elsewhere.path()));
}

#[test]
fn an_export_into_a_layout_that_has_images_adds_to_them() {
    let (data, work) = (scratch(), scratch());
    let (archive, layout) = (work.path().join("images.tar"), work.path().join("layout"));
    std::fs::write(&archive, docker_archive()).unwrap();
    import_into(data.path(), |command| command.sources = vec![archive.to_str().unwrap().to_owned()]).unwrap();
    for image in ["alpine:3", "team/app:2", "alpine:3"] {
        export_to(data.path(), &[image], &layout).unwrap();
    }
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let names: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["annotations"]["io.containerd.image.name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["docker.io/team/app:2", "docker.io/library/alpine:3"]);
    // And nothing is written among other things.
    let refused = export_to(data.path(), &["alpine:3"], work.path());
    assert!(refused.unwrap_err().to_string().contains("something else"));
}

#[test]
fn names_are_given_and_refused() {
    let (data, work) = (scratch(), scratch());
    let (archive, layout) = (work.path().join("images.tar"), work.path().join("layout"));
    std::fs::write(&archive, docker_archive()).unwrap();
    let sources = vec![archive.to_str().unwrap().to_owned()];
    let said = import_into(data.path(), |command| {
        command.sources.clone_from(&sources);
        command.prefix = Some("mirror".to_owned());
    })
    .unwrap();
    assert!(said.contains("mirror/team/app:2 "), "{said}");
    let said = import_into(data.path(), |command| {
        command.sources.clone_from(&sources);
        command.name = Some("one".to_owned());
    })
    .unwrap();
    assert!(said.contains("one:3 ") && said.contains("one:2 "), "{said}");
    let refused = import_into(data.path(), |command| {
        command.sources.clone_from(&sources);
        command.name = Some("one:1".to_owned());
    });
    assert!(refused.unwrap_err().to_string().contains("several"));
    // A layout of one image that only has a tag needs to be told where it belongs.
    export_to(data.path(), &["mirror/alpine:3"], &layout).unwrap();
    let index = std::fs::read_to_string(layout.join("index.json")).unwrap();
    let mut index: Value = serde_json::from_str(&index).unwrap();
    let annotations = index["manifests"][0]["annotations"].as_object_mut().unwrap();
    annotations.retain(|name, _| name == "org.opencontainers.image.ref.name");
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let sources = vec![layout.to_str().unwrap().to_owned()];
    let refused = import_into(data.path(), |command| command.sources.clone_from(&sources));
    assert!(refused.unwrap_err().to_string().contains("--as"));
    import_into(data.path(), |command| {
        command.sources.clone_from(&sources);
        command.name = Some("named/here:9".to_owned());
    })
    .unwrap();
    export_to(data.path(), &["named/here:9"], &work.path().join("out.tar")).unwrap();
}

/// What lies below the registry's own directories, save those that are there without an image, too.
fn left_below(data: &Path) -> Vec<PathBuf> {
    let registry = data.join("docker/registry/v2");
    let mut open = vec![registry.join("repositories")];
    let (mut directories, mut files) = (Vec::new(), Vec::new());
    open.push(registry.join("blobs"));
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if !path.is_dir() {
                files.push(path);
                continue;
            }
            if !path.starts_with(registry.join("blobs")) {
                directories.push(path.clone());
            }
            open.push(path);
        }
    }
    directories.extend(files);
    directories
}

/// A data directory with images, and one of them as a layout whose lower layer was damaged later.
fn exported_and_damaged() -> (TempDir, TempDir, PathBuf) {
    let (data, work) = (scratch(), scratch());
    let (archive, layout) = (work.path().join("images.tar"), work.path().join("layout"));
    std::fs::write(&archive, docker_archive()).unwrap();
    import_into(data.path(), |command| command.sources = vec![archive.to_str().unwrap().to_owned()]).unwrap();
    export_to(data.path(), &["team/app"], &layout).unwrap();
    let hex = Digest::sha256(b"the layer below").hex();
    std::fs::write(layout.join("blobs/sha256").join(&hex), b"the layer bel0w").unwrap();
    (data, work, layout)
}

#[test]
fn a_refused_image_takes_nothing_along_that_was_there_before() {
    let (data, work, layout) = exported_and_damaged();
    let before: BTreeSet<PathBuf> = left_below(data.path()).into_iter().collect();
    // Everything is there already, so that nobody reads the damaged layer.
    import_into(data.path(), |command| command.sources = vec![layout.to_str().unwrap().to_owned()]).unwrap();
    // Elsewhere it is read, after others that the first repository holds, too.
    let refused = import_into(data.path(), |command| {
        command.sources = vec![layout.to_str().unwrap().to_owned()];
        command.name = Some("another/name".to_owned());
    });
    assert!(refused.unwrap_err().to_string().contains("its bytes hash to"));
    assert_eq!(left_below(data.path()).into_iter().collect::<BTreeSet<_>>(), before);
    export_to(data.path(), &["team/app"], &work.path().join("out.tar")).unwrap();
}

#[test]
fn damaged_content_is_neither_imported_nor_exported() {
    let (data, work, layout) = exported_and_damaged();
    let elsewhere = scratch();
    let refused = import_into(elsewhere.path(), |command| {
        command.sources = vec![layout.to_str().unwrap().to_owned()];
    });
    assert!(refused.unwrap_err().to_string().contains("its bytes hash to"));
    assert_eq!(left_below(elsewhere.path()), Vec::<PathBuf>::new(), "of what was refused nothing stays");
    let hex = Digest::sha256(b"the layer below").hex();
    let stored = data.path().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(&hex).join("data");
    std::fs::write(stored, b"the layer bel0w").unwrap();
    let out = work.path().join("out.tar");
    export_to(data.path(), &["team/app"], &out).unwrap_err();
    assert!(!out.try_exists().unwrap());
}

/// What docker writes of an image of several platforms: the index names all, and one is there.
#[test]
fn an_index_whose_other_platforms_are_not_there_is_taken_as_the_one_that_is() {
    let (data, work) = (scratch(), scratch());
    let layout = work.path().join("layout");
    std::fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::sha256(bytes);
        std::fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest.to_string(), "size": bytes.len() })
    };
    let config = put(br#"{"architecture":"arm64","os":"linux"}"#);
    let image = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": config["digest"], "size": config["size"] }, "layers": [] });
    let mut here = put(image.to_string().as_bytes());
    let digest = here["digest"].as_str().unwrap().to_owned();
    here["platform"] = json!({ "os": "linux", "architecture": "arm64" });
    let mut gone = here.clone();
    gone["digest"] = Digest::sha256(b"gone").to_string().into();
    gone["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [gone, here] });
    let mut index = put(index.to_string().as_bytes());
    index["mediaType"] = "application/vnd.oci.image.index.v1+json".into();
    index["annotations"] = json!({ "io.containerd.image.name": "docker.io/library/many:1" });
    std::fs::write(layout.join("index.json"), json!({ "manifests": [index] }).to_string()).unwrap();
    let source = layout.to_str().unwrap().to_owned();
    let said = import_into(data.path(), |command| command.sources = vec![source]).unwrap();
    assert!(
        said.starts_with("many:1  (") && said.contains("new; only linux/arm64 of 2 platforms)"),
        "{said}"
    );
    export_to(data.path(), &[&format!("many@{digest}")], &work.path().join("out.tar")).unwrap();
}

#[test]
fn what_is_cut_off_or_damaged_or_no_archive_says_so() {
    let (data, work) = (scratch(), scratch());
    let archive = work.path().join("images.tar");
    let refused = |bytes: &[u8]| {
        std::fs::write(&archive, bytes).unwrap();
        let source = archive.to_str().unwrap().to_owned();
        import_into(data.path(), |command| command.sources = vec![source]).unwrap_err().to_string()
    };
    let whole = docker_archive();
    assert!(refused(&whole[..520]).contains("cut off within aaa/layer.tar"));
    assert!(refused(&whole[..2560]).contains("Is it whole?"));
    assert!(refused(b"").contains("no tar archive"));
    assert!(refused(&[b'x'; 2048]).contains("no tar archive"));
    assert!(refused(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]).contains("zstd -dc"));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&whole).unwrap();
    let packed = packed.finish().unwrap();
    assert!(refused(&packed[..packed.len() / 2]).contains("it is cut off"));
    // A layer that isn't what the config says, and a config that isn't what its name says.
    let with = |config: &str, layer: &str, bytes: &[u8]| {
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, "layer.tar", bytes);
        let says = json!({ "rootfs": { "diff_ids": [layer] } }).to_string();
        let name = if config.is_empty() {
            format!("{}.json", Digest::sha256(says.as_bytes()).hex())
        } else {
            config.to_owned()
        };
        append(&mut builder, &name, says.as_bytes());
        let list = json!([{ "Config": name, "RepoTags": ["a:1"], "Layers": ["layer.tar"] }]);
        append(&mut builder, "manifest.json", list.to_string().as_bytes());
        builder.into_inner().unwrap()
    };
    let layer = Digest::sha256(b"layer").to_string();
    assert!(refused(&with("", &layer, b"leyer")).contains("layer.tar: it is damaged"));
    let other = format!("{}.json", Digest::sha256(b"other").hex());
    assert!(refused(&with(&other, &layer, b"layer")).contains("json: it is damaged"));
    std::fs::write(&archive, with("", &layer, b"layer")).unwrap();
    let source = archive.to_str().unwrap().to_owned();
    import_into(data.path(), |command| command.sources = vec![source]).unwrap();
}

#[test]
fn two_images_are_never_put_into_one_place() {
    let (data, work) = (scratch(), scratch());
    let archive = work.path().join("images.tar");
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, "one.json", b"{}");
    append(&mut builder, "two.json", br#"{"two":2}"#);
    let list = json!([
        { "Config": "one.json", "RepoTags": ["ghcr.io/team/app:1", "team/app:1"], "Layers": [] },
        { "Config": "two.json", "RepoTags": ["quay.io/team/app:1", "other:1"], "Layers": [] },
    ]);
    append(&mut builder, "manifest.json", list.to_string().as_bytes());
    std::fs::write(&archive, builder.into_inner().unwrap()).unwrap();
    let source = archive.to_str().unwrap().to_owned();
    let said = import_into(data.path(), |command| command.sources = vec![source]).unwrap_err().to_string();
    assert!(
        said.starts_with("quay.io/team/app:1: ") && said.contains("team/app:1 has just become"),
        "{said}"
    );
    // The others are there.
    export_to(data.path(), &["other:1", "team/app:1"], &work.path().join("out.tar.gz")).unwrap();
}
