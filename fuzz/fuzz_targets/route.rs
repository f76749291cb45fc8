//! Paths: what is understood means the same in its plainest spelling.

#![no_main]

use larder_server::fuzzing::plainest_path;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    let Some(plain) = plainest_path(path) else { return };
    assert!(plain.starts_with('/') && !plain.contains("/../") && !plain.contains('%'), "{plain}");
    assert!(plain.bytes().all(|byte| byte.is_ascii_graphic()), "{plain}");
    assert_eq!(plainest_path(&plain).as_ref(), Some(&plain));
});
