//! TLS that follows its files: a renewed certificate is shown without a restart.
//!
//! The files are looked at (one `stat` each) every few seconds. A change is taken up when the next look
//! finds it unchanged: a renewal writes certificate and key one after the other, and between the two they
//! don't go together. What can't be used then leaves the old set-up in force, and is said once.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use larder_auth::FileStamp;
use larder_certificates::{Certificate, Challenges, Nearness};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{ServerConfig, ServerConnection};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{CLIENT_AUTHORITY, CertificateName, TlsError, TlsFiles};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// A TLS set-up in force. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    set_up: RwLock<SetUp>,
    watched: Mutex<Watched>,
    /// Told whenever there is another set-up.
    taken_up: Notify,
    /// What an authority may ask, where the certificate comes from one.
    challenges: Option<Challenges>,
}

/// What a connection is given: both from one reading of the configuration.
#[derive(Clone)]
pub(crate) struct SetUp {
    /// None before the first certificate of a keeper that gets it while the server runs.
    config: Option<Arc<ServerConfig>>,
    /// What there is to know of the certificate.
    pub(super) shown: Option<Arc<Certificate>>,
    known_by: Option<CertificateName>,
}

pub(super) struct Watched {
    pub(super) files: TlsFiles,
    /// How near the certificate's end was when the log said so last.
    pub(super) noticed: Nearness,
    /// The files as they were when they were last understood or refused.
    judged: Stamps,
    /// As they were at the last look.
    seen: Stamps,
}

/// Of each file in turn; `None` while it can't be looked at.
type Stamps = Vec<Option<FileStamp>>;

impl Tls {
    /// Reads the files for the first time.
    pub fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        Tls::load_proving(files, None)
    }

    /// The same, where an authority asks for proof by these challenges; then there need not be a certificate yet.
    pub fn load_proving(files: TlsFiles, challenges: Option<Challenges>) -> Result<Tls, TlsError> {
        let stamps = stamps(&files);
        let set_up = RwLock::new(SetUp::load(&files)?);
        let noticed = Nearness::Far;
        let watched = Mutex::new(Watched { files, noticed, judged: stamps.clone(), seen: stamps });
        let tls = Tls { inner: Arc::new(Inner { set_up, watched, taken_up: Notify::new(), challenges }) };
        tls.notice(&mut tls.watched(), SystemTime::now());
        Ok(tls)
    }

    /// Looks at the files every few seconds until `stop` is cancelled.
    pub async fn follow(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let tls = self.clone();
            // A network mount may hang: no request waits for it.
            if tokio::task::spawn_blocking(move || tls.look()).await.is_err() {
                tracing::error!("looking at the TLS files failed; they are not followed any more");
                return;
            }
        }
    }

    /// Looks once: takes up a change that the look before has seen already.
    pub fn look(&self) {
        let mut watched = self.watched();
        let found = stamps(&watched.files);
        if found != watched.judged && found == watched.seen {
            self.take_up(&mut watched, found.clone());
        }
        watched.seen = found;
        self.notice(&mut watched, SystemTime::now());
    }

    /// Reads the files now, changed or not; or other ones, if the operator has named others. Tells
    /// whether they could be used.
    pub fn reload(&self, files: TlsFiles) -> bool {
        let mut watched = self.watched();
        let found = stamps(&files);
        if watched.files == files {
            return self.take_up(&mut watched, found);
        }
        // Named files that can't be used must not be followed: the old ones are.
        let before = std::mem::replace(&mut watched.files, files);
        let is_usable = self.take_up(&mut watched, found);
        if !is_usable {
            watched.judged = stamps(&before);
            watched.files = before;
        }
        is_usable
    }

    /// Reads the files now: whoever calls has changed them. Tells whether they could be used.
    pub fn read_again(&self) -> bool {
        let mut watched = self.watched();
        let found = stamps(&watched.files);
        self.take_up(&mut watched, found)
    }

    pub(crate) fn set_up(&self) -> SetUp {
        self.inner.set_up.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn challenges(&self) -> Option<&Challenges> {
        self.inner.challenges.as_ref()
    }

    /// Waits until there is a certificate.
    pub(super) async fn with_certificate(&self) -> SetUp {
        loop {
            let taken_up = self.inner.taken_up.notified();
            let mut taken_up = std::pin::pin!(taken_up);
            // Before the look, so that nothing is missed between the two.
            taken_up.as_mut().enable();
            let set_up = self.set_up();
            if set_up.config.is_some() {
                return set_up;
            }
            taken_up.await;
        }
    }

    fn take_up(&self, watched: &mut Watched, found: Stamps) -> bool {
        watched.judged.clone_from(&found);
        watched.seen = found;
        match SetUp::load(&watched.files) {
            // Whoever has moved the file away doesn't end what is in use.
            Ok(set_up) if set_up.config.is_none() => {
                let is_nothing_lost = self.set_up().config.is_none();
                if !is_nothing_lost {
                    tracing::warn!(
                        certificate = %watched.files.certificate.display(),
                        "the TLS certificate is gone or damaged; the one from before stays in use until there is another one"
                    );
                }
                is_nothing_lost
            }
            Ok(set_up) => {
                *self.inner.set_up.write().unwrap_or_else(PoisonError::into_inner) = set_up;
                self.inner.taken_up.notify_waiters();
                watched.noticed = Nearness::Far;
                tracing::info!(
                    certificate = %watched.files.certificate.display(), "the TLS certificate was read again"
                );
                true
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(
                    %error, cause = cause.unwrap_or_default(),
                    "the TLS files have changed and can't be used; the certificate from before stays in use"
                );
                false
            }
        }
    }

    pub(super) fn watched(&self) -> std::sync::MutexGuard<'_, Watched> {
        self.inner.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SetUp {
    fn load(files: &TlsFiles) -> Result<SetUp, TlsError> {
        let known_by = files.clients.as_ref().and_then(|clients| clients.known_by);
        let shown = CertificateDer::from_pem_file(&files.certificate).ok();
        let shown = shown.and_then(|der| Certificate::of_der(&der)).map(Arc::new);
        let config = match files.load() {
            Ok(config) => Some(config),
            // It is on its way, or will be got anew.
            Err(TlsError::File { what, .. }) if files.is_made_later() && what != CLIENT_AUTHORITY => None,
            Err(TlsError::Pair { .. }) if files.is_made_later() => None,
            Err(error) => return Err(error),
        };
        Ok(SetUp { shown: shown.filter(|_| config.is_some()), config, known_by })
    }

    pub(super) fn config(&self) -> Option<Arc<ServerConfig>> {
        self.config.clone()
    }

    pub(super) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.config.clone().map(TlsAcceptor::from)
    }

    /// Whom the client's certificate names, if it has shown one and is to be known by it.
    pub(crate) fn holder(&self, session: &ServerConnection) -> Option<Arc<str>> {
        let certificate = session.peer_certificates()?.first()?;
        let holder = self.known_by?.holder(certificate);
        if holder.is_none() {
            tracing::warn!(
                known_by = ?self.known_by, "a client's certificate doesn't name its holder, or not just once; he counts as anonymous"
            );
        }
        holder.map(Arc::from)
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    let authorities = files.clients.iter().flat_map(|clients| &clients.authorities);
    let paths: Vec<&PathBuf> = [&files.certificate, &files.key].into_iter().chain(authorities).collect();
    paths.into_iter().map(|path| FileStamp::of(path).ok()).collect()
}
