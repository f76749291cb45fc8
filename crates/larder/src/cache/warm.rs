//! Has a running Larder fetch images ahead, and shows how far it is. Where none runs on the data directory that is named,
//! the command fetches them into it itself.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use larder_core::{WarmImage, WarmProgress, WarmState, parse_image};
use larder_oci::AdminAccess;
use serde_json::{Value, json};

use super::{Asked, Wanted, Warm};
use crate::output;
use crate::space::Place;
use crate::upstreams::Remotes;

/// How often is asked how far it is.
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

/// How one image stands.
struct Standing {
    image: String,
    state: String,
    reason: Option<String>,
    far: WarmProgress,
}

pub(super) fn run(arguments: &Warm, asked: &Asked) -> Result<ExitCode, Box<dyn Error>> {
    let images = arguments.images.iter().map(|image| read(image)).collect::<Result<Vec<_>, _>>()?;
    let platforms = Wanted::platforms(&arguments.platform);
    let images: Vec<WarmImage> = images
        .into_iter()
        .map(|(repository, reference)| WarmImage { repository, reference, platforms: platforms.clone() })
        .collect();
    let ended = match asked {
        Asked::Nobody(place) => by_itself(place, images, arguments.json)?,
        Asked::Here(_) | Asked::There { .. } => by_asking(asked, &images, arguments.json)?,
    };
    let mut code = ExitCode::SUCCESS;
    for standing in &ended {
        if standing.reason.is_some() {
            code = ExitCode::FAILURE;
        }
        tell(standing, arguments.json)?;
    }
    Ok(code)
}

fn read(image: &str) -> Result<(larder_oci::RepoName, larder_oci::Reference), Box<dyn Error>> {
    parse_image(image).map_err(|error| format!("{image:?} is no image: {error}").into())
}

fn by_asking(asked: &Asked, images: &[WarmImage], as_json: bool) -> Result<Vec<Standing>, Box<dyn Error>> {
    let platforms = images.first().map(|image| image.platforms.as_slice()).unwrap_or_default();
    let mut target = "/api/v1/cache/warm?".to_owned();
    // What stands in images' names and platforms stands in a query as it is.
    images.iter().for_each(|image| target.push_str(&format!("image={image}&")));
    platforms.iter().for_each(|platform| target.push_str(&format!("platform={platform}&")));
    let begun = asked.ask("POST", target.trim_end_matches('&'))?;
    let ids: Vec<u64> = begun
        .get("jobs")
        .and_then(Value::as_array)
        .map(|ids| ids.iter().filter_map(Value::as_u64).collect())
        .unwrap_or_default();
    let query: Vec<String> = ids.iter().map(|id| format!("id={id}")).collect();
    let target = format!("/api/v1/cache/warm?{}", query.join("&"));
    until_over(as_json, || {
        let answer = asked.ask("GET", &target)?;
        let jobs = answer.get("jobs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let found: HashMap<u64, Standing> =
            jobs.iter().filter_map(|job| Some((job.get("id")?.as_u64()?, standing(job)))).collect();
        in_order(&ids, found)
    })
}

fn standing(job: &Value) -> Standing {
    let text = |key: &str| job.get(key).and_then(Value::as_str);
    let number = |key: &str| job.get(key).and_then(Value::as_u64).unwrap_or_default();
    let count = |key: &str| usize::try_from(number(key)).unwrap_or(usize::MAX);
    Standing {
        image: text("image").unwrap_or_default().to_owned(),
        state: text("state").unwrap_or_default().to_owned(),
        reason: text("reason").map(str::to_owned),
        far: WarmProgress {
            manifests: count("manifests"),
            blobs: count("blobs"),
            blobs_named: count("blobs_named"),
            bytes_fetched: number("bytes_fetched"),
            bytes_named: number("bytes_named"),
            stale: text("stale").map(Into::into),
        },
    }
}

/// Fetches them into a data directory that no Larder has.
fn by_itself(place: &Place, images: Vec<WarmImage>, as_json: bool) -> Result<Vec<Standing>, Box<dyn Error>> {
    let (registry, access) = place.open()?;
    Remotes::default().take_up(&place.config, &registry)?;
    let _running = place.runtime.enter();
    let mut ids = Vec::new();
    for image in images {
        let id = registry.begin_warming(&access, image)?;
        ids.push(id.ok_or("too many images at once")?);
    }
    let ended = until_over(as_json, || in_order(&ids, jobs(&registry, &access)));
    place.runtime.block_on(registry.stop_fetching());
    ended
}

fn jobs(registry: &larder_core::Registry, access: &AdminAccess) -> HashMap<u64, Standing> {
    let jobs = registry.warming(access).into_iter();
    jobs.map(|job| {
        let (state, reason) = match job.state {
            WarmState::Waiting => ("waiting", None),
            WarmState::Running => ("running", None),
            WarmState::Done => ("done", None),
            WarmState::Failed(reason) => ("failed", Some(reason.to_string())),
        };
        let (image, state) = (job.image.to_string(), state.to_owned());
        (job.id, Standing { image, state, reason, far: job.progress })
    })
    .collect()
}

/// In the order in which they were asked for.
fn in_order(ids: &[u64], mut found: HashMap<u64, Standing>) -> Result<Vec<Standing>, Box<dyn Error>> {
    let all = ids.iter().map(|id| found.remove(id)).collect::<Option<Vec<_>>>();
    all.ok_or_else(|| "Larder has forgotten what it was asked for: was it started again?".into())
}

/// Looks until each of them has ended, and shows on a terminal how far they are.
fn until_over(
    as_json: bool,
    look: impl Fn() -> Result<Vec<Standing>, Box<dyn Error>>,
) -> Result<Vec<Standing>, Box<dyn Error>> {
    let shows = !as_json && std::io::stderr().is_terminal();
    loop {
        let standings = look()?;
        let is_over = |standing: &&Standing| matches!(standing.state.as_str(), "done" | "failed");
        let over = standings.iter().filter(is_over).count();
        if shows {
            let of = |count: fn(&Standing) -> usize| standings.iter().map(count).sum::<usize>();
            let (blobs, named) = (of(|each| each.far.blobs), of(|each| each.far.blobs_named));
            eprint!("\r\x1b[K{over} of {} images, {blobs} of {named} blobs", standings.len());
        }
        if over == standings.len() {
            if shows {
                eprint!("\r\x1b[K");
            }
            return Ok(standings);
        }
        sleep(BETWEEN_LOOKS);
    }
}

fn tell(standing: &Standing, as_json: bool) -> io::Result<()> {
    let (mut out, mut errors) = (output::standard(), io::stderr());
    let Standing { image, reason, far, .. } = standing;
    if as_json {
        let line = json!({
            "image": image, "error": reason, "manifests": far.manifests, "blobs": far.blobs,
            "blobs_named": far.blobs_named, "bytes": far.bytes_named, "bytes_fetched": far.bytes_fetched,
            "stale": far.stale.as_deref(),
        });
        return writeln!(out, "{line}");
    }
    if let Some(reason) = reason {
        return writeln!(errors, "{image}: {reason}");
    }
    writeln!(
        out,
        "{image}: {} manifests, {} blobs, {} bytes are at hand; {} bytes were fetched",
        far.manifests, far.blobs, far.bytes_named, far.bytes_fetched
    )?;
    if let Some(stale) = &far.stale {
        writeln!(errors, "{image}: this is the copy from before: {stale}")?;
    }
    Ok(())
}
