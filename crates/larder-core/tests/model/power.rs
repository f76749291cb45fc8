//! Loss of power at every write: of what was not synced, nothing is left.

use std::sync::Arc;

use crate::crashes::{REST_OF_THE_SCRIPT_EVERY, go_on};
use crate::support::check::check;
use crate::support::power::Power;
use crate::support::script::{self, Universe};
use crate::support::world::{open, open_with, runtime, scratch};

#[test]
fn a_loss_of_power_at_any_write_loses_nothing_that_was_acknowledged() {
    let universe = Universe::new();
    let mut cuts = 0;
    for at in 1.. {
        if !cut_at(&universe, at) {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 100, "only {cuts} writes: the script or the hook is broken");
}

/// Nothing fails and then the power goes: also what tidying up relied on must be durable.
#[test]
fn a_loss_of_power_after_the_last_acknowledgement_loses_nothing() {
    assert!(!cut_at(&Universe::new(), usize::MAX));
}

/// What could not be synced once is not taken for durable ever after.
#[test]
fn what_is_done_again_after_a_fault_is_durable() {
    let universe = Universe::new();
    for at in (1..).step_by(2) {
        let (root, left) = (scratch(), scratch());
        let power = Arc::new(Power::failing_at(root.path(), at));
        let runtime_before = runtime();
        let expected = runtime_before.block_on(async {
            let registry = open_with(root.path(), power.clone());
            let mut progress = script::run(&registry, &universe.script, || {}).await;
            if let Some((number, _, mut session)) = progress.failed.take() {
                let step = &universe.script[number];
                step.repeat(&registry, &mut session).await.unwrap();
                if !step.is_delete() {
                    step.apply(&mut progress.acknowledged);
                    return Some(progress.acknowledged);
                }
                // What is gone already is not deleted again: that it is gone for good was never said.
            }
            None
        });
        drop(runtime_before);
        if !power.is_cut() {
            break;
        }
        power.materialise(left.path());
        if let Some(expected) = expected {
            runtime().block_on(check(&open(left.path()), &universe, &expected, &expected));
        }
    }
}

/// `false` when the script was through before.
fn cut_at(universe: &Universe, at: usize) -> bool {
    let (root, left) = (scratch(), scratch());
    let power = Arc::new(Power::cut_at(root.path(), at));
    let runtime_before = runtime();
    let progress = runtime_before.block_on(async {
        let registry = open_with(root.path(), power.clone());
        script::run(&registry, &universe.script, || {}).await
    });
    drop(runtime_before);
    let cut = power.is_cut();
    assert!(cut || progress.failed.is_none(), "failed without a reason: {:?}", progress.failed);
    power.materialise(left.path());
    // The index is not synced: it may be gone, or it may have come through whole.
    if at.is_multiple_of(2) {
        std::fs::create_dir_all(left.path().join("larder")).unwrap();
        std::fs::copy(root.path().join("larder/index.db"), left.path().join("larder/index.db")).unwrap();
    }
    eprintln!("cut at write {at}, step {:?}", progress.failed);
    let to_the_end = at.is_multiple_of(REST_OF_THE_SCRIPT_EVERY);
    runtime().block_on(go_on(left.path(), universe, progress, to_the_end));
    cut
}
