//! `config.yml` and `REGISTRY_*`: the first line names a variable's rest and its value, the others are the file. What is
//! refused is refused with a place and a sentence; what is taken in has no zero interval and no rootless path.

#![no_main]

#[allow(dead_code, unused_imports, reason = "the binary's module, without the binary that uses it")]
#[path = "../../crates/larder/src/config/mod.rs"]
mod config;

use config::{Config, Environment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (variable, file) = text.split_once('\n').unwrap_or(("", text));
    let environment: Environment = variable
        .split_once('=')
        .map(|(name, value)| (format!("REGISTRY_{name}").into(), value.into()))
        .into_iter()
        .collect();
    match Config::from_yaml(file, "config.yml", &environment) {
        Ok(loaded) => {
            let purging = &loaded.config.storage.upload_purging;
            assert!(!purging.enabled || !purging.interval.is_zero());
            assert!(!loaded.config.http.prefix.ends_with('/'));
        }
        Err(errors) => assert!(!errors.to_string().trim().is_empty()),
    }
});
