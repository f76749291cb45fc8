//! Lists of an upstream: a repository's tags, and what refers to a manifest.

use http::header::{ACCEPT, LINK};
use http::{HeaderMap, HeaderValue, Method};
use larder_core::{UpstreamError, UpstreamFailure};
use larder_oci::{Descriptor, Digest, MediaType, Reference, RepoName, Tag};
use serde::Deserialize;

use crate::ask::Ask;
use crate::remote::RemoteRegistry;
use crate::traffic::Kind;

/// What is asked for at a time. Some refuse to be asked for more.
const PAGE: &str = "n=1000";

/// Pages that one list may have: 100,000 tags.
const MOST_PAGES: usize = 100;

/// The longest page, in bytes: registry:2 sends a whole list in one, and what refers to a manifest may be annotated.
const LONGEST_PAGE: usize = 8 << 20;

#[derive(Deserialize)]
struct TagsPage {
    /// Some write `null` for none.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ReferrersPage {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

impl RemoteRegistry {
    /// All tags. What is no tag by the specification is left out: nobody can ask for it.
    pub(crate) async fn list_tags(&self, repository: &RepoName) -> Result<Option<Vec<Tag>>, UpstreamError> {
        let pages = self.pages::<TagsPage>(repository, "tags/list", PAGE).await?;
        let texts = |pages: Vec<TagsPage>| pages.into_iter().flat_map(|page| page.tags.unwrap_or_default());
        Ok(pages.map(|pages| texts(pages).filter_map(|text| text.parse().ok()).collect()))
    }

    /// What refers to a manifest: by the API, or where the upstream has none by the tag that clients keep the list under.
    pub(crate) async fn list_referrers(
        &self,
        repository: &RepoName,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, UpstreamError> {
        let by_api = match self.pages::<ReferrersPage>(repository, &format!("referrers/{subject}"), "").await
        {
            Err(UpstreamError { failure: UpstreamFailure::Failed { status: 400 | 405 | 501 }, .. }) => None,
            pages => pages?,
        };
        let pages = match by_api {
            Some(pages) => pages,
            None => {
                let Ok(tag) = format!("{}-{}", subject.algorithm(), subject.hex()).parse() else {
                    return Ok(Vec::new());
                };
                let index = self.fetch_manifest(repository, &Reference::Tag(tag)).await?;
                let Some(index) = index else { return Ok(Vec::new()) };
                vec![self.parsed(&index.bytes, "keeps what is no list of referrers under their tag")?]
            }
        };
        Ok(pages.into_iter().flat_map(|page| page.manifests.unwrap_or_default()).collect())
    }

    /// Page after page; `None` if there is no such list.
    async fn pages<Page: for<'de> Deserialize<'de>>(
        &self,
        repository: &RepoName,
        rest: &str,
        query: &str,
    ) -> Result<Option<Vec<Page>>, UpstreamError> {
        let (mut pages, mut query) = (Vec::new(), query.to_owned());
        while pages.len() < MOST_PAGES {
            let _turn = self.small_question().await;
            let mut headers = HeaderMap::new();
            if rest.starts_with("referrers/") {
                headers.insert(ACCEPT, HeaderValue::from_static(MediaType::OCI_INDEX));
            }
            let (rest, kind) = (rest.to_owned(), Kind::List);
            let ask = Ask { repository, rest, query: query.clone(), method: Method::GET, headers, kind };
            let Some(answer) = self.ask(&ask).await? else { return Ok(None) };
            let next = answer.response.headers().get(LINK).and_then(|link| next_query(link.to_str().ok()?));
            let bytes = self.read_whole(answer, LONGEST_PAGE, "a page of a list").await?;
            pages.push(self.parsed(&bytes, "sends what is no list")?);
            match next {
                Some(next) => query = next,
                None => return Ok(Some(pages)),
            }
        }
        Err(self.garbled("has a longer list than Larder reads"))
    }

    fn parsed<Page: for<'de> Deserialize<'de>>(
        &self,
        bytes: &[u8],
        words: &str,
    ) -> Result<Page, UpstreamError> {
        serde_json::from_slice(bytes).map_err(|_| self.garbled(words))
    }
}

/// The query of the next page. Its path is known, and its host is nobody's to choose.
fn next_query(link: &str) -> Option<String> {
    link.split('<').find_map(|part| {
        let (target, parameters) = part.split_once('>')?;
        let is_next = parameters.contains("rel=\"next\"") || parameters.contains("rel=next");
        let (_, query) = target.split_once('?')?;
        is_next.then(|| query.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::next_query;

    #[test]
    fn a_link_leads_to_another_query_and_nowhere_else() {
        for (link, expected) in [
            ("</v2/a/tags/list?n=2&last=b>; rel=\"next\"", Some("n=2&last=b")),
            ("<https://other.test/x?last=b%2Cc>; rel=next", Some("last=b%2Cc")),
            ("</v2/a?p=1>; rel=\"prev\", </v2/a?p=3>; rel=\"next\"", Some("p=3")),
            ("</v2/a/tags/list>; rel=\"next\"", None),
            ("</v2/a?x=1>", None),
            ("", None),
        ] {
            assert_eq!(next_query(link).as_deref(), expected, "{link}");
        }
    }
}
