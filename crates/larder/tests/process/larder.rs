//! A Larder of its own process, and the little of HTTP that is needed to ask it something.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Larder; killed when it is dropped.
pub(crate) struct Larder {
    child: Child,
    output: PathBuf,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
}

impl Larder {
    /// Serves from this directory, at a port of the system's choice, with more in `http` and at the top.
    pub(crate) fn start(home: &Path, http: &str, more: &str, variables: &[(&str, &str)]) -> Larder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.arg("serve").arg(config(home, http, more)).envs(variables.iter().copied());
        let larder = Larder::run(command, home);
        eventually(|| larder.find_address());
        larder
    }

    /// Serves at a socket that was opened for it.
    pub(crate) fn with_socket(home: &Path, socket: &impl AsFd) -> Larder {
        // A shell puts it in its place, and becomes Larder: so the number of the process is known before.
        rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).unwrap();
        let script = format!(
            "exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve \"$1\"",
            socket.as_fd().as_raw_fd()
        );
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_larder")).arg(config(home, "", ""));
        Larder::run(command, home)
    }

    fn run(mut command: Command, home: &Path) -> Larder {
        let output = home.join("output");
        let file = File::create(&output).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Larder { child: command.spawn().unwrap(), output }
    }

    /// What it has written to standard output and standard error.
    pub(crate) fn output(&self) -> String {
        read(&self.output)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.find_address().expect("it listens")
    }

    fn find_address(&self) -> Option<SocketAddr> {
        let output = self.output();
        let (_, rest) = output.split_once("listening on ")?;
        rest.split(['"', ' ', '\n']).next()?.parse().ok()
    }

    /// A size that the kernel shows of this process in a file of `/proc`, all that have this name together, in KiB.
    pub(crate) fn kibibytes(&self, file: &str, name: &str) -> u64 {
        let text = read(Path::new(&format!("/proc/{}/{file}", self.child.id())));
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_suffix(" kB"));
        lines.map(|size| size.trim().parse::<u64>().unwrap()).sum()
    }

    /// Tells it to stop, and waits for that.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        eventually(|| self.child.try_wait().unwrap())
    }

    /// Ends it without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Larder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.output());
        }
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(home: &Path, http: &str, more: &str) -> PathBuf {
    std::fs::create_dir_all(home).unwrap();
    let path = home.join("config.yml");
    let separator = if http.is_empty() { "" } else { ", " };
    write(
        &path,
        &format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'{separator}{http}}}\n{more}",
            home.join("data").display()
        ),
    );
    path
}

/// Asks until there is an answer.
pub(crate) fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "it never comes to that");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn get_tcp(address: SocketAddr, path: &str) -> io::Result<Reply> {
    ask(TcpStream::connect(address)?, &format!("GET {path} HTTP/1.0\r\nHost: lab\r\n\r\n"))
}

pub(crate) fn post_tcp(address: SocketAddr, path: &str, body: &str) -> io::Result<Reply> {
    let length = body.len();
    let request = format!("POST {path} HTTP/1.0\r\nHost: lab\r\nContent-Length: {length}\r\n\r\n{body}");
    ask(TcpStream::connect(address)?, &request)
}

pub(crate) fn get_unix(socket: &Path, path: &str) -> io::Result<Reply> {
    ask(UnixStream::connect(socket)?, &format!("GET {path} HTTP/1.0\r\nHost: lab\r\n\r\n"))
}

fn ask(mut stream: impl Read + Write, request: &str) -> io::Result<Reply> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.map(|status| Reply { status }).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

pub(crate) fn write(path: &Path, text: &str) {
    File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
