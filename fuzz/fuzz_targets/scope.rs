//! Token scopes: what can be granted prints as it is read, and can't break out of the challenge's quotes.

#![no_main]

use larder_oci::{Resource, Scope};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(scope) = text.parse::<Scope>() else { return };
    let printed = scope.to_string();
    match scope.resource {
        Resource::Repository(_) | Resource::Catalog => {
            assert_eq!(printed.parse(), Ok(scope));
            assert!(
                printed.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\ ".contains(&byte)),
                "{printed}"
            );
        }
        Resource::Other(_) => assert!(printed.chars().count() <= 81),
    }
});
