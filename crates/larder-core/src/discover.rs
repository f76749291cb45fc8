use larder_meta::{Listing, Page};
use larder_oci::{Access, CatalogAccess, Descriptor, Digest, Pull, RepoName};

use crate::cache::Listed;
use crate::error::RegistryError;
use crate::registry::Registry;

/// Names that one request for the catalog looks at, of which it may show only some: a tenth of a second.
const MOST_NAMES_LOOKED_AT: usize = 50_000;

/// Names that are looked at at once, at least: a page of one would otherwise ask the index for each name.
const FEWEST_NAMES_AT_ONCE: usize = 100;

/// And at most, whatever page was asked for.
const MOST_NAMES_AT_ONCE: usize = 10_000;

/// A part of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogPage {
    /// The repositories' names, sorted.
    pub items: Vec<String>,
    /// Where the next page begins behind; `None` at the end.
    pub next: Option<String>,
}

impl Registry {
    /// A page of a repository's tags in byte order: those that are here, and those of its upstream.
    pub async fn tags(
        &self,
        access: &Access<Pull>,
        page: Page<String>,
    ) -> Result<Listed<String>, RegistryError> {
        self.settle(access.repository()).await;
        let (repository, asked) = (access.repository().clone(), page.clone());
        let local = self.asking_the_index(move |inner| Ok(inner.meta.tags(&repository, &asked)?)).await?;
        match self.upstream_of(access.repository()) {
            Some(source) => Box::pin(self.tags_or_ask(&source, access, &page, local)).await,
            None => {
                let unknown = || RegistryError::RepositoryUnknown { repository: access.repository().clone() };
                local.map(Listed::current).ok_or_else(unknown)
            }
        }
    }

    /// What has just been fetched is part of what is here: it is waited for as an upstream's answer is.
    async fn settle(&self, repository: &RepoName) {
        if let Some(source) = self.upstream_of(repository) {
            let _ = tokio::time::timeout(source.settings.tag_budget, self.until_kept(repository)).await;
        }
    }

    /// A page of the repositories that the actor may see, in byte order.
    ///
    /// It is full unless so many others lie in between that looking on would take too long: then
    /// [`CatalogPage::next`] leads on from there.
    pub async fn catalog(
        &self,
        access: &CatalogAccess,
        page: Page<String>,
    ) -> Result<CatalogPage, RegistryError> {
        let access = access.clone();
        self.asking_the_index(move |inner| shown_page(&access, page, |page| Ok(inner.meta.catalog(page)?)))
            .await
    }

    /// A page of the manifests about `subject`, sorted by digest; with types given, of these types only. Those that are
    /// here, and those that the repository's upstream knows.
    pub async fn referrers(
        &self,
        access: &Access<Pull>,
        subject: &Digest,
        artifact_types: Vec<String>,
        page: Page<Digest>,
    ) -> Result<Listed<Descriptor>, RegistryError> {
        self.settle(access.repository()).await;
        let (repository, subject) = (access.repository().clone(), *subject);
        let (types, asked) = (artifact_types.clone(), page.clone());
        let local = self
            .asking_the_index(move |inner| Ok(inner.meta.referrers(&repository, &subject, &types, &asked)?))
            .await?;
        match self.upstream_of(access.repository()) {
            Some(source) => {
                let types = &artifact_types;
                Box::pin(self.referrers_or_ask(&source, access, &subject, types, &page, local)).await
            }
            None => Ok(Listed::current(local)),
        }
    }
}

/// Reads on until the page is full, over the names that aren't shown.
fn shown_page(
    access: &CatalogAccess,
    page: Page<String>,
    read: impl Fn(&Page<String>) -> Result<Listing<String>, RegistryError>,
) -> Result<CatalogPage, RegistryError> {
    if access.shows_all() {
        let listing = read(&page)?;
        let next = listing.items.last().filter(|_| listing.more).cloned();
        return Ok(CatalogPage { items: listing.items, next });
    }
    let mut items: Vec<String> = Vec::new();
    let mut after = page.after.unwrap_or_default();
    let mut looked_at = 0;
    let mut at_once = page.limit.clamp(FEWEST_NAMES_AT_ONCE, MOST_NAMES_AT_ONCE);
    // One name more than fits tells whether there is a next page.
    while items.len() <= page.limit && looked_at < MOST_NAMES_LOOKED_AT {
        let Some(from) = access.skip_from(after) else { return Ok(CatalogPage { items, next: None }) };
        let listing = read(&Page { after: Some(from), limit: at_once })?;
        at_once = at_once.saturating_mul(2).min(MOST_NAMES_AT_ONCE);
        looked_at += listing.items.len();
        after = listing.items.last().cloned().unwrap_or_default();
        items.extend(listing.items.into_iter().filter(|name| is_shown(access, name)));
        if !listing.more {
            after.clear();
            break;
        }
    }
    if items.len() > page.limit {
        items.truncate(page.limit);
        after = items.last().cloned().unwrap_or_default();
    }
    Ok(CatalogPage { items, next: Some(after).filter(|after| !after.is_empty()) })
}

/// A name that is none is nothing that a rule could be about.
fn is_shown(access: &CatalogAccess, name: &str) -> bool {
    name.parse::<RepoName>().is_ok_and(|name| access.shows(&name))
}

#[cfg(test)]
mod tests;
