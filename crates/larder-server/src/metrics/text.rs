//! The numbers as text, in OpenMetrics' form.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::process::Process;
use super::{CODES, DURATIONS, HANDLERS, METHODS, Metrics, SIZES};

/// What is said of it in `Content-Type`.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const NANOSECONDS: f64 = 1e9;

impl Metrics {
    /// Everything that is counted. Reads `/proc`: not for a thread that must not wait.
    pub(crate) fn text(self: &Arc<Metrics>) -> Result<String, Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Numbers(Arc::clone(self))));
        registry.register_collector(Box::new(Process));
        if let Some(cache) = self.cache.get() {
            registry.register_collector(Box::new(cache.clone()));
        }
        if let Some(storage) = self.storage.get() {
            registry.register_collector(Box::new(storage.clone()));
        }
        if let Some(certificates) = self.certificates.get() {
            registry.register_collector(Box::new(certificates.clone()));
        }
        if let Some(quotas) = self.quotas.get() {
            registry.register_collector(Box::new(quotas.clone()));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

struct Numbers(Arc<Metrics>);

impl std::fmt::Debug for Numbers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Numbers")
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.requests(&mut encoder)?;
        self.durations(&mut encoder)?;
        self.sizes(&mut encoder)?;
        let (metrics, encoder) = (&self.0, &mut encoder);
        encoder
            .encode_descriptor("larder_connections", "Open connections", None, MetricType::Gauge)?
            .encode_gauge(&metrics.connections.load(Ordering::Relaxed))?;
        let help = "Connections closed at once because their address had as many as it may";
        encoder
            .encode_descriptor("larder_connections_refused", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&metrics.connections_refused.load(Ordering::Relaxed), None)?;
        let build = prometheus_client::metrics::info::Info::new([("version", metrics.version)]);
        build.encode(encoder.encode_descriptor(
            "larder_build",
            "The program's version",
            None,
            MetricType::Info,
        )?)
    }
}

impl Numbers {
    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "The in-flight HTTP requests";
        let mut family =
            encoder.encode_descriptor("registry_http_in_flight_requests", help, None, MetricType::Gauge)?;
        for (handler, of_handler) in HANDLERS.iter().zip(&self.0.handlers) {
            let in_flight = of_handler.in_flight.load(Ordering::Relaxed);
            family.encode_family(&[("handler", *handler)])?.encode_gauge(&in_flight)?;
        }
        let help = "Total number of HTTP requests made";
        let mut family =
            encoder.encode_descriptor("registry_http_requests", help, None, MetricType::Counter)?;
        for (handler, of_handler) in HANDLERS.iter().zip(&self.0.handlers) {
            for (method, codes) in METHODS.iter().zip(&of_handler.requests) {
                for (code, count) in CODES.iter().zip(codes) {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        let code = if *code == 0 { "other".to_owned() } else { code.to_string() };
                        let labels = [("code", code.as_str()), ("handler", *handler), ("method", *method)];
                        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "The HTTP request latencies in seconds";
        let name = "registry_http_request_duration_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (handler, of_handler) in HANDLERS.iter().zip(&self.0.handlers) {
            for (method, durations) in METHODS.iter().zip(&of_handler.durations) {
                let (buckets, count, nanoseconds) =
                    durations.read(DURATIONS.iter().map(|bound| *bound as f64 / 1e3));
                if count > 0 {
                    let labels = [("handler", *handler), ("method", *method)];
                    let sum = nanoseconds as f64 / NANOSECONDS;
                    family
                        .encode_family(&labels)?
                        .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
                }
            }
        }
        Ok(())
    }

    fn sizes(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let bounds = || (0..SIZES as u32).map(|at| (1024_u64 << at) as f64);
        let mut one = |name: &'static str, help, pick: fn(&super::OfHandler) -> &super::Histogram<SIZES>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (handler, of_handler) in HANDLERS.iter().zip(&self.0.handlers) {
                let (buckets, count, sum) = pick(of_handler).read(bounds());
                if count > 0 {
                    family
                        .encode_family(&[("handler", *handler)])?
                        .encode_histogram::<NoLabelSet>(sum as f64, count, &buckets, None)?;
                }
            }
            Ok(())
        };
        one("registry_http_request_size_bytes", "The HTTP request sizes in bytes", |of| &of.request_sizes)?;
        one("registry_http_response_size_bytes", "The HTTP response sizes in bytes", |of| &of.response_sizes)
    }
}
