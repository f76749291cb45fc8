//! How full quotas are, for the same page.

use std::fmt::{self, Error};

use larder_core::{QuotaUsage, Registry as Core};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// The quotas of this registry.
#[derive(Clone)]
pub(crate) struct QuotaNumbers(pub(crate) Core);

impl fmt::Debug for QuotaNumbers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("QuotaNumbers")
    }
}

/// A metric's name, its meaning, and its number of a quota, where that has one.
type Number = (&'static str, &'static str, fn(&QuotaUsage) -> Option<u64>);

const NUMBERS: [Number; 4] = [
    ("larder_quota_used_bytes", "What the repositories of a quota hold together", |quota| Some(quota.bytes)),
    ("larder_quota_limit_bytes", "How much they may hold, where there is a limit", |quota| quota.rule.bytes),
    ("larder_quota_used_tags", "Tags that they have together", |quota| Some(quota.tags)),
    ("larder_quota_limit_tags", "How many they may have, where there is a limit", |quota| quota.rule.tags),
];

impl Collector for QuotaNumbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        // Sums that are kept: a row for each quota is read. Without an index there are none.
        let Ok(quotas) = self.0.quotas_now() else { return Ok(()) };
        if quotas.is_empty() {
            return Ok(());
        }
        for (name, help, number) in NUMBERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for quota in &quotas {
                let Some(number) = number(quota) else { continue };
                let patterns: Vec<&str> =
                    quota.rule.repositories.iter().map(|pattern| pattern.as_str()).collect();
                let labels = [("rule", quota.rule.place.to_string()), ("in", patterns.join(" "))];
                let gauge = ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
