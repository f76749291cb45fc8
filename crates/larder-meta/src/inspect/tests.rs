#![expect(clippy::disallowed_methods, reason = "tests disturb the directory from outside")]

use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{MetaStore, Precondition, PutManifest};

struct World {
    root: TempDir,
    store: MetaStore,
    name: RepoName,
}

impl World {
    fn new() -> World {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let disk = Arc::new(Disk::open(root.path()).unwrap());
        let store = MetaStore::open(Arc::clone(&disk), Blobs::new(disk)).unwrap();
        World { root, store, name: "team/app".parse().unwrap() }
    }

    fn blob(&self, bytes: &[u8]) -> Digest {
        let content = self.store.blobs.put(&Digest::sha256(bytes), bytes).unwrap();
        self.store.link_blob(&self.name, &content).unwrap();
        *content.digest()
    }

    fn put(&self, bytes: &[u8], tags: &[&str]) -> Digest {
        let content = self.store.blobs.put(&Digest::sha256(bytes), bytes).unwrap();
        let tags: Vec<Tag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        self.store
            .put_manifest(&PutManifest {
                repository: &self.name,
                content: &content,
                manifest: &Manifest::parse(bytes, None).unwrap(),
                tags: &tags,
                precondition: Precondition::Always,
                immutable: &[],
            })
            .unwrap();
        *content.digest()
    }

    /// An image of one config and one layer.
    fn image(&self, mark: &str, tags: &[&str]) -> Digest {
        let (config, layer) = (self.blob(mark.as_bytes()), self.blob(format!("layer {mark}").as_bytes()));
        let kind = "application/vnd.oci.image";
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}.manifest.v1+json","config":{{"mediaType":"{kind}.config.v1+json","digest":"{config}","size":1}},"layers":[{{"mediaType":"{kind}.layer.v1.tar","digest":"{layer}","size":1}}]}}"#
        );
        self.put(text.as_bytes(), tags)
    }

    fn index(&self, children: &[Digest], tags: &[&str]) -> Digest {
        let kind = "application/vnd.oci.image";
        let children: Vec<String> = children
            .iter()
            .map(|child| format!(r#"{{"mediaType":"{kind}.manifest.v1+json","digest":"{child}","size":1}}"#))
            .collect();
        let children = children.join(",");
        self.put(
            format!(r#"{{"schemaVersion":2,"mediaType":"{kind}.index.v1+json","manifests":[{children}]}}"#)
                .as_bytes(),
            tags,
        )
    }

    fn inspect(&self) -> Inspected {
        self.store.inspector().inspect(&self.name, &|_| false).unwrap()
    }

    fn links(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![layout::repository(&self.name)];
        while let Some(directory) = open.pop() {
            for entry in self.store.disk.list(&directory).unwrap().unwrap() {
                let path = directory.join(&entry.name);
                if entry.is_directory {
                    open.push(path);
                } else if entry.name == "link" {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }

    fn remove(&self, path: PathBuf) {
        std::fs::remove_file(self.root.path().join(path)).unwrap();
    }
}

fn tags(image: &BrokenImage) -> Vec<&str> {
    image.tags.iter().map(Tag::as_str).collect()
}

#[test]
fn a_healthy_repository_has_no_fault() {
    let world = World::new();
    let (one, two) = (world.image("one", &["one"]), world.image("two", &[]));
    world.index(&[one, two], &["latest", "one"]);
    let found = world.inspect();
    assert_eq!((found.faults, found.broken), (vec![], vec![]));
    assert_eq!(found.links, world.links().len() as u64);
    assert_eq!(world.store.inspector().names().unwrap().repositories, vec![world.name.clone()]);
}

#[test]
fn a_missing_layer_breaks_the_image_and_every_index_above_it() {
    let world = World::new();
    let (one, two) = (world.image("one", &["one"]), world.image("two", &["two"]));
    let index = world.index(&[one, two], &["latest"]);
    let layer = Digest::sha256(b"layer one");
    world.remove(PathBuf::from(format!(
        "docker/registry/v2/blobs/sha256/{}/{}/data",
        &layer.hex()[..2],
        layer.hex()
    )));
    let broken = world.inspect().broken;
    assert_eq!(broken.len(), 2);
    for image in &broken {
        assert_eq!(image.lacks, BTreeSet::from([(layer, Lack::Missing)]));
        assert_eq!(tags(image), if image.digest == index { ["latest"] } else { ["one"] });
    }
    // Content that is known to be bad breaks the same, whether it was moved away or not.
    let sound = Digest::sha256(b"layer two");
    let broken = world.store.inspector().inspect(&world.name, &|digest| *digest == sound).unwrap().broken;
    assert!(broken.iter().any(|image| image.lacks.contains(&(sound, Lack::Damaged))));
}

#[test]
fn links_that_were_removed_are_made_again() {
    let world = World::new();
    let one = world.image("one", &["one"]);
    let before = world.links();
    world.remove(layout::revision_link(&world.name, &one));
    world.remove(layout::layer_link(&world.name, &Digest::sha256(b"layer one")));
    // The manifest's own references can only be looked at when it is there again.
    for _ in 0..2 {
        let found = world.inspect();
        assert_eq!(found.broken.len(), 1);
        for fault in &found.faults {
            assert!(world.store.mend(&world.name, fault).unwrap(), "{fault:?}");
        }
    }
    let found = world.inspect();
    assert_eq!((found.faults, found.broken), (vec![], vec![]));
    assert_eq!(world.links(), before);
}

#[test]
fn a_copy_of_an_upstreams_image_may_lack_what_nobody_asked_for() {
    let world = World::new();
    let bytes = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1}]}"#;
    let content = world.store.blobs.put(&Digest::sha256(bytes), bytes).unwrap();
    let put = crate::PutCachedManifest {
        repository: &world.name,
        content: &content,
        manifest: &Manifest::parse(bytes, None).unwrap(),
        tag: Some(&"latest".parse().unwrap()),
    };
    world.store.put_cached_manifest(&put).unwrap();
    let found = world.inspect();
    assert_eq!((found.faults, found.broken), (vec![], vec![]));
}

#[test]
fn what_endangers_other_repositories_is_named() {
    let world = World::new();
    world.image("one", &["one"]);
    let stray = Path::new(layout::REPOSITORIES).join("team/_notes.txt");
    std::fs::write(world.root.path().join(&stray), b"x").unwrap();
    let upload = layout::uploads(&world.name).join("not-an-id");
    std::fs::create_dir_all(world.root.path().join(&upload)).unwrap();
    assert_eq!(world.store.inspector().names().unwrap().strange[0].0, stray);
    assert!(matches!(&world.inspect().faults[..], [Fault::Upload { path, .. }] if *path == upload));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_link_with_a_flipped_bit_is_named_and_mended(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8_u32
    ) {
        let world = World::new();
        let (one, two) = (world.image("one", &["one"]), world.image("two", &["two"]));
        world.index(&[one, two], &["latest", "one"]);
        let links = world.links();
        let path = which.get(&links);
        let full = world.root.path().join(path);
        let before = std::fs::read(&full).unwrap();
        let mut bytes = before.clone();
        bytes[at.index(before.len())] ^= 1 << bit;
        std::fs::write(&full, &bytes).unwrap();
        let found = world.inspect();
        let faults: Vec<&Fault> = found
            .faults
            .iter()
            .filter(|fault| matches!(fault, Fault::Link { path: named, .. } if named == path))
            .collect();
        prop_assert_eq!(faults.len(), 1, "{:?} in {:?}", found, path);
        prop_assert!(world.store.mend(&world.name, faults[0]).unwrap());
        prop_assert_eq!(std::fs::read(&full).unwrap(), before);
        let found = world.inspect();
        prop_assert_eq!((found.faults, found.broken), (vec![], vec![]));
    }
}
