//! Taking back what a push has brought whose image won't come.

use larder_oci::{Access, Digest, Push};

use crate::collect::{Collected, Run};
use crate::error::RegistryError;
use crate::registry::Registry;

impl Registry {
    /// Takes out of the repository what its caller has just put there, and what nothing else needs of it: manifests in the
    /// order in which they came, children first, and blobs. Their content goes with them, and so does a repository that is
    /// left with nothing.
    pub async fn take_back_push(
        &self,
        access: &Access<Push>,
        manifests: Vec<Digest>,
        blobs: Vec<Digest>,
    ) -> Result<(), RegistryError> {
        let repository = access.repository().clone();
        self.blocking(move |inner| {
            let _change = inner.require_writable()?;
            let mut doomed = Vec::new();
            for digest in manifests.iter().rev() {
                doomed.extend(inner.meta.as_doomed(&repository, digest)?);
            }
            let (run, mut done) = (Run { now: true, sweep: false }, Collected::default());
            let released = inner.release(&repository, &doomed, &blobs, run, &mut done)?;
            let gone = released.blobs.iter().chain(&released.manifests).chain(&released.unlinked);
            inner.remove_unlinked(&gone.copied().collect::<Vec<_>>(), &mut done)?;
            inner.take_away_if_empty(&repository, None, &mut done)
        })
        .await
    }
}
