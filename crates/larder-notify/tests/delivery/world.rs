//! Endpoints that do as they are told, and a registry's notifications on a disk of their own.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use larder_core::{Environment, Event};
use larder_notify::{EndpointSettings, EndpointSnapshot, Generation, Notifications, Request, Settings};
use larder_oci::{Actor, Digest, Tag};
use larder_storage::Disk;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Events that no test fills up.
pub(crate) const LARGE: usize = 1000;

/// Seconds since 1970 of the clock that all tests here share.
pub(crate) static NOW: AtomicU64 = AtomicU64::new(1_791_640_536);

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an endpoint does with a request.
#[derive(Clone)]
pub(crate) enum Does {
    Answer(u16),
    Redirect(String),
    /// Closes the connection instead.
    Close,
    /// Says nothing.
    Stall,
}

/// An endpoint: does one thing after the other, and then takes everything.
pub(crate) struct Hook {
    address: std::net::SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Does>,
    refused: Option<String>,
    messages: Vec<Message>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) id: String,
    pub(crate) action: String,
    /// Empty where it has none.
    pub(crate) tag: String,
}

impl Hook {
    pub(crate) async fn start(script: impl IntoIterator<Item = Does>) -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { script: script.into_iter().collect(), ..State::default() }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(attend(stream, Arc::clone(&shared)));
            }
        });
        Hook { address, state }
    }

    /// One that isn't there.
    pub(crate) async fn stopped() -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Hook { address: listener.local_addr().unwrap(), state: Arc::default() }
    }

    /// Never takes the event about this tag.
    pub(crate) fn refuse(&self, tag: &str) {
        self.state.lock().unwrap().refused = Some(tag.to_owned());
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap().messages.len()
    }

    pub(crate) fn settings(&self, name: &str) -> EndpointSettings {
        EndpointSettings {
            name: name.into(),
            url: self.url("/hook"),
            headers: http::HeaderMap::new(),
            timeout: Duration::from_secs(20),
            threshold: 2,
            backoff: Duration::from_millis(5),
            ignored_media_types: Vec::new(),
            ignored_actions: Vec::new(),
        }
    }

    /// Everything that came, once there is so much.
    pub(crate) async fn messages(&self, count: usize) -> Vec<Message> {
        wait_until(|| self.count() >= count).await;
        self.state.lock().unwrap().messages.clone()
    }
}

/// A data directory.
pub(crate) struct World {
    directory: TempDir,
}

/// Notifications that are being delivered.
pub(crate) struct Running {
    notifications: Arc<Notifications>,
    stop: CancellationToken,
    delivery: JoinHandle<()>,
}

impl World {
    pub(crate) fn new() -> World {
        World { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    pub(crate) async fn start(&self, endpoints: Vec<EndpointSettings>, queue_events: usize) -> Running {
        let disk = Arc::new(Disk::open(self.directory.path()).unwrap());
        let settings = Settings {
            endpoints,
            generation: Generation::V1,
            include_references: false,
            source: "lab:5000".into(),
            queue_events,
            queue_bytes: 1 << 20,
        };
        let now = || SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.load(Ordering::SeqCst));
        let environment = Environment { now, ..Environment::system() };
        let notifications = Arc::new(Notifications::open(&disk, settings, environment).unwrap());
        let stop = CancellationToken::new();
        let delivery = tokio::spawn(Arc::clone(&notifications).deliver(stop.clone()));
        Running { notifications, stop, delivery }
    }
}

impl Running {
    /// Reports a change, as the registry does from a thread that may block.
    pub(crate) async fn change(&self, number: usize) {
        let sink = self.notifications.sink(request());
        let changing = tokio::task::spawn_blocking(move || {
            let tag: Tag = format!("tag-{number}").parse().unwrap();
            sink.changed(&Actor::Anonymous, &"lab/app".parse().unwrap(), &[Event::TagDeleted { tag: &tag }])
        });
        tokio::time::timeout(PATIENCE, changing).await.expect("a change hangs").unwrap().unwrap();
    }

    pub(crate) fn pull(&self) {
        let event = Event::BlobPulled { digest: Digest::sha256(b"x"), size: 1 };
        self.notifications.pulled(request, &Actor::Anonymous, &"lab/app".parse().unwrap(), &event);
    }

    /// The first endpoint's numbers.
    pub(crate) fn snapshot(&self) -> EndpointSnapshot {
        self.notifications.snapshot().remove(0)
    }

    pub(crate) async fn eventually(&self, is_so: impl Fn(&EndpointSnapshot) -> bool) {
        wait_until(|| is_so(&self.snapshot())).await;
    }

    /// The numbers when nothing waits any more.
    pub(crate) async fn settled(&self) -> EndpointSnapshot {
        self.eventually(|snapshot| snapshot.pending == 0).await;
        self.snapshot()
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.delivery).await.expect("the delivery hangs").unwrap();
    }
}

fn request() -> Request {
    Request {
        id: "1".into(),
        address: "192.0.2.1:1".into(),
        host: "lab".into(),
        method: "DELETE".into(),
        user_agent: String::new(),
        base_url: "http://lab".into(),
    }
}

async fn wait_until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it never comes to that");
}

async fn attend(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let mut body = vec![0; field("content-length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let event = &body["events"][0];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let message = Message {
            path: head.split(' ').nth(1).unwrap().to_owned(),
            authorization: field("authorization"),
            id: text(&event["id"]),
            action: text(&event["action"]),
            tag: text(&event["target"]["tag"]),
        };
        let does = {
            let mut state = state.lock().unwrap();
            let is_refused = state.refused.as_ref() == Some(&message.tag);
            state.messages.push(message);
            if is_refused { Does::Answer(400) } else { state.script.pop_front().unwrap_or(Does::Answer(200)) }
        };
        let answer = match does {
            Does::Answer(status) => format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"),
            Does::Redirect(to) => {
                format!("HTTP/1.1 307 X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
            }
            Does::Close => return,
            // Until the client has had enough.
            Does::Stall => {
                let _ = stream.read_u8().await;
                return;
            }
        };
        // 204 has no body, and no length.
        let answer = if answer.contains(" 204 ") { "HTTP/1.1 204 X\r\n\r\n".to_owned() } else { answer };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
