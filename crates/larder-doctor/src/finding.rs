//! What a doctor says: where, what was seen, why, whose doing it is, and what to do about it.

use std::fmt;

/// The part of the way from a name to an image in which something was found. In the order in which it is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// From a name to addresses.
    Resolve,
    /// A connection to an address.
    Connect,
    /// Encryption: chain, names, dates.
    Tls,
    /// What answers at `/v2/`.
    Base,
    /// What this machine's own programs are told about the registry.
    Machine,
    /// Challenge, token, rights.
    Login,
    /// Bytes on their way in.
    Push,
    /// The kinds of manifest.
    Manifests,
    /// Bytes on their way out.
    Pull,
    /// Taking things away again.
    Delete,
    /// On the registry's own machine: what it is told to do.
    Configuration,
    /// On the registry's own machine: where its data lies.
    Storage,
    /// On the registry's own machine: what time it is.
    Clock,
    /// On the registry's own machine: the registries that it fetches from.
    Upstream,
    /// On the registry's own machine: what stands in front, and what was refused lately.
    Front,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Stage; 15] = [
        Stage::Resolve,
        Stage::Connect,
        Stage::Tls,
        Stage::Base,
        Stage::Machine,
        Stage::Login,
        Stage::Push,
        Stage::Manifests,
        Stage::Pull,
        Stage::Delete,
        Stage::Configuration,
        Stage::Storage,
        Stage::Clock,
        Stage::Upstream,
        Stage::Front,
    ];

    /// The word for it in output and in `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Resolve => "name",
            Stage::Connect => "connection",
            Stage::Tls => "tls",
            Stage::Base => "base",
            Stage::Machine => "machine",
            Stage::Login => "login",
            Stage::Push => "push",
            Stage::Manifests => "manifests",
            Stage::Pull => "pull",
            Stage::Delete => "delete",
            Stage::Configuration => "config",
            Stage::Storage => "storage",
            Stage::Clock => "clock",
            Stage::Upstream => "upstream",
            Stage::Front => "front",
        }
    }

    /// What `larder doctor` exits with when this is the first stage that fails: 10 for names, 11 for connections, and on.
    pub fn exit_code(self) -> u8 {
        let place = Stage::ALL.iter().position(|stage| *stage == self).unwrap_or_default();
        10 + u8::try_from(place).unwrap_or_default()
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Some clients, or large images, will meet it.
    Warning,
    /// Clients fail.
    Failure,
}

/// Whose doing it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// This machine: its programs and their files.
    Client,
    /// Whoever turns names into addresses for this machine.
    Resolver,
    /// What lies between this machine and the address.
    Network,
    /// Something that speaks HTTP in front of the registry, by the name that it gives itself.
    Proxy(String),
    /// The registry.
    Registry,
    /// The token service that the registry names, by its host.
    TokenService(String),
    /// The store that the registry sends clients to, by its host.
    Storage(String),
    /// The registry's own machine: its disk, its settings.
    Server,
    /// As the registry itself says whose doing it is.
    Named(String),
    /// A registry that the registry fetches from, by the operator's name for it.
    Upstream(String),
}

impl fmt::Display for Hop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hop::Client => formatter.write_str("this machine"),
            Hop::Resolver => formatter.write_str("name resolution"),
            Hop::Network => formatter.write_str("network"),
            Hop::Proxy(name) => write!(formatter, "proxy {name}"),
            Hop::Registry => formatter.write_str("registry"),
            Hop::TokenService(host) => write!(formatter, "token service {host}"),
            Hop::Storage(host) => write!(formatter, "storage {host}"),
            Hop::Named(name) => formatter.write_str(name),
            Hop::Server => formatter.write_str("the registry's machine"),
            Hop::Upstream(name) => write!(formatter, "upstream {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which of the known troubles it is.
    pub row: Row,
    /// How bad it is.
    pub severity: Severity,
    /// Where on the way it was met.
    pub stage: Stage,
    /// What was seen: one sentence of facts.
    pub seen: String,
    /// Why: the true cause.
    pub cause: String,
    /// Whose doing it is.
    pub hop: Hop,
    /// One thing to do, to be pasted where possible.
    pub fix: String,
}

macro_rules! rows {
    ($($variant:ident $name:literal $doc:literal;)*) => {
        /// The troubles that a doctor knows. Their names stand in `--json` and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Row {
            $(#[doc = $doc] $variant,)*
        }

        impl Row {
            /// Every row there is.
            pub const ALL: &[Row] = &[$(Row::$variant,)*];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(Row::$variant => $name,)* }
            }

            /// What it means, in a line.
            pub fn meaning(self) -> &'static str {
                match self { $(Row::$variant => $doc,)* }
            }
        }
    };
}

rows! {
    NameUnknown "name-unknown" "The registry's name has no address on this machine.";
    AddressDead "address-dead" "The name has addresses of two kinds, and one kind doesn't answer.";
    Refused "refused" "Nothing listens on the port.";
    ConnectTimeout "connect-timeout" "The address doesn't answer: a firewall, or a router that can't turn packets around.";
    NoRoute "no-route" "This machine has no way to the address's network.";
    ProxyEnvironment "proxy-environment" "The environment sends clients of this registry through an HTTP proxy.";
    PlainHttp "plain-http" "The registry speaks plain HTTP where clients expect TLS.";
    TlsOnHttpPort "tls-expected" "The port speaks TLS and was asked in plain HTTP.";
    TlsFailed "tls-failed" "The TLS handshake fails for another reason than the certificate.";
    UnknownAuthority "unknown-authority" "The certificate's authority is not known to this machine.";
    SelfSigned "self-signed" "The certificate vouches for itself.";
    IncompleteChain "incomplete-chain" "The server leaves out an intermediate certificate.";
    Inspected "inspected" "A company's inspection of TLS stands between this machine and the registry.";
    NoNames "no-names" "The certificate has only a common name, which clients no longer look at.";
    WrongName "wrong-name" "The certificate is for other names.";
    Expired "expired" "The certificate has run out.";
    NotYetValid "not-yet-valid" "The certificate isn't valid yet.";
    ClockWrong "clock-wrong" "This machine's clock and the registry's differ.";
    NoRouteForV2 "no-route-for-v2" "What answers has no route for /v2/.";
    Html "html" "A web page comes where the registry's JSON should.";
    LoginPage "login-page" "A login page for browsers stands before the registry.";
    AirPlay "airplay" "macOS's AirPlay receiver has the port.";
    BaseStatus "base-status" "/v2/ answers with a status that no client understands.";
    ApiVersionMissing "api-version-missing" "The header Docker-Distribution-Api-Version is missing.";
    ChallengeMissing "challenge-missing" "A 401 comes without WWW-Authenticate, so that no client logs in.";
    ChallengeForeign "challenge-foreign" "A proxy asks for the password in the registry's place, and fails.";
    RealmScheme "realm-scheme" "The token service is named with another scheme than the registry's.";
    RealmUnreachable "realm-unreachable" "The token service's address can't be reached from here.";
    TokenRefused "token-refused" "The token service gives no token.";
    TokenClock "token-clock" "The token's times and this machine's clock disagree.";
    TokenShort "token-short" "Tokens end before a large push does.";
    ScopeMissing "scope-missing" "The token doesn't hold the right that was asked for.";
    LoginRefused "login-refused" "User and password aren't taken.";
    AuthorizationDropped "authorization-dropped" "The Authorization header doesn't arrive.";
    Denied "denied" "The login is good, but may not do this here.";
    ReadOnly "read-only" "The registry takes nothing in: a cache, or read-only.";
    UploadRefused "upload-refused" "An upload can't be begun.";
    LocationScheme "location-scheme" "The registry sends uploads on with the wrong scheme.";
    LocationHost "location-host" "The registry sends uploads on to another host or port.";
    PathRewritten "path-rewritten" "A hop changes the path: a slash too few or too many.";
    SessionLost "session-lost" "An upload that was begun isn't known on the next connection.";
    MethodRefused "method-refused" "A hop doesn't let a method through.";
    ChunkedRefused "chunked-refused" "A hop refuses bodies without a length, which docker sends.";
    BodyLimit "body-limit" "A hop refuses bodies above a size.";
    CutWhileSending "cut-while-sending" "A hop ends an upload that takes long.";
    CutWhileSilent "cut-while-silent" "A hop ends an upload in which nothing is sent for a while.";
    Buffered "buffered" "A hop takes uploads in whole before it passes them on.";
    BytesChanged "bytes-changed" "What comes back isn't what was sent.";
    UploadFailed "upload-failed" "The registry fails to store a blob.";
    NoSpace "no-space" "The registry has no space left.";
    MountRefused "mount-refused" "Asking to mount a layer fails instead of starting an upload.";
    ManifestRefused "manifest-refused" "A kind of manifest isn't taken.";
    ManifestChanged "manifest-changed" "A manifest comes back changed, or with another type.";
    ReferrersMissing "referrers-missing" "What is attached to an image can't be found.";
    HeadWithoutLength "head-without-length" "HEAD answers lack the length, and docker stops there.";
    ShortBody "short-body" "A body ends before its announced length.";
    RangeIgnored "range-ignored" "Ranges are ignored, so that a broken pull begins anew.";
    RedirectUnreachable "redirect-unreachable" "Blobs are redirected to a host that can't be reached from here.";
    SlowFirstByte "slow-first-byte" "An answer begins so late that clients give up.";
    TooManyRequests "too-many-requests" "A limit on requests is reached.";
    RepositoryUnknown "repository-unknown" "The repository isn't there.";
    PlatformMissing "platform-missing" "The image has no variant for this machine.";
    DeleteDisabled "delete-disabled" "Deleting is switched off.";
    HelperMissing "helper-missing" "docker is told to use a credential helper that isn't installed.";
    HelperBroken "helper-broken" "The credential helper fails.";
    CredentialsElsewhere "credentials-elsewhere" "The login is stored for another spelling of the registry.";
    FileUnreadable "file-unreadable" "A program's file can't be read, so that it starts with nothing or not at all.";
    MirrorScheme "mirror-scheme" "A mirror is written down with another scheme than it speaks.";
    MirrorBypassed "mirror-bypassed" "A program goes past its mirror without a word.";
    MirrorUrl "mirror-url" "A mirror is written down in a form that its program ignores or refuses.";
    InsecureMissing "insecure-missing" "A program isn't told that the registry speaks plain HTTP.";
    InsecureIgnored "insecure-ignored" "Docker's containerd store ignores insecure-registries in its first releases.";
    AuthorityMissing "authority-missing" "A program isn't told the registry's authority.";
    CertificateMixup "certificate-mixup" "A certificate has the wrong ending, so that docker takes it for something else.";
    CertsDirectory "certs-directory" "The directory for a registry's certificates has another name than the registry.";
    ConfigPathUnset "config-path-unset" "containerd isn't told where its hosts.toml files are.";
    MirrorsAndConfigPath "mirrors-and-config-path" "containerd has mirrors in two places and refuses both.";
    OverridePath "override-path" "A mirror's path is used in a way that its program doesn't mean.";
    ConfigInvalid "config-invalid" "The server doesn't start with its configuration.";
    ConfigIgnored "config-ignored" "Something in the configuration has no effect.";
    UsersFile "users-file" "A users file can't be used.";
    DataDirectory "data-directory" "The data directory isn't there, or can't be written to.";
    DiskRename "disk-rename" "The file system doesn't put files in place of others as a registry needs it.";
    DiskSync "disk-sync" "The file system can't make files durable.";
    DiskCase "disk-case" "The file system takes upper and lower case for the same.";
    DiskNames "disk-names" "The file system refuses names that a registry's files have.";
    DiskLocks "disk-locks" "The file system has no locks, so that two servers may work on one directory.";
    DiskNetwork "disk-network" "The data directory is on a network file system.";
    DiskVolatile "disk-volatile" "The data directory goes with the machine or the container.";
    DiskSlow "disk-slow" "The disk takes long to make a file durable.";
    DiskFull "disk-full" "The disk has little space left.";
    DiskFiles "disk-files" "The file system can take few more files.";
    UpstreamName "upstream-name" "An upstream's name has no address on the registry's machine.";
    UpstreamUnreachable "upstream-unreachable" "An upstream can't be reached from the registry's machine.";
    UpstreamTls "upstream-tls" "An upstream's certificate isn't believed by the registry.";
    UpstreamLogin "upstream-login" "An upstream doesn't take the login that the registry has for it.";
    UpstreamLimit "upstream-limit" "An upstream's limit on pulls is reached, or nearly.";
    UpstreamFailed "upstream-failed" "An upstream answers as no registry does.";
    FrontUntrusted "front-untrusted" "A proxy in front isn't believed about its clients.";
    FrontSilent "front-silent" "A proxy in front doesn't say who its clients are, or by which scheme they come.";
    RefusedLately "refused-lately" "The running server refused something lately.";
}

#[cfg(test)]
mod tests;
