//! The socket in the data directory, through which the commands of this machine talk to the running registry.
//!
//! It lies in a directory that only the registry's own user can enter, so whoever reaches it may do anything anyway: he
//! could change the files. The same requests are answered as on the port, without credentials; who it was the kernel tells,
//! and the audit log keeps.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::server::{BoundServer, ServeError};

/// The longest answer that a command reads, in bytes: a list of all deletions of a busy day.
const LONGEST_ANSWER: u64 = 256 << 20;

/// How long the registry may take to connect; what it is asked to do may take any time.
const PATIENCE: Duration = Duration::from_secs(5);

fn socket(data: &Path) -> PathBuf {
    data.join("larder/control/socket")
}

impl BoundServer {
    /// Listens on the socket in the data directory.
    ///
    /// # Errors
    /// The directory can't be made, or its path is too long for a socket (107 bytes).
    pub fn bind_control(data: &Path) -> Result<BoundServer, ServeError> {
        let path = socket(data);
        let failed = |source| ServeError::Bind { address: path.display().to_string(), source };
        let directory = path.parent().unwrap_or(data);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        Ok(BoundServer::bind_unix(&path, None)?.for_commands())
    }
}

/// Asks the registry that runs on this data directory; gives the status and the body. `None` if none runs there.
pub async fn ask_running(data: &Path, method: &str, target: &str) -> io::Result<Option<(u16, Vec<u8>)>> {
    let connected = tokio::time::timeout(PATIENCE, UnixStream::connect(socket(data))).await?;
    let mut stream = match connected {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let request = format!("{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    let garbled = || io::Error::other("the running Larder gave no answer; its log may say why");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(garbled)?;
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(garbled)?;
    Ok(Some((status, answer.split_off(end + 4))))
}
