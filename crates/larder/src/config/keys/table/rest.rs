//! `validation`, `policy`, `catalog`, `tags` and what only registry:2 has.

use super::super::{
    Key,
    Kind::*,
    Status::{self, Ignored, Works},
};
use super::key;

const NO_VALIDATION: Status =
    Ignored("Layers may name any address, and all images of an index must be there when it is pushed.");
const NO_POLICY: Status = Ignored("No class of repository is refused.");
const NO_REPORTING: Status = Ignored("Nothing is reported to Bugsnag or New Relic.");
const NO_SCHEMA1: Status = Ignored("Larder neither converts to nor signs manifests of schema 1.");

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("validation", Section, NO_VALIDATION, "", "What a manifest must be like to be taken in."),
    key("validation.disabled", Boolean, NO_VALIDATION, "", "Whether that isn't checked."),
    key("validation.enabled", Boolean, NO_VALIDATION, "", "The old form of `disabled`, which registry:2 doesn't look at."),
    key("validation.manifests", Section, NO_VALIDATION, "", "What is checked of manifests."),
    key("validation.manifests.urls", Section, NO_VALIDATION, "", "The addresses that layers may be at."),
    key("validation.manifests.urls.allow", Texts, NO_VALIDATION, "", "Patterns of which one must match."),
    key("validation.manifests.urls.deny", Texts, NO_VALIDATION, "", "Patterns of which none may match."),
    key("validation.manifests.indexes", Section, NO_VALIDATION, "", "What is checked of indexes."),
    key("validation.manifests.indexes.platforms", Words(&["all", "none", "list"]), NO_VALIDATION, "", "Whose images must be there."),
    key("validation.manifests.indexes.platformlist", Sections, NO_VALIDATION, "", "The platforms that `list` means."),
    key("validation.manifests.indexes.platformlist[].architecture", Text, NO_VALIDATION, "", "The architecture."),
    key("validation.manifests.indexes.platformlist[].os", Text, NO_VALIDATION, "", "The operating system."),
    key("policy", Section, NO_POLICY, "", "What kinds of repositories may be pushed."),
    key("policy.repository", Section, NO_POLICY, "", "By their content."),
    key("policy.repository.classes", Texts, NO_POLICY, "", "The classes: `image`, `plugin`."),
    key("catalog", Section, Works, "", "The list of repositories."),
    key("catalog.maxentries", Integer, Works, "1000", "The most repositories in one answer."),
    key("tags", Section, Works, "", "The lists of tags."),
    key("tags.maxtags", Integer, Works, "1000", "The most tags in one answer."),
    key("reporting", Section, NO_REPORTING, "", "Where registry:2 reports errors to."),
    key("reporting.bugsnag", Section, NO_REPORTING, "", "Bugsnag."),
    key("reporting.bugsnag.apikey", Secret, NO_REPORTING, "", "The key."),
    key("reporting.bugsnag.releasestage", Text, NO_REPORTING, "", "The stage."),
    key("reporting.bugsnag.endpoint", Text, NO_REPORTING, "", "The address."),
    key("reporting.newrelic", Section, NO_REPORTING, "", "New Relic."),
    key("reporting.newrelic.licensekey", Secret, NO_REPORTING, "", "The key."),
    key("reporting.newrelic.name", Text, NO_REPORTING, "", "The application's name."),
    key("reporting.newrelic.verbose", Boolean, NO_REPORTING, "", "Whether it logs."),
    key("compatibility", Section, NO_SCHEMA1, "", "Manifests of schema 1."),
    key("compatibility.schema1", Section, NO_SCHEMA1, "", "Manifests of schema 1."),
    key("compatibility.schema1.signingkeyfile", Text, NO_SCHEMA1, "", "The key that signs them."),
    key("compatibility.schema1.enabled", Boolean, NO_SCHEMA1, "", "Whether they are taken in."),
];
