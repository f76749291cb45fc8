/// The error codes of the OCI Distribution Specification ("Error Codes"), with registry:2's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Something failed on the registry's side.
    Unknown,
    /// The operation is switched off or doesn't exist.
    Unsupported,
    /// Credentials are needed.
    Unauthorized,
    /// The credentials don't suffice.
    Denied,
    /// The registry can't work right now.
    Unavailable,
    /// Slow down.
    TooManyRequests,
    /// Content and digest differ, or the digest can't be read.
    DigestInvalid,
    /// Content and length differ.
    SizeInvalid,
    /// The range can't be satisfied, or a chunk is out of order.
    RangeInvalid,
    /// The repository's name can't be read.
    NameInvalid,
    /// The tag can't be read.
    TagInvalid,
    /// No such repository.
    NameUnknown,
    /// No such manifest.
    ManifestUnknown,
    /// The manifest can't be read.
    ManifestInvalid,
    /// The manifest names content that the repository lacks.
    ManifestBlobUnknown,
    /// No such blob.
    BlobUnknown,
    /// No such upload session.
    BlobUploadUnknown,
    /// The upload can't go on like this.
    BlobUploadInvalid,
    /// A page size that can't be read.
    PaginationNumberInvalid,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [ErrorCode; 19] = [
        ErrorCode::Unknown,
        ErrorCode::Unsupported,
        ErrorCode::Unauthorized,
        ErrorCode::Denied,
        ErrorCode::Unavailable,
        ErrorCode::TooManyRequests,
        ErrorCode::DigestInvalid,
        ErrorCode::SizeInvalid,
        ErrorCode::RangeInvalid,
        ErrorCode::NameInvalid,
        ErrorCode::TagInvalid,
        ErrorCode::NameUnknown,
        ErrorCode::ManifestUnknown,
        ErrorCode::ManifestInvalid,
        ErrorCode::ManifestBlobUnknown,
        ErrorCode::BlobUnknown,
        ErrorCode::BlobUploadUnknown,
        ErrorCode::BlobUploadInvalid,
        ErrorCode::PaginationNumberInvalid,
    ];

    /// The code as it stands in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::Unknown => "UNKNOWN",
            ErrorCode::Unsupported => "UNSUPPORTED",
            ErrorCode::Unauthorized => "UNAUTHORIZED",
            ErrorCode::Denied => "DENIED",
            ErrorCode::Unavailable => "UNAVAILABLE",
            ErrorCode::TooManyRequests => "TOOMANYREQUESTS",
            ErrorCode::DigestInvalid => "DIGEST_INVALID",
            ErrorCode::SizeInvalid => "SIZE_INVALID",
            ErrorCode::RangeInvalid => "RANGE_INVALID",
            ErrorCode::NameInvalid => "NAME_INVALID",
            ErrorCode::TagInvalid => "TAG_INVALID",
            ErrorCode::NameUnknown => "NAME_UNKNOWN",
            ErrorCode::ManifestUnknown => "MANIFEST_UNKNOWN",
            ErrorCode::ManifestInvalid => "MANIFEST_INVALID",
            ErrorCode::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            ErrorCode::BlobUnknown => "BLOB_UNKNOWN",
            ErrorCode::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            ErrorCode::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            ErrorCode::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
        }
    }

    /// The message: registry:2's own words, which clients show and some compare.
    pub fn message(self) -> &'static str {
        match self {
            ErrorCode::Unknown => "unknown error",
            ErrorCode::Unsupported => "The operation is unsupported.",
            ErrorCode::Unauthorized => "authentication required",
            ErrorCode::Denied => "requested access to the resource is denied",
            ErrorCode::Unavailable => "service unavailable",
            ErrorCode::TooManyRequests => "too many requests",
            ErrorCode::DigestInvalid => "provided digest did not match uploaded content",
            ErrorCode::SizeInvalid => "provided length did not match content length",
            ErrorCode::RangeInvalid => "invalid content range",
            ErrorCode::NameInvalid => "invalid repository name",
            ErrorCode::TagInvalid => "manifest tag did not match URI",
            ErrorCode::NameUnknown => "repository name not known to registry",
            ErrorCode::ManifestUnknown => "manifest unknown",
            ErrorCode::ManifestInvalid => "manifest invalid",
            ErrorCode::ManifestBlobUnknown | ErrorCode::BlobUnknown => "blob unknown to registry",
            ErrorCode::BlobUploadUnknown => "blob upload unknown to registry",
            ErrorCode::BlobUploadInvalid => "blob upload invalid",
            ErrorCode::PaginationNumberInvalid => "invalid number of results requested",
        }
    }
}
