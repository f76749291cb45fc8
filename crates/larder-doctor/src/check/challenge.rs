//! How a registry asks for a login (RFC 9110, 11.6.1; distribution's "Token Authentication Specification").

/// A challenge that clients know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token, from somewhere.
    Bearer {
        /// The token service's URL.
        realm: String,
        /// Whom the token is for.
        service: String,
    },
}

impl Challenge {
    /// Reads a `WWW-Authenticate` value; `None` for a scheme that registry clients don't know.
    pub(crate) fn read(value: &str) -> Option<Challenge> {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameter = |name: &str| {
            parameters(rest).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
        };
        Some(Challenge::Bearer {
            realm: parameter("realm").unwrap_or_default(),
            service: parameter("service").unwrap_or_default(),
        })
    }

    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Challenge::Basic => "Basic",
            Challenge::Bearer { .. } => "Bearer",
        }
    }
}

/// `name="value", name=value`
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((name, value.trim().to_owned()));
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_clients_read_them() {
        assert_eq!(Challenge::read("Basic realm=\"Registry, Realm\""), Some(Challenge::Basic));
        let bearer = Challenge::read(
            "Bearer realm=\"https://auth.lan/token\",service=\"reg, lan\", scope=\"repository:a:pull,push\"",
        );
        let expected =
            Challenge::Bearer { realm: "https://auth.lan/token".to_owned(), service: "reg, lan".to_owned() };
        assert_eq!(bearer, Some(expected));
        assert_eq!(Challenge::read("Negotiate"), None);
    }
}
