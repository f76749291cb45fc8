//! Maintenance: no change begins, those under way end, and then nothing in the directory moves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_core::{RegistryError, Run};
use larder_oci::{Digest, Reference};

use crate::support::hooks::Recorder;
use crate::support::script::{APP, Step, image};
use crate::support::world::{access, admin, open_with, runtime, scratch, upload};

const CONFIG: &[u8] = b"{}";

fn put(tag: &'static [&'static str]) -> Step {
    Step::Manifest { repository: APP, bytes: image(&Bytes::from_static(CONFIG), &[], None), tags: tag }
}

#[test]
fn an_upload_under_way_is_counted_and_may_end_and_then_nothing_changes() {
    let (root, recorder) = (scratch(), Arc::new(Recorder::default()));
    runtime().block_on(async {
        let registry = open_with(root.path(), recorder.clone());
        let config = Bytes::from_static(CONFIG);
        upload(&registry, APP, &config, &Digest::sha256(&config)).await.unwrap();
        put(&["v1"]).run(&registry, &mut None).await.unwrap();
        let (content, push) = (Bytes::from_static(b"on its way"), access(APP));
        let digest = Digest::sha256(&content);
        let started = registry.start_upload(&push, None).await.unwrap();
        let mut writer = registry.write_upload(&push, started.id, None).await.unwrap();
        writer.write(content.slice(..2)).await.unwrap();

        assert_eq!(registry.begin_maintenance(&admin(), "why\nnot").changes, 1);
        assert_eq!(&*registry.maintenance_reason().unwrap(), "whynot");
        let refused = registry.start_upload(&push, None).await;
        assert!(matches!(refused, Err(RegistryError::Maintenance { pulling: false, .. })), "{refused:?}");
        writer.write(content.slice(2..)).await.unwrap();
        writer.finish(&digest).await.unwrap();
        assert_eq!(registry.maintenance_state(&admin()).changes, 0);

        recorder.take();
        let delete = Step::DeleteTag { repository: APP, tag: "v1" };
        for step in [put(&["v2"]), delete.clone(), Step::DeleteBlob { repository: APP, digest }] {
            let refused = step.run(&registry, &mut None).await;
            assert!(matches!(refused, Err(RegistryError::Maintenance { .. })), "{refused:?}");
        }
        let refused = registry.collect(&admin(), Run { now: true, sweep: true }).await;
        assert!(matches!(refused, Err(RegistryError::Maintenance { .. })), "{refused:?}");
        assert!(registry.blob(&access(APP), &digest).await.unwrap().is_some());
        let tag = Reference::Tag("v1".parse().unwrap());
        assert!(registry.manifest(&access(APP), &tag).await.unwrap().is_some());
        assert_eq!(recorder.take(), [], "something changed during maintenance");

        registry.end_maintenance(&admin());
        delete.run(&registry, &mut None).await.unwrap();
        assert_eq!(registry.maintenance_state(&admin()).changes, 0);
    });
}

#[test]
fn the_collector_rests_during_maintenance_and_goes_on_after_it() {
    let root = scratch();
    runtime().block_on(async {
        let registry = open_with(root.path(), Arc::new(Recorder::default()));
        let config = Bytes::from_static(CONFIG);
        upload(&registry, APP, &config, &Digest::sha256(&config)).await.unwrap();
        put(&["v1"]).run(&registry, &mut None).await.unwrap();
        let delete = Step::DeleteTag { repository: APP, tag: "v1" };
        delete.run(&registry, &mut None).await.unwrap();
        registry.begin_maintenance(&admin(), "");
        // What runs without being asked takes no turn, and does not wait for the end either.
        let stop = tokio_util::sync::CancellationToken::new();
        let maintained = tokio::time::timeout(Duration::from_secs(30), async {
            stop.cancel();
            registry.maintain(stop.clone()).await;
        });
        maintained.await.unwrap();
        assert_eq!(registry.removed(&admin()).len(), 1);
        registry.end_maintenance(&admin());
        let collected = registry.collect(&admin(), Run { now: true, sweep: false }).await.unwrap();
        assert_eq!((collected.manifests, collected.contents), (1, 2), "{collected:?}");
    });
}
