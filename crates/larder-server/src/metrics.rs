//! Counts and durations for Prometheus, by distribution's names where it has them.
//!
//! A request adds to some twelve atomic numbers whose places are known from its route, method and status:
//! no lock, no look-up by labels, no text. Text is made when somebody asks.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Method, StatusCode};

use crate::cache::UpstreamReports;
use crate::route::Route;
use cache::CacheNumbers;
use certificates::CertificateNumbers;
use histogram::Histogram;
use quotas::QuotaNumbers;
use storage::StorageNumbers;

mod cache;
mod certificates;
mod quotas;
mod histogram;
mod process;
mod storage;
mod text;

pub(crate) use text::CONTENT_TYPE;

/// The handlers of registry:2, by its names, then ours.
pub(super) const HANDLERS: [&str; 9] =
    ["base", "blob", "blob_upload", "blob_upload_chunk", "catalog", "manifest", "tags", "referrers", "token"];

/// As they are written in a label; whatever else comes counts as the last one.
pub(super) const METHODS: [&str; 8] = ["get", "head", "put", "post", "patch", "delete", "options", "other"];

/// Every status that Larder answers with; whatever else comes counts as the last one.
pub(super) const CODES: [u16; 24] = [
    200, 201, 202, 204, 206, 301, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 414, 416, 429, 500, 501,
    503, 507, 0,
];

/// In milliseconds; distribution's.
pub(super) const DURATIONS: [u64; 13] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 60_000];

/// From 1 KiB, each twice the one before; distribution's.
pub(super) const SIZES: usize = 22;

/// What is counted.
pub struct Metrics {
    handlers: [OfHandler; HANDLERS.len()],
    connections: AtomicI64,
    connections_refused: AtomicU64,
    version: &'static str,
    cache: OnceLock<CacheNumbers>,
    certificates: OnceLock<CertificateNumbers>,
    storage: OnceLock<StorageNumbers>,
    quotas: OnceLock<QuotaNumbers>,
}

struct OfHandler {
    in_flight: AtomicI64,
    /// By method, then by code.
    requests: [[AtomicU64; CODES.len()]; METHODS.len()],
    /// By method.
    durations: [Histogram<{ DURATIONS.len() }>; METHODS.len()],
    request_sizes: Histogram<SIZES>,
    response_sizes: Histogram<SIZES>,
}

/// A request that is being answered.
pub(crate) struct Running {
    metrics: Arc<Metrics>,
    handler: usize,
    method: usize,
    request_bytes: u64,
    began: Instant,
}

/// A connection that is open.
pub(crate) struct Open(Arc<Metrics>);

impl Metrics {
    /// Nothing counted yet; `version` is the program's.
    pub fn new(version: &'static str) -> Metrics {
        Metrics {
            handlers: std::array::from_fn(|_| OfHandler::new()),
            connections: AtomicI64::new(0),
            connections_refused: AtomicU64::new(0),
            version,
            cache: OnceLock::new(),
            certificates: OnceLock::new(),
            storage: OnceLock::new(),
            quotas: OnceLock::new(),
        }
    }

    /// Shows what this registry's cache and its upstreams have done, too. Counts once.
    pub fn show_cache(&self, registry: larder_core::Registry, upstreams: UpstreamReports) {
        // A second call would mean a second registry in the process.
        let _ = self.cache.set(CacheNumbers { registry, upstreams });
    }

    /// Shows what is free on this registry's disk, whether it is in maintenance and what its looks at everything have
    /// found, too. Counts once.
    pub fn show_storage(&self, registry: larder_core::Registry) {
        // A second call would mean a second registry in the process.
        let _ = self.storage.set(StorageNumbers(registry));
    }

    /// Shows how full this registry's quotas are, too. Counts once.
    pub fn show_quotas(&self, registry: larder_core::Registry) {
        let _ = self.quotas.set(QuotaNumbers(registry));
    }

    /// Shows when the certificate ends, too. Counts once.
    pub fn show_certificate(&self, tls: crate::tls::Tls, orders: Option<Arc<larder_certificates::Acme>>) {
        // A second call would mean a second certificate in the process.
        let _ = self.certificates.set(CertificateNumbers { tls, orders });
    }

    /// A request to this route begins. Those that are no registry requests are not counted, as in
    /// registry:2.
    pub(crate) fn begin(self: &Arc<Metrics>, route: &Route, parts: &Parts) -> Option<Running> {
        let handler = handler(route)?;
        self.handlers.get(handler)?.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Running {
            metrics: Arc::clone(self),
            handler,
            method: method(&parts.method),
            request_bytes: size(parts),
            began: Instant::now(),
        })
    }

    pub(crate) fn open(self: &Arc<Metrics>) -> Open {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    pub(crate) fn refuse_connection(&self) {
        self.connections_refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl OfHandler {
    fn new() -> OfHandler {
        OfHandler {
            in_flight: AtomicI64::new(0),
            requests: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            durations: std::array::from_fn(|_| Histogram::new()),
            request_sizes: Histogram::new(),
            response_sizes: Histogram::new(),
        }
    }
}

impl Running {
    /// The answer has ended: all of it was sent, or the client has gone.
    pub(crate) fn end(self, status: StatusCode, sent: u64) {
        let Some(of_handler) = self.metrics.handlers.get(self.handler) else { return };
        let code = status.as_u16();
        let code = CODES.iter().position(|known| *known == code).unwrap_or(CODES.len() - 1);
        if let Some(count) = of_handler.requests.get(self.method).and_then(|codes| codes.get(code)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(durations) = of_handler.durations.get(self.method) {
            let nanoseconds = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            durations.observe(duration_bucket(nanoseconds), nanoseconds);
        }
        of_handler.request_sizes.observe(size_bucket(self.request_bytes), self.request_bytes);
        of_handler.response_sizes.observe(size_bucket(sent), sent);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(of_handler) = self.metrics.handlers.get(self.handler) {
            of_handler.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn handler(route: &Route) -> Option<usize> {
    let name = match route {
        Route::Root
        | Route::Health
        | Route::Ready
        | Route::Setup
        | Route::SetupAuthority
        | Route::Problems
        | Route::Clients
        | Route::BaseWithoutSlash
        | Route::Api(_) => return None,
        Route::Base => "base",
        Route::Blob(..) => "blob",
        Route::Uploads(_) => "blob_upload",
        Route::Upload(..) => "blob_upload_chunk",
        Route::Catalog => "catalog",
        Route::Manifest(..) => "manifest",
        Route::Tags(_) => "tags",
        Route::Referrers(..) => "referrers",
        Route::Token => "token",
    };
    HANDLERS.iter().position(|handler| *handler == name)
}

fn method(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::PUT => 2,
        Method::POST => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => METHODS.len() - 1,
    }
}

/// What a request has on the wire, near enough: the path, the headers, and the body that it announces.
fn size(parts: &Parts) -> u64 {
    let headers: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let body = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    (headers as u64 + parts.uri.path().len() as u64).saturating_add(body.unwrap_or(0))
}

fn duration_bucket(nanoseconds: u64) -> usize {
    const NANOSECONDS: u64 = 1_000_000;
    DURATIONS.iter().position(|bound| nanoseconds <= bound * NANOSECONDS).unwrap_or(DURATIONS.len())
}

/// Bucket `n` goes up to `1024 << n` bytes.
fn size_bucket(bytes: u64) -> usize {
    let above_a_kibibyte = bytes.saturating_sub(1) >> 10;
    let bucket = (u64::BITS - above_a_kibibyte.leading_zeros()) as usize;
    bucket.min(SIZES)
}

#[cfg(test)]
mod tests;
