//! Abandoned uploads are removed, and nothing else is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use larder_core::{Environment, Registry, RegistryError, Settings, UploadPurging};
use larder_oci::{Digest, UploadId};
use larder_storage::Disk;
use larder_storage::hook::{DiskHook, Mutation};

use crate::support::hooks::eio;
use crate::support::script::APP;
use crate::support::world::{access, runtime, scratch, settings};

const AGE: Duration = Duration::from_secs(7 * 24 * 3600);
const DAY: i64 = 24 * 3600;

/// A clock of one test: the machine's, and some seconds.
macro_rules! clock {
    ($offset:ident, $now:ident) => {
        static $offset: AtomicI64 = AtomicI64::new(0);

        fn $now() -> SystemTime {
            shifted(SystemTime::now(), $offset.load(Ordering::SeqCst))
        }
    };
}

fn shifted(time: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time - by } else { time + by }
}

fn open_at(root: &Path, now: fn() -> SystemTime, hook: Option<Arc<dyn DiskHook>>) -> Registry {
    let environment = Environment { now, ..Environment::system() };
    Registry::on(Arc::new(Disk::open_with(root, hook).unwrap()), settings(), environment).unwrap()
}

async fn start(registry: &Registry, repository: &str) -> UploadId {
    registry.start_upload(&access(repository), None).await.unwrap().id
}

async fn is_there(registry: &Registry, repository: &str, id: UploadId) -> bool {
    match registry.upload_progress(&access(repository), id).await {
        Ok(_) => true,
        Err(RegistryError::UploadUnknown { .. }) => false,
        Err(error) => panic!("{error:?}"),
    }
}

clock!(AGING, aging);

#[test]
fn idle_sessions_go_and_recent_and_busy_ones_stay() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open_at(root.path(), aging, None);
        // The first purge finds no repository; the ones that come later must be found all the same.
        assert_eq!(registry.purge_uploads().await.unwrap(), 0);
        let idle = start(&registry, APP).await;
        let elsewhere = start(&registry, "uploads/only").await;
        let busy = start(&registry, APP).await;
        let mut writer = registry.write_upload(&access(APP), busy, None).await.unwrap();
        assert_eq!(registry.purge_uploads().await.unwrap(), 0, "all are recent");
        AGING.store(8 * DAY, Ordering::SeqCst);
        let recent = start(&registry, APP).await;
        assert_eq!(registry.purge_uploads().await.unwrap(), 2);
        assert!(!is_there(&registry, APP, idle).await);
        assert!(!is_there(&registry, "uploads/only", elsewhere).await);
        assert!(is_there(&registry, APP, busy).await);
        assert!(is_there(&registry, APP, recent).await);
        writer.write(Bytes::from_static(b"content")).await.unwrap();
        writer.finish(&Digest::sha256(b"content")).await.unwrap();
    });
}

clock!(JUMPING, jumping);

#[test]
fn a_clock_that_jumps_back_purges_nothing() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open_at(root.path(), jumping, None);
        let before = start(&registry, APP).await;
        for offset in [-1, -DAY, -400 * DAY, -20_000 * DAY] {
            JUMPING.store(offset, Ordering::SeqCst);
            let id = start(&registry, APP).await;
            assert_eq!(registry.purge_uploads().await.unwrap(), 0);
            assert!(is_there(&registry, APP, id).await);
            let mut writer = registry.write_upload(&access(APP), id, None).await.unwrap();
            writer.write(Bytes::from_static(b"content")).await.unwrap();
            writer.finish(&Digest::sha256(b"content")).await.unwrap();
        }
        JUMPING.store(0, Ordering::SeqCst);
        assert!(is_there(&registry, APP, before).await);
    });
}

clock!(BEFORE_1970, before_1970);

#[test]
fn a_clock_before_1970_is_survived() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open_at(root.path(), before_1970, None);
        BEFORE_1970.store(-30_000 * DAY, Ordering::SeqCst);
        assert_eq!(registry.purge_uploads().await.unwrap(), 0);
        let id = start(&registry, APP).await;
        let mut writer = registry.write_upload(&access(APP), id, None).await.unwrap();
        writer.write(Bytes::from_static(b"content")).await.unwrap();
        writer.finish(&Digest::sha256(b"content")).await.unwrap();
    });
}

#[test]
fn sessions_of_registry_2_are_judged_by_their_files() {
    let root = scratch();
    let uploads = root.path().join(format!("docker/registry/v2/repositories/{APP}/_uploads"));
    // What stands in startedat, whether there is data, and whether the session is old by its files.
    let cases = [
        ("2020-01-01T00:00:00Z", true, true, true),
        ("2020-01-01T00:00:00Z", true, false, false),
        ("2020-01-01T00:00:00Z", false, true, true),
        ("garbage", true, true, true),
        ("garbage", true, false, false),
        ("", false, true, true),
        ("2999-01-01T00:00:00Z", true, true, false),
    ];
    let old = SystemTime::now() - AGE - AGE;
    let mut sessions = Vec::new();
    for (number, (started, has_data, is_old, goes)) in cases.into_iter().enumerate() {
        let id = UploadId::from_random([u8::try_from(number).unwrap(); 16]);
        let directory = uploads.join(id.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("startedat"), started).unwrap();
        if has_data {
            std::fs::write(directory.join("data"), b"content").unwrap();
        }
        if is_old {
            for path in [directory.join("data"), directory] {
                if path.try_exists().unwrap() {
                    std::fs::File::open(path).unwrap().set_modified(old).unwrap();
                }
            }
        }
        sessions.push((id, goes, (started, has_data, is_old)));
    }
    // Not a session: registry:2 doesn't purge it, so Larder doesn't either.
    let foreign_directory = uploads.join("not-a-uuid");
    std::fs::create_dir_all(&foreign_directory).unwrap();
    std::fs::File::open(&foreign_directory).unwrap().set_modified(old).unwrap();
    runtime().block_on(async {
        let registry = open_at(root.path(), SystemTime::now, None);
        let purged = registry.purge_uploads().await.unwrap();
        for (id, goes, case) in sessions {
            assert_eq!(is_there(&registry, APP, id).await, !goes, "{case:?}");
        }
        assert_eq!(purged, 4);
        assert!(foreign_directory.try_exists().unwrap());
    });
}

/// Refuses to remove anything below this path.
#[derive(Default)]
struct Stuck(Mutex<Option<PathBuf>>);

impl DiskHook for Stuck {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        let stuck = self.0.lock().unwrap();
        match mutation {
            Mutation::RemoveFile(path) | Mutation::RemoveDirectory(path)
                if stuck.as_ref().is_some_and(|stuck| path.starts_with(stuck)) =>
            {
                Err(eio())
            }
            _ => Ok(usize::MAX),
        }
    }

    fn after(&self, _: Mutation<'_>) {}
}

clock!(STUCK, stuck);

#[test]
fn a_session_that_cannot_be_removed_does_not_keep_the_others() {
    let (root, hook) = (scratch(), Arc::new(Stuck::default()));
    runtime().block_on(async {
        let registry = open_at(root.path(), stuck, Some(hook.clone()));
        let mut sessions = Vec::new();
        for _ in 0..5 {
            sessions.push(start(&registry, APP).await);
        }
        STUCK.store(8 * DAY, Ordering::SeqCst);
        // The directory lists its entries in an order of its own: at least some come after this one.
        let uploads = root.path().join(format!("docker/registry/v2/repositories/{APP}/_uploads"));
        let first = std::fs::read_dir(&uploads).unwrap().next().unwrap().unwrap();
        *hook.0.lock().unwrap() = Some(first.path());
        assert_eq!(registry.purge_uploads().await.unwrap(), 4, "one failure kept the rest");
        *hook.0.lock().unwrap() = None;
        assert_eq!(registry.purge_uploads().await.unwrap(), 1);
        for session in sessions {
            assert!(!is_there(&registry, APP, session).await);
        }
    });
}

clock!(DRY, dry);

#[test]
fn a_dry_run_removes_nothing() {
    let root = scratch();
    runtime().block_on(async {
        let environment = Environment { now: dry, ..Environment::system() };
        let purging = UploadPurging { dry_run: true, ..settings().upload_purging };
        let settings = Settings { upload_purging: purging, ..settings() };
        let registry = Registry::open(root.path(), settings, environment).unwrap();
        let id = start(&registry, APP).await;
        DRY.store(8 * DAY, Ordering::SeqCst);
        assert_eq!(registry.purge_uploads().await.unwrap(), 0);
        assert!(is_there(&registry, APP, id).await);
    });
}
