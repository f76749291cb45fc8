//! `health`: what has to be well for requests to be answered.

use super::super::{
    Key,
    Kind::*,
    Status::{self, Unneeded, Works},
};
use super::key;

const NO_THRESHOLD: Status = Unneeded("A file that is there counts at once, as in registry:2.");

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("health", Section, Works, "", "What has to be well. While a check fails, every request is answered with 503."),
    key("health.storagedriver", Section, Works, "", "Whether the data directory is there and readable."),
    key("health.storagedriver.enabled", Boolean, Works, "false", "Whether that is looked at."),
    key("health.storagedriver.interval", Duration, Works, "10s", "How often."),
    key("health.storagedriver.threshold", Integer, Works, "0", "How many failures in a row count."),
    key("health.file", Sections, Works, "", "Files that must not be there."),
    key("health.file[].file", Text, Works, "", "Required. The file."),
    key("health.file[].interval", Duration, Works, "10s", "How often it is looked for."),
    key("health.file[].threshold", Integer, NO_THRESHOLD, "", "How many failures in a row count."),
    key("health.http", Sections, Works, "", "Addresses that must answer `HEAD`."),
    key("health.http[].uri", Url, Works, "", "Required. The address."),
    key("health.http[].headers", SecretHeaders, Works, "", "Headers of the request."),
    key("health.http[].statuscode", Integer, Works, "200", "The status that is well."),
    key("health.http[].timeout", Duration, Works, "10s", "How long it may take."),
    key("health.http[].interval", Duration, Works, "10s", "How often it is asked."),
    key("health.http[].threshold", Integer, Works, "0", "How many failures in a row count."),
    key("health.tcp", Sections, Works, "", "Ports that must take connections."),
    key("health.tcp[].addr", Text, Works, "", "Required. The port, `host:port`."),
    key("health.tcp[].timeout", Duration, Works, "10s", "How long it may take."),
    key("health.tcp[].interval", Duration, Works, "10s", "How often it is tried."),
    key("health.tcp[].threshold", Integer, Works, "0", "How many failures in a row count."),
];
