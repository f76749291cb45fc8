//! Tokens: nothing that wasn't signed here gets in, and nothing about it panics.
//!
//! The input is the value of the `Authorization` header behind `Bearer `.

#![no_main]

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use larder_auth::{AuthMode, Clock, Gate, Mode, Origin, Passwords, Refusal, UsersFile};
use libfuzzer_sys::fuzz_target;

static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("larder-fuzz-users-{}", std::process::id()));
    let line = b"alice:$2y$04$VMVseOXacx7aBW7FmNcUSeoEQczfRUS/8nxWLBLrlPccMmOjKy1My\n";
    std::fs::File::create(&path).unwrap().write_all(line).unwrap();
    // 2026-03-01T12:00:00Z
    let clock: Clock = Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_366_400));
    let users = UsersFile::open(path).unwrap();
    let passwords = Arc::new(Passwords::new(users, [1; 32], NonZeroUsize::MIN, Arc::clone(&clock)));
    let service = "registry.lab".to_owned();
    let mode = AuthMode::Token { service, passwords, key: [3; 32].into(), mode: Mode::AnonymousPull };
    Gate::new(mode, clock)
});

fuzz_target!(|token: &str| {
    let value = format!("Bearer {token}");
    let origin = Origin::at(Ipv4Addr::LOCALHOST.into());
    let mut identified = pin!(GATE.identify(Some(&value), &origin));
    // Only passwords are waited for.
    let Poll::Ready(outcome) = identified.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("a token was waited for");
    };
    assert!(matches!(outcome, Err(Refusal::Token(_) | Refusal::HeaderGarbled)), "{outcome:?}");
});
