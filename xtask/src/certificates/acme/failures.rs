//! What can go wrong with an order, in words, and that it heals by itself.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{ADDRESS, ORDER_LIMIT, Stage, ended};
use crate::certificates::pebble::{Dns, Pebble};
use crate::failure::{Result, fail, same};
use crate::process::Daemon;
use crate::report::Report;

/// Nobody has it in the ring's network.
const NOBODY: &str = "192.0.2.78";

pub(super) fn cases(report: &mut Report, stage: &Stage, pebble: &Pebble) -> Result {
    Dns::lead(&stage.network, "lost.example.test", NOBODY)?;
    let registry = stage.registry("lost", 443, pebble, "hosts: [lost.example.test]")?;
    let mut larder = registry.start()?;
    let fails_with = |larder: &mut Daemon, words: &str| {
        larder.wait_until(words, ORDER_LIMIT, || {
            registry.problems().is_ok_and(|problems| problems.contains(words))
        })
    };
    report.case("registry", "says that nobody answers at the name", || {
        fails_with(&mut larder, "the authority gets no connection to port 443 of lost.example.test")?;
        let log = registry.log_with("let port 443 of lost.example.test lead to")?;
        let problems = registry.problems()?;
        for text in [&log, &problems] {
            if !text.contains("Failed to connect to 192.0.2.78:443")
                || !text.contains("let port 443 of lost.example.test lead to")
            {
                fail!("{text}");
            }
        }
        println!("    {}", problems.lines().next().unwrap_or_default());
        Ok(())
    });
    report.case("doctor", "says it, too", || {
        let told =
            registry.run("doctor")?.args(["--server", "--config"]).arg(&registry.config).output()?.all();
        if !told.contains("the authority gets no connection to port 443 of lost.example.test") {
            fail!("{told}");
        }
        Ok(())
    });
    report.case("curl", "is turned away at once", || {
        let start = Instant::now();
        registry.curl("lost.example.test", "/v2/").refused("alert internal error|tlsv1 alert internal")?;
        if start.elapsed() > Duration::from_secs(4) {
            fail!("after {:?}", start.elapsed());
        }
        Ok(())
    });
    report.case("registry", "says that the name has no address", || {
        Dns::tell(&stage.network, "set-servfail", &json!({"host": "lost.example.test"}))?;
        fails_with(&mut larder, "finds no address of lost.example.test")?;
        println!("    {}", registry.problems()?.lines().next().unwrap_or_default());
        Dns::tell(&stage.network, "clear-servfail", &json!({"host": "lost.example.test"}))
    });
    report.case("registry", "gets its certificate by itself when the name leads here", || {
        Dns::tell(&stage.network, "clear-a", &json!({"host": "lost.example.test"}))?;
        registry.await_certificate(&mut larder, "lost.example.test")?;
        same("problems", &registry.problems()?, &String::new())
    });
    larder.stop()?;
    report.case("registry", "says that somebody else answers, and that a name isn't signed", || {
        // Another registry has port 80 of the name, and knows nothing of the order.
        let other = stage.registry(
            "other",
            5443,
            pebble,
            &format!("hosts: [plain.example.test], addr: '{ADDRESS}:80'"),
        )?;
        let keys = format!("hosts: [later.example.test], addr: '{ADDRESS}:8080'");
        let elsewhere = stage.registry("elsewhere", 444, pebble, &keys)?;
        let mut other_larder = other.start()?;
        other.await_certificate(&mut other_larder, "plain.example.test")?;
        let mut larder = elsewhere.start()?;
        let failed = larder.wait_until("it fails", ORDER_LIMIT, || {
            elsewhere.problems().is_ok_and(|problems| problems.contains("could not be got"))
        });
        println!("    {}", elsewhere.problems()?.lines().next().unwrap_or_default());
        let outcome = failed.and_then(|()| {
            match elsewhere.problems()?.contains("somebody else than this registry answers") {
                true => Ok(()),
                false => fail!("{}", elsewhere.problems()?),
            }
        });
        other_larder.stop()?;
        ended(larder, outcome)?;
        let blocked = stage.registry("blocked", 444, pebble, "hosts: [blocked.example.test]")?;
        let mut larder = blocked.start()?;
        let failed = larder.wait_until("it is refused", ORDER_LIMIT, || {
            blocked.problems().is_ok_and(|problems| problems.contains("doesn't sign for one of these hosts"))
        });
        println!("    {}", blocked.problems()?.lines().next().unwrap_or_default());
        ended(larder, failed)
    });
    Ok(())
}
