//! The cache's numbers, for the same page.

use std::fmt::{self, Error};

use larder_core::{CacheCounts, Registry as Core, WhyEvicted};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::cache::{AccountReport, UpstreamReport, UpstreamReports, UrlReport};

/// What the cache and its upstreams have done.
#[derive(Clone)]
pub(crate) struct CacheNumbers {
    pub(crate) registry: Core,
    pub(crate) upstreams: UpstreamReports,
}

impl fmt::Debug for CacheNumbers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CacheNumbers")
    }
}

impl Collector for CacheNumbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let counts = self.registry.cache_counts();
        for (name, help, count) in [
            ("larder_cache_hits", "Manifests and blobs of upstreams that were at hand", counts.hits),
            ("larder_cache_misses", "Those that were not", counts.misses),
            (
                "larder_cache_stale",
                "Manifests served though the upstream could not say what their tag means",
                counts.stale,
            ),
            ("larder_cache_served_bytes", "Bytes of what was asked for and at hand", counts.bytes_from_cache),
            ("larder_cache_fetched_bytes", "Bytes that came from upstreams", counts.bytes_from_upstream),
            (
                "larder_cache_evicted_bytes",
                "Bytes of copies that were removed for want of use or space",
                counts.evicted_bytes,
            ),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        encoder
            .encode_descriptor("larder_cache_fills", "Blobs that are arriving", None, MetricType::Gauge)?
            .encode_gauge(&i64::try_from(counts.fills).unwrap_or(i64::MAX))?;
        evicted(&mut encoder, &counts)?;
        self.stock(&mut encoder)?;
        let reports = (self.upstreams)();
        requests(&mut encoder, &reports)?;
        rate_limits(&mut encoder, &reports)?;
        resting(&mut encoder, &reports)
    }
}

impl CacheNumbers {
    /// As it was at the last look at all of it, at most ten minutes ago: the page itself looks at nothing.
    fn stock(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let (stock, limits) = (self.registry.cache_stock(), self.registry.cache_limits());
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        for (name, help, number) in [
            ("larder_cache_bytes", "What was fetched and is here", stock.map(|stock| stock.bytes)),
            (
                "larder_cache_images",
                "Images of upstreams that are here",
                stock.map(|stock| count(stock.images)),
            ),
            (
                "larder_cache_held_images",
                "Those of them that are never evicted",
                stock.map(|stock| count(stock.held)),
            ),
            ("larder_cache_max_bytes", "How much may be here, where there is a bound", limits.max_size),
            ("larder_cache_min_free_bytes", "What is to stay free, where there is a bound", limits.min_free),
        ] {
            let Some(number) = number else { continue };
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&i64::try_from(number).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }
}

fn evicted(encoder: &mut DescriptorEncoder<'_>, counts: &CacheCounts) -> Result<(), Error> {
    let help = "Copies that were removed for want of use or space, by reason";
    let mut family = encoder.encode_descriptor("larder_cache_evicted", help, None, MetricType::Counter)?;
    for (why, count) in WhyEvicted::ALL.iter().zip(counts.evicted_by_reason) {
        let labels = [("reason", why.as_str())];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}

fn requests(encoder: &mut DescriptorEncoder<'_>, reports: &[UpstreamReport]) -> Result<(), Error> {
    let help = "Questions to upstreams, by what was asked and what came of it";
    let mut family =
        encoder.encode_descriptor("larder_upstream_requests", help, None, MetricType::Counter)?;
    for report in reports {
        for (kind, outcome, count) in &report.requests {
            let labels = [("upstream", report.name.as_str()), ("kind", kind), ("outcome", outcome)];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
    }
    Ok(())
}

fn each_account(
    reports: &[UpstreamReport],
) -> impl Iterator<Item = (&UpstreamReport, &UrlReport, &AccountReport)> {
    reports.iter().flat_map(|report| {
        let urls = report.urls.iter();
        urls.flat_map(move |url| url.accounts.iter().map(move |account| (report, url, account)))
    })
}

fn rate_limits(encoder: &mut DescriptorEncoder<'_>, reports: &[UpstreamReport]) -> Result<(), Error> {
    let mut one = |name, help, of: fn(&AccountReport) -> Option<u64>| {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (report, url, account) in each_account(reports) {
            let Some(number) = of(account) else { continue };
            let labels = [
                ("upstream", report.name.as_str()),
                ("url", url.url.as_str()),
                ("account", account.account.as_str()),
            ];
            family.encode_family(&labels)?.encode_gauge(&i64::try_from(number).unwrap_or(i64::MAX))?;
        }
        Ok(())
    };
    one("larder_upstream_rate_limit", "Pulls that an upstream allows in a window", |account| account.limit)?;
    one("larder_upstream_rate_remaining", "Pulls that are left of them", |account| account.remaining)?;
    one("larder_upstream_login_refused", "Whether an upstream refuses a login", |account| {
        Some(u64::from(account.login_refused))
    })
}

fn resting(encoder: &mut DescriptorEncoder<'_>, reports: &[UpstreamReport]) -> Result<(), Error> {
    let help = "Whether a URL of an upstream has failed and is asked last";
    let mut family = encoder.encode_descriptor("larder_upstream_resting", help, None, MetricType::Gauge)?;
    for report in reports {
        for url in &report.urls {
            let labels = [("upstream", report.name.as_str()), ("url", url.url.as_str())];
            family.encode_family(&labels)?.encode_gauge(&i64::from(url.resting.is_some()))?;
        }
    }
    Ok(())
}
