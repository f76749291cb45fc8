use std::str::FromStr;

use larder_core::{NoPlatform, Platform};

/// Which images of an index are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Every one.
    All,
    /// Those for one platform.
    One(Platform),
}

impl Wanted {
    /// These, as core takes them: none for all of them. Where nothing is said, what this machine runs.
    pub(crate) fn platforms(wanted: &[Wanted]) -> Vec<Platform> {
        let mut platforms = Vec::new();
        for each in wanted {
            match each {
                Wanted::All => return Vec::new(),
                Wanted::One(platform) => platforms.push(platform.clone()),
            }
        }
        if platforms.is_empty() {
            platforms.push(of_this_machine());
        }
        platforms
    }
}

fn of_this_machine() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    };
    Platform { os: std::env::consts::OS.to_owned(), architecture: architecture.to_owned(), variant: None }
}

impl FromStr for Wanted {
    type Err = NoPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" { Ok(Wanted::All) } else { text.parse().map(Wanted::One) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platforms(wanted: &[&str]) -> Vec<String> {
        let wanted: Vec<Wanted> = wanted.iter().map(|text| text.parse().unwrap()).collect();
        Wanted::platforms(&wanted).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_takes_everything_and_nothing_is_what_this_machine_runs() {
        assert_eq!(platforms(&["linux/amd64", "linux/arm/v7"]), ["linux/amd64", "linux/arm/v7"]);
        assert_eq!(platforms(&["linux/amd64", "all"]), [""; 0]);
        assert_eq!(platforms(&[]), [of_this_machine().to_string()]);
    }

    #[test]
    fn what_is_no_platform_is_said_to() {
        for text in ["linux", "", "linux/", "/arm64", "a/b/c/d"] {
            assert!(text.parse::<Wanted>().unwrap_err().to_string().contains("no platform"), "{text}");
        }
    }
}
