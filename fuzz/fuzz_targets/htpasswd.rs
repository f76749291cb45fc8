//! The users file: it is read whole or refused with its lines named, and each line that counts is a user.

#![no_main]

use std::path::Path;

use larder_auth::UserTable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let lines = || text.split(|&byte| byte == b'\n');
    match UserTable::parse(Path::new("htpasswd"), content) {
        Ok(table) => {
            let users = lines().filter_map(|line| {
                let line = std::str::from_utf8(line).unwrap().trim();
                let counts = !line.is_empty() && !line.starts_with('#');
                counts.then(|| line.split_once(':').unwrap().0)
            });
            let mut distinct = std::collections::HashSet::new();
            for user in users {
                assert!(!user.is_empty() && table.contains(user), "{user:?}");
                distinct.insert(user);
            }
            assert_eq!(table.user_count(), distinct.len());
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("htpasswd line "), "{message}");
            assert!(message.len() < 21 * 2000, "a message of {} bytes", message.len());
        }
    }
});
