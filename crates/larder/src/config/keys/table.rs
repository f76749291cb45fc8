//! The table of keys itself: section 1.2 of distribution's contract, in its order, one key a line.

use super::{
    Key,
    Kind::{self, *},
    Status::{self, Ignored, NotYet, Unneeded, Works},
};

const LEVELS: &[&str] = &["error", "warn", "info", "debug"];
const CLIENT_AUTH: &[&str] = &[
    "require-and-verify-client-cert",
    "request-client-cert",
    "require-any-client-cert",
    "verify-client-cert-if-given",
];

const NO_HOOKS: Status = Ignored("No mail is sent about log entries.");
const NO_MEMORY: Status = NotYet(
    "Larder keeps images in files; to try it out without keeping anything, use `filesystem` with a rootdirectory on a tmpfs.",
);
const NO_OBJECT_STORE: Status = NotYet("Larder keeps images in files for now; use `filesystem`.");
const NO_REDIRECT: Status = Unneeded("The filesystem driver has nowhere to redirect to.");
const NO_CACHE: Status = Unneeded("Larder finds blobs in its own way, with or without a cache named here.");
const NO_TAG_WALK: Status =
    Unneeded("It tunes how registry:3 walks over all tags, which Larder does not do.");
const NO_SILLY: Status = NotYet(
    "It lets everybody in who sends any Authorization header, and is for tests of clients; use `htpasswd`, or no auth at all.",
);
const NO_TOKEN: Status = NotYet("Larder can't check the tokens of another server; use `htpasswd`.");
const NO_MIDDLEWARE: Status =
    Ignored("Nothing stands between requests and the storage, and every blob is served by Larder itself.");
const NO_H2C: Status = Ignored("Whether HTTP/2 is spoken without TLS doesn't depend on this key.");
const NO_ACME: Status = NotYet(
    "Larder can't obtain certificates, and without one it would serve plain HTTP; use certificate and key.",
);
const NO_REDIS: Status = Ignored("Larder doesn't connect to Redis and needs no cache there.");
const NO_PROXY: Status =
    NotYet("Larder can't fetch from another registry, and would answer 404 for all that it should fetch.");
const NO_PROXY_OPTIONS: Status = Unneeded("Without proxy.remoteurl it has no effect in registry:2 either.");
const NO_VALIDATION: Status = Ignored("Larder checks manifests by its own rules, the same for everybody.");
const NO_POLICY: Status = Ignored("No class of repository is refused.");
const NO_REPORTING: Status = Ignored("Nothing is reported to Bugsnag or New Relic.");
const NO_SCHEMA1: Status = Ignored("Larder neither converts to nor signs manifests of schema 1.");

const fn key(path: &'static str, kind: Kind, status: Status) -> Key {
    Key { path, kind, status }
}

pub(super) const KEYS: &[&[Key]] = &[
    TOP,
    LOG,
    DRIVERS,
    STORAGE,
    AUTH,
    ACCESS,
    MIDDLEWARE,
    HTTP,
    LARDERS_HTTP,
    NOTIFICATIONS,
    REDIS,
    HEALTH,
    PROXY,
    REST,
];

// The top level and what belongs to no section.
#[rustfmt::skip]
const TOP: &[Key] = &[
    key("version", Text, Works),
    key("loglevel", Words(LEVELS), Works),
];

// `log`
#[rustfmt::skip]
const LOG: &[Key] = &[
    key("log", Section, Works),
    key("log.accesslog", Section, Works),
    key("log.accesslog.disabled", Boolean, Works),
    key("log.level", Words(LEVELS), Works),
    key("log.formatter", Words(&["text", "json", "logstash"]), Works),
    key("log.fields", Anything, Works),
    key("log.hooks", Sections, NO_HOOKS),
    key("log.hooks[].disabled", Boolean, NO_HOOKS),
    key("log.hooks[].type", Text, NO_HOOKS),
    key("log.hooks[].levels", Texts, NO_HOOKS),
    key("log.hooks[].options", Section, NO_HOOKS),
    key("log.hooks[].options.smtp", Section, NO_HOOKS),
    key("log.hooks[].options.smtp.addr", Text, NO_HOOKS),
    key("log.hooks[].options.smtp.username", Text, NO_HOOKS),
    key("log.hooks[].options.smtp.password", Secret, NO_HOOKS),
    key("log.hooks[].options.smtp.insecure", Boolean, NO_HOOKS),
    key("log.hooks[].options.from", Text, NO_HOOKS),
    key("log.hooks[].options.to", Texts, NO_HOOKS),
    key("log.reportcaller", Boolean, Unneeded("Larder's log lines name what happened and where by their fields, not by a line of source.")),
];

// `storage`: the drivers
#[rustfmt::skip]
const DRIVERS: &[Key] = &[
    key("storage", Choice, Works),
    key("storage.filesystem", Section, Works),
    key("storage.filesystem.rootdirectory", Text, Works),
    key("storage.filesystem.maxthreads", Integer, Unneeded("How many files are worked on at once is decided by Larder.")),
    key("storage.inmemory", Section, NO_MEMORY),
    key("storage.s3", Section, NO_OBJECT_STORE),
    key("storage.s3.accesskey", Secret, NO_OBJECT_STORE),
    key("storage.s3.secretkey", Secret, NO_OBJECT_STORE),
    key("storage.s3.region", Text, NO_OBJECT_STORE),
    key("storage.s3.regionendpoint", Text, NO_OBJECT_STORE),
    key("storage.s3.redirectendpoint", Text, NO_OBJECT_STORE),
    key("storage.s3.forcepathstyle", Boolean, NO_OBJECT_STORE),
    key("storage.s3.bucket", Text, NO_OBJECT_STORE),
    key("storage.s3.encrypt", Boolean, NO_OBJECT_STORE),
    key("storage.s3.keyid", Text, NO_OBJECT_STORE),
    key("storage.s3.secure", Boolean, NO_OBJECT_STORE),
    key("storage.s3.skipverify", Boolean, NO_OBJECT_STORE),
    key("storage.s3.v4auth", Boolean, NO_OBJECT_STORE),
    key("storage.s3.chunksize", Integer, NO_OBJECT_STORE),
    key("storage.s3.multipartcopychunksize", Integer, NO_OBJECT_STORE),
    key("storage.s3.multipartcopymaxconcurrency", Integer, NO_OBJECT_STORE),
    key("storage.s3.multipartcopythresholdsize", Integer, NO_OBJECT_STORE),
    key("storage.s3.rootdirectory", Text, NO_OBJECT_STORE),
    key("storage.s3.storageclass", Text, NO_OBJECT_STORE),
    key("storage.s3.objectacl", Text, NO_OBJECT_STORE),
    key("storage.s3.useragent", Text, NO_OBJECT_STORE),
    key("storage.s3.usedualstack", Boolean, NO_OBJECT_STORE),
    key("storage.s3.accelerate", Boolean, NO_OBJECT_STORE),
    key("storage.s3.usefipsendpoint", Boolean, NO_OBJECT_STORE),
    key("storage.s3.loglevel", Text, NO_OBJECT_STORE),
    key("storage.s3aws", Section, NO_OBJECT_STORE),
    key("storage.s3aws.accesskey", Secret, NO_OBJECT_STORE),
    key("storage.s3aws.secretkey", Secret, NO_OBJECT_STORE),
    key("storage.s3aws.region", Text, NO_OBJECT_STORE),
    key("storage.s3aws.regionendpoint", Text, NO_OBJECT_STORE),
    key("storage.s3aws.redirectendpoint", Text, NO_OBJECT_STORE),
    key("storage.s3aws.forcepathstyle", Boolean, NO_OBJECT_STORE),
    key("storage.s3aws.bucket", Text, NO_OBJECT_STORE),
    key("storage.s3aws.encrypt", Boolean, NO_OBJECT_STORE),
    key("storage.s3aws.keyid", Text, NO_OBJECT_STORE),
    key("storage.s3aws.secure", Boolean, NO_OBJECT_STORE),
    key("storage.s3aws.skipverify", Boolean, NO_OBJECT_STORE),
    key("storage.s3aws.v4auth", Boolean, NO_OBJECT_STORE),
    key("storage.s3aws.chunksize", Integer, NO_OBJECT_STORE),
    key("storage.s3aws.multipartcopychunksize", Integer, NO_OBJECT_STORE),
    key("storage.s3aws.multipartcopymaxconcurrency", Integer, NO_OBJECT_STORE),
    key("storage.s3aws.multipartcopythresholdsize", Integer, NO_OBJECT_STORE),
    key("storage.s3aws.rootdirectory", Text, NO_OBJECT_STORE),
    key("storage.s3aws.storageclass", Text, NO_OBJECT_STORE),
    key("storage.s3aws.objectacl", Text, NO_OBJECT_STORE),
    key("storage.s3aws.useragent", Text, NO_OBJECT_STORE),
    key("storage.s3aws.usedualstack", Boolean, NO_OBJECT_STORE),
    key("storage.s3aws.accelerate", Boolean, NO_OBJECT_STORE),
    key("storage.s3aws.usefipsendpoint", Boolean, NO_OBJECT_STORE),
    key("storage.s3aws.loglevel", Text, NO_OBJECT_STORE),
    key("storage.azure", Anything, NO_OBJECT_STORE),
    key("storage.gcs", Anything, NO_OBJECT_STORE),
    key("storage.oss", Anything, NO_OBJECT_STORE),
    key("storage.swift", Anything, NO_OBJECT_STORE),
];

// `storage`: everything but the drivers
#[rustfmt::skip]
const STORAGE: &[Key] = &[
    key("storage.maintenance", Section, Works),
    key("storage.maintenance.uploadpurging", Section, Works),
    key("storage.maintenance.uploadpurging.enabled", Boolean, Works),
    key("storage.maintenance.uploadpurging.age", Duration, Works),
    key("storage.maintenance.uploadpurging.interval", Duration, Works),
    key("storage.maintenance.uploadpurging.dryrun", Boolean, Works),
    key("storage.maintenance.readonly", Section, Works),
    key("storage.maintenance.readonly.enabled", Boolean, Works),
    key("storage.delete", Section, Works),
    key("storage.delete.enabled", Boolean, Works),
    key("storage.redirect", Section, NO_REDIRECT),
    key("storage.redirect.disable", Boolean, NO_REDIRECT),
    key("storage.cache", Section, NO_CACHE),
    key("storage.cache.blobdescriptor", Text, NO_CACHE),
    key("storage.cache.layerinfo", Text, NO_CACHE),
    key("storage.cache.blobdescriptorsize", Integer, NO_CACHE),
    key("storage.tag", Section, NO_TAG_WALK),
    key("storage.tag.concurrencylimit", Integer, NO_TAG_WALK),
];

// `auth`
#[rustfmt::skip]
const AUTH: &[Key] = &[
    key("auth", Choice, Works),
    key("auth.none", Anything, Works),
    key("auth.htpasswd", Section, Works),
    key("auth.htpasswd.realm", Text, Works),
    key("auth.htpasswd.path", Text, Works),
    key("auth.silly", Section, NO_SILLY),
    key("auth.silly.realm", Text, NO_SILLY),
    key("auth.silly.service", Text, NO_SILLY),
    key("auth.token", Section, NO_TOKEN),
    key("auth.token.realm", Text, NO_TOKEN),
    key("auth.token.service", Text, NO_TOKEN),
    key("auth.token.issuer", Text, NO_TOKEN),
    key("auth.token.rootcertbundle", Text, NO_TOKEN),
    key("auth.token.jwks", Text, NO_TOKEN),
    key("auth.token.signingalgorithms", Texts, NO_TOKEN),
    key("auth.token.autoredirect", Boolean, NO_TOKEN),
    key("auth.token.autoredirectpath", Text, NO_TOKEN),
];

// `access`, Larder's own: who may do what
#[rustfmt::skip]
const ACCESS: &[Key] = &[
    key("access", Section, Works),
    key("access.groups", Anything, Works),
    key("access.rules", Sections, Works),
    key("access.rules[].who", OneOrMore, Works),
    key("access.rules[].may", OneOrMore, Works),
    key("access.rules[].may_not", OneOrMore, Works),
    key("access.rules[].in", OneOrMore, Works),
];

// `middleware`
#[rustfmt::skip]
const MIDDLEWARE: &[Key] = &[
    key("middleware", Section, Works),
    key("middleware.registry", Sections, NO_MIDDLEWARE),
    key("middleware.registry[].name", Text, NO_MIDDLEWARE),
    key("middleware.registry[].disabled", Boolean, NO_MIDDLEWARE),
    key("middleware.registry[].options", Anything, NO_MIDDLEWARE),
    key("middleware.repository", Sections, NO_MIDDLEWARE),
    key("middleware.repository[].name", Text, NO_MIDDLEWARE),
    key("middleware.repository[].disabled", Boolean, NO_MIDDLEWARE),
    key("middleware.repository[].options", Anything, NO_MIDDLEWARE),
    key("middleware.storage", Sections, NO_MIDDLEWARE),
    key("middleware.storage[].name", Text, NO_MIDDLEWARE),
    key("middleware.storage[].disabled", Boolean, NO_MIDDLEWARE),
    key("middleware.storage[].options", Anything, NO_MIDDLEWARE),
];

// `http`
#[rustfmt::skip]
const HTTP: &[Key] = &[
    key("http", Section, Works),
    key("http.addr", Text, Works),
    key("http.net", Words(&["tcp", "unix"]), Works),
    key("http.host", Text, Works),
    key("http.prefix", Text, Works),
    key("http.secret", Secret, Unneeded("Larder signs nothing with it.")),
    key("http.relativeurls", Boolean, Unneeded("Larder's Location headers are always relative, which every client accepts.")),
    key("http.draintimeout", Duration, Works),
    key("http.headers", Headers, Works),
    key("http.debug", Section, Works),
    key("http.debug.addr", Text, Works),
    key("http.debug.prometheus", Section, Works),
    key("http.debug.prometheus.enabled", Boolean, Works),
    key("http.debug.prometheus.path", Text, Works),
    key("http.http2", Section, Works),
    key("http.http2.disabled", Boolean, Works),
    key("http.h2c", Section, NO_H2C),
    key("http.h2c.enabled", Boolean, NO_H2C),
    key("http.tls", Section, Works),
    key("http.tls.certificate", Text, Works),
    key("http.tls.key", Text, Works),
    key("http.tls.clientcas", Texts, Works),
    key("http.tls.clientauth", Words(CLIENT_AUTH), Works),
    key("http.tls.minimumtls", Words(&["tls1.0", "tls1.1", "tls1.2", "tls1.3"]), Works),
    key("http.tls.ciphersuites", Texts, Works),
    key("http.tls.letsencrypt", Section, NO_ACME),
    key("http.tls.letsencrypt.cachefile", Text, NO_ACME),
    key("http.tls.letsencrypt.email", Text, NO_ACME),
    key("http.tls.letsencrypt.hosts", Texts, NO_ACME),
    key("http.tls.letsencrypt.directoryurl", Text, NO_ACME),
];

// `http`: Larder's own keys
#[rustfmt::skip]
const LARDERS_HTTP: &[Key] = &[
    key("http.trustedproxies", Texts, Works),
    key("http.limits", Section, Works),
    key("http.limits.connections", Integer, Works),
    key("http.limits.connectionsperaddress", Integer, Works),
    key("http.limits.headbytes", Integer, Works),
    key("http.limits.idletime", Duration, Works),
    key("http.limits.bodysilence", Duration, Works),
];

// `notifications`
#[rustfmt::skip]
const NOTIFICATIONS: &[Key] = &[
    key("notifications", Section, Works),
    key("notifications.events", Section, Works),
    key("notifications.events.includereferences", Boolean, Works),
    key("notifications.events.generation", Words(&["v1", "v2"]), Works),
    key("notifications.queue", Section, Works),
    key("notifications.queue.maxevents", Integer, Works),
    key("notifications.queue.maxbytes", Integer, Works),
    key("notifications.endpoints", Sections, Works),
    key("notifications.endpoints[].name", Text, Works),
    key("notifications.endpoints[].disabled", Boolean, Works),
    key("notifications.endpoints[].url", Secret, Works),
    key("notifications.endpoints[].headers", Headers, Works),
    key("notifications.endpoints[].timeout", Duration, Works),
    key("notifications.endpoints[].threshold", Integer, Works),
    key("notifications.endpoints[].backoff", Duration, Works),
    key("notifications.endpoints[].ignoredmediatypes", Texts, Works),
    key("notifications.endpoints[].ignore", Section, Works),
    key("notifications.endpoints[].ignore.mediatypes", Texts, Works),
    key("notifications.endpoints[].ignore.actions", Texts, Works),
];

// `redis`, in registry:2's form and in registry:3's
#[rustfmt::skip]
const REDIS: &[Key] = &[
    key("redis", Section, NO_REDIS),
    key("redis.addr", Text, NO_REDIS),
    key("redis.addrs", Texts, NO_REDIS),
    key("redis.clientname", Text, NO_REDIS),
    key("redis.db", Integer, NO_REDIS),
    key("redis.protocol", Integer, NO_REDIS),
    key("redis.username", Text, NO_REDIS),
    key("redis.password", Secret, NO_REDIS),
    key("redis.sentinelusername", Text, NO_REDIS),
    key("redis.sentinelpassword", Secret, NO_REDIS),
    key("redis.maxretries", Integer, NO_REDIS),
    key("redis.minretrybackoff", Duration, NO_REDIS),
    key("redis.maxretrybackoff", Duration, NO_REDIS),
    key("redis.dialtimeout", Duration, NO_REDIS),
    key("redis.readtimeout", Duration, NO_REDIS),
    key("redis.writetimeout", Duration, NO_REDIS),
    key("redis.contexttimeoutenabled", Boolean, NO_REDIS),
    key("redis.poolfifo", Boolean, NO_REDIS),
    key("redis.poolsize", Integer, NO_REDIS),
    key("redis.pooltimeout", Duration, NO_REDIS),
    key("redis.minidleconns", Integer, NO_REDIS),
    key("redis.maxidleconns", Integer, NO_REDIS),
    key("redis.maxactiveconns", Integer, NO_REDIS),
    key("redis.connmaxidletime", Duration, NO_REDIS),
    key("redis.connmaxlifetime", Duration, NO_REDIS),
    key("redis.maxredirects", Integer, NO_REDIS),
    key("redis.readonly", Boolean, NO_REDIS),
    key("redis.routebylatency", Boolean, NO_REDIS),
    key("redis.routerandomly", Boolean, NO_REDIS),
    key("redis.mastername", Text, NO_REDIS),
    key("redis.disableidentity", Boolean, NO_REDIS),
    key("redis.identitysuffix", Text, NO_REDIS),
    key("redis.unstableresp3", Boolean, NO_REDIS),
    key("redis.tls", Section, NO_REDIS),
    key("redis.tls.enabled", Boolean, NO_REDIS),
    key("redis.tls.certificate", Text, NO_REDIS),
    key("redis.tls.key", Text, NO_REDIS),
    key("redis.tls.rootcas", Texts, NO_REDIS),
    key("redis.pool", Section, NO_REDIS),
    key("redis.pool.maxidle", Integer, NO_REDIS),
    key("redis.pool.maxactive", Integer, NO_REDIS),
    key("redis.pool.idletimeout", Duration, NO_REDIS),
];

// `health`
#[rustfmt::skip]
const HEALTH: &[Key] = &[
    key("health", Section, Works),
    key("health.storagedriver", Section, Works),
    key("health.storagedriver.enabled", Boolean, Works),
    key("health.storagedriver.interval", Duration, Works),
    key("health.storagedriver.threshold", Integer, Works),
    key("health.file", Sections, Works),
    key("health.file[].file", Text, Works),
    key("health.file[].interval", Duration, Works),
    key("health.file[].threshold", Integer, Unneeded("A file that is there counts at once, as in registry:2.")),
    key("health.http", Sections, Works),
    key("health.http[].uri", Secret, Works),
    key("health.http[].headers", Headers, Works),
    key("health.http[].statuscode", Integer, Works),
    key("health.http[].timeout", Duration, Works),
    key("health.http[].interval", Duration, Works),
    key("health.http[].threshold", Integer, Works),
    key("health.tcp", Sections, Works),
    key("health.tcp[].addr", Text, Works),
    key("health.tcp[].timeout", Duration, Works),
    key("health.tcp[].interval", Duration, Works),
    key("health.tcp[].threshold", Integer, Works),
];

// `proxy`
#[rustfmt::skip]
const PROXY: &[Key] = &[
    key("proxy", Section, Works),
    key("proxy.remoteurl", Secret, NO_PROXY),
    key("proxy.username", Text, NO_PROXY_OPTIONS),
    key("proxy.password", Secret, NO_PROXY_OPTIONS),
    key("proxy.ttl", Duration, NO_PROXY_OPTIONS),
    key("proxy.exec", Section, NO_PROXY_OPTIONS),
    key("proxy.exec.command", Text, NO_PROXY_OPTIONS),
    key("proxy.exec.lifetime", Duration, NO_PROXY_OPTIONS),
    key("proxy.cachewritetimeout", Duration, NO_PROXY_OPTIONS),
];

// `validation`, `policy`, `catalog`, `tags` and what only registry:2 has
#[rustfmt::skip]
const REST: &[Key] = &[
    key("validation", Section, NO_VALIDATION),
    key("validation.disabled", Boolean, NO_VALIDATION),
    key("validation.enabled", Boolean, NO_VALIDATION),
    key("validation.manifests", Section, NO_VALIDATION),
    key("validation.manifests.urls", Section, NO_VALIDATION),
    key("validation.manifests.urls.allow", Texts, NO_VALIDATION),
    key("validation.manifests.urls.deny", Texts, NO_VALIDATION),
    key("validation.manifests.indexes", Section, NO_VALIDATION),
    key("validation.manifests.indexes.platforms", Words(&["all", "none", "list"]), NO_VALIDATION),
    key("validation.manifests.indexes.platformlist", Sections, NO_VALIDATION),
    key("validation.manifests.indexes.platformlist[].architecture", Text, NO_VALIDATION),
    key("validation.manifests.indexes.platformlist[].os", Text, NO_VALIDATION),
    key("policy", Section, NO_POLICY),
    key("policy.repository", Section, NO_POLICY),
    key("policy.repository.classes", Texts, NO_POLICY),
    key("catalog", Section, Works),
    key("catalog.maxentries", Integer, Works),
    key("tags", Section, Works),
    key("tags.maxtags", Integer, Works),
    key("reporting", Section, NO_REPORTING),
    key("reporting.bugsnag", Section, NO_REPORTING),
    key("reporting.bugsnag.apikey", Secret, NO_REPORTING),
    key("reporting.bugsnag.releasestage", Text, NO_REPORTING),
    key("reporting.bugsnag.endpoint", Text, NO_REPORTING),
    key("reporting.newrelic", Section, NO_REPORTING),
    key("reporting.newrelic.licensekey", Secret, NO_REPORTING),
    key("reporting.newrelic.name", Text, NO_REPORTING),
    key("reporting.newrelic.verbose", Boolean, NO_REPORTING),
    key("compatibility", Section, NO_SCHEMA1),
    key("compatibility.schema1", Section, NO_SCHEMA1),
    key("compatibility.schema1.signingkeyfile", Text, NO_SCHEMA1),
    key("compatibility.schema1.enabled", Boolean, NO_SCHEMA1),
];
