//! `upstreams`: further registries that are fetched from.

use super::super::{Key, Kind::*};
use super::own;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    own("upstreams", Sections, "", "Registries whose images are fetched and kept. Without a config file `docker.io`, `ghcr.io`, `quay.io` and `registry.k8s.io`."),
    own("upstreams[].name", Text, "", "Required. What it is called in the log, in answers and in metrics. `docker.io`, `ghcr.io`, `quay.io`, `registry.k8s.io`, `gcr.io`, `mcr.microsoft.com` and `public.ecr.aws` are known by their names and need nothing more."),
    own("upstreams[].urls", Texts, "", "Where it answers. One that fails gives way to the next, one that is measured to be far better overtakes. Required where the name isn't known."),
    own("upstreams[].prefix", Text, "", "What its images' names begin with here; left out, its name. `/` for all names that have no other prefix."),
    own("upstreams[].namespaces", Texts, "", "What clients may call it by `?ns=`, beside its name."),
    own("upstreams[].hostnames", Texts, "", "Under these names of this registry, as clients send them in `Host`, there is nothing but this upstream, without its prefix."),
    own("upstreams[].addr", Text, "", "The same at a port of its own, such as `:5001`."),
    own("upstreams[].username", Text, "", "The user to log in with there; without it nobody in particular."),
    own("upstreams[].password", Secret, "", "That user's password."),
    own("upstreams[].accounts", Sections, "", "Further accounts. Those that are for a repository take turns, and one with more pulls left goes first."),
    own("upstreams[].accounts[].username", Text, "", "The user."),
    own("upstreams[].accounts[].password", Secret, "", "The password."),
    own("upstreams[].accounts[].dockerconfig", Text, "", "Instead of both: docker's `config.json`, or the content of a Kubernetes pull secret."),
    own("upstreams[].accounts[].exec", Section, "", "Instead of both: a program that knows them."),
    own("upstreams[].accounts[].exec.command", Text, "", "The program: a docker credential helper, run with `get` and the host on its standard input."),
    own("upstreams[].accounts[].exec.lifetime", Duration, "", "How long its answer counts; left out for ever, with `0s` for one use."),
    own("upstreams[].accounts[].repositories", Texts, "", "The repositories that it is for, by patterns of their names there, such as `team/**`. Left out, those that no other account is for."),
    own("upstreams[].accounts[].hosts", Texts, "", "The hosts that it is for. Left out, those of `urls` that are on the first one's site: no mirror learns the password of what it mirrors."),
    own("upstreams[].hosts", Texts, "", "Further hosts that belong to it: a token server on another site may learn its password, and redirects may lead there although it is in a private range."),
    own("upstreams[].ca", Text, "", "A file of certificate authorities that are trusted beside the system's."),
    own("upstreams[].proxy", Url, "", "A proxy for all that is asked of it. Left out, what the variables `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say."),
    own("upstreams[].connecttimeout", Duration, "3s", "How long a connection may take."),
    own("upstreams[].answertimeout", Duration, "15s", "How long the headers of an answer may take, with connection, redirects and token."),
    own("upstreams[].stalltimeout", Duration, "30s", "How long a blob on its way may be silent before it is asked for again from there on."),
    own("upstreams[].concurrency", Integer, "32", "The most blobs that are fetched from it at once."),
    own("upstreams[].freshness", Sections, "", "How long its answer about a tag counts, by tag: the first rule that fits. Behind these, one says that a version with three numbers counts for 24 hours."),
    own("upstreams[].freshness[].tags", Text, "", "The tags: a text with `*` for any characters, or `X.Y.Z` for versions with three numbers, such as `v1.27.3-alpine`. Left out, all."),
    own("upstreams[].freshness[].repositories", Text, "", "The repositories, by a pattern of their names here. Left out, all."),
    own("upstreams[].freshness[].for", Text, "", "Required. A duration, or `ever`: it is never asked again."),
    own("upstreams[].freshfor", Duration, "1m", "The same for tags that no rule is about."),
    own("upstreams[].tagbudget", Duration, "2s", "How long a pull waits for its answer about a tag of which there is a copy; then the copy is served."),
    own("upstreams[].missbudget", Duration, "20s", "How long a pull waits for its first word about what isn't here."),
    own("upstreams[].missingfor", Duration, "10s", "How long it is remembered that it lacks something."),
    own("upstreams[].keepremovedtags", Boolean, "true", "Whether the copy is served of a tag that it no longer has."),
    own("upstreams[].askforpushed", Boolean, "false", "Whether it is asked for tags that are missing in a repository into which somebody has pushed. Then it can answer for names that are yours."),
    own("upstreams[].offline", Boolean, "false", "Nothing is asked of it: only copies are served."),
];
