//! Other programs: commands that end ([`Run`]) and daemons that don't ([`Daemon`]).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Context, Result, fail};
use crate::places::{self, Ring};

/// Longest that a command may take unless it says otherwise.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// How often a thing that is being waited for is looked at.
const POLL: Duration = Duration::from_millis(10);
/// How long a daemon may take to end after SIGTERM before it is killed.
const TERMINATE_LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Run {
    command: Command,
    words: Vec<String>,
    stdin: Option<Vec<u8>>,
    limit: Duration,
}

pub(crate) struct Output {
    pub(crate) words: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program.as_ref());
        command.env("PATH", search_path());
        let words = vec![program.as_ref().to_string_lossy().into_owned()];
        Self { command, words, stdin: None, limit: COMMAND_LIMIT }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.words.push(arg.as_ref().to_string_lossy().into_owned());
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        for arg in args {
            self = self.arg(arg);
        }
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub(crate) fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(input.into());
        self
    }

    pub(crate) fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Runs it to its end, whatever that is.
    // Output goes through files: a daemon that the command leaves behind may hold a pipe open for ever.
    pub(crate) fn output(mut self) -> Result<Output> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let words = self.words.join(" ");
        let dir = places::target().join("rings");
        fs::create_dir_all(&dir)?;
        let name = format!(".command-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (out, err) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        self.command.stdout(File::create(&out)?).stderr(File::create(&err)?);
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = self.command.spawn().context(format!("starting `{words}`"))?;
        if let (Some(input), Some(mut pipe)) = (self.stdin.take(), child.stdin.take()) {
            // A command that ends without reading its input is judged by its exit code, not by our EPIPE.
            let _ = pipe.write_all(&input);
        }
        let ended = wait_within(&mut child, self.limit)?;
        let output = Output {
            code: ended.and_then(|status| status.code()),
            stdout: String::from_utf8_lossy(&fs::read(&out)?).into_owned(),
            stderr: String::from_utf8_lossy(&fs::read(&err)?).into_owned(),
            words,
        };
        fs::remove_file(&out)?;
        fs::remove_file(&err)?;
        if ended.is_none() {
            child.kill()?;
            child.wait()?;
            fail!("`{}` took longer than {} s\n{}", output.words, self.limit.as_secs(), output.all());
        }
        Ok(output)
    }

    /// Runs it and fails unless it exits with 0. Returns its standard output.
    pub(crate) fn ok(self) -> Result<String> {
        let output = self.output()?;
        if output.code != Some(0) {
            fail!("`{}` ended with {:?}\n{}", output.words, output.code, output.all());
        }
        Ok(output.stdout)
    }

    /// Runs it with this process's own output; fails unless it exits with 0.
    pub(crate) fn shown(mut self) -> Result {
        let words = self.words.join(" ");
        let mut child = self.command.stdin(Stdio::null()).spawn().context(format!("starting `{words}`"))?;
        match wait_within(&mut child, self.limit)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => fail!("`{words}` ended with {status}"),
            None => {
                child.kill()?;
                child.wait()?;
                fail!("`{words}` took longer than {} s", self.limit.as_secs())
            }
        }
    }

    /// Runs it and fails unless it fails itself, saying `message` (see [`says`]).
    pub(crate) fn refused(self, message: &str) -> Result {
        self.output()?.refused(message)
    }

    /// Starts it as a daemon whose output goes to `<ring>/<name>.log`.
    pub(crate) fn daemon(mut self, ring: &Ring, name: &str) -> Result<Daemon> {
        let log = ring.dir.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        self.command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = self.command.spawn().context(format!("starting `{}`", self.words.join(" ")))?;
        ring.note_pid(child.id())?;
        Ok(Daemon { name: name.to_owned(), child, log })
    }
}

impl Output {
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    pub(crate) fn refused(&self, message: &str) -> Result {
        if self.code == Some(0) {
            fail!("`{}` succeeded, but should have been refused with {message:?}", self.words);
        }
        if !says(&self.all(), message) {
            fail!("`{}` was refused without saying {message:?}, but:\n{}", self.words, self.all());
        }
        Ok(())
    }
}

/// Whether a text holds one of the alternatives `a|b`, without regard to case; `*` stands for anything.
pub(crate) fn says(text: &str, message: &str) -> bool {
    let text = text.to_lowercase();
    message.to_lowercase().split('|').any(|alternative| {
        let mut rest = text.as_str();
        alternative.split('*').all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}

/// A program that runs until it is told to end; ended when dropped.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Polls until `ready` says true. Fails when the daemon ends or the limit is over, with its last words.
    pub(crate) fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result {
        let start = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                fail!(
                    "{} ended with {status} before {what}; its last words:\n{}",
                    self.name,
                    self.last_words()
                );
            }
            if start.elapsed() > limit {
                fail!(
                    "{}: {what} took longer than {limit:?}; its last words:\n{}",
                    self.name,
                    self.last_words()
                );
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    pub(crate) fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }

    /// SIGKILL: no last words, no flush.
    pub(crate) fn kill(&mut self) -> Result {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and SIGKILL when that is not obeyed in time, which is a failure.
    pub(crate) fn stop(mut self) -> Result {
        self.terminate()
    }

    fn terminate(&mut self) -> Result {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("the daemon's pid")?;
        kill_process(pid, Signal::TERM)?;
        if wait_within(&mut self.child, TERMINATE_LIMIT)?.is_none() {
            self.kill()?;
            fail!("{} did not end within {TERMINATE_LIMIT:?} of SIGTERM", self.name);
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(failure) = self.terminate() {
            eprintln!("{failure}");
        }
    }
}

/// Waits for a child without blocking for ever; `None` when it still runs at the limit.
fn wait_within(child: &mut Child, limit: Duration) -> Result<Option<std::process::ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            return Ok(None);
        }
        std::thread::sleep(if start.elapsed() < Duration::from_millis(50) { POLL / 5 } else { POLL });
    }
}

/// `PATH` with our own tools first and the system's administration programs last.
fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{}:{path}:/usr/local/go/bin:/usr/sbin:/sbin", places::tools().display())
}
