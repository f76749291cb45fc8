//! The room that a blob on its way needs, and its place in the store once it is whole.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use larder_oci::Digest;
use larder_storage::Staged;

use super::fill::{Fill, Filling, Stage};
use crate::collect::Thing;
use crate::error::RegistryError;
use crate::registry::Inner;

/// As long as a blob waits for the manifests before it to find their room.
const MANIFESTS_TAKE: Duration = Duration::from_secs(5);

impl Filling {
    /// Looks whether all of it fits before anybody is told that it comes; where it doesn't, other copies make room.
    pub(super) async fn with_room(&self, mut staged: Staged, coming: u64) -> Result<Staged, RegistryError> {
        let (mut staged, fits) = self
            .registry
            .blocking(move |_| {
                let fits = staged.require_room(coming).is_ok();
                Ok((staged, fits))
            })
            .await?;
        if fits {
            return Ok(staged);
        }
        self.settle_manifests().await;
        let _turn = self.registry.inner.cache.making_room.lock().await;
        self.registry
            .blocking(move |inner| {
                if staged.require_room(coming).is_err() {
                    inner.evict_for(coming)?;
                }
                staged.require_room(coming)?;
                Ok(staged)
            })
            .await
    }

    /// Lets manifests that came just before find their room first: their failing while others are evicted would make
    /// doubtful what may go.
    async fn settle_manifests(&self) {
        let repositories = self.fill.wanted().repositories.clone();
        for repository in &repositories {
            let kept = self.registry.until_kept(repository);
            if tokio::time::timeout(MANIFESTS_TAKE, kept).await.is_err() {
                return;
            }
        }
    }

    /// Compares the hash, lets the readers have the rest, and publishes.
    pub(super) async fn finish(&self, staged: Staged, file: Arc<File>) -> Result<Stage, RegistryError> {
        let digest = self.digest;
        if !staged.hashes_to(&digest) {
            drop(staged);
            self.forget().await?;
            return Err(self.garbled(&format!("what it sent does not hash to {digest}")).into());
        }
        self.fill.tell(Stage::Whole { size: staged.length(), file });
        let fill = Arc::clone(&self.fill);
        self.registry
            .blocking(move |inner| {
                // Held until it has its link: nothing else says that it is needed.
                let hold = inner.collector.fence.hold(vec![Thing::Content(digest)]);
                let placed = inner.place_arrived(&fill, &digest, Some(staged));
                let Some(_) = placed.as_ref().err().and_then(RegistryError::shortage) else { return placed };
                // It needs little beside itself: other copies make room for that.
                let made = inner.evict_for(0);
                let placed = made.and_then(|()| inner.place_arrived(&fill, &digest, None));
                drop(hold);
                if placed.is_err() {
                    inner.blobs.forget_arriving(&digest)?;
                    inner.take_back(&digest);
                }
                placed
            })
            .await?;
        Ok(Stage::Here)
    }
}

impl Inner {
    /// Publishes what has arrived, which is `staged` or lies where it arrived or in the store already, and links it. Hold
    /// the content meanwhile.
    fn place_arrived(
        &self,
        fill: &Fill,
        digest: &Digest,
        staged: Option<Staged>,
    ) -> Result<(), RegistryError> {
        let content = match (staged, self.blobs.find(digest)?) {
            (Some(staged), _) => self.blobs.publish(staged, digest)?,
            (None, Some(content)) => content,
            (None, None) => self.blobs.publish(self.blobs.arrive(digest)?.staged, digest)?,
        };
        self.link_wanted(fill, &content)
    }

    /// Makes the content a blob of every repository that waits for it.
    pub(super) fn link_wanted(
        &self,
        fill: &Fill,
        content: &larder_storage::Verified,
    ) -> Result<(), RegistryError> {
        loop {
            let wanted = fill.wanted().repositories.clone();
            for repository in &wanted {
                self.meta.link_cached_blob(repository, content)?;
            }
            // Closed only if nobody came meanwhile.
            let mut now_wanted = fill.wanted();
            if now_wanted.repositories.len() == wanted.len() {
                now_wanted.is_closed = true;
                return Ok(());
            }
        }
    }
}
