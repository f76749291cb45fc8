//! One fault at every write, in a process that goes on: the answer is honest, and it can be done again.

use std::sync::Arc;

use larder_core::{Registry, RegistryError};

use crate::crashes::REST_OF_THE_SCRIPT_EVERY;
use crate::support::check::{check, check_index};
use crate::support::hooks::{Fault, Kind, Recorder, Trouble};
use crate::support::script::{self, Progress, Universe};
use crate::support::world::{open_with, runtime, scratch};

#[test]
fn a_full_disk_is_told_and_survived() {
    every_write(Trouble::NoSpace);
}

#[test]
fn a_failing_disk_is_told_and_survived() {
    every_write(Trouble::Io);
}

#[test]
fn a_short_write_is_gone_on_with() {
    every_write(Trouble::ShortWrite);
}

fn every_write(trouble: Trouble) {
    let universe = Universe::new();
    let recorder = Arc::new(Recorder::default());
    let root = scratch();
    runtime().block_on(async {
        let registry = open_with(root.path(), recorder.clone());
        assert!(script::run(&registry, &universe.script, || {}).await.failed.is_none());
    });
    for (before, (kind, _)) in recorder.take().into_iter().enumerate() {
        let possible = match trouble {
            Trouble::NoSpace => !matches!(kind, Kind::Remove),
            Trouble::Io => true,
            Trouble::ShortWrite => kind == Kind::Write,
        };
        if possible {
            runtime().block_on(fail_at(&universe, before + 1, trouble));
        }
    }
}

/// Has the index read in before the next step, so that it must be kept right through the fault and
/// isn't just read afterwards.
fn believe_the_index(registry: &Registry, universe: &Universe) {
    registry.meta().walk_names().unwrap();
    for repository in &universe.repositories {
        registry.meta().reconcile(&repository.parse().unwrap()).unwrap();
    }
}

async fn fail_at(universe: &Universe, at: usize, trouble: Trouble) {
    let root = scratch();
    let fault = Arc::new(Fault::at(at, trouble));
    let registry = open_with(root.path(), fault.clone());
    let Progress { acknowledged: mut expected, failed } =
        script::run(&registry, &universe.script, || believe_the_index(&registry, universe)).await;
    let (kind, path) = fault.hit().expect("the script is shorter than when it was recorded");
    eprintln!("{trouble:?} at write {at}, {kind:?} of {}, step {failed:?}", path.display());
    let Some((number, error, mut session)) = failed else {
        // Tidying up may fail unseen, a sync may not. Who deletes on a full disk makes room: what it takes to undo that
        // is not waited for.
        let larder = root.path().join("larder");
        let is_of_notes = path.starts_with(larder.join("removals")) || path == larder || path == root.path();
        let is_note = trouble == Trouble::NoSpace && is_of_notes;
        let unseen = kind == Kind::Remove || trouble == Trouble::ShortWrite || is_note;
        assert!(unseen, "{kind:?} of {} failed and the step was acknowledged", path.display());
        check(&registry, universe, &expected, &expected).await;
        return check_index(&registry, universe);
    };
    match trouble {
        Trouble::NoSpace => assert!(matches!(error, RegistryError::NoSpace(_)), "{error:?}"),
        Trouble::Io => assert!(matches!(error, RegistryError::Meta(_)), "{error:?}"),
        Trouble::ShortWrite => panic!("a short write is no failure: {error:?}"),
    }
    let step = &universe.script[number];
    let mut after = expected.clone();
    step.apply(&mut after);
    check(&registry, universe, &expected, &after).await;
    check_index(&registry, universe);
    step.repeat(&registry, &mut session).await.unwrap();
    check(&registry, universe, &after, &after).await;
    if !at.is_multiple_of(REST_OF_THE_SCRIPT_EVERY) {
        return;
    }
    expected = after;
    for step in &universe.script[number + 1..] {
        step.run(&registry, &mut None).await.unwrap();
        step.apply(&mut expected);
    }
    check(&registry, universe, &expected, &expected).await;
    check_index(&registry, universe);
}
