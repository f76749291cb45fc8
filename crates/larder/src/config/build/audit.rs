//! `audit`.

use std::path::Path;

use super::super::report::Mistake;
use super::super::typed::{Audit, AuditFile};
use super::Reader;

/// About a hundred thousand lines.
const MAX_BYTES: usize = 64 << 20;

/// With the bytes of each: two gigabytes.
const MAX_FILES: usize = 32;

impl Reader<'_> {
    pub(super) fn audit(&mut self) -> Option<Audit> {
        const PATH: &str = "audit.path";
        self.set_value("audit")?;
        let nothing_is_all = |number: usize| (number > 0).then_some(number);
        let (pulls, required) = (self.boolean("audit.pulls", true), self.boolean("audit.required", false));
        let (max_bytes, max_files) = (
            self.bytes("audit.maxbytes", 0..=usize::MAX, MAX_BYTES),
            self.number("audit.maxfiles", 0..=usize::MAX, MAX_FILES),
        );
        let Some((path, origin)) = self.text(PATH) else {
            let says_something =
                (pulls, required, max_bytes, max_files) != (true, false, MAX_BYTES, MAX_FILES);
            // One that is no text has been reported.
            if says_something && self.set_value(PATH).is_none() {
                let origin = self.section_origin("audit");
                self.report.error(&origin, Mistake::Missing { key: PATH, why: "say which file it is" });
            }
            return None;
        };
        let path = Path::new(path);
        if !path.is_absolute() || path.file_name().is_none() {
            self.invalid(
                PATH,
                origin,
                "must be the absolute path of a file, such as /var/log/larder/audit.jsonl",
            );
            return None;
        }
        Some(Audit {
            pulls,
            required,
            file: AuditFile {
                path: path.to_owned(),
                max_bytes: nothing_is_all(max_bytes).map(|bytes| bytes as u64),
                max_files: nothing_is_all(max_files),
            },
        })
    }
}

#[cfg(test)]
pub(in crate::config::build) mod tests;
