use http::header::LINK;
use http::{Response, StatusCode};
use larder_core::{Listed, Page};
use larder_oci::{Descriptor, Digest, ErrorCode, MediaType, RepoName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::body::Body;
use crate::error::{ApiError, DIGEST_FORM, with_fix};
use crate::manifests::say_that_it_is_only_a_copy;
use crate::request::{Answer, Call};
use crate::respond::{self, OCI_FILTERS_APPLIED, header};

/// A catalog page for a client that doesn't say how much it wants, as in registry:2.
const CATALOG_PAGE: usize = 100;

/// Tags for a client that doesn't say how much it wants: all, as in registry:2, up to a list of about
/// two megabytes. Beyond that a `Link` leads on.
const TAGS_WITHOUT_LIMIT: usize = 100_000;

/// Referrers in one answer; further ones behind a `Link`.
const REFERRERS_PAGE: usize = 1000;

/// Bytes of one referrers answer: what clients read of a manifest. Annotations can be long.
const REFERRERS_BYTES: usize = 4 << 20;

/// What stays as it is in a query: the unreserved characters of RFC 3986.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Call {
    pub(crate) async fn catalog(&self) -> Answer {
        let identity = self.identify().await?;
        let access = self.app.gate.policy().catalog(&identity)?;
        let limit = self.limit(CATALOG_PAGE, self.options.catalog_max_entries)?;
        let page = Page { after: self.parameter("last"), limit };
        let page = self.app.registry.catalog(&access, page).await?;
        let body = respond::json(StatusCode::OK, &json!({ "repositories": page.items }));
        Ok(self.with_next(body, "_catalog", page.next.as_deref(), limit))
    }

    pub(crate) async fn tags(&self, name: &RepoName) -> Answer {
        let access = self.may_list(name).await?;
        let limit = self.limit(TAGS_WITHOUT_LIMIT, self.options.tags_max)?;
        let page = Page { after: self.parameter("last"), limit };
        let listing = self.app.registry.tags(&access, page).await?;
        let body = respond::json(StatusCode::OK, &json!({ "name": name, "tags": listing.items }));
        let last = listing.items.last().filter(|_| listing.more);
        let mut response =
            self.with_next(body, &format!("{name}/tags/list"), last.map(String::as_str), limit);
        if let Some(copy) = &listing.copy {
            say_that_it_is_only_a_copy(response.headers_mut(), copy);
        }
        Ok(response)
    }

    pub(crate) async fn referrers(&self, name: &RepoName, subject: &Digest) -> Answer {
        let access = self.may_pull(name).await?;
        let limit = self.limit(REFERRERS_PAGE, REFERRERS_PAGE)?;
        let after = match self.parameter("last") {
            None => None,
            Some(text) => Some(text.parse().map_err(|error: larder_oci::DigestError| {
                ApiError::bad_request(
                    ErrorCode::DigestInvalid,
                    with_fix(format!("last: {error}"), DIGEST_FORM),
                )
            })?),
        };
        let types: Vec<String> =
            self.parameters("artifactType").into_iter().filter(|text| !text.is_empty()).collect();
        let page = Page { after, limit };
        let mut listing = self.app.registry.referrers(&access, subject, types.clone(), page).await?;
        cut_to_bytes(&mut listing);
        let body =
            json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": listing.items });
        // Without `; charset`: clients compare this type to the letter.
        let mut response = respond::with_body(StatusCode::OK, MediaType::OCI_INDEX, body.to_string());
        if let Some(copy) = &listing.copy {
            say_that_it_is_only_a_copy(response.headers_mut(), copy);
        }
        if !types.is_empty() {
            response.headers_mut().insert(OCI_FILTERS_APPLIED, header("artifactType"));
        }
        if let (true, Some(last)) = (listing.more && limit > 0, listing.items.last()) {
            let mut query = format!("n={limit}&last={}", encoded(&last.digest.to_string()));
            for kind in &types {
                query.push_str(&format!("&artifactType={}", encoded(kind)));
            }
            let path = self.path(&format!("{name}/referrers/{subject}"));
            response.headers_mut().insert(LINK, header(&format!("<{path}?{query}>; rel=\"next\"")));
        }
        Ok(response)
    }

    /// The page size: what the client asks for, at most `most`; `unasked` if it doesn't.
    fn limit(&self, unasked: usize, most: usize) -> Result<usize, ApiError> {
        let Some(text) = self.parameter("n") else { return Ok(unasked) };
        text.trim().parse::<usize>().map(|asked| asked.min(most)).map_err(|_| {
            ApiError::bad_request(
                ErrorCode::PaginationNumberInvalid,
                json!({ "n": text, "reason": format!("n must be a number; write one from 0 to {most}, the most that is sent at once") }),
            )
        })
    }

    fn with_next(
        &self,
        mut response: Response<Body>,
        path: &str,
        last: Option<&str>,
        limit: usize,
    ) -> Response<Body> {
        if let (true, Some(last)) = (limit > 0, last) {
            let link = format!("<{}?last={}&n={limit}>; rel=\"next\"", self.path(path), encoded(last));
            response.headers_mut().insert(LINK, header(&link));
        }
        response
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// Keeps the answer below what clients read. One referrer is always sent: it fitted into a manifest.
fn cut_to_bytes(listing: &mut Listed<Descriptor>) {
    let mut total = 0;
    let fitting = listing
        .items
        .iter()
        .take_while(|descriptor| {
            total += serde_json::to_string(descriptor).map_or(0, |text| text.len());
            total <= REFERRERS_BYTES
        })
        .count()
        .max(1);
    if fitting < listing.items.len() {
        listing.items.truncate(fitting);
        listing.more = true;
    }
}
