//! A disk without a single free byte: what is refused, what goes on, and how it ends.

use super::small::{Small, files_below};
use super::{Pushed, all_is_there, is_full, readiness};
use crate::failure::{Context, Result, fail, same};
use crate::http::{Answer, Body, Http};
use crate::image::Image;
use crate::places::Ring;
use crate::random::Random;
use crate::registry::{Registry, Style, with_query};
use crate::report::Report;
use crate::server::{Plan, Program, Server};

/// What is written beside the images: an audit log, and events for somebody who isn't there.
pub(super) const BESIDE: &str = "notifications:
  endpoints:
    - name: nobody
      url: http://127.0.0.1:9/
      timeout: 1s
      threshold: 3
      backoff: 1s
";

const REPOSITORY: &str = "full/app";

pub(super) fn cases(report: &mut Report, ring: &Ring) -> Result {
    report.about("full");
    let Some(small) = report.step("disk", "a small file system is made", || Small::make(ring, "disk", 48))
    else {
        return Ok(());
    };
    let data = small.dir("data")?;
    let audit = small.root.join("audit.log");
    let sections = format!("{BESIDE}audit:\n  path: {}\n", audit.display());
    let start = || Plan::open(Program::Larder, &data).start(ring, "full");
    let with_all = || Plan { sections: &sections, ..Plan::open(Program::Larder, &data) }.start(ring, "full");
    let Some(server) = report.step("larder", "starts on it", with_all) else { return Ok(()) };
    let registry = Registry::new(server.http());
    let mut pushed: Vec<Pushed> = Vec::new();
    report.case("larder", "takes images while there is room", || {
        for number in 0..4 {
            let image = Image::single(100 + number, "amd64", &[200_000, 3_000]);
            registry.push_image(REPOSITORY, &format!("v{number}"), &image)?;
            pushed.push((REPOSITORY.to_owned(), format!("v{number}"), image));
        }
        let index = Image::index(200, &["amd64", "arm64"], &[50_000]);
        registry.push_image(REPOSITORY, "index", &index)?;
        pushed.push((REPOSITORY.to_owned(), "index".to_owned(), index));
        Ok(())
    });
    let Some(ballast) = report.step("disk", "is filled to the last byte", || small.fill()) else {
        return Ok(());
    };
    refusals(report, &registry, &data);
    report.case("larder", "nothing of what was refused stays behind", || nothing_left(&data));
    report.case("larder", "a tag can't be moved and stays as it was", || {
        let (_, _, other) = pushed.get(1).context("an image")?;
        let path = format!("/v2/{REPOSITORY}/manifests/v0");
        let headers = [("Content-Type", other.manifest.media_type.as_str())];
        let answer = registry.http.send("PUT", &path, &headers, Body::Whole(&other.manifest.bytes))?;
        is_full(&answer, &data)?;
        all_is_there(&registry, &pushed)
    });
    report.case("larder", "every pull and list goes on, from memory and from the disk", || {
        for _ in 0..3 {
            all_is_there(&registry, &pushed)?;
        }
        Ok(())
    });
    report.case("larder", "says that it is ready for pulls only, and why", || {
        let words = readiness(&registry)?;
        if words.starts_with("ok for pulls only") && words.contains("bytes are free in") {
            return Ok(());
        }
        fail!("it says {words}")
    });
    let server = report.step("larder", "starts again on the full disk, and serves", || {
        server.daemon.stop()?;
        let server = start()?;
        all_is_there(&Registry::new(server.http()), &pushed)?;
        Ok(server)
    });
    let Some(server) = server else { return Ok(()) };
    let registry = Registry::new(server.http());
    report.case("larder", "whoever makes room may delete", || {
        let status = registry.delete(&format!("/v2/{REPOSITORY}/manifests/v3"))?;
        same("the status", &status, &202)?;
        pushed.retain(|(_, tag, _)| tag != "v3");
        all_is_there(&registry, &pushed)
    });
    drop(ballast);
    report.case("larder", "takes pushes as soon as there is room, without a restart", || {
        let image = Image::single(300, "amd64", &[2_000_000, 100]);
        registry.push_image(REPOSITORY, "after", &image)?;
        pushed.push((REPOSITORY.to_owned(), "after".to_owned(), image));
        all_is_there(&registry, &pushed)?;
        same("the readiness", &readiness(&registry)?.trim(), &"ok")
    });
    report.case("larder", "and after one has lost nothing", || {
        server.daemon.stop()?;
        let server = start()?;
        all_is_there(&Registry::new(server.http()), &pushed)?;
        server.daemon.stop()
    });
    report.case("larder", "the index is what a rebuild gives", || rebuilt_is_the_same(&data, &pushed, start));
    Ok(())
}

/// Lists by the index, without it, and compares.
fn rebuilt_is_the_same(
    data: &std::path::Path,
    pushed: &[Pushed],
    start: impl Fn() -> Result<Server>,
) -> Result {
    let lists = || {
        let server = start()?;
        let registry = Registry::new(server.http());
        all_is_there(&registry, pushed)?;
        let lists = (registry.repositories()?, registry.tags(REPOSITORY)?);
        server.daemon.stop()?;
        Ok::<_, crate::failure::Failure>(lists)
    };
    let kept = lists()?;
    crate::swap::forget_index(data, Program::Larder)?;
    same("the lists", &lists()?, &kept)
}

/// Every way to send a layer is refused with the numbers, at once where the length is told before.
fn refusals(report: &mut Report, registry: &Registry, data: &std::path::Path) {
    let bytes = Random::new(7).bytes(3 << 20);
    let digest = crate::image::sha256(&bytes);
    for (style, name) in [
        (Style::Put, "in one PUT"),
        (Style::Patch, "in one PATCH"),
        (Style::ChunkedPatch, "in chunks"),
        (Style::SinglePost, "in one POST"),
    ] {
        report.case("larder", &format!("a layer sent {name} is refused with the numbers"), || {
            let answer = send(&registry.http, style, &digest, &bytes)?;
            is_full(&answer, data)
        });
    }
}

/// The first answer that isn't a yes.
fn send(http: &Http, style: Style, digest: &str, bytes: &[u8]) -> Result<Answer> {
    let begin = format!("/v2/{REPOSITORY}/blobs/uploads/");
    if matches!(style, Style::SinglePost) {
        return http.send("POST", &with_query(&begin, &format!("digest={digest}")), &[], Body::Whole(bytes));
    }
    let begun = http.send("POST", &begin, &[], Body::Whole(&[]))?;
    if begun.status != 202 {
        return Ok(begun);
    }
    let upload = begun.location()?;
    match style {
        Style::Put => {
            http.send("PUT", &with_query(&upload, &format!("digest={digest}")), &[], Body::Whole(bytes))
        }
        Style::ChunkedPatch => http.send("PATCH", &upload, &[], Body::Chunked(bytes)),
        _ => http.send("PATCH", &upload, &[], Body::Whole(bytes)),
    }
}

/// No staged file, and no session that holds bytes.
fn nothing_left(data: &std::path::Path) -> Result {
    let mut left = files_below(&data.join("larder/staging"))?;
    let uploads = files_below(&data.join("docker"))?.into_iter().filter(|path| path.contains("/_uploads/"));
    for path in uploads {
        if std::fs::metadata(&path)?.len() > 64 {
            left.push(path);
        }
    }
    if left.is_empty() { Ok(()) } else { fail!("left behind: {}", left.join(", ")) }
}
