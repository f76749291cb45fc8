//! When the certificate ends, and how its orders went, for the same page.

use std::fmt::{self, Error};
use std::sync::Arc;
use std::time::SystemTime;

use larder_certificates::Acme;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::tls::Tls;

/// The certificate that is shown.
#[derive(Clone)]
pub(crate) struct CertificateNumbers {
    pub(crate) tls: Tls,
    /// Who orders it, if an authority signs it on order.
    pub(crate) orders: Option<Arc<Acme>>,
}

impl fmt::Debug for CertificateNumbers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CertificateNumbers")
    }
}

impl Collector for CertificateNumbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        if let Some(orders) = &self.orders {
            let numbers = orders.numbers();
            let help = "Orders of a certificate by ACME, by what came of them";
            let mut family =
                encoder.encode_descriptor("larder_certificate_orders", help, None, MetricType::Counter)?;
            for (outcome, count) in [("issued", numbers.issued), ("failed", numbers.failed)] {
                family
                    .encode_family(&[("outcome", outcome)])?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let Some(shown) = self.tls.shown() else { return Ok(()) };
        let seconds = |time: SystemTime| {
            let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            i64::try_from(seconds).unwrap_or(i64::MAX)
        };
        for (name, help, time) in [
            (
                "larder_certificate_not_before_timestamp_seconds",
                "From when on the certificate counts",
                shown.validity.begin,
            ),
            (
                "larder_certificate_not_after_timestamp_seconds",
                "When the certificate ends",
                shown.validity.end,
            ),
        ] {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&seconds(time))?;
        }
        Ok(())
    }
}
