//! Conditional headers: whatever they hold, there is one verdict, and the plain cases have the right one.
//!
//! The input is the value of each header in turn.

#![no_main]

use http::HeaderValue;
use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use larder_oci::Digest;
use larder_server::fuzzing::{Conditions, conditions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let digest = Digest::sha256(b"hello world");
    let of = |name| conditions(&[(name, value.clone())].into_iter().collect(), &digest);
    let quoted = format!("\"{digest}\"");
    let text = value.to_str().unwrap_or_default().trim();

    let Conditions { status, range_counts, precondition } = of(IF_MATCH);
    assert!(status == 200 || status == 412);
    assert!(range_counts && !precondition.ends_with("None"));
    let any = text.split(',').any(|item| item.trim() == "*");
    assert_eq!(precondition == "Present", any);
    if any || text == quoted {
        assert_eq!(status, 200);
    }

    let Conditions { status, range_counts, precondition } = of(IF_NONE_MATCH);
    assert!((status == 200 || status == 304) && range_counts);
    let any = text.split(',').any(|item| item.trim() == "*");
    assert_eq!(precondition == "Absent", any);
    if any || text == quoted {
        assert_eq!(status, 304);
    }

    let Conditions { status, range_counts, precondition } = of(IF_RANGE);
    assert_eq!((status, precondition.as_str()), (200, "Always"));
    assert_eq!(range_counts, text == quoted);
});
