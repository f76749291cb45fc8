use super::*;
use crate::upstream::{Allowance, BlobStream, FetchedManifest, ManifestHead, UpstreamFuture};
use larder_oci::{Descriptor, Digest, Reference};

struct Named(&'static str);

impl Upstream for Named {
    fn name(&self) -> &str {
        self.0
    }

    fn allowance(&self, _: &RepoName) -> Allowance {
        Allowance::Plenty
    }

    fn head_manifest<'a>(
        &'a self,
        _: &'a RepoName,
        _: &'a Reference,
    ) -> UpstreamFuture<'a, Option<ManifestHead>> {
        Box::pin(async { Ok(None) })
    }

    fn manifest<'a>(
        &'a self,
        _: &'a RepoName,
        _: &'a Reference,
    ) -> UpstreamFuture<'a, Option<FetchedManifest>> {
        Box::pin(async { Ok(None) })
    }

    fn blob_size<'a>(&'a self, _: &'a RepoName, _: &'a Digest) -> UpstreamFuture<'a, Option<Option<u64>>> {
        Box::pin(async { Ok(None) })
    }

    fn blob<'a>(&'a self, _: &'a RepoName, _: &'a Digest, _: u64) -> UpstreamFuture<'a, Option<BlobStream>> {
        Box::pin(async { Ok(None) })
    }

    fn tags<'a>(&'a self, _: &'a RepoName) -> UpstreamFuture<'a, Option<Vec<Tag>>> {
        Box::pin(async { Ok(None) })
    }

    fn referrers<'a>(&'a self, _: &'a RepoName, _: &'a Digest) -> UpstreamFuture<'a, Vec<Descriptor>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn place(prefix: Option<&str>, name: &'static str, has_library: bool) -> UpstreamPlace {
    let prefix = prefix.map(|prefix| prefix.parse().unwrap());
    UpstreamPlace { prefix, has_library, upstream: Arc::new(Named(name)), settings: Arc::default() }
}

/// Whom `name` is asked of, and as what.
fn asked(upstreams: &Upstreams, name: &str) -> Option<(String, String)> {
    let found = upstreams.of(&name.parse().unwrap())?;
    Some((found.upstream.name().to_owned(), found.repository.to_string()))
}

#[test]
fn the_longest_prefix_of_whole_parts_counts_and_the_root_takes_the_rest() {
    let upstreams = Upstreams::new([
        place(None, "hub", true),
        place(Some("ghcr.io"), "ghcr", false),
        place(Some("ghcr.io/team"), "team", false),
    ]);
    let of = |name| asked(&upstreams, name);
    let some = |upstream: &str, name: &str| Some((upstream.to_owned(), name.to_owned()));
    assert_eq!(of("nginx"), some("hub", "library/nginx"));
    assert_eq!(of("library/nginx"), some("hub", "library/nginx"));
    assert_eq!(of("ghcr.io/owner/app"), some("ghcr", "owner/app"));
    assert_eq!(of("ghcr.io/team/app"), some("team", "app"));
    assert_eq!(of("ghcr.io/teams/app"), some("ghcr", "teams/app"));
    assert_eq!(of("ghcr.iox/app"), some("hub", "ghcr.iox/app"));
}

#[test]
fn without_a_root_other_names_are_asked_of_nobody() {
    let upstreams = Upstreams::new([place(Some("ghcr.io"), "ghcr", false)]);
    for name in ["nginx", "ghcr.io", "quay.io/owner/app"] {
        assert_eq!(asked(&upstreams, name), None, "{name}");
    }
    assert_eq!(asked(&Upstreams::default(), "nginx"), None);
}

#[test]
fn an_exact_version_has_three_numbers() {
    for (tag, exact) in [
        ("1.27.3", true),
        ("v1.27.3", true),
        ("1.27.3-alpine", true),
        ("1.27", false),
        ("1", false),
        ("latest", false),
        ("v1.x.3", false),
        ("1.27.x", false),
        ("1..3", false),
    ] {
        assert_eq!(TagPattern::ExactVersion.matches(&tag.parse().unwrap()), exact, "{tag}");
    }
}

#[test]
fn a_star_stands_for_any_characters() {
    for (pattern, tag, fits) in [
        ("nightly-*", "nightly-1", true),
        ("nightly-*", "nightly", false),
        ("*", "x", true),
        ("*-alpine", "1-alpine-alpine", true),
        ("*a*b", "aXbXb", true),
        ("*a*b", "aXbX", false),
        ("latest", "latest2", false),
    ] {
        let pattern = TagPattern::Like(pattern.to_owned());
        assert_eq!(pattern.matches(&tag.parse().unwrap()), fits, "{pattern:?} {tag}");
    }
}

#[test]
fn the_first_rule_that_fits_says_how_long_an_answer_counts() {
    let never = FreshnessRule {
        repositories: Some("team/**".parse().unwrap()),
        tags: TagPattern::Like("*".to_owned()),
        fresh_for: Freshness::ForEver,
    };
    let mut settings = UpstreamSettings::default();
    settings.freshness.insert(0, never);
    let of = |name: &str, tag: &str| settings.freshness(&name.parse().unwrap(), &tag.parse().unwrap());
    assert_eq!(of("team/app", "latest"), Freshness::ForEver);
    assert_eq!(of("nginx", "latest"), Freshness::For(Duration::from_secs(60)));
    assert_eq!(of("nginx", "1.2.3"), Freshness::For(Duration::from_secs(24 * 3600)));
}

#[test]
fn an_image_has_one_name_here_whatever_people_call_it() {
    let beside =
        Upstreams::new([place(Some("docker.io"), "hub", true), place(Some("ghcr.io"), "ghcr", false)]);
    let owner = Upstreams::new([place(None, "hub", true), place(Some("ghcr.io"), "ghcr", false)]);
    for (upstreams, name, here) in [
        (&beside, "nginx", Some("docker.io/library/nginx")),
        (&beside, "bitnami/redis", Some("docker.io/bitnami/redis")),
        (&beside, "docker.io/nginx", Some("docker.io/library/nginx")),
        (&beside, "docker.io/library/nginx", Some("docker.io/library/nginx")),
        (&beside, "ghcr.io/owner/app", Some("ghcr.io/owner/app")),
        (&beside, "quay.io/owner/app", None),
        (&owner, "nginx", Some("library/nginx")),
        (&owner, "ghcr.io/app", Some("ghcr.io/app")),
        (&Upstreams::default(), "nginx", None),
    ] {
        let found = upstreams.name_here(&name.parse().unwrap());
        assert_eq!(found.as_ref().map(RepoName::as_str), here, "{name}");
    }
}
