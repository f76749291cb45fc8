//! Media types: what parses is one word that can stand in a header, and parses to itself.

#![no_main]

use larder_oci::MediaType;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(media_type) = text.parse::<MediaType>() else { return };
    let printed = media_type.as_str();
    assert!(text.trim_start().starts_with(printed));
    assert_eq!(printed.parse(), Ok(media_type.clone()));
    assert_eq!(printed.matches('/').count(), 1);
    assert!(
        printed.len() <= 255
            && printed.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\,;".contains(&byte))
    );
});
