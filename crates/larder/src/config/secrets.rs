//! Secrets from files: `{file: PATH}` in the place of a secret, or `…_FILE` at the end of a variable's name, as orchestrators
//! hand them out (`/run/secrets/…`). What the file holds takes the place of its name in the tree.

use super::{
    ReadFile,
    keys::{SECRET_FILE, Slot, Status},
    report::{Mistake, Report},
    value::{Content, Value},
};
use larder_auth::FileStamp;
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// The longest secret: a thousand times a password, and more than any key or token.
const SECRET_BYTES_LIMIT: u64 = 64 << 10;

/// Reads every file that is named in the place of a secret, and gives those that were read. Files for keys without an
/// effect aren't looked at.
pub(super) fn read(root: &mut Value, report: &mut Report) -> Vec<ReadFile> {
    let mut files = Vec::new();
    read_below(root, &Slot::root(), report, &mut files);
    files
}

/// The file that is named here in the place of a secret.
pub(super) fn file_of<'a>(value: &'a Value, slot: &Slot) -> Option<&'a Path> {
    let [entry] = value.entries() else { return None };
    let path = entry.value.scalar().filter(|path| !path.is_empty())?;
    (slot.is_secret() && entry.key == SECRET_FILE).then(|| Path::new(path))
}

fn read_below(value: &mut Value, slot: &Slot, report: &mut Report, files: &mut Vec<ReadFile>) {
    if let Some(path) = file_of(value, slot).map(Path::to_owned) {
        if slot.status == Status::Works {
            files.extend(take(value, slot, &path, report));
        }
        return;
    }
    match &mut value.content {
        Content::Map(entries) => {
            for entry in entries {
                if let Some(child) = slot.child(&entry.key) {
                    read_below(&mut entry.value, &child, report, files);
                }
            }
        }
        Content::List(items) => {
            if let Some(item) = slot.item() {
                items.iter_mut().for_each(|each| read_below(each, &item, report, files));
            }
        }
        Content::Null | Content::Scalar { .. } => {}
    }
}

/// Puts what the file holds in the place of its name, or says why it can't.
fn take(value: &mut Value, slot: &Slot, path: &Path, report: &mut Report) -> Option<ReadFile> {
    let place = value.entries().first().map_or(&value.origin, |entry| &entry.value.origin).clone();
    let name = path.display();
    let problem = match secret_in(path) {
        Ok((text, _)) if text.is_empty() => format!("comes from {name}, which is empty"),
        Ok((text, stamp)) => {
            *value = Value::text(text, place);
            return Some(ReadFile { path: path.to_owned(), stamp });
        }
        Err(error) => format!("comes from {name}, which can't be read: {error}"),
    };
    report.error(&place, Mistake::Invalid { key: slot.path.clone(), problem });
    None
}

/// The text of the file without the line breaks at its end, which `echo` and editors leave there.
fn secret_in(path: &Path) -> io::Result<(String, FileStamp)> {
    let file = File::open(path)?;
    let stamp = FileStamp::from(&file.metadata()?);
    let mut text = String::new();
    file.take(SECRET_BYTES_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_BYTES_LIMIT {
        return Err(io::Error::other(format!("it has more than {SECRET_BYTES_LIMIT} bytes")));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok((text, stamp))
}

#[cfg(test)]
mod tests;
