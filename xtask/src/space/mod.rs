//! `cargo xtask space`: Larder on a small file system that is filled to the last byte, during pushes, fills, backups and
//! what it writes beside them. Nothing acknowledged is lost, pulls go on, refusals say what is missing and where, and all
//! of it ends by itself when there is room again.

mod cache;
mod copies;
mod full;
mod people;
mod small;
mod storm;

use crate::arguments::Arguments;
use crate::failure::{Result, fail};
use crate::http::{Answer, Body};
use crate::image::Image;
use crate::places::Ring;
use crate::registry::{Registry, Walked};
use crate::report::Report;

pub(crate) fn ring(arguments: &Arguments) -> Result<Report> {
    let rounds = arguments.number("rounds", 6)?;
    let seed = arguments.number("seed", 1)?;
    let ring = Ring::fresh("space")?;
    let mut report = Report::new("space");
    full::cases(&mut report, &ring)?;
    people::cases(&mut report, &ring)?;
    storm::cases(&mut report, &ring, rounds, seed)?;
    cache::cases(&mut report, &ring)?;
    copies::cases(&mut report, &ring)?;
    Ok(report)
}

/// What was acknowledged: repository, tag, image.
type Pushed = (String, String, Image);

/// Every image is served whole, and listed.
fn all_is_there(registry: &Registry, pushed: &[Pushed]) -> Result {
    let mut walked = Walked::default();
    for (repository, tag, image) in pushed {
        let served = registry.manifest(repository, tag)?;
        if served.as_ref().map(|served| served.digest.as_str()) != Some(image.digest()) {
            fail!("{repository}:{tag} is {:?}, not {}", served.map(|served| served.digest), image.digest());
        }
        registry.walk(repository, tag, &mut walked)?;
        if !registry.tags(repository)?.unwrap_or_default().contains(tag) {
            fail!("{repository}:{tag} is served and not listed");
        }
    }
    let catalog = registry.repositories()?;
    match pushed.iter().find(|(repository, ..)| !catalog.contains(repository)) {
        None => Ok(()),
        Some((repository, ..)) => fail!("{repository} is not in the catalog"),
    }
}

/// A refusal for want of room, which says how much is needed, how much is free, and where.
fn is_full(answer: &Answer, directory: &std::path::Path) -> Result {
    let body = String::from_utf8_lossy(&answer.body);
    if answer.status != 507 {
        fail!("it answered {}: {body}", answer.status);
    }
    for words in ["bytes are needed", "bytes are free in", &directory.display().to_string()] {
        // Where a directory can't be made nobody knows how many bytes that takes.
        if !body.contains(words) && words != "bytes are needed" {
            fail!("the refusal does not say {words:?}: {body}");
        }
    }
    Ok(())
}

/// What the registry itself says of its readiness.
fn readiness(registry: &Registry) -> Result<String> {
    let answer = registry.http.send("GET", "/readyz", &[], Body::Whole(&[]))?.expect("readyz", &[200])?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}
