//! `kill -9` at every write: what was acknowledged is whole, nothing is wrong, and the work goes on.

use std::path::Path;
use std::sync::Arc;

use crate::support::check::{check, check_index};
use crate::support::hooks::Stop;
use crate::support::script::{self, Progress, Universe};
use crate::support::world::{open, open_with, runtime, scratch};

const INDEX_FILES: [&str; 3] = ["index.db", "index.db-wal", "index.db-shm"];

/// What was done again is checked every time; going on to the script's end takes too long for that.
pub(crate) const REST_OF_THE_SCRIPT_EVERY: usize = 8;

/// What the stop left of the index. It is not synced with the files, so it may be behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IndexLeft {
    AsItWas,
    FromBeforeTheStep,
    Nothing,
}

#[test]
fn a_stop_at_any_write_loses_nothing_that_was_acknowledged() {
    let universe = Universe::new();
    let mut stops = 0;
    for at in 1.. {
        let variants = [IndexLeft::AsItWas, IndexLeft::FromBeforeTheStep, IndexLeft::Nothing];
        let left = variants[at % variants.len()];
        if !stop_at(&universe, at, left) {
            break;
        }
        stops += 1;
    }
    assert!(stops > 100, "only {stops} writes: the script or the hook is broken");
}

/// `false` when the script was through before.
fn stop_at(universe: &Universe, at: usize, left: IndexLeft) -> bool {
    let (root, saved) = (scratch(), scratch());
    let stop = Arc::new(Stop::at(at));
    let runtime_before = runtime();
    let progress = runtime_before.block_on(async {
        let registry = open_with(root.path(), stop.clone());
        script::run(&registry, &universe.script, || {
            if left == IndexLeft::FromBeforeTheStep {
                copy_index(root.path(), saved.path());
            }
        })
        .await
    });
    drop(runtime_before);
    if !stop.stopped() {
        assert!(progress.failed.is_none(), "failed without a reason: {:?}", progress.failed);
        return false;
    }
    match left {
        IndexLeft::AsItWas => {}
        IndexLeft::FromBeforeTheStep => {
            remove_index(root.path());
            std::fs::create_dir_all(saved.path().join("larder")).unwrap();
            copy_index(saved.path(), root.path());
        }
        IndexLeft::Nothing => remove_index(root.path()),
    }
    eprintln!("stopped at write {at}, step {:?}, index {left:?}", progress.failed);
    let to_the_end = at.is_multiple_of(REST_OF_THE_SCRIPT_EVERY);
    runtime().block_on(go_on(root.path(), universe, progress, to_the_end));
    true
}

/// Opens what a stop has left, checks it, does again what failed, and may go on to the script's end.
pub(crate) async fn go_on(root: &Path, universe: &Universe, progress: Progress, to_the_end: bool) {
    let Progress { acknowledged: mut before, failed } = progress;
    let registry = open(root);
    // Without a failure the stop hit something that the acknowledgement doesn't depend on.
    let Some((number, _, mut session)) = failed else {
        check(&registry, universe, &before, &before).await;
        return check_index(&registry, universe);
    };
    let mut after = before.clone();
    universe.script[number].apply(&mut after);
    check(&registry, universe, &before, &after).await;
    check_index(&registry, universe);
    universe.script[number].repeat(&registry, &mut session).await.unwrap();
    check(&registry, universe, &after, &after).await;
    if !to_the_end {
        return;
    }
    before = after;
    for step in &universe.script[number + 1..] {
        step.run(&registry, &mut None).await.unwrap();
        step.apply(&mut before);
    }
    check(&registry, universe, &before, &before).await;
    check_index(&registry, universe);
}

pub(crate) fn copy_index(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("larder")).unwrap();
    for name in INDEX_FILES {
        // The -shm file is memory of the process that stopped; SQLite makes it anew.
        let (from, to) = (from.join("larder").join(name), to.join("larder").join(name));
        if name.ends_with("-shm") || !from.try_exists().unwrap() {
            continue;
        }
        std::fs::copy(from, to).unwrap();
    }
}

pub(crate) fn remove_index(root: &Path) {
    for name in INDEX_FILES {
        let _ = std::fs::remove_file(root.join("larder").join(name));
    }
}
