use super::*;

const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
const UPLOAD: &str = "6b3c9a93-af5d-473f-a4ce-9710022185cd";

#[test]
fn paths_are_read_from_their_end() {
    let name = |text: &str| text.parse::<RepoName>().unwrap();
    let digest: Digest = DIGEST.parse().unwrap();
    let id: UploadId = UPLOAD.parse().unwrap();
    let cases = [
        ("/".to_owned(), Route::Root),
        ("/v2".to_owned(), Route::BaseWithoutSlash),
        ("/v2/".to_owned(), Route::Base),
        ("/v2/_catalog".to_owned(), Route::Catalog),
        ("/v2/a/tags/list".to_owned(), Route::Tags(name("a"))),
        ("/v2/a/b/c/tags/list".to_owned(), Route::Tags(name("a/b/c"))),
        ("/v2/manifests/tags/list".to_owned(), Route::Tags(name("manifests"))),
        ("/v2/a/manifests/latest".to_owned(), Route::Manifest(name("a"), "latest".parse().unwrap())),
        (
            "/v2/blobs/uploads/manifests/x".to_owned(),
            Route::Manifest(name("blobs/uploads"), "x".parse().unwrap()),
        ),
        (format!("/v2/a/manifests/{DIGEST}"), Route::Manifest(name("a"), DIGEST.parse().unwrap())),
        (
            format!("/v2/a/manifests/{}", DIGEST.replace(':', "%3A")),
            Route::Manifest(name("a"), DIGEST.parse().unwrap()),
        ),
        (format!("/v2/a%2Fb/blobs/{DIGEST}"), Route::Blob(name("a/b"), digest)),
        (format!("/v2/a/blobs/uploads/blobs/{DIGEST}"), Route::Blob(name("a/blobs/uploads"), digest)),
        (format!("/v2/a/referrers/{DIGEST}"), Route::Referrers(name("a"), digest)),
        ("/v2/a/blobs/uploads/".to_owned(), Route::Uploads(name("a"))),
        ("/v2/a/blobs/uploads".to_owned(), Route::Uploads(name("a"))),
        (format!("/v2/a/blobs/uploads/{UPLOAD}"), Route::Upload(name("a"), id)),
        (format!("/v2/a/blobs/uploads/{UPLOAD}/"), Route::Upload(name("a"), id)),
    ];
    for (path, route) in cases {
        assert_eq!(Route::parse(&path), Ok(route), "{path}");
    }
}

#[test]
fn what_is_wrong_with_a_path_is_named() {
    let cases = [
        ("/x", "nothing at this path"),
        ("/v2/a", "no registry route"),
        ("/v2/a/b/c", "no registry route"),
        ("/v2/a/uploads/x", "no registry route"),
        ("/v2/A/tags/list", "lower case"),
        ("/v2/../tags/list", "can't be part"),
        ("/v2//tags/list", "empty"),
        ("/v2/a/manifests/sha256:baddigeststring", "64 hex digits"),
        ("/v2/a/manifests/..", "is not a tag"),
        ("/v2/a/tags/list//", "no registry route"),
        ("/v2/a/blobs/uploads//", "no registry route"),
        ("/v2/a/manifests/", "no registry route"),
        ("/v2/a/b/manifests/", "no registry route"),
        ("/v2/a/blobs/latest", "no `:`"),
        ("/v2/a/blobs/md5:aa", "unsupported digest algorithm"),
        ("/v2/a/blobs/uploads/1", "not an upload session"),
        ("/v2/%ff/tags/list", "UTF-8"),
        ("/v2/a%00b/tags/list", "can't be part"),
    ];
    for (path, words) in cases {
        let error = Route::parse(path).unwrap_err().to_string();
        assert!(error.contains(words), "{path}: {error}");
    }
}

/// Paths come in any length up to 64 KB: reading one must not take a stack frame for each slash.
#[test]
fn a_path_of_slashes_only_is_no_route() {
    for slashes in [1, 2, 3, 65_000] {
        assert_eq!(Route::parse(&format!("/v2/{}", "/".repeat(slashes))), Err(RouteError::NoSuchRoute));
    }
}
