//! `proxy` and `upstreams`: the registries that are fetched from.

use super::{Reader, listen_address};
use crate::config::{
    report::Mistake,
    scalar,
    typed::{ListenAddress, Upstream},
    value::{Origin, Value},
};
use larder_core::{Freshness, FreshnessRule, TagPattern, UpstreamSettings};
use larder_oci::{RepoName, RepositoryPattern};
use larder_upstream::{
    AccountSettings, BaseUrl, CredentialSource, KnownRegistry, ProxyUrl, Secret, Settings, known,
};
use std::{collections::BTreeSet, time::Duration};

/// What a prefix says for all names that no other has.
const ROOT: &str = "/";

/// More connections than this to one registry are an attack.
const MOST_AT_ONCE: usize = 1024;

impl<'a> Reader<'a> {
    pub(super) fn upstreams(&mut self) -> Vec<Upstream> {
        let mut upstreams: Vec<Upstream> = self.proxy().into_iter().collect();
        let (mut names, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
        prefixes.extend(upstreams.iter().map(|upstream| upstream.prefix.clone()));
        names.extend(upstreams.iter().map(|upstream| upstream.reached.name.clone()));
        let items = self.set_value("upstreams").map(Value::items).unwrap_or_default();
        for item in items {
            let Some(upstream) = (Item { reader: self, item, path: "upstreams[]" }).upstream() else {
                continue;
            };
            let is_new = names.insert(upstream.reached.name.clone());
            if !is_new {
                self.invalid("upstreams[].name", &item.origin, "is one that another upstream has already");
            }
            if !prefixes.insert(upstream.prefix.clone()) {
                let problem = match &upstream.prefix {
                    Some(prefix) => format!("is {prefix}, which another upstream has already"),
                    None => {
                        "gives the names without a prefix to a second upstream; proxy.remoteurl has them, too"
                            .to_owned()
                    }
                };
                self.invalid("upstreams[].prefix", &item.origin, problem);
            }
            upstreams.push(upstream);
        }
        upstreams
    }

    /// distribution's one upstream. It has the root.
    fn proxy(&mut self) -> Option<Upstream> {
        let item = self.root.entry("proxy").map(|entry| &entry.value)?;
        let (text, origin) = self.text("proxy.remoteurl")?;
        let url = self.base_url("proxy.remoteurl", text, origin)?;
        let known = KnownRegistry::at(&url.host_and_port());
        let name = name_at(&url);
        let mut settings = Settings::new(name.clone(), vec![url]);
        settings.quirks = known.map(|known| known.quirks).unwrap_or_default();
        let mut account = Item { reader: self, item, path: "proxy" };
        // registry:3 passes user and password over beside a program.
        let source = account.helper().or_else(|| account.password());
        settings.accounts = source.map(plain_account).into_iter().collect();
        Some(Upstream {
            prefix: None,
            has_library: known.is_some_and(|known| known.has_library),
            namespaces: namespaces(name, known),
            host_names: Vec::new(),
            addr: None,
            asked: UpstreamSettings::default(),
            reached: settings,
        })
    }

    /// The mistake doesn't repeat the URL: it may hold a password.
    fn base_url(&mut self, key: &str, text: &str, origin: &Origin) -> Option<BaseUrl> {
        match text.parse() {
            Ok(url) => Some(url),
            Err(error) => {
                let scheme =
                    if text.contains("://") { "" } else { "; write it with its scheme: https://HOST" };
                self.invalid(key, origin, format!("{error}{scheme}"));
                None
            }
        }
    }
}

/// What the upstream at an address is called that was given no name.
fn name_at(url: &BaseUrl) -> String {
    let host = url.host_and_port();
    KnownRegistry::at(&host).map_or(host, |known| known.name.to_owned())
}

/// Of the upstreams of the built-in configuration, the one that `proxy` names gives way to it: `docker run -e
/// REGISTRY_PROXY_REMOTEURL=…` is how most caches of Docker Hub are started.
pub(in crate::config) fn give_way_to_proxy(root: &mut Value) {
    let url = root.entry_at("proxy.remoteurl").and_then(|entry| entry.value.scalar()?.parse().ok());
    let Some(name) = url.as_ref().map(name_at) else { return };
    let upstreams =
        root.entries_mut().and_then(|entries| entries.iter_mut().find(|entry| entry.key == "upstreams"));
    if let Some(items) = upstreams.and_then(|upstreams| upstreams.value.items_mut()) {
        let is_double = |item: &Value| {
            let has_name = item.entry("name").and_then(|entry| entry.value.scalar()) == Some(&name);
            has_name && item.origin == Origin::Default
        };
        items.retain(|item| !is_double(item));
    }
}

/// Tags as they are written for a rule.
pub(super) fn tag_pattern(text: &str) -> TagPattern {
    TagPattern::from(text)
}

/// An account for everything that no other is for.
fn plain_account(source: CredentialSource) -> AccountSettings {
    AccountSettings { repositories: Vec::new(), hosts: Vec::new(), source }
}

fn namespaces(name: String, known: Option<&KnownRegistry>) -> Vec<String> {
    let others = known.map(|known| known.also).unwrap_or_default();
    std::iter::once(name).chain(others.iter().map(|&other| other.to_owned())).collect()
}

/// A section that is an item of a list, whose keys no path from the top names.
pub(super) struct Item<'r, 'a> {
    pub(super) reader: &'r mut Reader<'a>,
    pub(super) item: &'a Value,
    /// As the table has it.
    pub(super) path: &'static str,
}

impl<'a> Item<'_, 'a> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    pub(super) fn text(&self, key: &str) -> Option<(&'a str, &'a Origin)> {
        let value = self.item.entry_at(key).map(|entry| &entry.value).filter(|value| !value.is_unset())?;
        value.scalar().map(|text| (text, &value.origin))
    }

    pub(super) fn texts(&self, key: &str) -> Vec<(&'a str, &'a Origin)> {
        let items = self.item.entry_at(key).map(|entry| entry.value.items()).unwrap_or_default();
        items.iter().filter_map(|item| item.scalar().map(|text| (text, &item.origin))).collect()
    }

    pub(super) fn items(&self, key: &str) -> &'a [Value] {
        self.item.entry_at(key).map(|entry| entry.value.items()).unwrap_or_default()
    }

    pub(super) fn boolean(&self, key: &str, default: bool) -> bool {
        self.text(key).and_then(|(text, _)| scalar::boolean(text)).unwrap_or(default)
    }

    pub(super) fn invalid(&mut self, key: &str, origin: &Origin, problem: impl Into<String>) {
        let key = self.key(key);
        self.reader.invalid(&key, origin, problem);
    }

    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        let (text, origin) = self.text(key)?;
        let nanoseconds = scalar::duration_nanoseconds(text)?;
        let duration = u64::try_from(nanoseconds).ok().map(Duration::from_nanos);
        if duration.is_none() {
            self.invalid(key, origin, "must not be negative");
        }
        duration
    }

    /// One that has to be longer than nothing.
    fn time(&mut self, key: &str, default: Duration) -> Duration {
        match (self.duration(key), self.text(key)) {
            (Some(Duration::ZERO), Some((_, origin))) => {
                self.invalid(key, origin, "must be longer than nothing");
                default
            }
            (time, _) => time.unwrap_or(default),
        }
    }

    fn upstream(mut self) -> Option<Upstream> {
        let Some((name, _)) = self.text("name") else {
            // A value of the wrong kind is there and has been reported.
            if self.item.entry("name").is_none_or(|entry| entry.value.is_unset()) {
                let why = "it is what the upstream is called, such as docker.io";
                self.reader
                    .report
                    .error(&self.item.origin, Mistake::Missing { key: "upstreams[].name", why });
            }
            return None;
        };
        let known = known(name);
        let urls = self.urls(known)?;
        let mut settings = Settings::new(name, urls);
        settings.quirks = known.map(|known| known.quirks).unwrap_or_default();
        settings.accounts = self.accounts();
        settings.hosts = self.texts("hosts").into_iter().map(|(host, _)| host.to_owned()).collect();
        settings.ca_file = self.text("ca").map(|(path, _)| path.into());
        settings.proxy = self.text("proxy").map(|(url, _)| ProxyUrl::from(url.to_owned()));
        settings.connect_timeout = self.time("connecttimeout", settings.connect_timeout);
        settings.answer_timeout = self.time("answertimeout", settings.answer_timeout);
        settings.stall_timeout = self.time("stalltimeout", settings.stall_timeout);
        settings.concurrency = self.concurrency(settings.concurrency);
        let mut namespaces = namespaces(name.to_owned(), known);
        namespaces.extend(self.texts("namespaces").into_iter().map(|(namespace, _)| namespace.to_owned()));
        Some(Upstream {
            prefix: self.prefix(name)?,
            has_library: known.is_some_and(|known| known.has_library),
            namespaces,
            host_names: self.host_names(),
            addr: self.addr(),
            asked: self.asked(),
            reached: settings,
        })
    }

    fn urls(&mut self, known: Option<&KnownRegistry>) -> Option<Vec<BaseUrl>> {
        let texts = self.texts("urls");
        if texts.is_empty() {
            let Some(known) = known else {
                let why = "this name isn't one that Larder knows; say where the upstream answers";
                let mistake = Mistake::Missing { key: "upstreams[].urls", why };
                self.reader.report.error(&self.item.origin, mistake);
                return None;
            };
            return Some(known.url.parse().into_iter().collect());
        }
        let key = self.key("urls");
        let urls: Vec<BaseUrl> =
            texts.into_iter().filter_map(|(text, origin)| self.reader.base_url(&key, text, origin)).collect();
        (!urls.is_empty()).then_some(urls)
    }

    /// `Some(None)` is the root.
    fn prefix(&mut self, name: &str) -> Option<Option<RepoName>> {
        let written = self.text("prefix");
        let (text, origin) = written.unwrap_or((name, &self.item.origin));
        if text == ROOT {
            return Some(None);
        }
        match text.trim_matches('/').parse() {
            Ok(prefix) => Some(Some(prefix)),
            Err(error) => {
                let hint = if written.is_none() { "; write one, since the name can't be it" } else { "" };
                self.invalid("prefix", origin, format!("can't begin an image's name: {error}{hint}"));
                None
            }
        }
    }

    fn host_names(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for (text, origin) in self.texts("hostnames") {
            if text.contains(['/', ':', ' ']) {
                self.invalid(
                    "hostnames",
                    origin,
                    format!("holds {text:?}; write a host's name without a port"),
                );
            } else {
                names.push(text.to_ascii_lowercase());
            }
        }
        names
    }

    fn addr(&mut self) -> Option<ListenAddress> {
        let (text, origin) = self.text("addr")?;
        let address = listen_address(text);
        if address.is_none() {
            self.invalid("addr", origin, format!("is {text:?}; write host:port, such as :5001"));
        }
        address
    }

    fn concurrency(&mut self, default: usize) -> usize {
        let Some((text, origin)) = self.text("concurrency") else { return default };
        let number = scalar::integer(text).and_then(|number| usize::try_from(number).ok());
        match number {
            Some(number) if (1..=MOST_AT_ONCE).contains(&number) => number,
            _ => {
                self.invalid("concurrency", origin, format!("must be between 1 and {MOST_AT_ONCE}"));
                default
            }
        }
    }

    fn accounts(&mut self) -> Vec<AccountSettings> {
        let mut accounts: Vec<AccountSettings> = self.password().map(plain_account).into_iter().collect();
        for item in self.items("accounts") {
            let account = Item { reader: self.reader, item, path: "upstreams[].accounts[]" };
            accounts.extend(account.account());
        }
        accounts
    }

    fn account(mut self) -> Option<AccountSettings> {
        let docker =
            self.text("dockerconfig").map(|(path, _)| CredentialSource::DockerConfig { path: path.into() });
        let sources: Vec<CredentialSource> =
            [docker, self.helper(), self.password()].into_iter().flatten().collect();
        let mut repositories: Vec<RepositoryPattern> = Vec::new();
        for (text, origin) in self.texts("repositories") {
            match text.parse() {
                Ok(pattern) => repositories.push(pattern),
                Err(error) => {
                    self.invalid("repositories", origin, format!("holds what is no pattern: {error}"))
                }
            }
        }
        let hosts = self.texts("hosts").into_iter().map(|(host, _)| host.to_owned()).collect();
        match <[CredentialSource; 1]>::try_from(sources) {
            Ok([source]) => Some(AccountSettings { repositories, hosts, source }),
            Err(_) => {
                let problem = "must say in one way who it is: username and password, dockerconfig, or exec";
                self.reader.invalid("upstreams[].accounts[]", &self.item.origin, problem);
                None
            }
        }
    }

    fn password(&mut self) -> Option<CredentialSource> {
        let password = self.text("password");
        let Some((username, origin)) = self.text("username") else {
            if let Some((_, origin)) = password {
                self.invalid("password", origin, "is there without a username");
            }
            return None;
        };
        let Some((password, _)) = password else {
            // One that is to come from a file that can't be read has been reported.
            if self.item.entry("password").is_none() {
                self.invalid("username", origin, "is there without a password");
            }
            return None;
        };
        let (username, password) = (username.to_owned(), Secret::from(password.to_owned()));
        Some(CredentialSource::Password { username, password })
    }

    fn helper(&mut self) -> Option<CredentialSource> {
        let (command, _) = self.text("exec.command")?;
        Some(CredentialSource::Helper { command: command.into(), lifetime: self.duration("exec.lifetime") })
    }

    fn asked(&mut self) -> UpstreamSettings {
        let default = UpstreamSettings::default();
        let mut freshness = Vec::new();
        for item in self.items("freshness") {
            let rule = Item { reader: self.reader, item, path: "upstreams[].freshness[]" };
            freshness.extend(rule.freshness_rule());
        }
        freshness.extend(default.freshness);
        let fresh_for = self.duration("freshfor").map_or(default.fresh_for, Freshness::For);
        UpstreamSettings {
            freshness,
            fresh_for,
            tag_budget: self.time("tagbudget", default.tag_budget),
            miss_budget: self.time("missbudget", default.miss_budget),
            missing_for: self.duration("missingfor").unwrap_or(default.missing_for),
            keeps_removed_tags: self.boolean("keepremovedtags", default.keeps_removed_tags),
            asks_for_pushed: self.boolean("askforpushed", default.asks_for_pushed),
            offline: self.boolean("offline", default.offline),
        }
    }

    fn freshness_rule(mut self) -> Option<FreshnessRule> {
        let tags = tag_pattern(self.text("tags").map_or("*", |(text, _)| text));
        let repositories = match self.text("repositories") {
            Some((text, origin)) => match text.parse() {
                Ok(pattern) => Some(pattern),
                Err(error) => {
                    self.invalid("repositories", origin, format!("is no pattern: {error}"));
                    return None;
                }
            },
            None => None,
        };
        let Some((text, origin)) = self.text("for") else {
            let why = "a rule says how long an answer counts, such as 10m, or ever";
            let mistake = Mistake::Missing { key: "upstreams[].freshness[].for", why };
            self.reader.report.error(&self.item.origin, mistake);
            return None;
        };
        if text == "ever" {
            return Some(FreshnessRule { repositories, tags, fresh_for: Freshness::ForEver });
        }
        let nanoseconds = scalar::duration_nanoseconds(text).and_then(|number| u64::try_from(number).ok());
        let Some(nanoseconds) = nanoseconds else {
            self.invalid("for", origin, format!("is {text:?}; write a duration such as 10m, or ever"));
            return None;
        };
        Some(FreshnessRule {
            repositories,
            tags,
            fresh_for: Freshness::For(Duration::from_nanos(nanoseconds)),
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
