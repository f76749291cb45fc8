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
];

pub(in crate::config::build) fn unbounded_for_a_week() -> CacheBounds {
    let week = Duration::from_secs(7 * 24 * 3600);
    CacheBounds {
        unused_for: Some(week),
        max_bytes: None,
        min_free_bytes: None,
        keep: Vec::new(),
        background_bandwidth: 67_108_864,
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
    let bounded = bounds("cache: {maxbytes: 50000000000, minfreebytes: 1000000000, keep: ['base/**']}");
    assert_eq!((bounded.max_bytes, bounded.min_free_bytes), (Some(50_000_000_000), Some(1_000_000_000)));
    assert_eq!(bounded.keep, [Keep { repositories: "base/**".parse().unwrap(), images: KeptImages::All }]);
    let by_tag = bounds("cache: {keep: ['docker.io/library/nginx:1.*', '**:X.Y.Z']}").keep;
    let written: Vec<String> = by_tag.iter().map(ToString::to_string).collect();
    assert_eq!(written, ["docker.io/library/nginx:1.*", "**:X.Y.Z"]);
    assert_eq!(by_tag[1].images, KeptImages::Tagged(larder_core::TagPattern::ExactVersion));
    assert_eq!(bounds("cache: {maxbytes: 0}").max_bytes, None);
    assert_eq!(bounds("cache: {backgroundbandwidth: 1000000}").background_bandwidth, 1_000_000);
    assert_eq!(bounds("cache: {backgroundbandwidth: 0}").background_bandwidth, 0);
    let text = "version: 0.1\nstorage: filesystem\ncache: {backgroundbandwidth: -1}";
    let mistakes = Config::from_yaml(text, "config.yml", &Environment::default()).unwrap_err();
    assert!(mistakes.to_string().contains("cache.backgroundbandwidth"), "{mistakes}");
}
