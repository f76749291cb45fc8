//! The registry's API as the rings speak it, over the plain client of [`crate::http`].

use serde_json::Value;

use crate::failure::{Context, Result, fail};
use crate::http::{Answer, Body, Http};
use crate::image::{self, Blob, Image, check_digest};

/// Every manifest type there is. The peer answers 404 when the stored type is not listed.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// The ways in which clients upload a blob.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// POST, then one PUT with the bytes (containerd, oras).
    Put,
    /// POST, one PATCH with a length, an empty PUT (skopeo).
    Patch,
    /// POST, one chunked PATCH, an empty PUT (docker).
    ChunkedPatch,
    /// POST, several PATCHes with `Content-Range`, a PUT with the rest (regclient).
    Ranges,
    /// One POST with the digest and the bytes; registries may answer with a session instead.
    SinglePost,
}

pub(crate) const STYLES: [Style; 5] =
    [Style::Put, Style::Patch, Style::ChunkedPatch, Style::Ranges, Style::SinglePost];

/// A manifest as it was answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Served {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Registry {
    pub(crate) http: Http,
}

impl Registry {
    pub(crate) fn new(http: Http) -> Self {
        Self { http }
    }

    fn write(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body<'_>,
        ok: &[u16],
    ) -> Result<Answer> {
        self.http.send(method, path, headers, body)?.expect(&format!("{method} {path}"), ok)
    }

    /// Begins an upload and returns where it goes on.
    pub(crate) fn begin_upload(&self, repository: &str) -> Result<String> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        self.write("POST", &path, &[], Body::Whole(&[]), &[202])?.location()
    }

    /// Appends to an upload and returns where it goes on.
    pub(crate) fn append(&self, upload: &str, from: usize, bytes: &[u8]) -> Result<String> {
        let range = format!("{from}-{}", from + bytes.len().saturating_sub(1));
        let headers = [("Content-Type", "application/octet-stream"), ("Content-Range", range.as_str())];
        self.write("PATCH", upload, &headers, Body::Whole(bytes), &[202])?.location()
    }

    pub(crate) fn finish_upload(&self, upload: &str, digest: &str, bytes: &[u8]) -> Result {
        let path = with_query(upload, &format!("digest={digest}"));
        let headers = [("Content-Type", "application/octet-stream")];
        self.write("PUT", &path, &headers, Body::Whole(bytes), &[201])?;
        Ok(())
    }

    /// Uploads a blob; an `Ok` means that the registry has acknowledged it.
    pub(crate) fn push_blob(&self, repository: &str, digest: &str, bytes: &[u8], style: Style) -> Result {
        match style {
            Style::Put => self.finish_upload(&self.begin_upload(repository)?, digest, bytes),
            Style::Patch => {
                let upload = self.begin_upload(repository)?;
                let headers = [("Content-Type", "application/octet-stream")];
                let upload =
                    self.write("PATCH", &upload, &headers, Body::Whole(bytes), &[202])?.location()?;
                self.finish_upload(&upload, digest, &[])
            }
            Style::ChunkedPatch => {
                let upload = self.begin_upload(repository)?;
                let upload = self.write("PATCH", &upload, &[], Body::Chunked(bytes), &[202])?.location()?;
                self.finish_upload(&upload, digest, &[])
            }
            Style::Ranges => {
                let mut upload = self.begin_upload(repository)?;
                let step = (bytes.len() / 3).max(1);
                let (patched, rest) = bytes.split_at(bytes.len().min(2 * step));
                for (number, part) in patched.chunks(step).enumerate() {
                    upload = self.append(&upload, number * step, part)?;
                }
                self.finish_upload(&upload, digest, rest)
            }
            Style::SinglePost => {
                let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
                let headers = [("Content-Type", "application/octet-stream")];
                let answer = self.write("POST", &path, &headers, Body::Whole(bytes), &[201, 202])?;
                if answer.status == 201 {
                    return Ok(());
                }
                self.finish_upload(&answer.location()?, digest, bytes)
            }
        }
    }

    pub(crate) fn put_manifest(&self, repository: &str, reference: &str, manifest: &Blob) -> Result<Answer> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let headers = [("Content-Type", manifest.media_type.as_str())];
        let answer = self.write("PUT", &path, &headers, Body::Whole(&manifest.bytes), &[201])?;
        if answer.header("docker-content-digest").is_none() {
            fail!("PUT {path} answered without Docker-Content-Digest");
        }
        Ok(answer)
    }

    /// Pushes all that an image needs, then the image under a tag.
    pub(crate) fn push_image(&self, repository: &str, tag: &str, image: &Image) -> Result {
        for blob in image.all_blobs() {
            self.push_blob(repository, &blob.digest, &blob.bytes, Style::Patch)?;
        }
        for child in image.children.iter().flat_map(Image::all_manifests) {
            self.put_manifest(repository, &child.digest, child)?;
        }
        self.put_manifest(repository, tag, &image.manifest)?;
        Ok(())
    }

    /// A manifest, checked against the digest that came with it and the one that was asked for.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Result<Option<Served>> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let answer =
            self.http.get(&path, &[("Accept", ACCEPT)])?.expect(&format!("GET {path}"), &[200, 404])?;
        if answer.status == 404 {
            return Ok(None);
        }
        let digest =
            answer.header("docker-content-digest").context(format!("the digest of {path}"))?.to_owned();
        check_digest(&digest, &answer.body).context(&path)?;
        if reference.contains(':') {
            check_digest(reference, &answer.body).context(&path)?;
        }
        let media_type = answer.header("content-type").context(format!("the type of {path}"))?.to_owned();
        Ok(Some(Served { digest, media_type, bytes: answer.body }))
    }

    /// A blob, checked against its digest.
    pub(crate) fn blob(&self, repository: &str, digest: &str) -> Result<Option<Vec<u8>>> {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let answer = self.http.get(&path, &[])?.expect(&format!("GET {path}"), &[200, 404])?;
        if answer.status == 404 {
            return Ok(None);
        }
        check_digest(digest, &answer.body).context(path)?;
        Ok(Some(answer.body))
    }

    pub(crate) fn tags(&self, repository: &str) -> Result<Option<Vec<String>>> {
        self.list(&format!("/v2/{repository}/tags/list"), "tags")
    }

    pub(crate) fn repositories(&self) -> Result<Vec<String>> {
        self.list("/v2/_catalog", "repositories")?.context("the catalog")
    }

    /// Follows `Link` to the end and returns the names sorted; `None` for 404.
    fn list(&self, path: &str, field: &str) -> Result<Option<Vec<String>>> {
        let mut names = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let answer = self.http.get(&path, &[])?.expect(&format!("GET {path}"), &[200, 404])?;
            if answer.status == 404 {
                return Ok(None);
            }
            let page: Value = serde_json::from_slice(&answer.body).context(&path)?;
            let page = page.get(field).context(format!("{field} of {path}"))?;
            names.extend(
                page.as_array().into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())),
            );
            next = answer
                .header("link")
                .and_then(|link| Some(link.split_once('<')?.1.split_once('>')?.0.to_owned()));
            if next.as_ref() == Some(&path) {
                fail!("{path} links to itself");
            }
        }
        names.sort();
        Ok(Some(names))
    }

    /// The status of a DELETE.
    pub(crate) fn delete(&self, path: &str) -> Result<u16> {
        Ok(self.http.send("DELETE", path, &[], Body::Whole(&[]))?.status)
    }

    /// Reads a manifest and all that it reaches, checking every digest. Returns the manifests and blobs seen.
    pub(crate) fn walk(&self, repository: &str, reference: &str, walked: &mut Walked) -> Result {
        let served = self.manifest(repository, reference)?;
        let served = served.context(format!("manifest {repository} {reference}"))?;
        if !walked.manifests.insert((repository.to_owned(), served.digest.clone())) {
            return Ok(());
        }
        let manifest: Value = serde_json::from_slice(&served.bytes)?;
        let (manifests, blobs) = image::references(&manifest);
        for child in manifests {
            self.walk(repository, &child, walked)?;
        }
        for blob in blobs {
            if walked.blobs.insert((repository.to_owned(), blob.clone())) {
                self.blob(repository, &blob)?.context(format!("blob {repository} {blob}"))?;
            }
        }
        Ok(())
    }
}

/// What has been read whole: (repository, digest).
#[derive(Default)]
pub(crate) struct Walked {
    pub(crate) manifests: std::collections::BTreeSet<(String, String)>,
    pub(crate) blobs: std::collections::BTreeSet<(String, String)>,
}

/// A path with one more `name=value` in its query.
pub(crate) fn with_query(location: &str, pair: &str) -> String {
    format!("{location}{}{pair}", if location.contains('?') { '&' } else { '?' })
}
