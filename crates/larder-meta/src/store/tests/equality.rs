//! Whatever happens, the index that was kept along equals one that is built from the files.

use proptest::prelude::*;

use super::*;

/// Enough for every pair of steps to meet in most runs, few enough for a few seconds.
const CASES: u32 = 96;

const REPOSITORY: [&str; 3] = ["a", "a/b", "c"];
const TAG: [&str; 4] = ["latest", "v1", "v2", "_x"];

/// What Larder does.
#[derive(Clone, Debug)]
enum Own {
    Put { repository: usize, manifest: usize, tags: Vec<usize> },
    Link { repository: usize, blob: u8 },
    Unlink { repository: usize, blob: u8 },
    DeleteTag { repository: usize, tag: usize },
    DeleteManifest { repository: usize, manifest: usize },
    List { repository: usize },
    Catalog,
}

/// What others do while Larder is down.
#[derive(Clone, Debug)]
enum Foreign {
    RewriteTag { repository: usize, tag: usize, manifest: usize },
    EmptyTag { repository: usize, tag: usize },
    RemoveTag { repository: usize, tag: usize },
    RemoveRevision { repository: usize, manifest: usize, directory: bool },
    RemoveLayer { repository: usize, blob: u8, directory: bool },
    RemoveRepository { repository: usize },
    RemoveContent { manifest: usize },
    RemoveIndex,
    GarbleIndex,
    Nothing,
}

fn universe() -> Vec<Vec<u8>> {
    let (one, two) = (image("1"), image("2"));
    let both = index(&[(Digest::sha256(&one), None), (Digest::sha256(&two), None)]);
    let about_one = artifact("application/a", &Digest::sha256(&one));
    let about_both = artifact("application/b", &Digest::sha256(&both));
    vec![one, two, both, about_one, about_both]
}

fn own() -> impl Strategy<Value = Own> {
    let repository = 0..REPOSITORY.len();
    let tags = proptest::collection::vec(0..TAG.len(), 0..3);
    prop_oneof![
        6 => (repository.clone(), 0..5_usize, tags)
            .prop_map(|(repository, manifest, tags)| Own::Put { repository, manifest, tags }),
        2 => (repository.clone(), 0..3_u8).prop_map(|(repository, blob)| Own::Link { repository, blob }),
        1 => (repository.clone(), 0..3_u8).prop_map(|(repository, blob)| Own::Unlink { repository, blob }),
        2 => (repository.clone(), 0..TAG.len()).prop_map(|(repository, tag)| Own::DeleteTag { repository, tag }),
        2 => (repository.clone(), 0..5_usize)
            .prop_map(|(repository, manifest)| Own::DeleteManifest { repository, manifest }),
        1 => repository.prop_map(|repository| Own::List { repository }),
        1 => Just(Own::Catalog),
    ]
}

fn foreign() -> impl Strategy<Value = Foreign> {
    let repository = 0..REPOSITORY.len();
    let (tag, manifest) = (0..TAG.len(), 0..5_usize);
    prop_oneof![
        (repository.clone(), tag.clone(), manifest.clone())
            .prop_map(|(repository, tag, manifest)| Foreign::RewriteTag { repository, tag, manifest }),
        (repository.clone(), tag.clone()).prop_map(|(repository, tag)| Foreign::EmptyTag { repository, tag }),
        (repository.clone(), tag).prop_map(|(repository, tag)| Foreign::RemoveTag { repository, tag }),
        (repository.clone(), manifest.clone(), any::<bool>()).prop_map(
            |(repository, manifest, directory)| Foreign::RemoveRevision { repository, manifest, directory }
        ),
        (repository.clone(), 0..3_u8, any::<bool>())
            .prop_map(|(repository, blob, directory)| Foreign::RemoveLayer { repository, blob, directory }),
        repository.prop_map(|repository| Foreign::RemoveRepository { repository }),
        manifest.prop_map(|manifest| Foreign::RemoveContent { manifest }),
        Just(Foreign::RemoveIndex),
        Just(Foreign::GarbleIndex),
        Just(Foreign::Nothing),
    ]
}

fn run_own(store: &MetaStore, step: &Own) {
    let manifests = universe();
    match step {
        Own::Put { repository, manifest, tags } => {
            let tags: Vec<&str> = tags.iter().map(|&tag| TAG[tag]).collect();
            put(store, REPOSITORY[*repository], &manifests[*manifest], &tags);
        }
        Own::Link { repository, blob } => {
            link(store, REPOSITORY[*repository], &[*blob]);
        }
        Own::Unlink { repository, blob } => {
            store.unlink_blob(&name(REPOSITORY[*repository]), &Digest::sha256(&[*blob])).unwrap();
        }
        Own::DeleteTag { repository, tag: which } => {
            store.delete_tag(&name(REPOSITORY[*repository]), &tag(TAG[*which])).unwrap();
        }
        Own::DeleteManifest { repository, manifest } => {
            let digest = Digest::sha256(&manifests[*manifest]);
            store.delete_manifest(&name(REPOSITORY[*repository]), &digest).unwrap();
        }
        Own::List { repository } => {
            store.tags(&name(REPOSITORY[*repository]), &page()).unwrap();
        }
        Own::Catalog => {
            store.catalog(&page()).unwrap();
        }
    }
}

/// `age` makes each write tell itself from the last one.
fn run_foreign(root: &Path, step: &Foreign, age: Duration) {
    let manifests = universe();
    let below = |repository: &usize| root.join(REPOSITORIES).join(REPOSITORY[*repository]);
    let remove = |path: &Path, directory: bool| {
        // Whether it was there is not the question.
        let _ =
            if directory { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path.join("link")) };
    };
    match step {
        Foreign::RewriteTag { repository, tag, manifest } => {
            let digest = Digest::sha256(&manifests[*manifest]);
            let of_tag = below(repository).join("_manifests/tags").join(TAG[*tag]);
            let history = of_tag.join(format!("index/sha256/{}/link", digest.hex()));
            write_in_place(&history, &digest.to_string(), age);
            write_in_place(&of_tag.join("current/link"), &digest.to_string(), age);
        }
        Foreign::EmptyTag { repository, tag } => {
            let current = below(repository).join("_manifests/tags").join(TAG[*tag]).join("current/link");
            if current.try_exists().unwrap() {
                write_in_place(&current, "", age);
            }
        }
        Foreign::RemoveTag { repository, tag } => {
            remove(&below(repository).join("_manifests/tags").join(TAG[*tag]), true);
        }
        Foreign::RemoveRevision { repository, manifest, directory } => {
            let hex = Digest::sha256(&manifests[*manifest]).hex();
            remove(&below(repository).join("_manifests/revisions/sha256").join(hex), *directory);
        }
        Foreign::RemoveLayer { repository, blob, directory } => {
            let hex = Digest::sha256(&[*blob]).hex();
            remove(&below(repository).join("_layers/sha256").join(hex), *directory);
        }
        Foreign::RemoveRepository { repository } => remove(&below(repository), true),
        Foreign::RemoveContent { manifest } => {
            let hex = Digest::sha256(&manifests[*manifest]).hex();
            remove(&root.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}", &hex[..2])), true);
        }
        Foreign::RemoveIndex => remove_index(root),
        Foreign::GarbleIndex => {
            std::fs::write(root.join("larder/index.db"), "no database").unwrap();
        }
        Foreign::Nothing => {}
    }
}

/// As it was kept, and then as it is after every repository was compared.
fn check(store: &MetaStore, root: &Path, foreign: bool) -> Result<(), TestCaseError> {
    let expected = rebuilt(root);
    if !foreign {
        prop_assert_eq!(&store.index_snapshot().unwrap().rows, &expected, "as it was kept");
    }
    for repository in REPOSITORY {
        store.reconcile(&name(repository)).unwrap();
    }
    reconcile_all(store);
    prop_assert_eq!(&store.index_snapshot().unwrap().rows, &expected);
    assert_names(root);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_kept_is_the_index_rebuilt(steps in proptest::collection::vec(own(), 1..25)) {
        let root = scratch();
        let store = open(root.path());
        for step in &steps {
            run_own(&store, step);
        }
        check(&store, root.path(), false)?;
        // Nothing is different for a fresh store on the same files, with the index and without.
        let rows = store.index_snapshot().unwrap().rows;
        drop(store);
        let store = open(root.path());
        reconcile_all(&store);
        prop_assert_eq!(&store.index_snapshot().unwrap().rows, &rows);
        drop(store);
        remove_index(root.path());
        let store = open(root.path());
        reconcile_all(&store);
        prop_assert_eq!(&store.index_snapshot().unwrap().rows, &rows);
    }

    #[test]
    fn also_with_others_at_work_between_restarts(
        lives in proptest::collection::vec(
            (proptest::collection::vec(own(), 0..10), proptest::collection::vec(foreign(), 0..4)), 1..5,
        ),
    ) {
        let root = scratch();
        let mut age = Duration::from_secs(100_000);
        for (steps, changes) in &lives {
            let store = open(root.path());
            for step in steps {
                run_own(&store, step);
            }
            check(&store, root.path(), true)?;
            drop(store);
            for change in changes {
                age -= Duration::from_secs(10);
                run_foreign(root.path(), change, age);
            }
        }
        check(&open(root.path()), root.path(), true)?;
    }
}
