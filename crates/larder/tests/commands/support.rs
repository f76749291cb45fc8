use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) work: TempDir,
    pub(crate) data: PathBuf,
}

pub(crate) struct Server {
    child: Child,
    pub(crate) host: String,
}

impl World {
    pub(crate) fn new() -> World {
        let work = tempfile::tempdir().unwrap();
        let data = work.path().join("data");
        World { work, data }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// Starts a server without users on the data directory.
    pub(crate) fn serve(&self) -> Server {
        Server::start(&self.data, &self.path("config.yml"))
    }

    /// An archive as `docker save` writes it: images `name:0`, `name:1`… with a layer of so many bytes each.
    pub(crate) fn archive(&self, name: &str, images: usize, layer: usize) -> PathBuf {
        let path = self.path(&format!("{name}.tar"));
        let mut builder = tar::Builder::new(std::fs::File::create(&path).unwrap());
        let mut append = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, bytes).unwrap();
        };
        let mut list = Vec::new();
        for image in 0..images {
            let seed = name.bytes().map(u64::from).sum::<u64>() * 1000 + image as u64;
            append(&format!("{image}/layer.tar"), &noise(seed, layer));
            append(&format!("{image}.json"), format!(r#"{{"os":"linux","n":{seed}}}"#).as_bytes());
            list.push(serde_json::json!({
                "Config": format!("{image}.json"), "RepoTags": [format!("{name}:{image}")],
                "Layers": [format!("{image}/layer.tar")],
            }));
        }
        append("manifest.json", serde_json::Value::from(list).to_string().as_bytes());
        builder.into_inner().unwrap();
        path
    }

    pub(crate) fn import(&self, archive: &Path) {
        ok(larder(&["import", archive.to_str().unwrap(), "--data", self.data.to_str().unwrap()]));
    }
}

/// Bytes that don't shrink, from a seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn larder(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(arguments).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

pub(crate) fn ok(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?} should fail: {}", said(&output));
    said(&output)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Server {
    pub(crate) fn start(data: &Path, config: &Path) -> Server {
        Server::start_with(data, config, "")
    }

    /// With further sections of the configuration.
    pub(crate) fn start_with(data: &Path, config: &Path, sections: &str) -> Server {
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n{sections}",
            data.display()
        );
        std::fs::write(config, text).unwrap();
        let mut command = larder(&["serve", config.to_str().unwrap()]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let host = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended: {seen}");
            seen.push_str(&line);
            if let Some(at) = line.find("127.0.0.1:").filter(|_| line.contains("listening on")) {
                let rest = &line[at + "127.0.0.1:".len()..];
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break format!("127.0.0.1:{port}");
            }
        };
        // Somebody has to read the log, or the server would wait for it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Server { child, host }
    }

    /// One request; gives the status and all that came.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // An answer may come, and the connection go, before all was sent.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
