//! Upload sessions: taken over, left in the middle, resumed, disturbed.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use larder_core::{Registry, RegistryError};
use larder_oci::{Access, Algorithm, ChunkRange, Digest, Push, UploadId};
use larder_storage::hook::{DiskHook, Mutation};
use tempfile::TempDir;

use crate::support::hooks::{Recorder, Trouble, enospc};
use crate::support::script::APP;
use crate::support::world::{access, bytes_of, open, open_with, runtime, scratch};

/// As large as what the writer gathers before it goes to the disk.
const BATCH: usize = 512 << 10;

fn push() -> Access<Push> {
    access(APP)
}

async fn start(registry: &Registry) -> UploadId {
    registry.start_upload(&push(), None).await.unwrap().id
}

async fn write(registry: &Registry, id: UploadId, bytes: &'static [u8]) -> u64 {
    let mut writer = registry.write_upload(&push(), id, None).await.unwrap();
    writer.write(Bytes::from_static(bytes)).await.unwrap();
    writer.pause().await.unwrap().length
}

async fn finish(registry: &Registry, id: UploadId, digest: &Digest) -> Result<(), RegistryError> {
    registry.write_upload(&push(), id, None).await?.finish(digest).await
}

async fn assert_blob(registry: &Registry, content: &[u8]) {
    let digest = Digest::sha256(content);
    let blob = registry.blob(&access(APP), &digest).await.unwrap().unwrap();
    assert_eq!(bytes_of(&blob), content);
}

fn data_file(root: &TempDir, id: UploadId) -> PathBuf {
    root.path().join(format!("docker/registry/v2/repositories/{APP}/_uploads/{id}/data"))
}

fn test(body: impl AsyncFnOnce(Registry, &TempDir)) {
    let root = scratch();
    runtime().block_on(body(open(root.path()), &root));
}

#[test]
fn the_newer_writer_takes_over_and_nothing_interleaves() {
    test(async |registry, _| {
        let id = start(&registry).await;
        let mut older = registry.write_upload(&push(), id, None).await.unwrap();
        older.write(Bytes::from_static(b"older ")).await.unwrap();
        assert!(poll_once(older.taken_over()).is_pending());
        let newer = tokio::spawn({
            let registry = registry.clone();
            async move {
                let mut newer = registry.write_upload(&push(), id, None).await.unwrap();
                newer.write(Bytes::from_static(b"newer")).await.unwrap();
                newer.pause().await.unwrap().length
            }
        });
        let told = older.taken_over().await;
        assert!(matches!(told, RegistryError::UploadTakenOver { id: of } if of == id), "{told:?}");
        assert!(!newer.is_finished(), "two writers at once");
        // The older one may still be in the middle of something; only its end lets the newer one in.
        older.write(Bytes::from_static(b"still older ")).await.unwrap();
        drop(older);
        assert_eq!(newer.await.unwrap(), 23);
        let content = b"older still older newer";
        finish(&registry, id, &Digest::sha256(content)).await.unwrap();
        assert_blob(&registry, content).await;
    });
}

#[test]
fn of_many_waiting_writers_all_but_the_last_are_told_at_once() {
    test(async |registry, _| {
        let id = start(&registry).await;
        let first = registry.write_upload(&push(), id, None).await.unwrap();
        let others: Vec<_> = (0..8)
            .map(|_| {
                let registry = registry.clone();
                tokio::spawn(async move {
                    let mut writer = registry.write_upload(&push(), id, None).await.unwrap();
                    let told = poll_once(writer.taken_over()).is_ready();
                    writer.write(Bytes::from_static(b"x")).await.unwrap();
                    writer.pause().await.unwrap();
                    told
                })
            })
            .collect();
        first.taken_over().await;
        // Each of the tasks has asked once it was polled; they wait in the order in which they asked.
        for _ in 0..others.len() {
            tokio::task::yield_now().await;
        }
        drop(first);
        let mut told = Vec::new();
        for other in others {
            told.push(other.await.unwrap());
        }
        assert_eq!(told, [true, true, true, true, true, true, true, false]);
        assert_eq!(registry.upload_progress(&push(), id).await.unwrap().length, 8);
    });
}

#[test]
fn a_cancel_stops_the_writer_and_ends_the_session() {
    test(async |registry, _| {
        let id = start(&registry).await;
        let writer = registry.write_upload(&push(), id, None).await.unwrap();
        let cancel = tokio::spawn({
            let registry = registry.clone();
            async move { registry.cancel_upload(&push(), id).await }
        });
        writer.taken_over().await;
        drop(writer);
        cancel.await.unwrap().unwrap();
        let again = registry.cancel_upload(&push(), id).await;
        assert!(matches!(again, Err(RegistryError::UploadUnknown { .. })), "{again:?}");
        let write = registry.write_upload(&push(), id, None).await;
        assert!(matches!(write.err(), Some(RegistryError::UploadUnknown { .. })));
        let progress = registry.upload_progress(&push(), id).await;
        assert!(matches!(progress, Err(RegistryError::UploadUnknown { .. })), "{progress:?}");
    });
}

#[test]
fn a_writer_that_is_dropped_keeps_what_it_received() {
    test(async |registry, _| {
        let id = start(&registry).await;
        let mut content = Vec::new();
        for (round, length) in [5, BATCH, BATCH + 1, 3 * BATCH, 1].into_iter().enumerate() {
            let piece = vec![u8::try_from(round).unwrap() + b'a'; length];
            content.extend_from_slice(&piece);
            let mut writer = registry.write_upload(&push(), id, None).await.unwrap();
            for piece in piece.chunks(BATCH / 2) {
                writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            drop(writer);
        }
        finish(&registry, id, &Digest::sha256(&content)).await.unwrap();
        assert_blob(&registry, &content).await;
    });
}

/// Holds back every write until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.opened.notify_all();
    }
}

impl DiskHook for Gate {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        if let Mutation::Write { length, .. } = mutation
            && length > 100
        {
            drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
        }
        Ok(usize::MAX)
    }

    fn after(&self, _: Mutation<'_>) {}
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_write_that_is_cancelled_while_the_disk_is_slow_loses_nothing() {
    let (root, gate) = (scratch(), Arc::new(Gate::default()));
    runtime().block_on(async {
        let registry = open_with(root.path(), gate.clone());
        let id = start(&registry).await;
        for then_used_again in [false, true] {
            gate.set(false);
            let mut writer = registry.write_upload(&push(), id, None).await.unwrap();
            writer.write(Bytes::from(vec![b'a'; BATCH])).await.unwrap();
            // The client leaves while this waits for the disk: the server drops the future.
            assert!(poll_once(writer.write(Bytes::from(vec![b'b'; BATCH]))).is_pending());
            gate.set(true);
            if then_used_again {
                writer.write(Bytes::from(vec![b'c'; 10])).await.unwrap();
            }
            drop(writer);
            // Waits until all is written, before the gate is closed again.
            drop(registry.write_upload(&push(), id, None).await.unwrap());
        }
        let piece = [vec![b'a'; BATCH], vec![b'b'; BATCH]].concat();
        let content = [piece.clone(), piece, vec![b'c'; 10]].concat();
        finish(&registry, id, &Digest::sha256(&content)).await.unwrap();
        assert_blob(&registry, &content).await;
    });
}

#[test]
fn a_wrong_digest_keeps_the_session() {
    test(async |registry, _| {
        let id = start(&registry).await;
        write(&registry, id, b"con").await;
        let (wrong, right) = (Digest::sha256(b"else"), Digest::sha256(b"content"));
        for _ in 0..2 {
            let refused = finish(&registry, id, &wrong).await;
            assert!(
                matches!(refused, Err(RegistryError::DigestMismatch { expected, found })
                    if expected == wrong && found == Digest::sha256(b"con")),
                "{refused:?}"
            );
        }
        assert_eq!(registry.upload_progress(&push(), id).await.unwrap().length, 3);
        assert!(registry.blob(&access(APP), &wrong).await.unwrap().is_none());
        write(&registry, id, b"tent").await;
        finish(&registry, id, &right).await.unwrap();
        assert_blob(&registry, b"content").await;
        let done = finish(&registry, id, &right).await;
        assert!(matches!(done, Err(RegistryError::UploadUnknown { .. })), "{done:?}");
    });
}

fn chunk(first: u64, last: u64) -> Option<ChunkRange> {
    Some(ChunkRange { first, last })
}

#[test]
fn chunks_come_in_order_and_are_as_long_as_they_say() {
    test(async |registry, _| {
        let id = start(&registry).await;
        for first in [1, 5] {
            let refused = registry.write_upload(&push(), id, chunk(first, 9)).await.err();
            assert!(
                matches!(refused, Some(RegistryError::ChunkOutOfOrder { first: at, length: 0, .. }) if at == first),
                "{refused:?}"
            );
        }
        let mut writer = registry.write_upload(&push(), id, chunk(0, 4)).await.unwrap();
        writer.write(Bytes::from_static(b"0123")).await.unwrap();
        let short = writer.pause().await;
        assert!(matches!(short, Err(RegistryError::ChunkLength { received: 4, claimed: 5 })), "{short:?}");
        let length = write(&registry, id, b"").await;
        let mut writer = registry.write_upload(&push(), id, chunk(length, length + 1)).await.unwrap();
        let long = writer.write(Bytes::from_static(b"abc")).await;
        assert!(matches!(long, Err(RegistryError::ChunkLength { received: 3, claimed: 2 })), "{long:?}");
        drop(writer);
        // Whatever a refused chunk has left, the session says how far it is and goes on from there.
        let length = usize::try_from(write(&registry, id, b"").await).unwrap();
        let refused = registry.write_upload(&push(), id, chunk(length as u64 + 1, 99)).await.err();
        assert!(matches!(refused, Some(RegistryError::ChunkOutOfOrder { .. })), "{refused:?}");
        let mut content = b"0123".to_vec();
        content.truncate(length);
        content.extend_from_slice(b"rest");
        let mut writer =
            registry.write_upload(&push(), id, chunk(length as u64, length as u64 + 3)).await.unwrap();
        writer.write(Bytes::from_static(b"rest")).await.unwrap();
        writer.finish(&Digest::sha256(&content)).await.unwrap();
        assert_blob(&registry, &content).await;
    });
}

/// What another program may do to a session's file between two requests.
type Disturb = fn(&std::path::Path);

const DISTURBANCES: [(&str, Disturb, &[u8]); 5] = [
    ("appends", |path| std::fs::write(path, b"mine, theirs").unwrap(), b"mine, theirs"),
    ("truncates", |path| std::fs::write(path, b"mi").unwrap(), b"mi"),
    ("overwrites as many bytes", |path| overwrite(path, b"thin"), b"thin"),
    ("replaces the file by one as long", |path| replace(path, b"that"), b"that"),
    ("removes the file", |path| std::fs::remove_file(path).unwrap(), b""),
];

/// In place, and later than the writer by more than the clock of a coarse file system can miss.
fn overwrite(path: &std::path::Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
}

fn replace(path: &std::path::Path, bytes: &[u8]) {
    let beside = path.with_file_name("beside");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

#[test]
fn a_session_that_another_program_changed_is_hashed_again() {
    for (what, disturb, left) in DISTURBANCES {
        test(async |registry, root| {
            let id = start(&registry).await;
            write(&registry, id, b"mine").await;
            disturb(&data_file(root, id));
            let length = write(&registry, id, b" end").await;
            assert_eq!(length, left.len() as u64 + 4, "{what}");
            let remembered = finish(&registry, id, &Digest::sha256(b"mine end")).await;
            assert!(
                matches!(remembered, Err(RegistryError::DigestMismatch { .. })),
                "{what}: {remembered:?}"
            );
            let content = [left, b" end"].concat();
            finish(&registry, id, &Digest::sha256(&content)).await.unwrap();
            assert_blob(&registry, &content).await;
        });
    }
}

#[test]
fn a_session_that_is_changed_under_its_writer_is_never_published_wrong() {
    for (what, disturb, left) in DISTURBANCES {
        test(async |registry, root| {
            let id = start(&registry).await;
            write(&registry, id, b"mine").await;
            let writer = registry.write_upload(&push(), id, None).await.unwrap();
            disturb(&data_file(root, id));
            let mine = Digest::sha256(b"mine");
            let outcome = writer.finish(&mine).await;
            assert!(outcome.is_err(), "{what}: published, but not what was hashed");
            assert!(registry.blob(&access(APP), &mine).await.unwrap().is_none(), "{what}");
            finish(&registry, id, &Digest::sha256(left)).await.unwrap();
            assert_blob(&registry, left).await;
        });
    }
}

#[test]
fn sessions_end_under_any_algorithm() {
    let contents = |algorithm| Digest::of(algorithm, b"content");
    for started in [None, Some(Algorithm::Sha256), Some(Algorithm::Sha512)] {
        for finished in Algorithm::ALL {
            for restart in [false, true] {
                let root = scratch();
                let (registry, id) = runtime().block_on(async {
                    let registry = open(root.path());
                    let id = registry.start_upload(&push(), started).await.unwrap().id;
                    write(&registry, id, b"con").await;
                    (registry, id)
                });
                let registry = if restart {
                    drop(registry);
                    open(root.path())
                } else {
                    registry
                };
                runtime().block_on(async {
                    write(&registry, id, b"tent").await;
                    let wrong = finish(&registry, id, &Digest::of(finished, b"other")).await;
                    assert!(matches!(wrong, Err(RegistryError::DigestMismatch { .. })), "{wrong:?}");
                    finish(&registry, id, &contents(finished)).await.unwrap();
                    let blob = registry.blob(&access(APP), &contents(finished)).await.unwrap().unwrap();
                    assert_eq!(bytes_of(&blob), b"content");
                    for other in Algorithm::ALL {
                        let there = registry.blob(&access(APP), &contents(other)).await.unwrap().is_some();
                        assert_eq!(there, other == finished);
                    }
                });
            }
        }
    }
}

#[test]
fn more_sessions_than_are_remembered_all_go_on() {
    test(async |registry, _| {
        let mut sessions = Vec::new();
        for _ in 0..1100 {
            let id = start(&registry).await;
            sessions.push(id);
        }
        write(&registry, sessions[0], b"first").await;
        for _ in 0..300 {
            start(&registry).await;
        }
        for (id, before) in [(sessions[0], "first"), (sessions[1], ""), (sessions[1099], "")] {
            let length = write(&registry, id, b" end").await;
            let content = format!("{before} end");
            assert_eq!(length, content.len() as u64);
            finish(&registry, id, &Digest::sha256(content.as_bytes())).await.unwrap();
            assert_blob(&registry, content.as_bytes()).await;
        }
    });
}

#[test]
fn a_session_belongs_to_its_repository() {
    test(async |registry, _| {
        let id = start(&registry).await;
        let elsewhere = registry.write_upload(&access("team/other"), id, None).await.err();
        assert!(matches!(elsewhere, Some(RegistryError::UploadUnknown { .. })), "{elsewhere:?}");
        assert_eq!(write(&registry, id, b"content").await, 7);
    });
}

/// Fails every write of content while it is set.
#[derive(Default)]
struct Full(Mutex<Option<Trouble>>);

impl DiskHook for Full {
    fn before(&self, mutation: Mutation<'_>) -> io::Result<usize> {
        match (*self.0.lock().unwrap(), mutation) {
            (Some(Trouble::ShortWrite), Mutation::Write { length, .. }) if length > 3 => Ok(3),
            (Some(_), Mutation::Write { .. }) => Err(enospc()),
            _ => Ok(usize::MAX),
        }
    }

    fn after(&self, _: Mutation<'_>) {}
}

#[test]
fn an_upload_that_fills_the_disk_gives_its_room_back_and_can_be_begun_anew() {
    let (root, full) = (scratch(), Arc::new(Full::default()));
    runtime().block_on(async {
        let registry = open_with(root.path(), full.clone());
        let id = start(&registry).await;
        // Three bytes at a time, until nothing more fits.
        *full.0.lock().unwrap() = Some(Trouble::ShortWrite);
        let mut writer = registry.write_upload(&push(), id, None).await.unwrap();
        writer.write(Bytes::from_static(b"0123456789")).await.unwrap();
        let refused = writer.pause().await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, RegistryError::NoSpace(_)), "{refused:?}");
        let words = refused.to_string();
        assert!(
            words.contains("1 bytes are needed and") || words.contains("10 bytes are needed and"),
            "{words}"
        );
        assert!(words.contains(&root.path().display().to_string()), "{words}");
        let gone = registry.upload_progress(&push(), id).await;
        assert!(matches!(gone, Err(RegistryError::UploadUnknown { .. })), "{gone:?}");
        let left = std::fs::read_dir(root.path().join("docker/registry/v2/repositories/team/app/_uploads"));
        assert_eq!(left.unwrap().count(), 0, "a failed upload goes on to fill the disk");
        *full.0.lock().unwrap() = None;
        let id = start(&registry).await;
        assert_eq!(write(&registry, id, b"0123456789").await, 10);
        finish(&registry, id, &Digest::sha256(b"0123456789")).await.unwrap();
        assert_blob(&registry, b"0123456789").await;
    });
}

#[test]
fn a_probe_of_a_full_disk_leaves_nothing_behind() {
    let (root, full) = (scratch(), Arc::new(Full::default()));
    runtime().block_on(async {
        let registry = open_with(root.path(), full.clone());
        registry.probe().await.unwrap();
        *full.0.lock().unwrap() = Some(Trouble::NoSpace);
        for _ in 0..3 {
            assert!(matches!(registry.probe().await, Err(RegistryError::NoSpace(_))));
        }
        let left = std::fs::read_dir(root.path().join("larder/staging")).unwrap().count();
        assert_eq!(left, 0, "a health check fills the directory it watches");
    });
}

#[test]
fn reading_a_session_writes_nothing() {
    let (root, recorder) = (scratch(), Arc::new(Recorder::default()));
    runtime().block_on(async {
        let registry = open_with(root.path(), recorder.clone());
        let id = start(&registry).await;
        write(&registry, id, b"content").await;
        recorder.take();
        registry.upload_progress(&push(), id).await.unwrap();
        drop(registry.write_upload(&push(), id, None).await.unwrap());
        assert_eq!(recorder.take(), []);
    });
}
