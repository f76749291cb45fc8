use std::time::Duration;

/// What clients may cost (`http.limits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel's queue. Each costs a few kilobytes when idle.
    pub connections: usize,
    /// Connections at once from one address, or from one /64 of IPv6; further ones are closed. Half of
    /// all by default: a company behind one address, or a reverse proxy, has many, and yet one client
    /// alone can't keep the others out.
    pub connections_per_address: usize,
    /// The longest request head, in bytes. It is also what is read of an HTTP/1 connection at a time.
    /// containers/image sends `Range` headers of up to 25 KB; uploads want large pieces. Of a head in
    /// HTTP/2 at most [`Limits::HTTP2_HEAD_BYTES`] are taken.
    pub head_bytes: usize,
    /// How long a connection may stay without a whole request head: idle, or in the middle of one.
    /// Longer than the 90 s for which Go clients keep theirs: so it is they who close, and no request
    /// meets a connection that is being closed.
    pub idle: Duration,
    /// How long a client may send nothing in the middle of a body. Longer than any proxy waits, so that
    /// it is never Larder that cuts a slow upload.
    pub silence: Duration,
}

impl Limits {
    /// The longest request head of HTTP/2, in bytes.
    pub const HTTP2_HEAD_BYTES: u32 = 128 << 10;

    /// What [`head_bytes`](Limits::head_bytes) must at least be: what tokens and long names need.
    pub const LEAST_HEAD_BYTES: usize = 16 << 10;

    pub(crate) fn http2_head_bytes(&self) -> u32 {
        u32::try_from(self.head_bytes).unwrap_or(u32::MAX).min(Limits::HTTP2_HEAD_BYTES)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 10_000,
            connections_per_address: 5_000,
            head_bytes: 400 << 10,
            idle: Duration::from_secs(120),
            silence: Duration::from_secs(15 * 60),
        }
    }
}
