//! Digests, repository names, tags, references and upload sessions: what parses prints as it came, and is safe as
//! a path on disk.

#![no_main]

use larder_oci::{Digest, Reference, RepoName, Tag, UploadId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest.hash().len(), digest.algorithm().length());
        assert_eq!(Digest::from_hash(digest.algorithm(), digest.hash()), Some(digest));
        assert!(matches!(text.parse(), Ok(Reference::Digest(same)) if same == digest));
    }
    if let Ok(name) = text.parse::<RepoName>() {
        assert_eq!(name.as_str(), text);
        assert!(text.len() <= 255);
        for component in name.components() {
            assert!(is_file_name(component) && !component.starts_with(['_', '.', '-']), "{text:?}");
        }
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
        assert!(text.len() <= 128 && is_file_name(text) && !text.starts_with(['.', '-']), "{text:?}");
        assert!(matches!(text.parse(), Ok(Reference::Tag(same)) if same == tag));
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
    }
    if let Ok(id) = text.parse::<UploadId>() {
        assert_eq!(id.to_string(), text);
        assert!(is_file_name(text));
    }
});

fn is_file_name(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && text != ".."
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
