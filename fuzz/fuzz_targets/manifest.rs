//! Manifests: what is taken in is served later under the very type that it was taken in as.
//!
//! The first byte says which Content-Type the request had; the rest is the body.

#![no_main]

use larder_oci::{Descriptor, Digest, Manifest, MediaType, Role, stored_media_type};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    // ASCII digits in the seeds.
    let declared: Option<MediaType> =
        MediaType::MANIFESTS.get(usize::from(first % 8)).map(|text| text.parse().unwrap());
    let stored = stored_media_type(bytes);
    let Ok(manifest) = Manifest::parse(bytes, declared.as_ref()) else { return };
    assert!(MediaType::MANIFESTS.contains(&manifest.media_type.as_str()));
    assert!(declared.is_none_or(|declared| declared == manifest.media_type));
    assert_eq!(stored, Some(manifest.media_type.clone()));
    assert_eq!(Manifest::parse_stored(bytes).unwrap(), manifest);
    let roles: Vec<Role> = manifest.references().map(|(role, _)| role).collect();
    let is_index =
        manifest.media_type.as_str().contains("index") || manifest.media_type.as_str().contains("list");
    if is_index {
        assert!(roles.iter().all(|role| *role == Role::Child));
    } else {
        assert_eq!(roles.first(), Some(&Role::Config));
        assert!(roles[1..].iter().all(|role| *role == Role::Layer));
    }
    // Its line in a referrers list is read by clients as it was written.
    let line = manifest.as_referrer(Digest::sha256(bytes), bytes.len() as u64);
    let json = serde_json::to_vec(&line).unwrap();
    assert_eq!(serde_json::from_slice::<Descriptor>(&json).unwrap(), line);
});
