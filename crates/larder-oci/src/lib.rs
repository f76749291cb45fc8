//! The vocabulary of a registry: digests, names, tags, references, media types, descriptors,
//! manifests, byte ranges, token scopes and error codes.
//!
//! Everything that comes from outside is parsed into one of these types at the edge, once, and never
//! travels further as text. This crate does no I/O, knows no HTTP and depends on no other crate of ours.
//!
//! The grammar is the OCI Distribution Specification 1.1 and the OCI Image Specification 1.1; where
//! Docker's schema 2 or registry:2 differ, the item says so.

mod digest;
mod name;
mod pattern;
mod reference;
mod media_type;
mod descriptor;
mod manifest;
mod range;
mod upload;
mod scope;
mod access;
mod error_code;

pub use access::{Access, Actor, AdminAccess, CatalogAccess, Delete, Operation, Pull, Push};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use error_code::ErrorCode;
pub use manifest::{Manifest, ManifestContent, ManifestError, Role, stored_media_type};
pub use media_type::{MediaType, MediaTypeError};
pub use name::{NameError, RepoName};
pub use pattern::{PatternError, RepositoryPattern};
pub use range::{ByteRange, MAX_RANGES, RangeRequest};
pub use reference::{Reference, ReferenceError, Tag, TagError};
pub use scope::{Action, Resource, Scope, ScopeError};
pub use upload::{ChunkRange, ChunkRangeError, UploadId, UploadIdError};
