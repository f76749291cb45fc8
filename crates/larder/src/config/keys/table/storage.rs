//! `storage`: what holds for every driver, then the drivers.

use super::super::{
    Key,
    Kind::*,
    Status::{self, NotYet, Unneeded, Works},
};
use super::{key, own};

const NO_MEMORY: Status = NotYet(
    "Larder keeps images in files; to try it out without keeping anything, use `filesystem` with a rootdirectory on a tmpfs.",
);
const NO_OBJECT_STORE: Status = NotYet("Larder keeps images in files for now; use `filesystem`.");
const NO_REDIRECT: Status = Unneeded("The filesystem driver has nowhere to redirect to.");
const NO_CACHE: Status = Unneeded("Larder finds blobs in its own way, with or without a cache named here.");
const NO_TAG_WALK: Status =
    Unneeded("It tunes how registry:3 walks over all tags, which Larder does not do.");
const NO_THREADS: Status = Unneeded("How many files are worked on at once is decided by Larder.");

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("storage", Choice, Works, "", "Required. Where images are kept: exactly one driver, and what holds for any of them."),
    key("storage.maintenance", Section, Works, "", "What happens in the background."),
    key("storage.maintenance.uploadpurging", Section, Works, "", "What happens to uploads that nobody finished."),
    key("storage.maintenance.uploadpurging.enabled", Boolean, Works, "true", "Whether they are removed."),
    key("storage.maintenance.uploadpurging.age", Duration, Works, "168h", "How long after its last byte an upload counts as abandoned."),
    key("storage.maintenance.uploadpurging.interval", Duration, Works, "24h", "How often Larder looks for them."),
    key("storage.maintenance.uploadpurging.dryrun", Boolean, Works, "false", "Whether the log only says what would be removed."),
    own("storage.maintenance.gc", Section, "", "Taking away what nothing refers to any more, while the registry is open."),
    own("storage.maintenance.gc.enabled", Boolean, "true", "Whether it is taken away, and deletions can be undone until then."),
    own("storage.maintenance.gc.grace", Duration, "15m", "How long after a deletion. So long it can be undone, and so long a client finds what it was told is there."),
    own("storage.maintenance.gc.unreferenced", Duration, "168h", "How old a blob has to be that no manifest has ever named: its push was given up."),
    key("storage.maintenance.readonly", Section, Works, "", "A registry that takes nothing in."),
    key("storage.maintenance.readonly.enabled", Boolean, Works, "false", "Whether every change by clients is refused."),
    key("storage.delete", Section, Works, "", "Deleting by request."),
    key("storage.delete.enabled", Boolean, Works, "false", "Whether clients may delete manifests, tags and blobs."),
    key("storage.redirect", Section, NO_REDIRECT, "", "Sending clients to the storage for blobs."),
    key("storage.redirect.disable", Boolean, NO_REDIRECT, "", "Whether clients are never sent there."),
    key("storage.cache", Section, NO_CACHE, "", "Where registry:2 remembers which blobs there are."),
    key("storage.cache.blobdescriptor", Text, NO_CACHE, "", "The kind of cache: `inmemory` or `redis`."),
    key("storage.cache.layerinfo", Text, NO_CACHE, "", "The old name of `blobdescriptor`."),
    key("storage.cache.blobdescriptorsize", Integer, NO_CACHE, "", "How many blobs are remembered."),
    key("storage.tag", Section, NO_TAG_WALK, "", "How registry:3 looks tags up."),
    key("storage.tag.concurrencylimit", Integer, NO_TAG_WALK, "", "How many tags it looks up at once."),
];

/// The options of S3, which distribution takes under two names.
macro_rules! s3 {
    ($driver:literal) => {
        concat!("storage.", $driver)
    };
    ($driver:literal, $option:literal) => {
        concat!("storage.", $driver, ".", $option)
    };
}

#[rustfmt::skip]
macro_rules! drivers {
    ($($s3:literal)*) => { &[
        key("storage.filesystem", Section, Works, "", "Images are files below a directory."),
        key("storage.filesystem.rootdirectory", Text, Works, "/var/lib/registry", "That directory."),
        key("storage.filesystem.maxthreads", Integer, NO_THREADS, "", "How many files registry:2 works on at once."),
        key("storage.inmemory", Section, NO_MEMORY, "", "Images are kept in memory and lost at the stop."),
        $(
        key(s3!($s3), Section, NO_OBJECT_STORE, "", "Images are objects in a bucket of S3, or of what speaks like it."),
        key(s3!($s3, "accesskey"), Secret, NO_OBJECT_STORE, "", "The access key."),
        key(s3!($s3, "secretkey"), Secret, NO_OBJECT_STORE, "", "The secret key."),
        key(s3!($s3, "region"), Text, NO_OBJECT_STORE, "", "The bucket's region."),
        key(s3!($s3, "regionendpoint"), Text, NO_OBJECT_STORE, "", "The address of a service that isn't Amazon's."),
        key(s3!($s3, "redirectendpoint"), Text, NO_OBJECT_STORE, "", "The address that clients are sent to."),
        key(s3!($s3, "forcepathstyle"), Boolean, NO_OBJECT_STORE, "", "Whether the bucket is named in the path and not in the host."),
        key(s3!($s3, "bucket"), Text, NO_OBJECT_STORE, "", "The bucket."),
        key(s3!($s3, "encrypt"), Boolean, NO_OBJECT_STORE, "", "Whether the service encrypts objects."),
        key(s3!($s3, "keyid"), Text, NO_OBJECT_STORE, "", "The key that it encrypts with."),
        key(s3!($s3, "secure"), Boolean, NO_OBJECT_STORE, "", "Whether it is spoken to over TLS."),
        key(s3!($s3, "skipverify"), Boolean, NO_OBJECT_STORE, "", "Whether its certificate is not verified."),
        key(s3!($s3, "v4auth"), Boolean, NO_OBJECT_STORE, "", "Whether requests are signed by version 4 of Amazon's signatures."),
        key(s3!($s3, "chunksize"), Integer, NO_OBJECT_STORE, "", "The bytes of one part of an upload."),
        key(s3!($s3, "multipartcopychunksize"), Integer, NO_OBJECT_STORE, "", "The bytes of one part of a copy."),
        key(s3!($s3, "multipartcopymaxconcurrency"), Integer, NO_OBJECT_STORE, "", "How many parts are copied at once."),
        key(s3!($s3, "multipartcopythresholdsize"), Integer, NO_OBJECT_STORE, "", "From how many bytes on a copy is made in parts."),
        key(s3!($s3, "rootdirectory"), Text, NO_OBJECT_STORE, "", "What the names of all objects begin with."),
        key(s3!($s3, "storageclass"), Text, NO_OBJECT_STORE, "", "The storage class of new objects."),
        key(s3!($s3, "objectacl"), Text, NO_OBJECT_STORE, "", "The access list of new objects."),
        key(s3!($s3, "useragent"), Text, NO_OBJECT_STORE, "", "The `User-Agent` of requests."),
        key(s3!($s3, "usedualstack"), Boolean, NO_OBJECT_STORE, "", "Whether the endpoint with IPv6 is used."),
        key(s3!($s3, "accelerate"), Boolean, NO_OBJECT_STORE, "", "Whether the accelerated endpoint is used."),
        key(s3!($s3, "usefipsendpoint"), Boolean, NO_OBJECT_STORE, "", "Whether the FIPS endpoint is used."),
        key(s3!($s3, "loglevel"), Text, NO_OBJECT_STORE, "", "What the client library logs."),
        )*
        key("storage.azure", Anything, NO_OBJECT_STORE, "", "Images are blobs of Azure."),
        key("storage.gcs", Anything, NO_OBJECT_STORE, "", "Images are objects of Google Cloud Storage."),
        key("storage.oss", Anything, NO_OBJECT_STORE, "", "Images are objects of Aliyun's OSS."),
        key("storage.swift", Anything, NO_OBJECT_STORE, "", "Images are objects of OpenStack's Swift."),
    ] };
}

pub(super) const DRIVERS: &[Key] = drivers!("s3" "s3aws");
