//! What there is to know of the disk, of maintenance and of the looks at everything, for the same page.

use std::fmt::{self, Error};

use larder_core::{Registry as Core, VerifyCounters};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The registry whose numbers they are.
#[derive(Clone)]
pub(crate) struct StorageNumbers(pub(crate) Core);

impl fmt::Debug for StorageNumbers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StorageNumbers")
    }
}

impl Collector for StorageNumbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        // A disk that doesn't answer has no number; the rest of the page says what else there is.
        if let Ok(free) = self.0.disk_free() {
            encoder
                .encode_descriptor(
                    "larder_disk_free_bytes",
                    "What is free where the data directory is",
                    None,
                    MetricType::Gauge,
                )?
                .encode_gauge(&i64::try_from(free).unwrap_or(i64::MAX))?;
        }
        let help = "Whether there is maintenance, so that nothing is taken in";
        encoder
            .encode_descriptor("larder_maintenance", help, None, MetricType::Gauge)?
            .encode_gauge(&i64::from(self.0.maintenance_reason().is_some()))?;
        let VerifyCounters { blobs, bytes, damaged, set_aside, healed, faults, mended, passes } =
            self.0.verify_counters();
        for (name, help, count) in [
            ("larder_verify_blobs", "Blobs that were hashed again", blobs),
            ("larder_verify_bytes", "Bytes of them", bytes),
            ("larder_verify_damaged", "Blobs that were found damaged", damaged),
            ("larder_verify_set_aside", "Damaged blobs that were moved away", set_aside),
            ("larder_verify_healed", "Those of them that were fetched again from an upstream", healed),
            ("larder_verify_faults", "Faults of links", faults),
            ("larder_verify_mended", "Those of them that were mended", mended),
            ("larder_verify_passes", "Looks at everything that came to their end", passes),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}
