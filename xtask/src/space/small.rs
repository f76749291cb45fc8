//! A file system of its own that is small, and what fills it to the last byte.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Result, fail};
use crate::places::Ring;
use crate::process::Run;

/// An ext4 in a file, mounted over a loop device; unmounted when dropped.
pub(super) struct Small {
    pub(super) root: PathBuf,
}

impl Small {
    /// Nothing is set aside for root: the last byte is to be had.
    pub(super) fn make(ring: &Ring, name: &str, mebibytes: u64) -> Result<Self> {
        let image = ring.dir.join(format!("{name}.img"));
        File::create(&image)?.set_len(mebibytes << 20)?;
        Run::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-b", "1024", "-N", "16384"]).arg(&image).ok()?;
        let root = ring.make_dir(name)?;
        Run::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&root)
            .ok()
            .context("this ring mounts a small file system: run it as root, where loop devices are")?;
        Ok(Self { root })
    }

    /// A directory in it.
    pub(super) fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Bytes that are free.
    pub(super) fn free(&self) -> Result<u64> {
        let room = rustix::fs::statvfs(&self.root)?;
        Ok(room.f_bavail * room.f_frsize)
    }

    /// Takes every byte that is left.
    pub(super) fn fill(&self) -> Result<Ballast> {
        self.fill_but(0)
    }

    /// Takes all but about so many bytes.
    pub(super) fn fill_but(&self, left: u64) -> Result<Ballast> {
        let path = self.root.join("ballast");
        let mut file = File::options().create(true).append(true).open(&path)?;
        let mut piece = 1 << 20;
        while piece > 0 {
            if left > 0 && self.free()? < left + piece as u64 {
                piece /= 2;
                continue;
            }
            match file.write(&vec![b'x'; piece]).and_then(|written| file.sync_data().map(|()| written)) {
                Ok(written) if written == piece => {}
                // A part of it, or nothing: smaller pieces may still go in.
                Ok(_) => piece /= 2,
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => piece /= 2,
                Err(error) => return Err(error).context("filling the file system"),
            }
        }
        if left == 0 && self.free()? > 0 {
            fail!("{} bytes are still free", self.free()?);
        }
        Ok(Ballast { path })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(failure) = Run::new("umount").arg(&self.root).ok() {
            eprintln!("{failure}");
        }
    }
}

/// What takes the room; gives it back when dropped.
pub(super) struct Ballast {
    path: PathBuf,
}

impl Drop for Ballast {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            eprintln!("{}: {error}", self.path.display());
        }
    }
}

/// How many files lie somewhere below, for what should have been cleared away.
pub(super) fn files_below(dir: &Path) -> Result<Vec<String>> {
    if !dir.try_exists()? {
        return Ok(Vec::new());
    }
    let found = Run::new("find").arg(dir).args(["-type", "f"]).ok()?;
    Ok(found.lines().map(str::to_owned).collect())
}
