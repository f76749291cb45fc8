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
const NO_TOKEN: Status = NotYet("Larder can't check the tokens of another server; use `htpasswd`.");

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
    key("auth.token", Section, NO_TOKEN, "", "By the tokens of another server."),
    key("auth.token.realm", Text, NO_TOKEN, "", "Where clients get tokens."),
    key("auth.token.service", Text, NO_TOKEN, "", "What tokens are made for."),
    key("auth.token.issuer", Text, NO_TOKEN, "", "Who makes them."),
    key("auth.token.rootcertbundle", Text, NO_TOKEN, "", "A file with the certificates that sign them."),
    key("auth.token.jwks", Text, NO_TOKEN, "", "A file with the keys that sign them."),
    key("auth.token.signingalgorithms", Texts, NO_TOKEN, "", "The algorithms that they may be signed by."),
    key("auth.token.autoredirect", Boolean, NO_TOKEN, "", "Whether the realm is at the host that the client has asked."),
    key("auth.token.autoredirectpath", Text, NO_TOKEN, "", "The path of that realm."),
];
