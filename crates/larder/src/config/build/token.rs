//! `auth.token`: whose tokens count, besides Larder's own.

use super::Reader;
use crate::config::{nearest::nearest, report::Mistake, typed::Auth, value::Value};
use larder_auth::{ExternalSettings, Realm, SigningAlgorithm};

/// Where registry:3 sends clients with `autoredirect`, whatever its documentation says.
const REDIRECT_PATH: &str = "/auth/token";

impl Reader<'_> {
    pub(super) fn token(&mut self) -> Auth {
        const SECTION: &str = "auth.token";
        let url = self.required(SECTION, "auth.token.realm", "it is the URL where clients get tokens");
        let service = "it is what tokens are made for, and the token server must know it by that name";
        let settings = ExternalSettings {
            service: self.required(SECTION, "auth.token.service", service),
            issuer: self.required(
                SECTION,
                "auth.token.issuer",
                "it is the name that the token server signs with",
            ),
            certificates: self.text("auth.token.rootcertbundle").map(|(path, _)| path.into()),
            key_set: self.text("auth.token.jwks").map(|(path, _)| path.into()),
            algorithms: self.signing_algorithms(),
            realm: if self.boolean("auth.token.autoredirect", false) {
                Realm::SameHost { path: self.redirect_path() }
            } else {
                Realm::Url(url)
            },
        };
        if settings.certificates.is_none() && settings.key_set.is_none() {
            let why = "without it, or jwks, no token can be told from a forged one";
            let mistake = Mistake::Missing { key: "auth.token.rootcertbundle", why };
            self.report.error(&self.section_origin(SECTION), mistake);
        }
        Auth::Token(settings)
    }

    fn redirect_path(&mut self) -> String {
        const KEY: &str = "auth.token.autoredirectpath";
        match self.text(KEY) {
            None => REDIRECT_PATH.to_owned(),
            Some((path, _)) if path.starts_with('/') => path.to_owned(),
            Some((path, origin)) => {
                self.invalid(KEY, origin, "must begin with a slash");
                path.to_owned()
            }
        }
    }

    fn signing_algorithms(&mut self) -> Vec<SigningAlgorithm> {
        const KEY: &str = "auth.token.signingalgorithms";
        let items = self.set_value(KEY).map(Value::items).unwrap_or_default();
        let mut algorithms = Vec::new();
        for item in items {
            let Some(word) = item.scalar() else { continue };
            match word.parse() {
                Ok(algorithm) => algorithms.push(algorithm),
                Err(_) => {
                    let names = SigningAlgorithm::ALL.map(|(name, _)| name);
                    let hint = match nearest(word, names) {
                        Some(nearest) => format!("did you mean {nearest:?}?"),
                        None => format!("there is {}", names.join(", ")),
                    };
                    self.invalid(KEY, &item.origin, format!("has the unknown algorithm {word:?}; {hint}"));
                }
            }
        }
        // An empty list is distribution's default, too.
        if items.is_empty() {
            SigningAlgorithm::ALL.map(|(_, algorithm)| algorithm).to_vec()
        } else {
            algorithms
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
