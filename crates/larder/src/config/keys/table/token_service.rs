//! `tokenservice`, Larder's own: its token endpoint for other registries.

use super::super::{Key, Kind::*};
use super::own;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    own("tokenservice", Section, "", "Other registries that take tokens from this one, which knows the users and decides by its rules; a start prints what they need as `auth.token`."),
    own("tokenservice.services", Texts, "", "What these registries are called in their `auth.token.service`. For other names no token is good elsewhere."),
];
