//! The same with files: nothing that a request does goes through a directory that can be large.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::*;

const FEW_AND_MANY: [usize; 2] = [100, 10_000];

/// Sees when a directory's entries are read.
struct Watched {
    queue: rustix::fd::OwnedFd,
}

impl Watched {
    fn new<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Watched {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        for directory in directories {
            inotify::add_watch(&queue, directory, WatchFlags::ACCESS).unwrap();
        }
        Watched { queue }
    }

    /// Whether entries were read since the last call.
    fn were_read(&self) -> bool {
        let mut buffer = [const { std::mem::MaybeUninit::uninit() }; 4096];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        let mut read = false;
        loop {
            match reader.next() {
                // With a name it is something in the directory that was read.
                Ok(event) => {
                    read |= event.events().contains(ReadFlags::ACCESS) && event.file_name().is_none()
                }
                Err(Errno::AGAIN) => return read,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A repository as registry:2 leaves it: `size` tags of one manifest, as many repositories beside it,
/// and one tag with a long history.
fn write_many(root: &Path, size: usize) {
    let link = Digest::sha256(&image("old"));
    let write = |directory: &Path| {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join("link"), link.to_string()).unwrap();
    };
    let repository = root.join(REPOSITORIES).join("team/app");
    for number in 0..size {
        write(&repository.join(format!("_manifests/tags/t{number:06}/current")));
        let past = filler(b'h', number).hex();
        write(&repository.join("_manifests/tags/moved/index/sha256").join(past));
        let layer = filler(b'b', number).hex();
        write(&repository.join("_layers/sha256").join(layer));
        std::fs::create_dir_all(root.join(REPOSITORIES).join(format!("r{number:06}/_uploads"))).unwrap();
    }
}

#[test]
fn a_change_makes_the_same_changes_of_the_disk_and_reads_no_large_directory() {
    let costs = FEW_AND_MANY.map(|size| {
        let root = scratch();
        write_many(root.path(), size);
        let changed = Arc::new(Changed::default());
        let disk = Arc::new(Disk::open_with(root.path(), Some(changed.clone())).unwrap());
        let store = MetaStore::open(Arc::clone(&disk), Blobs::new(disk)).unwrap();
        let old = put_app(&store, &image("old"), &["latest", "moved"]);
        let doomed = put_app(&store, &image("doomed"), &["doomed"]);
        link(&store, "team/app", b"layer");
        let repository = root.path().join(REPOSITORIES).join("team/app");
        let history = repository.join("_manifests/tags/moved/index/sha256");
        let (tags, layers) = (repository.join("_manifests/tags"), repository.join("_layers/sha256"));
        let all = root.path().join(REPOSITORIES);
        let watched = Watched::new([&*tags, &*history, &*layers, &*all]);
        reconcile_all(&store);
        assert!(watched.were_read(), "reconciling reads them: so reading is seen");
        assert_eq!(store.index.tag_rows(&app()).unwrap().len(), size + 3);

        let requests: [(&str, &dyn Fn()); 10] = [
            ("the tags are listed", &|| drop(store.tags(&app(), &page()).unwrap())),
            ("the catalog is listed", &|| drop(store.catalog(&page()).unwrap())),
            ("a tag is pulled", &|| assert_eq!(store.tag(&app(), &tag("moved")).unwrap(), Some(old))),
            ("a tag moves", &|| _ = put_app(&store, &image("next"), &["moved"])),
            ("a new tag", &|| _ = put_app(&store, &image("next"), &["new"])),
            ("a tag is deleted", &|| assert!(store.delete_tag(&app(), &tag("new")).unwrap())),
            ("a manifest is deleted", &|| {
                assert_eq!(store.delete_manifest(&app(), &doomed).unwrap().unwrap(), [tag("doomed")]);
            }),
            ("a blob is linked", &|| _ = link(&store, "team/app", b"new layer")),
            ("a blob is unlinked", &|| {
                assert!(store.unlink_blob(&app(), &Digest::sha256(b"layer")).unwrap());
            }),
            ("the index is compared again", &|| reconcile_all(&store)),
        ];
        requests.map(|(what, request)| {
            let before = changed.times.load(Ordering::SeqCst);
            request();
            assert!(!watched.were_read(), "{what}: a directory was gone through at {size} entries");
            (what, changed.times.load(Ordering::SeqCst) - before)
        })
    });
    println!("{costs:?}");
    assert_eq!(costs[0], costs[1]);
}
