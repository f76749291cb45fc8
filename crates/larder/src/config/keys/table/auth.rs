//! `auth`: how clients prove who they are.

use super::super::{
    Key,
    Kind::*,
    Status::{self, NotYet, Works},
};
use super::key;

const NO_SILLY: Status = NotYet(
    "It lets everybody in who sends any Authorization header, and is for tests of clients; use `htpasswd`, or no auth at all.",
);

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("auth", Choice, Works, "", "How clients prove who they are: at most one kind. Without it everybody may do everything."),
    key("auth.none", Anything, Works, "", "The same as no `auth`."),
    key("auth.htpasswd", Section, Works, "", "By the users and passwords of a file."),
    key("auth.htpasswd.realm", Text, Works, "", "Required. The name that clients are shown when they have to log in."),
    key("auth.htpasswd.path", Text, Works, "", "Required. The file, which `larder user add --file` writes and is read again when it changes. When it is missing it is made with one user, `docker`, whose password is logged once."),
    key("auth.silly", Section, NO_SILLY, "", "By any `Authorization` header at all."),
    key("auth.silly.realm", Text, NO_SILLY, "", "The realm of the challenge."),
    key("auth.silly.service", Text, NO_SILLY, "", "The service of the challenge."),
    key("auth.token", Section, Works, "", "By the tokens of another server, which says what each allows; with `access`, both must allow it. One of `rootcertbundle` and `jwks` is required."),
    key("auth.token.realm", Text, Works, "", "Required. The URL where clients get tokens."),
    key("auth.token.service", Text, Works, "", "Required. What tokens are made for: their `aud` must be this or hold it."),
    key("auth.token.issuer", Text, Works, "", "Required. Who makes them: their `iss` must be this."),
    key("auth.token.rootcertbundle", Text, Works, "", "A PEM file with certificates of the keys that sign tokens, or of authorities that vouch for the certificate in the token. Read again when it changes."),
    key("auth.token.jwks", Text, Works, "", "A file with the keys that sign tokens, as a JWK set. Read again when it changes."),
    key("auth.token.signingalgorithms", Texts, Works, "[EdDSA, HS256, HS384, HS512, RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, PS512]", "The algorithms that tokens may be signed by. Shared keys (HS…) may be named, and never verify anything. RSA keys need 2048 bits."),
    key("auth.token.autoredirect", Boolean, Works, "false", "Whether clients get tokens from the host that they have asked, instead of from `realm`."),
    key("auth.token.autoredirectpath", Text, Works, "/auth/token", "The path there."),
];
