use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use larder_auth::{
    AuthMode, Clock, Effect, Gate, Group, KeyId, KeyRecord, KeyTable, Keys, LastUses, Mode, Password,
    Passwords, Policy, Rule, Users, UsersFile, Who, create_key, htpasswd_line,
};
use larder_core::{Collection, Environment, Registry, Settings, UploadPurging};
use larder_notify::Notifications;
use larder_oci::{Action, Digest};
use larder_server::{AccessLog, App, BoundServer, Network, Observers, Options, ServeError, Tls, TlsFiles};
use larder_storage::Disk;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Client, Reply, Request, within};

/// The user of every gate, whose password holds a colon.
pub(crate) const ALICE: (&str, &str) = ("alice", "pass:word");

/// Further users of [`GateKind::Rules`]: one of alice's team, and one who is in none.
pub(crate) const BOB: (&str, &str) = ("bob", "bobs secret");
pub(crate) const CAROL: (&str, &str) = ("carol", "carols secret");

/// Users of [`GateKind::EachRight`], who all have the same password.
const EACH: [&str; 5] = ["stranger", "reader", "pusher", "remover", "keeper"];
pub(crate) const EACH_PASSWORD: &str = "each password";

/// 10/Oct/2026:13:55:36 +0000, at which the access log's clock stands.
const LOGGED_AT: u64 = 1_791_640_536;

#[derive(Clone, Copy, Default)]
pub(crate) enum GateKind {
    #[default]
    Open,
    Basic,
    /// Anybody pulls, users push.
    Tokens,
    /// Users only.
    TokensForUsers,
    /// Rules: everybody pulls `public/**`, alice and bob work below `team/`, and bob deletes nothing in
    /// production.
    Rules,
    /// Rules: one user for each right, the keeper for all of them, who has an API key ([`api_key`]) to pull from `lab/app`.
    EachRight,
    /// Rules: the holders of certificates of a group work below `team/`, where the robot deletes nothing.
    Certificates,
}

/// What kind of server a test wants.
pub(crate) struct Setup {
    pub(crate) gate: GateKind,
    pub(crate) tls: bool,
    pub(crate) deletes: bool,
    pub(crate) read_only: bool,
    pub(crate) drain: Duration,
    /// A socket file to listen on instead of a port.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) options: Options,
    pub(crate) notify: Option<larder_notify::Settings>,
    pub(crate) observers: Observers,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            gate: GateKind::Open,
            tls: false,
            deletes: true,
            read_only: false,
            drain: Duration::from_secs(20),
            socket: None,
            options: Options {
                catalog_max_entries: 1000,
                tags_max: 1000,
                trusted_proxies: Network::private(),
                ..Options::default()
            },
            notify: None,
            observers: Observers::default(),
        }
    }
}

/// A server that runs until its test ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The registry that it serves.
    pub(crate) registry: Registry,
    pub(crate) directory: TempDir,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    pub(crate) tls: Option<Tls>,
    pub(crate) stop: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
    answered: CancellationToken,
    delivery: Option<JoinHandle<()>>,
}

impl Setup {
    pub(crate) fn gate(gate: GateKind) -> Setup {
        Setup { gate, ..Setup::default() }
    }

    pub(crate) async fn start(self) -> Server {
        self.start_in(tempfile::tempdir().unwrap()).await
    }

    /// Over what another server has left behind.
    pub(crate) async fn start_in(mut self, directory: TempDir) -> Server {
        let settings = Settings {
            deletes: self.deletes,
            read_only: self.read_only,
            upload_purging: UploadPurging {
                enabled: false,
                age: Duration::from_secs(3600),
                interval: Duration::from_secs(3600),
                dry_run: false,
            },
            collection: Collection {
                enabled: true,
                grace: Duration::from_secs(3600),
                unreferenced: Duration::from_secs(24 * 3600),
            },
        };
        let disk = Arc::new(Disk::open(&directory.path().join("data")).unwrap());
        let notify = self.notify.take();
        let notifications =
            notify.map(|notify| Arc::new(Notifications::open(&disk, notify, Environment::system()).unwrap()));
        let registry = Registry::on(disk, settings, Environment::system()).unwrap();
        let answered = CancellationToken::new();
        let delivery = notifications.clone().map(|each| tokio::spawn(each.deliver(answered.clone())));
        self.options.notifications = notifications;
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let sink = move |line: &str| lines.lock().unwrap().push(line.to_owned());
        self.options.access_log =
            Some(AccessLog::new(sink, || SystemTime::UNIX_EPOCH + Duration::from_secs(LOGGED_AT)));
        let app = Arc::new(
            App::new(registry.clone(), self.gate.build(directory.path()), self.options)
                .observed_by(self.observers),
        );
        let tls = self.tls.then(|| Tls::load(certificate(directory.path())).unwrap());
        let server = match &self.socket {
            Some(path) => BoundServer::bind_unix(path, tls.clone()).unwrap(),
            None => BoundServer::bind("127.0.0.1", 0, tls.clone()).await.unwrap(),
        };
        let address = server.address().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(app, stop.clone(), self.drain));
        Server { address, registry, directory, log, tls, stop, serving, answered, delivery }
    }
}

impl GateKind {
    fn build(self, directory: &Path) -> Gate {
        let clock: Clock = Arc::new(SystemTime::now);
        let passwords = || {
            let path = directory.join("htpasswd");
            let users: &[_] = match self {
                GateKind::Rules => &[ALICE, BOB, CAROL],
                GateKind::EachRight => &EACH.map(|user| (user, EACH_PASSWORD)),
                _ => &[ALICE],
            };
            let line = |(user, password): &(&str, &str)| {
                htpasswd_line(user, &Password::from(*password), 4, [7; 16]).unwrap()
            };
            write(&path, users.iter().map(line).collect::<Vec<_>>().join("\n").as_bytes());
            let users = UsersFile::open(path).unwrap();
            Arc::new(Passwords::new(users, [1; 32], NonZeroUsize::MIN, Arc::clone(&clock)))
        };
        let mode = match self {
            GateKind::Open => AuthMode::Open,
            GateKind::Basic | GateKind::Certificates => {
                AuthMode::Basic { realm: "Registry Realm".into(), passwords: passwords() }
            }
            GateKind::Tokens | GateKind::TokensForUsers | GateKind::Rules | GateKind::EachRight => {
                AuthMode::Token {
                    service: "registry.lab".into(),
                    passwords: passwords(),
                    key: [3; 32].into(),
                    mode: match self {
                        GateKind::TokensForUsers => Mode::EveryoneAuthenticated,
                        _ => Mode::AnonymousPull,
                    },
                }
            }
        };
        let users = match &mode {
            AuthMode::Token { passwords, .. } | AuthMode::Basic { passwords, .. } => Some(passwords.users()),
            AuthMode::Open | AuthMode::External(_) => None,
        };
        let mut gate = Gate::new(mode, clock);
        if let GateKind::EachRight = self {
            let (path, mut table) = (directory.join("keys.json"), KeyTable::default());
            assert!(table.insert(api_key().1));
            write(&path, &table.to_bytes().unwrap());
            gate = gate.with_keys(Arc::new(Keys::open(path, LastUses::default()).unwrap()));
        }
        match (self, users) {
            (GateKind::EachRight, Some(users)) => gate.replace_policy(rules_of_each_right(users)).unwrap(),
            (GateKind::Rules, Some(users)) => gate.replace_policy(rules(users)).unwrap(),
            (GateKind::Certificates, Some(users)) => {
                gate.replace_policy(rules_of_certificates(users)).unwrap()
            }
            _ => {}
        }
        gate
    }
}

fn rule(number: usize, effect: Effect, who: &[Who], actions: &[Action], within: &str) -> Rule {
    Rule {
        place: format!("config.yml:{number}, rule {number}").into(),
        effect,
        who: who.to_vec(),
        actions: actions.iter().copied().collect(),
        within: vec![within.parse().unwrap()],
    }
}

fn rules_of_certificates(users: Arc<Users>) -> Policy {
    use Action::{Delete, Pull, Push};
    let rules = vec![
        rule(1, Effect::May, &[Who::Group("machines".into())], &[Pull, Push, Delete], "team/**"),
        rule(2, Effect::MayNot, &[Who::User("certificate:robot".into())], &[Delete], "**"),
        rule(3, Effect::May, &[Who::User("alice".into())], &[Pull], "**"),
    ];
    let machines = Group::Listed(BTreeSet::from(["certificate:robot".into(), "certificate:node.lab".into()]));
    Policy::with_rules(rules, BTreeMap::from([("machines".into(), machines)]), users)
}

/// The keeper's API key, and what the server knows of it.
pub(crate) fn api_key() -> (String, KeyRecord) {
    let id = KeyId::from([7; 8]);
    let (key, public_key) = create_key(id, [9; 32]).unwrap();
    let record = KeyRecord {
        id,
        name: "ci".into(),
        owner: Some("keeper".into()),
        scopes: vec!["lab/app:pull".parse().unwrap()],
        created: 0,
        expires: None,
        public_key,
    };
    (String::from_utf8(key.expose().to_vec()).unwrap(), record)
}

fn rules_of_each_right(users: Arc<Users>) -> Policy {
    use Action::{Admin, Delete, Pull, Push};
    let may = |number, who: &str, actions: &[Action], within| {
        rule(number, Effect::May, &[Who::User(who.into())], actions, within)
    };
    let rules = vec![
        may(1, "reader", &[Pull], "lab/app"),
        may(2, "pusher", &[Pull, Push], "lab/app"),
        may(3, "remover", &[Pull, Delete], "lab/app"),
        may(4, "keeper", &[Pull, Push, Delete, Admin], "**"),
    ];
    Policy::with_rules(rules, BTreeMap::new(), users)
}

fn rules(users: Arc<Users>) -> Policy {
    use Action::{Delete, Pull, Push};
    let rules = vec![
        rule(1, Effect::May, &[Who::Anonymous], &[Pull], "public/**"),
        rule(2, Effect::May, &[Who::Group("team".into())], &[Pull, Push, Delete], "**"),
        rule(3, Effect::MayNot, &[Who::User("bob".into())], &[Delete], "team/prod/**"),
        rule(4, Effect::MayNot, &[Who::Group("team".into())], &[Pull], "hidden/**"),
    ];
    let team = Group::Listed(BTreeSet::from(["alice".into(), "bob".into()]));
    Policy::with_rules(rules, BTreeMap::from([("team".into(), team)]), users)
}

/// A certificate for `localhost` that signs itself.
pub(crate) fn certificate(directory: &Path) -> TlsFiles {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles {
        certificate: directory.join("certificate.pem"),
        key: directory.join("key.pem"),
        keeper: larder_certificates::Keeper::Operator,
        clients: None,
        only_tls13: false,
        cipher_suites: Vec::new(),
        http2: true,
    };
    write(&files.certificate, pair.cert.pem().as_bytes());
    write(&files.key, pair.signing_key.serialize_pem().as_bytes());
    files
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    File::create(path).unwrap().write_all(bytes).unwrap();
}

impl Server {
    /// Without auth, with deletes.
    pub(crate) async fn open() -> Server {
        Setup::default().start().await
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::over(self.tcp().await)
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        within(TcpStream::connect(self.address)).await.unwrap()
    }

    /// One request on a connection of its own, as docker does it.
    pub(crate) async fn ask(&self, request: Request) -> Reply {
        self.connect().await.ask(&request).await
    }

    /// How the server ended after it was told to stop.
    pub(crate) async fn ended(self) -> Result<TempDir, ServeError> {
        drop(self.registry);
        within(self.serving).await.unwrap()?;
        self.answered.cancel();
        if let Some(delivery) = self.delivery {
            within(delivery).await.unwrap();
        }
        Ok(self.directory)
    }

    /// Stops, and starts another server over the same directory.
    pub(crate) async fn restart_as(self, setup: Setup) -> Server {
        self.stop.cancel();
        let directory = self.ended().await.unwrap();
        setup.start_in(directory).await
    }

    /// The lines of the access log, once there are so many.
    pub(crate) async fn logged(&self, count: usize) -> Vec<String> {
        super::eventually(|| async { self.log.lock().unwrap().len() >= count }).await;
        self.log.lock().unwrap().clone()
    }

    /// Where a blob's bytes are on the disk.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let blobs = self.directory.path().join("data/docker/registry/v2/blobs");
        blobs.join(digest.algorithm().as_str()).join(&hex[..2]).join(&hex).join("data")
    }
}
