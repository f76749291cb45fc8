//! Registries that Larder knows by name, with what is particular about them.

/// A public registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownRegistry {
    /// What images' names begin with, and its prefix here.
    pub name: &'static str,
    /// Other names of the same, such as clients give as `?ns=`.
    pub also: &'static [&'static str],
    /// Where it answers.
    pub url: &'static str,
    /// Whether `nginx` means `library/nginx`.
    pub has_library: bool,
    /// What is particular about its answers.
    pub quirks: Quirks,
}

/// What is particular about a registry's answers. Everything else is read from the answers themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Nothing but `GET` of a manifest counts against the rate limit.
    pub only_manifest_gets_count: bool,
    /// `HEAD` of a blob is refused although `GET` works: a size is read from the headers of a `GET`.
    pub no_blob_heads: bool,
    /// The token's scope is the challenge's own and not the repository.
    pub scope_of_challenge: bool,
}

const PLAIN: Quirks =
    Quirks { only_manifest_gets_count: false, no_blob_heads: false, scope_of_challenge: false };

/// The registries that are known by name. The first four are on where nothing is configured.
pub const KNOWN: [KnownRegistry; 7] = [
    KnownRegistry {
        name: "docker.io",
        // Docker's own names for it through the years; nobody else answers on them.
        also: &["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"],
        url: "https://registry-1.docker.io",
        has_library: true,
        quirks: Quirks { only_manifest_gets_count: true, ..PLAIN },
    },
    KnownRegistry { name: "ghcr.io", also: &[], url: "https://ghcr.io", has_library: false, quirks: PLAIN },
    KnownRegistry { name: "quay.io", also: &[], url: "https://quay.io", has_library: false, quirks: PLAIN },
    // Every manifest and blob is elsewhere, and where depends on the asker's address.
    KnownRegistry {
        name: "registry.k8s.io",
        also: &["k8s.gcr.io"],
        url: "https://registry.k8s.io",
        has_library: false,
        quirks: PLAIN,
    },
    KnownRegistry { name: "gcr.io", also: &[], url: "https://gcr.io", has_library: false, quirks: PLAIN },
    KnownRegistry {
        name: "mcr.microsoft.com",
        also: &[],
        url: "https://mcr.microsoft.com",
        has_library: false,
        quirks: PLAIN,
    },
    // HEAD of a blob is answered 401, GET redirects.
    KnownRegistry {
        name: "public.ecr.aws",
        also: &[],
        url: "https://public.ecr.aws",
        has_library: false,
        quirks: Quirks { no_blob_heads: true, scope_of_challenge: true, ..PLAIN },
    },
];

impl KnownRegistry {
    /// The registry that answers at this host.
    pub fn at(host: &str) -> Option<&'static KnownRegistry> {
        KNOWN.iter().find(|each| each.url.strip_prefix("https://") == Some(host))
    }
}

/// The registry of this name.
pub fn known(name: &str) -> Option<&'static KnownRegistry> {
    KNOWN.iter().find(|each| each.name == name || each.also.contains(&name))
}

#[cfg(test)]
mod tests;
