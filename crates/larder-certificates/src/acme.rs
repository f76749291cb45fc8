//! A certificate from an authority that speaks ACME (RFC 8555), such as Let's Encrypt: ordered, kept and renewed by the registry itself.
//!
//! An [`Acme`] looks at the certificate's file and at the clock ([`pace`]), and orders when there is a reason ([`order`]). The authority
//! then asks for proof that the names lead here; what it has to be answered is in [`Challenges`], which the server looks into.
//! What was signed is written to one file, key and chain together, which the server follows as it follows any certificate's. A failure leaves
//! everything as it was: the certificate from before stays in use, and the next try follows after a pause.
//!
//! Nothing has to survive a crash but the account and the certificate, and each is a file that is whole or not there. An
//! order that was cut off is forgotten; the next one finds what the authority has already been shown.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{Certificate, Trouble};

mod challenges;
mod files;
mod order;
mod pace;
mod pause;
mod transport;
mod words;

pub use challenges::{ChallengeCertificate, Challenges, Proof, Shown};
use files::Files;
use order::Refusal;
use pace::{LONGEST_PAUSE, Pace, Step, Why};
use transport::{Transport, TransportError};

/// Let's Encrypt's directory.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The trouble's name for programs.
const KIND: &str = "certificate-order";

/// After how long, at the least, an authority is asked whether it wants a certificate to be renewed.
const ASK_AGAIN: Duration = Duration::from_secs(3600);

/// How long to wait for another registry that orders for the same directory.
const ELSEWHERE: Duration = Duration::from_secs(20);

/// What is ordered from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// The address of the authority's directory.
    pub directory_url: String,
    /// A PEM file with the authorities that vouch for the directory, beside the system's.
    pub directory_authorities: Option<PathBuf>,
    /// Whom the authority writes to.
    pub email: Option<String>,
    /// The names that the certificate is for.
    pub hosts: Vec<String>,
    /// How they are proven.
    pub proof: Proof,
    /// The pause after a first failure; doubled with each further one, up to six hours.
    pub first_pause: Duration,
    /// Where account and certificate are kept, for each authority in a directory of its own.
    pub kept_in: PathBuf,
}

impl AcmeSettings {
    /// The authority's host, as words name it.
    pub fn authority(&self) -> &str {
        let rest = self.directory_url.split_once("://").map_or(self.directory_url.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }

    /// Where what this authority has given is kept. Another authority's account and certificates mean nothing to it.
    fn files(&self) -> Files {
        let rest = self.directory_url.split_once("://").map_or(self.directory_url.as_str(), |(_, rest)| rest);
        let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' };
        let name: String = rest.trim_matches(['/', '.']).chars().map(safe).take(200).collect();
        Files::at(self.kept_in.join(name))
    }

    /// Why the file with the directory's authorities can't be used, if it can't. Blocks on the disk.
    pub fn unusable_authorities(&self) -> Option<String> {
        match Transport::new(self.directory_authorities.as_deref()) {
            Err(error @ TransportError::Authorities { .. }) => Some(words::with_cause(&error)),
            // That the system has no authorities is told when one of them is needed.
            Err(TransportError::Client(_)) | Ok(_) => None,
        }
    }

    /// The file with key and chain; there may be none yet.
    pub fn certificate(&self) -> PathBuf {
        self.files().certificate()
    }
}

/// How orders went since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderNumbers {
    /// Certificates that were got.
    pub issued: u64,
    /// Orders that failed.
    pub failed: u64,
}

/// Who orders, keeps and renews.
pub struct Acme {
    settings: Mutex<AcmeSettings>,
    changed: Notify,
    challenges: Challenges,
    trouble: Mutex<Option<Trouble>>,
    issued: AtomicU64,
    failed: AtomicU64,
    now: fn() -> SystemTime,
}

/// How a try ended.
enum Tried {
    Issued(Certificate),
    /// Another registry with the same directory is at it, or was faster.
    Elsewhere,
}

impl Acme {
    /// Nothing is asked of anybody until [`Acme::keep`] runs.
    pub fn new(settings: AcmeSettings, now: fn() -> SystemTime) -> Acme {
        Acme {
            settings: Mutex::new(settings),
            changed: Notify::new(),
            challenges: Challenges::default(),
            trouble: Mutex::new(None),
            issued: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            now,
        }
    }

    /// What an authority that asks has to be answered.
    pub fn challenges(&self) -> Challenges {
        self.challenges.clone()
    }

    /// What is wrong since the last order failed.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How orders went.
    pub fn numbers(&self) -> OrderNumbers {
        OrderNumbers {
            issued: self.issued.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// Takes up other settings, and ends a pause: whoever has read the configuration again may have mended something.
    pub fn take_up(&self, settings: AcmeSettings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        self.changed.notify_one();
    }

    fn settings(&self) -> AcmeSettings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Orders whenever there is a reason, until `stop` is cancelled. `show` is called when the file has changed.
    pub async fn keep(self: Arc<Self>, show: impl Fn() + Send + Sync + 'static, stop: CancellationToken) {
        let show = Arc::new(show);
        let mut pace = self.paused_before().await;
        // A start asks nothing of anybody where nothing is due.
        let mut asks_at = Instant::now() + ASK_AGAIN;
        loop {
            let settings = self.settings();
            let step = match off_the_runtime({
                let files = settings.files();
                move || files.found()
            })
            .await
            {
                Ok(found) => {
                    if let Some(found) = &found
                        && asks_at <= Instant::now()
                    {
                        asks_at = Instant::now() + self.ask_when(&settings, found, &mut pace).await;
                    }
                    let step = pace.step(found.as_ref(), &settings.hosts, (self.now)());
                    // Another registry with the same files may have got it.
                    if matches!(step, Step::Wait(_)) {
                        self.clear();
                    }
                    step
                }
                // Without having seen what is there nobody orders another one.
                Err(error) => Step::Pause(self.fail(&mut pace, &settings, &error.into(), None)),
            };
            let pause = match step {
                Step::Wait(pause) | Step::Pause(pause) => pause,
                Step::Order(why) => {
                    let Some(tried) = stop.run_until_cancelled(self.attempt(&settings, &why)).await else {
                        return;
                    };
                    match tried {
                        Ok(Tried::Issued(certificate)) => {
                            pace.begin_anew();
                            self.tell(&certificate);
                            let show = Arc::clone(&show);
                            off_the_runtime(move || show()).await;
                            continue;
                        }
                        Ok(Tried::Elsewhere) => ELSEWHERE,
                        Err((refusal, told)) => {
                            let pause = self.fail(&mut pace, &settings, &refusal, told);
                            if told.is_some() {
                                self.keep_pause(&settings, (self.now)() + pause).await;
                            }
                            pause
                        }
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => pace.begin_anew(),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// What an authority asked for before the last stop still counts; whoever has mended something reads the configuration again.
    async fn paused_before(&self) -> Pace {
        let (files, now) = (self.settings().files(), (self.now)());
        let kept = off_the_runtime(move || files.kept_pause()).await;
        let mut pace = Pace::default();
        if let Ok(Some(text)) = kept
            && let Some((until, trouble)) = pause::read(&text, now)
        {
            pace.hold(until);
            self.challenges.set_resting(true);
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
        }
        pace
    }

    async fn keep_pause(&self, settings: &AcmeSettings, until: SystemTime) {
        let text = self.trouble().and_then(|trouble| pause::written(until, &trouble, (self.now)()));
        let (Some(text), files) = (text, settings.files()) else { return };
        if let Err(error) = off_the_runtime(move || files.keep_pause(&text)).await {
            tracing::warn!(
                reason = words::with_cause(&error),
                "a restart won't know of the pause that the authority has asked for"
            );
        }
    }

    /// Asks when the authority would have this certificate renewed, which it says early where it has to revoke some; and says after how long to
    /// ask again. Nothing depends on an answer.
    async fn ask_when(
        &self,
        settings: &AcmeSettings,
        certificate: &Certificate,
        pace: &mut Pace,
    ) -> Duration {
        let asked = async {
            let authorities = settings.directory_authorities.clone();
            let transport = off_the_runtime(move || Transport::new(authorities.as_deref())).await?;
            order::window(settings, &settings.files(), &transport, certificate).await
        };
        match asked.await {
            Ok(Some((begin, end, again))) => {
                // Anywhere in between, so that not all come at once.
                let length = end.duration_since(begin).unwrap_or_default();
                pace.ask(begin + length.mul_f64(rand::random()));
                again.clamp(ASK_AGAIN, LONGEST_PAUSE)
            }
            Ok(None) => LONGEST_PAUSE,
            Err(refusal) => {
                let reason = words::explain(&refusal, settings).reason;
                tracing::debug!(
                    reason,
                    "the authority couldn't be asked when the certificate is to be renewed"
                );
                LONGEST_PAUSE
            }
        }
    }

    /// One order. What fails comes with the moment before which the authority doesn't want to be asked again, if it said so.
    async fn attempt(
        &self,
        settings: &AcmeSettings,
        why: &Why,
    ) -> Result<Tried, (Refusal, Option<SystemTime>)> {
        self.challenges.set_resting(false);
        let files = settings.files();
        let started = off_the_runtime({
            let (files, settings, now) = (files.clone(), settings.clone(), (self.now)());
            move || -> Result<_, Refusal> {
                let Some(lock) = files.lock()? else { return Ok(None) };
                // Whoever held the lock before may have got one.
                let is_still_due = match Pace::default().step(files.found()?.as_ref(), &settings.hosts, now) {
                    Step::Order(_) => true,
                    Step::Wait(_) | Step::Pause(_) => false,
                };
                let transport = Transport::new(settings.directory_authorities.as_deref())?;
                Ok(Some((lock, is_still_due, transport)))
            }
        })
        .await
        .map_err(|refusal| (refusal, None))?;
        let Some((lock, is_still_due, transport)) = started else { return Ok(Tried::Elsewhere) };
        if !is_still_due && *why != Why::Asked {
            return Ok(Tried::Elsewhere);
        }
        tracing::info!(
            hosts = settings.hosts.join(" "),
            authority = settings.directory_url,
            proof = settings.proof.name(),
            "a certificate is ordered, because {}",
            why.in_words()
        );
        let ordered = order::order(settings, &files, &transport, &self.challenges).await;
        let kept = match ordered {
            Ok(pem) => {
                off_the_runtime(move || -> Result<Certificate, Refusal> {
                    let certificate =
                        files::whole(&pem).ok_or(Refusal::Chain("it has no first certificate"))?;
                    files.keep_certificate(&pem)?;
                    Ok(certificate)
                })
                .await
            }
            Err(refusal) => Err(refusal),
        };
        drop(lock);
        match kept {
            Ok(certificate) => Ok(Tried::Issued(certificate)),
            Err(refusal) => Err((refusal, transport.told())),
        }
    }

    fn tell(&self, certificate: &Certificate) {
        self.issued.fetch_add(1, Ordering::Relaxed);
        self.clear();
        let end = humantime::format_rfc3339_seconds(certificate.validity.end).to_string();
        tracing::info!(
            names = certificate.names.join(" "),
            end,
            "the certificate has been issued and is in use"
        );
    }

    fn clear(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Tells the log and remembers for the problems; says how long to wait.
    fn fail(
        &self,
        pace: &mut Pace,
        settings: &AcmeSettings,
        refusal: &Refusal,
        told: Option<SystemTime>,
    ) -> Duration {
        let now = (self.now)();
        let next = pace.fail(settings.first_pause, told, rand::random(), now);
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.challenges.set_resting(true);
        let words = words::explain(refusal, settings);
        let about = match settings.hosts.as_slice() {
            [] => "the certificate".to_owned(),
            [one] => format!("the certificate of {one}"),
            [one, rest @ ..] => format!("the certificate of {one} and {} more", rest.len()),
        };
        let at = humantime::format_rfc3339_seconds(next);
        let reason = format!("{about} could not be got: {}. The next try is at {at}", words.reason);
        tracing::error!(fix = words.fix, failures = pace.failures(), "{reason}");
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = trouble.as_ref().map_or(now, |before| before.since);
        *trouble = Some(Trouble { kind: KIND, reason, fix: words.fix, since });
        next.duration_since(now).unwrap_or_default()
    }
}

/// Runs what may block on a thread that may.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(Box::new(error)),
    }
}

#[cfg(test)]
mod tests;
