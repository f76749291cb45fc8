//! `Range` of downloads and `Content-Range` of chunks: whatever is asked, what is answered lies within the content.
//!
//! The first eight bytes are the content's size, the rest is the header.

#![no_main]

use larder_oci::{ByteRange, ChunkRange, MAX_RANGES, RangeRequest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((size, rest)) = data.split_first_chunk::<8>() else { return };
    let Ok(header) = std::str::from_utf8(rest) else { return };
    let size = u64::from_le_bytes(*size);
    let within = |range: &ByteRange| range.start < range.end && range.end <= size && range.length() > 0;
    match RangeRequest::parse(header, size) {
        RangeRequest::Single(range) => assert!(within(&range)),
        RangeRequest::Several(ranges) => {
            assert!(ranges.len() > 1 && ranges.len() <= MAX_RANGES && ranges.iter().all(within));
            assert!(ranges.iter().map(|range| u128::from(range.length())).sum::<u128>() <= u128::from(size));
            // Asked again in the plainest words, the same comes out.
            let plain: Vec<String> =
                ranges.iter().map(|range| format!("{}-{}", range.start, range.end - 1)).collect();
            let plain = format!("bytes={}", plain.join(","));
            assert_eq!(RangeRequest::parse(&plain, size), RangeRequest::Several(ranges));
        }
        RangeRequest::Whole | RangeRequest::Unsatisfiable => {}
    }
    if let Ok(chunk) = header.parse::<ChunkRange>() {
        assert!(chunk.first <= chunk.last && chunk.length() > 0);
        assert_eq!(format!("{}-{}", chunk.first, chunk.last).parse(), Ok(chunk));
    }
});
