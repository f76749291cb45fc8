use std::time::SystemTime;

use larder_oci::Scope;
use serde::Serialize;

use crate::access_log::sayable;

/// The most of a list of scopes that one line repeats, in bytes.
const LONGEST_SCOPES: usize = 1_024;

/// A line of the audit log: first what every line has, in this order, then what only some have.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    pub(super) time: String,
    pub(super) request: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) by: Option<&'a str>,
    pub(super) from: Option<&'a str>,
    pub(super) action: &'a str,
    pub(super) repository: Option<&'a str>,
    pub(super) reference: Option<&'a str>,
    pub(super) digest: Option<&'a str>,
    pub(super) allowed: Option<bool>,
    pub(super) rule: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) claimed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mounted_from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) granted: Option<&'a str>,
}

/// The scopes of a token, as text.
pub(crate) struct Scopes {
    asked: String,
    granted: String,
}

impl Record<'_> {
    /// Nothing but the time.
    pub(super) fn at(time: SystemTime) -> Record<'static> {
        Record {
            time: humantime::format_rfc3339_millis(sayable(time)).to_string(),
            request: None,
            user: None,
            by: None,
            from: None,
            action: "",
            repository: None,
            reference: None,
            digest: None,
            allowed: None,
            rule: None,
            reason: None,
            status: None,
            api: None,
            key: None,
            claimed: None,
            mounted_from: None,
            asked: None,
            granted: None,
        }
    }

    pub(super) fn line(&self) -> String {
        // Strings and numbers can be written as JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Scopes {
    pub(super) fn new(asked: &[Scope], granted: &[Scope]) -> Scopes {
        Scopes { asked: listed(asked), granted: listed(granted) }
    }

    pub(super) fn asked(&self) -> &str {
        &self.asked
    }

    pub(super) fn granted(&self) -> &str {
        &self.granted
    }
}

fn listed(scopes: &[Scope]) -> String {
    let mut list = String::new();
    for scope in scopes {
        let scope = scope.to_string();
        if list.len() + scope.len() >= LONGEST_SCOPES {
            list.push_str(" …");
            break;
        }
        if !list.is_empty() {
            list.push(' ');
        }
        list.push_str(&scope);
    }
    list
}
