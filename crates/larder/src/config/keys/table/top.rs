//! The top level and `log`.

use super::super::{
    Key,
    Kind::*,
    Status::{self, Ignored, Unneeded, Works},
};
use super::key;

const LEVELS: &[&str] = &["error", "warn", "info", "debug"];
const NO_HOOKS: Status = Ignored("No mail is sent about log entries.");

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("version", Text, Works, "", "Required. The version of the format; there is only `0.1`."),
    key("loglevel", Words(LEVELS), Works, "", "The old name of `log.level`, which goes before it."),
    key("log", Section, Works, "", "What is written to the log, on standard error."),
    key("log.accesslog", Section, Works, "", "The access log: one line a request in Apache's combined format, on standard output."),
    key("log.accesslog.disabled", Boolean, Works, "false", "Whether the access log is left out."),
    key("log.level", Words(LEVELS), Works, "info", "The least important entries that are written."),
    key("log.formatter", Words(&["text", "json", "logstash"]), Works, "text", "The form of entries: lines for people, or one JSON object a line; `logstash` is JSON with `@timestamp` and `message`. With both kinds of JSON each request is an entry, too."),
    key("log.fields", Anything, Works, "", "A map of fields that are added to every entry."),
    key("log.hooks", Sections, NO_HOOKS, "", "Where entries are sent besides the log."),
    key("log.hooks[].disabled", Boolean, NO_HOOKS, "", "Whether the hook is off."),
    key("log.hooks[].type", Text, NO_HOOKS, "", "The kind of hook, of which there is `mail`."),
    key("log.hooks[].levels", Texts, NO_HOOKS, "", "The levels of the entries that are sent."),
    key("log.hooks[].options", Section, NO_HOOKS, "", "How mail is sent."),
    key("log.hooks[].options.smtp", Section, NO_HOOKS, "", "The mail server."),
    key("log.hooks[].options.smtp.addr", Text, NO_HOOKS, "", "Its address, `host:port`."),
    key("log.hooks[].options.smtp.username", Text, NO_HOOKS, "", "The user to log in with."),
    key("log.hooks[].options.smtp.password", Secret, NO_HOOKS, "", "That user's password."),
    key("log.hooks[].options.smtp.insecure", Boolean, NO_HOOKS, "", "Whether its certificate is not verified."),
    key("log.hooks[].options.from", Text, NO_HOOKS, "", "The sender."),
    key("log.hooks[].options.to", Texts, NO_HOOKS, "", "The recipients."),
    key("log.reportcaller", Boolean, Unneeded("Larder's log lines name what happened and where by their fields, not by a line of source."), "", "Whether entries name the line of source that wrote them."),
];
