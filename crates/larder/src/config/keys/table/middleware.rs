//! `middleware`

use super::super::{
    Key,
    Kind::*,
    Status::{self, Ignored, Works},
};
use super::key;

const NO_MIDDLEWARE: Status =
    Ignored("Nothing stands between requests and the storage, and every blob is served by Larder itself.");

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("middleware", Section, Works, "", "What stands between requests and the storage."),
    key("middleware.registry", Sections, NO_MIDDLEWARE, "", "Around the whole registry."),
    key("middleware.registry[].name", Text, NO_MIDDLEWARE, "", "Its name."),
    key("middleware.registry[].disabled", Boolean, NO_MIDDLEWARE, "", "Whether it is off, which registry:2 doesn't look at."),
    key("middleware.registry[].options", Anything, NO_MIDDLEWARE, "", "Its options."),
    key("middleware.repository", Sections, NO_MIDDLEWARE, "", "Around each repository."),
    key("middleware.repository[].name", Text, NO_MIDDLEWARE, "", "Its name."),
    key("middleware.repository[].disabled", Boolean, NO_MIDDLEWARE, "", "Whether it is off, which registry:2 doesn't look at."),
    key("middleware.repository[].options", Anything, NO_MIDDLEWARE, "", "Its options."),
    key("middleware.storage", Sections, NO_MIDDLEWARE, "", "Around the storage: `redirect`, `cloudfront` or `rewrite`."),
    key("middleware.storage[].name", Text, NO_MIDDLEWARE, "", "Its name."),
    key("middleware.storage[].disabled", Boolean, NO_MIDDLEWARE, "", "Whether it is off, which registry:2 doesn't look at."),
    key("middleware.storage[].options", Anything, NO_MIDDLEWARE, "", "Its options."),
];
