use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;

use super::*;

#[test]
fn one_sync_serves_all_who_wait_for_it() {
    const ASKERS: usize = 16;
    let syncs = DirectorySyncs::default();
    let ran = AtomicUsize::new(0);
    let all_here = Barrier::new(ASKERS);
    std::thread::scope(|scope| {
        for _ in 0..ASKERS {
            scope.spawn(|| {
                all_here.wait();
                syncs
                    .sync(Path::new("/d"), || {
                        ran.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        Ok::<(), ()>(())
                    })
                    .unwrap();
            });
        }
    });
    assert!((1..=ASKERS).contains(&ran.load(Ordering::SeqCst)));
    assert!(syncs.directories.lock().unwrap().is_empty(), "idle directories are forgotten");
}

#[test]
fn a_sync_that_began_before_the_call_does_not_count() {
    let syncs = DirectorySyncs::default();
    let ran = AtomicUsize::new(0);
    for _ in 0..3 {
        syncs
            .sync(Path::new("/d"), || {
                ran.fetch_add(1, Ordering::SeqCst);
                Ok::<_, ()>(())
            })
            .unwrap();
    }
    assert_eq!(ran.load(Ordering::SeqCst), 3);
}

#[test]
fn a_failed_sync_is_nobodys_success() {
    let syncs = DirectorySyncs::default();
    assert_eq!(syncs.sync(Path::new("/d"), || Err("no")), Err("no"));
    let mut ran = false;
    syncs
        .sync(Path::new("/d"), || {
            ran = true;
            Ok::<_, ()>(())
        })
        .unwrap();
    assert!(ran);
}

/// All have drawn their tickets before the first sync ends: it covers one, the second one all others.
#[test]
fn those_who_come_during_a_sync_share_the_next_one() {
    const ASKERS: u64 = 16;
    let syncs = DirectorySyncs::default();
    let ran = AtomicUsize::new(0);
    let all_have_drawn = || {
        let directories = syncs.directories.lock().unwrap();
        directories.values().all(|tickets| tickets.drawn.load(Ordering::SeqCst) == ASKERS)
    };
    std::thread::scope(|scope| {
        for _ in 0..ASKERS {
            scope.spawn(|| {
                syncs
                    .sync(Path::new("/d"), || {
                        while !all_have_drawn() {
                            std::thread::yield_now();
                        }
                        ran.fetch_add(1, Ordering::SeqCst);
                        Ok::<(), ()>(())
                    })
                    .unwrap();
            });
        }
    });
    // One, if the first asker came last to its own sync and so covers everybody.
    assert!((1..=2).contains(&ran.load(Ordering::SeqCst)), "{ran:?} syncs for {ASKERS} askers");
}
