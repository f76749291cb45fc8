//! `WWW-Authenticate` as registries write it (RFC 9110 section 11.6.1), read with patience: schemes in any case, realms
//! without quotes, several challenges in one header or in several.

/// The most parameters that are read of one challenge: four have a meaning.
const MOST_PARAMETERS: usize = 16;

/// How an upstream wants us to say who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A user and a password with each request.
    Basic,
    /// A token of the server at `realm` (Docker's token specification).
    Bearer {
        /// A URL, as it was written.
        realm: String,
        /// Whom the token is for.
        service: Option<String>,
        /// What it must cover. Some say a placeholder here, or another repository's name.
        scope: Option<String>,
    },
}

/// The challenge to answer, out of all that came: a token before a password, for that is what all clients do.
pub(crate) fn choose<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        for challenge in parse(header) {
            match challenge {
                Challenge::Bearer { .. } => return Some(challenge),
                Challenge::Basic => basic = Some(challenge),
            }
        }
    }
    basic
}

/// The challenges of one header that we can answer, in their order.
fn parse(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header;
    while let Some((scheme, after)) = token(rest.trim_start_matches([' ', '\t', ','])) {
        let (parameters, after) = parameters(after);
        rest = after;
        let of = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = of("realm")
        {
            found.push(Challenge::Bearer { realm, service: of("service"), scope: of("scope") });
        }
    }
    found
}

/// `name=value` pairs up to the next scheme or the end, and what is left.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut pairs = Vec::new();
    let mut rest = text;
    while pairs.len() < MOST_PARAMETERS {
        let trimmed = rest.trim_start_matches([' ', '\t', ',']);
        let Some((name, after)) = token(trimmed) else { break };
        // A token that no `=` follows is the next challenge's scheme.
        let Some(value) = after.trim_start().strip_prefix('=') else { return (pairs, trimmed) };
        let (value, after) = match value.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let value = value.trim_start();
                let end = value.find([',', ' ', '\t']).unwrap_or(value.len());
                let (value, after) = value.split_at(end);
                (value.to_owned(), after)
            }
        };
        pairs.push((name.to_owned(), value));
        rest = after;
    }
    (pairs, rest)
}

/// What stands before the closing quote, and what follows it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

/// RFC 9110 section 5.6.2, and what is left.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests;
