use std::str::FromStr;

use larder_oci::Digest;
use serde_json::Value;

/// Which images of an index are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Every one.
    All,
    /// Those for one platform.
    One {
        /// Such as `linux`.
        os: String,
        /// As Go calls it: `arm64`.
        architecture: String,
        /// Such as `v7`; without it any.
        variant: Option<String>,
    },
}

impl Wanted {
    /// What this machine runs.
    pub(crate) fn of_this_machine() -> Wanted {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Wanted::One {
            os: std::env::consts::OS.to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        }
    }

    fn fits(&self, platform: &Value) -> bool {
        let is = |field: &str, wanted: &str| platform.get(field).and_then(Value::as_str) == Some(wanted);
        match self {
            Wanted::All => true,
            Wanted::One { os, architecture, variant } => {
                is("os", os)
                    && is("architecture", architecture)
                    && variant.as_deref().is_none_or(|variant| is("variant", variant))
            }
        }
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Wanted::All);
        }
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(format!("{text:?} is no platform; write linux/arm64, linux/arm/v7, or all")),
        };
        if parts.iter().any(|part| part.is_empty()) {
            return Err(format!("{text:?} is no platform; write linux/arm64, linux/arm/v7, or all"));
        }
        let variant = variant.map(|&variant| variant.to_owned());
        Ok(Wanted::One { os: (*os).to_owned(), architecture: (*architecture).to_owned(), variant })
    }
}

/// The children of an index that are wanted, and what belongs to them (BuildKit's attestations); every one of an
/// index that tells of no platform.
pub(super) fn chosen(index: &Value, wanted: &[Wanted]) -> Vec<Digest> {
    let children = index.get("manifests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let digest =
        |child: &Value| child.get("digest").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let platform = |child: &Value| child.get("platform").cloned();
    let fits = |child: &&Value| match platform(child) {
        Some(platform) => wanted.iter().any(|wanted| wanted.fits(&platform)),
        None => true,
    };
    let mut found: Vec<Digest> = children.iter().filter(fits).filter_map(digest).collect();
    for child in children {
        let about = child.pointer("/annotations/vnd.docker.reference.digest").and_then(Value::as_str);
        let about: Option<Digest> = about.and_then(|text| text.parse().ok());
        if about.is_some_and(|about| found.contains(&about))
            && let Some(digest) = digest(child)
            && !found.contains(&digest)
        {
            found.push(digest);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(letter: &str) -> String {
        format!("sha256:{}", letter.repeat(64))
    }

    fn index() -> Value {
        json!({ "manifests": [
            { "digest": digest("a"), "platform": { "os": "linux", "architecture": "amd64" } },
            { "digest": digest("b"), "platform": { "os": "linux", "architecture": "arm", "variant": "v7" } },
            { "digest": digest("c"), "platform": { "os": "linux", "architecture": "arm", "variant": "v6" } },
            { "digest": digest("d"), "platform": { "os": "unknown", "architecture": "unknown" },
              "annotations": { "vnd.docker.reference.digest": digest("a") } },
        ]})
    }

    fn choose(wanted: &[&str]) -> Vec<String> {
        let wanted: Vec<Wanted> = wanted.iter().map(|text| text.parse().unwrap()).collect();
        let letter = |digest: &Digest| digest.to_string()[7..8].to_owned();
        chosen(&index(), &wanted).iter().map(letter).collect()
    }

    #[test]
    fn a_platform_chooses_its_images_and_what_belongs_to_them() {
        assert_eq!(choose(&["linux/amd64"]), ["a", "d"]);
        assert_eq!(choose(&["linux/arm/v7"]), ["b"]);
        assert_eq!(choose(&["linux/arm"]), ["b", "c"]);
        assert_eq!(choose(&["linux/amd64", "linux/arm/v6"]), ["a", "c", "d"]);
        assert_eq!(choose(&["all"]), ["a", "b", "c", "d"]);
        assert_eq!(choose(&["windows/amd64"]), [""; 0]);
    }

    #[test]
    fn what_is_no_platform_is_said_to() {
        for text in ["linux", "", "linux/", "/arm64", "a/b/c/d"] {
            assert!(text.parse::<Wanted>().unwrap_err().contains("no platform"), "{text}");
        }
    }
}
