//! Platforms: as people write them, as an index states them, and when the two are the same.
//!
//! Spellings that mean one platform become one value, by containerd's rules, which decide what
//! a node pulls: `arm64` is `arm64/v8`, `arm` is `arm/v7`, `x86_64` is `amd64`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A platform, `os/architecture[/variant][:os.version]`, as in `linux/amd64`, `linux/arm/v7` or
/// `windows/amd64:10.0.17763`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
    os_version: Option<String>,
}

/// What an index states (image-spec, "Image Index", `platform`). Each field may be anything.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Stated {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
    #[serde(default, rename = "os.version")]
    os_version: String,
}

impl Platform {
    /// What an index states of a manifest; None where it says nothing, or `unknown`.
    pub(crate) fn stated(stated: &Stated) -> Option<Self> {
        let says_it = |text: &str| is_name(text) && !text.eq_ignore_ascii_case("unknown");
        let may_be = |text: &str| text.is_empty() || is_name(text);
        if !says_it(&stated.os) || !says_it(&stated.architecture) || !may_be(&stated.variant) {
            return None;
        }
        let mut platform = Self::normal(&stated.os, &stated.architecture, &stated.variant);
        platform.os_version = Some(stated.os_version.clone()).filter(|text| is_name(text));
        Some(platform)
    }

    /// Whether a manifest for `stated` is one of those meant. A version of the system matches
    /// the builds below it, and manifests that state none.
    pub(crate) fn covers(&self, stated: &Self) -> bool {
        let version = match (&self.os_version, &stated.os_version) {
            (Some(wanted), Some(stated)) => stated
                .strip_prefix(wanted.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            _ => true,
        };
        version
            && (&self.os, &self.architecture, &self.variant)
                == (&stated.os, &stated.architecture, &stated.variant)
    }

    fn normal(os: &str, architecture: &str, variant: &str) -> Self {
        let os = os.to_ascii_lowercase();
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            other => other,
        };
        Self {
            os: if os == "macos" { "darwin".to_owned() } else { os },
            architecture: architecture.to_owned(),
            variant: Some(variant.to_owned()).filter(|variant| !variant.is_empty()),
            os_version: None,
        }
    }
}

/// Not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a platform; write os/architecture[/variant], as in linux/arm64")]
pub struct PlatformError(String);

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let illegal = || PlatformError(text.chars().take(100).collect());
        let (names, version) = match text.split_once(':') {
            Some((names, version)) => (names, Some(version)),
            None => (text, None),
        };
        let parts: Vec<&str> = names.split('/').collect();
        if !parts.iter().copied().chain(version).all(is_name) {
            return Err(illegal());
        }
        let platform = match parts.as_slice() {
            [os, architecture] => Self::normal(os, architecture, ""),
            [os, architecture, variant] => Self::normal(os, architecture, variant),
            _ => return Err(illegal()),
        };
        Ok(Self { os_version: version.map(ToOwned::to_owned), ..platform })
    }
}

/// What a platform's parts are made of. They are shown to people, so anything else is none.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))?;
        self.os_version.iter().try_for_each(|version| write!(f, ":{version}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(wanted: &str, stated: &str) -> bool {
        let (wanted, stated): (Platform, Platform) =
            (wanted.parse().unwrap(), stated.parse().unwrap());
        wanted.covers(&stated)
    }

    #[test]
    fn spellings_of_one_platform_are_one() {
        for (one, other) in [
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/arm64/8", "Linux/aarch64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/x86_64", "linux/amd64/v1"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(one.parse::<Platform>(), other.parse(), "{one} {other}");
        }
    }

    #[test]
    fn what_is_another_platform_is_not_covered() {
        for (wanted, stated) in [
            ("linux/arm/v7", "linux/arm/v6"),
            ("linux/arm64", "linux/arm"),
            ("linux/amd64", "linux/386"),
            ("linux/amd64", "linux/amd64/v3"),
            ("linux/amd64", "windows/amd64"),
            ("windows/amd64:10.0.17763", "windows/amd64:10.0.20348.1"),
            ("windows/amd64:10.0.1776", "windows/amd64:10.0.17763.1"),
        ] {
            assert!(!covers(wanted, stated), "{wanted} {stated}");
        }
    }

    #[test]
    fn a_version_of_the_system_covers_its_builds() {
        let build = "windows/amd64:10.0.17763.6775";
        for wanted in ["windows/amd64", "windows/amd64:10.0.17763", build] {
            assert!(covers(wanted, build), "{wanted}");
        }
        assert!(covers("windows/amd64:10.0.17763", "windows/amd64"));
    }

    #[test]
    fn nonsense_is_refused_and_sense_is_written_as_it_is_read() {
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd64:", "linux/*", "l x/a"]
        {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
        for text in ["linux/amd64", "linux/arm/v7", "windows/amd64:10.0.17763"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_unknown_platform_is_none() {
        let unknown = Stated { os: "unknown".into(), ..Stated::default() };
        assert_eq!(Platform::stated(&unknown), None);
        assert_eq!(Platform::stated(&Stated::default()), None);
    }
}
