//! The access log: one line per request in Apache's combined format, as registry:2 writes it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Buf as _;
use http::StatusCode;
use http::header::{HeaderName, REFERER, USER_AGENT};
use http::request::Parts;
use http_body::{Frame, SizeHint};

use crate::body::{Body, Piece};
use crate::metrics::Running;
use crate::request_log::Entry;

/// Where the lines go.
#[derive(Clone)]
pub struct AccessLog {
    sink: Arc<dyn Fn(&str) + Send + Sync>,
    now: fn() -> SystemTime,
    /// The second that a line was last written in, and how the log spells it.
    written: Arc<Mutex<Option<Written>>>,
}

/// A second since 1970, as the log spells it.
struct Written {
    second: u64,
    text: Arc<str>,
}

/// A request whose line is written when its answer has ended.
pub(crate) struct Record {
    log: AccessLog,
    before_status: String,
    after_length: String,
}

/// A body that counts what was taken of it, and writes what is logged and adds to the metrics when it is
/// dropped: at its end, or when the client has gone.
pub(crate) struct Logged {
    body: Body,
    status: StatusCode,
    sent: u64,
    ends: Ends,
}

/// What is done when an answer has ended.
#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) record: Option<Record>,
    pub(crate) running: Option<Running>,
    pub(crate) entry: Option<Entry>,
}

impl AccessLog {
    /// Lines go to `sink`, each without a newline.
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static, now: fn() -> SystemTime) -> AccessLog {
        AccessLog { sink: Arc::new(sink), now, written: Arc::default() }
    }

    pub(crate) fn begin(&self, parts: &Parts, client: IpAddr) -> Record {
        let text = |name: &HeaderName| match parts.headers.get(name).map(|value| value.to_str()) {
            Some(Ok(text)) => escape(text),
            Some(Err(_)) | None => Cow::Borrowed(""),
        };
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let before_status = format!(
            "{} - - [{}] \"{} {} {:?}\"",
            client,
            self.apache_now(),
            parts.method,
            escape(target),
            parts.version
        );
        let after_length = format!("\"{}\" \"{}\"", text(&REFERER), text(&USER_AGENT));
        Record { log: self.clone(), before_status, after_length }
    }

    /// The time, written out once in a second however many lines it stands in.
    fn apache_now(&self) -> Arc<str> {
        let now = (self.now)();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match &*written {
            Some(known) if known.second == second => Arc::clone(&known.text),
            _ => {
                let text: Arc<str> = apache_time(now).into();
                *written = Some(Written { second, text: Arc::clone(&text) });
                text
            }
        }
    }
}

const END_OF_9999: Duration = Duration::from_secs(253_402_300_799);

/// What the formats have no digits for (a clock before 1970 or after 9999) is written as the nearest they have.
pub(crate) fn sayable(now: SystemTime) -> SystemTime {
    now.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + END_OF_9999)
}

/// `10/Oct/2026:13:55:36 +0000`.
fn apache_time(now: SystemTime) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let rfc3339 = humantime::format_rfc3339_seconds(sayable(now)).to_string();
    let field = |from: usize, to: usize| rfc3339.get(from..to).unwrap_or_default();
    let month = field(5, 7).parse().ok().and_then(|month: usize| MONTHS.get(month.checked_sub(1)?));
    format!("{}/{}/{}:{} +0000", field(8, 10), month.unwrap_or(&""), field(0, 4), field(11, 19))
}

/// Keeps a client from ending the line or the quotes.
fn escape(text: &str) -> Cow<'_, str> {
    if text.contains(['"', '\\']) {
        Cow::Owned(text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        Cow::Borrowed(text)
    }
}

impl Logged {
    pub(crate) fn new(body: Body, status: StatusCode, ends: Ends) -> Logged {
        Logged { body, status, sent: 0, ends }
    }
}

impl http_body::Body for Logged {
    type Data = Piece;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.sent += frame.data_ref().map_or(0, |data| data.remaining() as u64);
        }
        if let Poll::Ready(Some(Err(error))) = &polled {
            tracing::error!(%error, "a blob could not be read to its end; the client's connection is cut");
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        if let Some(record) = self.ends.record.take() {
            let mut line = record.before_status;
            // Writing to a string doesn't fail.
            let _ = write!(line, " {} {} {}", self.status.as_u16(), self.sent, record.after_length);
            (record.log.sink)(&line);
        }
        if let Some(running) = self.ends.running.take() {
            running.end(self.status, self.sent);
        }
        if let Some(entry) = self.ends.entry.take() {
            entry.end(self.status, self.sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_apaches() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_791_640_536);
        assert_eq!(apache_time(time), "10/Oct/2026:13:55:36 +0000");
        assert!(apache_time(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).contains("1970"));
        assert_eq!(escape(r#"a"b\c"#), r#"a\"b\\c"#);
    }
}
