//! Where things are: the workspace, its target directory, and a ring's own directory below `target/rings`.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::{Context, Result, fail};
use crate::process::Run;

pub(crate) fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// Where `cargo xtask tools` puts the Go clients.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// A ring's directory, empty when the ring starts and left behind when it ends, so that logs can be read.
pub(crate) struct Ring {
    pub(crate) dir: PathBuf,
    /// A short path for Unix sockets, whose names may have only 107 bytes.
    pub(crate) sockets: PathBuf,
}

impl Ring {
    pub(crate) fn fresh(name: &str) -> Result<Self> {
        let dir = target().join("rings").join(name);
        kill_left_behind(&dir);
        unmount_below(&dir)?;
        if dir.try_exists()? {
            fs::remove_dir_all(&dir).context(format!("emptying {}", dir.display()))?;
        }
        fs::create_dir_all(&dir)?;
        let sockets = Path::new("/tmp").join(format!("larder-{name}-{}", std::process::id()));
        fs::create_dir_all(&sockets)?;
        Ok(Self { dir, sockets })
    }

    pub(crate) fn make_dir(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// A directory of its own with a path of at most 50 bytes: podman refuses a longer one for its state.
    pub(crate) fn make_short_dir(&self) -> Result<PathBuf> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = self.sockets.join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Notes a daemon, so that the next run of the ring can end it if this run is killed.
    pub(crate) fn note_pid(&self, pid: u32) -> Result {
        let mut pids = fs::read_to_string(self.dir.join("pids")).unwrap_or_default();
        pids.push_str(&format!("{pid}\n"));
        Ok(fs::write(self.dir.join("pids"), pids)?)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // What still is mounted there belongs to a daemon that did not end; removing below it would be wrong.
        if unmount_below(&self.sockets).is_ok() {
            let _ = fs::remove_dir_all(&self.sockets);
        }
    }
}

/// Ends the daemons of an earlier, killed run: only processes it noted, and only if they still are its own.
fn kill_left_behind(dir: &Path) {
    let Ok(pids) = fs::read_to_string(dir.join("pids")) else { return };
    for pid in pids.lines() {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(&*dir.to_string_lossy()) {
            let _ = Run::new("kill").arg("-9").arg(pid).output();
        }
    }
}

/// Container stores leave overlay mounts behind when they are killed.
fn unmount_below(dir: &Path) -> Result {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let below: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|point| Path::new(point).starts_with(dir))
        .collect();
    for point in below.iter().rev() {
        Run::new("umount").arg("-l").arg(point).ok()?;
    }
    Ok(())
}

/// Where every server of the rings listens: nothing of them is reachable from elsewhere.
pub(crate) const LOOPBACK: &str = "127.0.0.1";

/// A TCP port of `address` that nobody listens on, and that this process has not handed out before.
pub(crate) fn free_port(address: &str) -> Result<u16> {
    static HANDED_OUT: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..100 {
        let port =
            TcpListener::bind((address, 0)).context(format!("a port of {address}"))?.local_addr()?.port();
        let Ok(mut handed_out) = HANDED_OUT.lock() else { fail!("the list of ports is poisoned") };
        if handed_out.insert(port) {
            return Ok(port);
        }
    }
    fail!("no free port on {address}")
}
