//! The log on standard error, in the forms that registry:2's users know: logrus' text, or JSON.
//!
//! One line per event: `time`, `level`, `msg`, then the event's own fields and the operator's static
//! ones (`log.fields`).

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::config::{self, Formatter, Log};
use crate::lines::LineWriter;

/// The last second that RFC 3339 has digits for.
const END_OF_9999: Duration = Duration::from_secs(253_402_300_799);

/// The process's log.
#[derive(Clone)]
pub(crate) struct LogHandle {
    least: Arc<AtomicU8>,
    writer: LineWriter,
}

impl LogHandle {
    /// Writes events from this level on, from now on.
    pub(crate) fn set_level(&self, level: config::Level) {
        self.least.store(level as u8, Ordering::Relaxed);
        // Each place in the code remembers whether it is wanted.
        tracing::callsite::rebuild_interest_cache();
    }

    /// The lines' way out.
    pub(crate) fn writer(&self) -> &LineWriter {
        &self.writer
    }
}

/// Sends the process's events to standard error from here on.
pub(crate) fn start(log: &Log) -> LogHandle {
    let least = Arc::new(AtomicU8::new(log.level as u8));
    let writer = LineWriter::start("log", std::io::stderr());
    let handle = LogHandle { least: Arc::clone(&least), writer: writer.clone() };
    let lines = Lines { least, formatter: log.formatter, fields: log.fields.clone(), writer };
    // Fails only if it was done before, as tests in one process do.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
    handle
}

struct Lines {
    /// A [`config::Level`].
    least: Arc<AtomicU8>,
    formatter: Formatter,
    fields: Vec<(String, String)>,
    writer: LineWriter,
}

impl Lines {
    fn is_wanted(&self, metadata: &tracing::Metadata<'_>) -> bool {
        // Libraries' own chatter is for those who debug Larder.
        let ours = metadata.target().starts_with("larder");
        *metadata.level() <= least(self.least.load(Ordering::Relaxed))
            && (ours || *metadata.level() <= Level::WARN)
    }
}

/// What a number in [`Lines::least`] means.
fn least(number: u8) -> Level {
    const ERROR: u8 = config::Level::Error as u8;
    const WARN: u8 = config::Level::Warn as u8;
    const INFO: u8 = config::Level::Info as u8;
    match number {
        ERROR => Level::ERROR,
        WARN => Level::WARN,
        INFO => Level::INFO,
        _ => Level::DEBUG,
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    /// Asked once for each place in the code that could log, and again when the level changes; not for each request
    /// that passes it.
    fn register_callsite(&self, metadata: &'static tracing::Metadata<'static>) -> Interest {
        if self.is_wanted(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        self.is_wanted(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut collected = Collected::default();
        event.record(&mut collected);
        for (name, value) in &self.fields {
            // As logrus does it: the line's own words can't be replaced.
            let taken =
                matches!(name.as_str(), "time" | "level" | "msg" | "message" | "@timestamp" | "@version");
            let name = if taken { format!("fields.{name}") } else { name.clone() };
            collected.fields.insert(name, value.clone().into());
        }
        self.writer.write(&line(self.formatter, event.metadata().level(), SystemTime::now(), &collected));
    }
}

fn line(formatter: Formatter, level: &Level, now: SystemTime, event: &Collected) -> String {
    // A clock before 1970 or after 9999 must not end the log.
    let sayable = now.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + END_OF_9999);
    let time = humantime::format_rfc3339_millis(sayable).to_string();
    let level = match *level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    match formatter {
        Formatter::Text => {
            let mut line = format!("time={time:?} level={level} msg={:?}", event.message);
            for (name, value) in &event.fields {
                line.push_str(&format!(" {name}={}", text_value(value)));
            }
            line
        }
        Formatter::Json | Formatter::Logstash => {
            let is_logstash = formatter == Formatter::Logstash;
            let (time_name, message_name) =
                if is_logstash { ("@timestamp", "message") } else { ("time", "msg") };
            let mut object = Map::new();
            object.insert(time_name.into(), time.into());
            if is_logstash {
                // Of the form of its events, of which there is one.
                object.insert("@version".into(), "1".into());
            }
            object.insert("level".into(), level.into());
            object.insert(message_name.into(), event.message.clone().into());
            object.extend(event.fields.clone());
            Value::Object(object).to_string()
        }
    }
}

/// As logrus writes it: quoted where it holds more than a plain word.
fn text_value(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+:".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) { text } else { format!("{text:?}") }
}

/// An event's message and its other fields.
#[derive(Default)]
struct Collected {
    message: String,
    fields: Map<String, Value>,
}

impl Collected {
    fn insert(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else {
            self.fields.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Collected {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.insert(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(formatter: Formatter) -> String {
        let mut event = Collected { message: "it \"works\"\nwell".into(), ..Collected::default() };
        event.fields.insert("path".into(), "/var/lib/registry".into());
        event.fields.insert("reason".into(), "a b".into());
        event.fields.insert("count".into(), 3.into());
        super::line(formatter, &Level::WARN, SystemTime::UNIX_EPOCH, &event)
    }

    #[test]
    fn text_is_logruss() {
        assert_eq!(
            line(Formatter::Text),
            "time=\"1970-01-01T00:00:00.000Z\" level=warning msg=\"it \\\"works\\\"\\nwell\" count=3 \
             path=/var/lib/registry reason=\"a b\""
        );
    }

    #[test]
    fn json_is_one_object_per_line() {
        let value: Value = serde_json::from_str(&line(Formatter::Json)).unwrap();
        assert_eq!(value["level"], "warning");
        assert_eq!(value["msg"], "it \"works\"\nwell");
        assert_eq!(value["count"], 3);
    }

    #[test]
    fn logstash_finds_time_and_message_by_its_own_names() {
        let value: Value = serde_json::from_str(&line(Formatter::Logstash)).unwrap();
        assert_eq!(value["@timestamp"], "1970-01-01T00:00:00.000Z");
        assert_eq!((&value["@version"], &value["level"]), (&"1".into(), &"warning".into()));
        assert_eq!(value["message"], "it \"works\"\nwell");
        assert_eq!((value.get("time"), value.get("msg")), (None, None));
    }
}
