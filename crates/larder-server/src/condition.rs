//! Conditional requests, RFC 9110 section 13. An entity tag here is a digest in quotes.

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use larder_core::Precondition;
use larder_oci::Digest;

/// What the conditions of a GET or HEAD say of the content at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: the client wanted another.
    PreconditionFailed,
}

/// The tags that a header lists.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Listed {
    Any,
    These(Vec<EntityTag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct EntityTag {
    weak: bool,
    value: String,
}

/// Judges `If-Match` and `If-None-Match`, in the RFC's order (section 13.2.2).
pub(crate) fn judge(headers: &HeaderMap, digest: &Digest) -> Verdict {
    if !headers.contains_key(IF_MATCH) && !headers.contains_key(IF_NONE_MATCH) {
        return Verdict::Proceed;
    }
    let name = digest.to_string();
    if let Some(listed) = listed(headers, &IF_MATCH)
        && !matches!(&listed, Listed::Any)
        && !holds(&listed, |tag| !tag.weak && tag.value == name)
    {
        return Verdict::PreconditionFailed;
    }
    match listed(headers, &IF_NONE_MATCH) {
        Some(Listed::Any) => Verdict::NotModified,
        Some(listed) if holds(&listed, |tag| tag.value == name) => Verdict::NotModified,
        Some(Listed::These(_)) | None => Verdict::Proceed,
    }
}

/// Whether a `Range` counts: only if `If-Range` is absent or names this content (section 13.1.5).
/// A date never does: Larder sends no `Last-Modified`.
pub(crate) fn range_counts(headers: &HeaderMap, digest: &Digest) -> bool {
    match headers.get(IF_RANGE).map(|value| value.to_str()) {
        None => true,
        Some(Ok(text)) => text.trim() == format!("\"{digest}\""),
        Some(Err(_)) => false,
    }
}

/// The precondition that a PUT sets on the tag it moves. Tags that are no digests match nothing.
pub(crate) fn precondition(headers: &HeaderMap) -> Precondition {
    let digests = |tags: Vec<EntityTag>| tags.iter().filter_map(|tag| tag.value.parse().ok()).collect();
    match (listed(headers, &IF_MATCH), listed(headers, &IF_NONE_MATCH)) {
        (Some(Listed::Any), _) => Precondition::Present,
        (Some(Listed::These(tags)), _) => {
            Precondition::PointsAtOneOf(digests(tags.into_iter().filter(|tag| !tag.weak).collect()))
        }
        (None, Some(Listed::Any)) => Precondition::Absent,
        (None, Some(Listed::These(tags))) => Precondition::PointsAtNoneOf(digests(tags)),
        (None, None) => Precondition::Always,
    }
}

fn holds(listed: &Listed, test: impl Fn(&EntityTag) -> bool) -> bool {
    match listed {
        Listed::Any => true,
        Listed::These(tags) => tags.iter().any(test),
    }
}

fn listed(headers: &HeaderMap, name: &HeaderName) -> Option<Listed> {
    let mut tags = Vec::new();
    let mut seen = false;
    for value in headers.get_all(name) {
        seen = true;
        let Ok(text) = value.to_str() else { continue };
        for item in text.split(',').map(str::trim) {
            if item == "*" {
                return Some(Listed::Any);
            }
            let (weak, quoted) = item.strip_prefix("W/").map_or((false, item), |rest| (true, rest));
            // registry:2 also takes a bare digest for a manifest, and clients have come to send one.
            let value = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted);
            tags.push(EntityTag { weak, value: value.to_owned() });
        }
    }
    seen.then_some(Listed::These(tags))
}

#[cfg(test)]
mod tests;
