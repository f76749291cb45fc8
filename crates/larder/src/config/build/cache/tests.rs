use std::time::Duration;

use larder_core::{Keep, KeptImages};

use super::super::super::Config;
use crate::config::{CacheBounds, Environment};

pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[
    ("proxy.ttl", "storage: filesystem", "storage: filesystem\nproxy: {ttl: 1h}"),
    ("cache.maxbytes", "storage: filesystem", "storage: filesystem\ncache: {maxbytes: 1}"),
    ("cache.minfreebytes", "storage: filesystem", "storage: filesystem\ncache: {minfreebytes: 1}"),
    (
        "cache.backgroundbandwidth",
        "storage: filesystem",
        "storage: filesystem\ncache: {backgroundbandwidth: 1}",
    ),
    ("cache.keep", "storage: filesystem", "storage: filesystem\ncache: {keep: ['a/**']}"),
    ("cache.warm", "storage: filesystem", "storage: filesystem\ncache: {warm: [{images: [nginx]}]}"),
    (
        "cache.warm[].images",
        "storage: filesystem\ncache: {warm: [{images: [nginx]}]}",
        "storage: filesystem\ncache: {warm: [{images: [nginx:1]}]}",
    ),
    (
        "cache.warm[].platforms",
        "storage: filesystem\ncache: {warm: [{images: [nginx]}]}",
        "storage: filesystem\ncache: {warm: [{images: [nginx], platforms: [plan9/mips]}]}",
    ),
    (
        "cache.warm[].every",
        "storage: filesystem\ncache: {warm: [{images: [nginx]}]}",
        "storage: filesystem\ncache: {warm: [{images: [nginx], every: 1h}]}",
    ),
    (
        "cache.warm[].pin",
        "storage: filesystem\ncache: {warm: [{images: [nginx]}]}",
        "storage: filesystem\ncache: {warm: [{images: [nginx], pin: true}]}",
    ),
];

pub(in crate::config::build) fn unbounded_for_a_week() -> CacheBounds {
    let week = Duration::from_secs(7 * 24 * 3600);
    CacheBounds {
        unused_for: Some(week),
        max_bytes: None,
        min_free_bytes: None,
        keep: Vec::new(),
        background_bandwidth: 67_108_864,
        warm: Vec::new(),
    }
}

fn bounds(text: &str) -> CacheBounds {
    let text = format!("version: 0.1\nstorage: filesystem\n{text}");
    Config::from_yaml(&text, "config.yml", &Environment::default()).unwrap().config.cache
}

#[test]
fn what_was_fetched_is_kept_for_a_week_unless_told_otherwise() {
    assert_eq!(bounds(""), unbounded_for_a_week());
    assert_eq!(bounds("proxy: {ttl: 0s}").unused_for, None);
    assert_eq!(bounds("proxy: {ttl: 36h}").unused_for, Some(Duration::from_secs(36 * 3600)));
    let bounded = bounds("cache: {maxbytes: 50GB, minfreebytes: 1G, keep: ['base/**']}");
    assert_eq!((bounded.max_bytes, bounded.min_free_bytes), (Some(50_000_000_000), Some(1_000_000_000)));
    assert_eq!(bounded.keep, [Keep { repositories: "base/**".parse().unwrap(), images: KeptImages::All }]);
    let by_tag = bounds("cache: {keep: ['docker.io/library/nginx:1.*', '**:X.Y.Z']}").keep;
    let written: Vec<String> = by_tag.iter().map(ToString::to_string).collect();
    assert_eq!(written, ["docker.io/library/nginx:1.*", "**:X.Y.Z"]);
    assert_eq!(by_tag[1].images, KeptImages::Tagged(larder_core::TagPattern::ExactVersion));
    assert_eq!(bounds("cache: {maxbytes: 0}").max_bytes, None);
    assert_eq!(bounds("cache: {backgroundbandwidth: 1MB}").background_bandwidth, 1_000_000);
    assert_eq!(bounds("cache: {backgroundbandwidth: 0}").background_bandwidth, 0);
    let text = "version: 0.1\nstorage: filesystem\ncache: {backgroundbandwidth: -1}";
    let mistakes = Config::from_yaml(text, "config.yml", &Environment::default()).unwrap_err();
    assert!(mistakes.to_string().contains("cache.backgroundbandwidth"), "{mistakes}");
}

#[test]
fn images_are_fetched_ahead_as_they_are_written() {
    let warm = bounds(
        "cache: {warm: [{images: ['nginx:1', 'ghcr.io/owner/app'], platforms: [linux/arm64, linux/arm/v7], pin: true},
                        {images: [base], platforms: [all, linux/amd64], every: 0s}]}",
    )
    .warm;
    let told: Vec<_> =
        warm.iter().map(|entry| (entry.image.to_string(), entry.every, entry.is_pinned)).collect();
    let day = Some(Duration::from_secs(86_400));
    assert_eq!(
        told,
        [
            ("nginx:1".to_owned(), day, true),
            ("ghcr.io/owner/app:latest".to_owned(), day, true),
            ("base:latest".to_owned(), None, false)
        ]
    );
    let platforms: Vec<_> = warm[0].image.platforms.iter().map(ToString::to_string).collect();
    assert_eq!(platforms, ["linux/arm64", "linux/arm/v7"]);
    assert!(warm[2].image.platforms.is_empty(), "all");
    let own = &bounds("cache: {warm: [{images: [nginx]}]}").warm[0].image.platforms;
    assert_eq!(own.len(), 1, "this machine's");
}

#[test]
fn what_can_not_be_fetched_ahead_is_said_with_its_place() {
    for (item, mistake) in [
        ("{}", "\"cache.warm[].images\" is missing"),
        ("{images: [Nginx]}", "\"cache.warm[].images\" holds \"Nginx\""),
        ("{images: [nginx], platforms: [arm64]}", "is no platform"),
    ] {
        let text = format!("version: 0.1\nstorage: filesystem\ncache: {{warm: [{item}]}}");
        let error = Config::from_yaml(&text, "config.yml", &Environment::default()).unwrap_err();
        assert!(error.to_string().contains(mistake), "{item}: {error}");
    }
}
