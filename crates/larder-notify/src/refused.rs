//! What an endpoint refused for a day: set aside, one JSON object a line, for whoever looks into it.

use std::path::Path;
use std::sync::Arc;

use larder_storage::{Appended, Disk, StorageError};

/// The most bytes that are kept; the older half goes when they are reached.
const LONGEST: u64 = 1 << 20;

/// Sets an event aside; durable when this returns.
pub(crate) fn set_aside(
    disk: &Arc<Disk>,
    directory: &Path,
    status: u16,
    event: &[u8],
) -> Result<(), StorageError> {
    let path = directory.join("refused");
    let mut file = Appended::open(disk, &path)?;
    if file.length() > LONGEST {
        let bytes = disk.read(&path, u64::MAX)?.unwrap_or_default();
        let newer = bytes.get(bytes.len() / 2..).unwrap_or_default();
        let whole_lines = newer.iter().position(|byte| *byte == b'\n').and_then(|end| newer.get(end + 1..));
        disk.put(&path, whole_lines.unwrap_or_default())?;
        file = Appended::open(disk, &path)?;
    }
    let mut line = format!("{{\"status\":{status},\"event\":").into_bytes();
    line.extend_from_slice(event);
    line.extend_from_slice(b"}\n");
    file.append(&line)?;
    file.durable().sync()
}
