//! What of an image travels: which platforms, which referrers, and what of foreign layers.

use std::collections::HashSet;
use std::str::FromStr;

use protocol::Digest;
use registry::{ErrorKind, MediaType};
use serde::Deserialize;

use crate::manifest::Child;
use crate::platform::Platform;

/// What of an image travels. `Scope::default()` is everything that its source may hand out.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The platforms of an index whose manifests are copied; none here means all. The index
    /// itself stays as it is, so only targets that accept a sparse index take it. An image
    /// without an index is copied whatever stands here.
    pub platforms: Vec<Platform>,
    /// What is copied of that which refers to the image.
    pub referrers: Referrers,
    /// What is done with layers that their owner keeps from being pushed.
    pub foreign_layers: ForeignLayers,
}

/// What is copied of signatures, attestations, SBOMs and the like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Referrers {
    /// All.
    #[default]
    All,
    /// Those of these artifact types; of what hangs on cosign's tags, that with a layer of one
    /// of these media types.
    OfTypes(Vec<MediaType>),
    /// Nothing, and nobody is asked for it.
    Nothing,
}

/// What is done with foreign layers (image-spec, "Non-Distributable Layers").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForeignLayers {
    /// The image is not copied.
    #[default]
    Refuse,
    /// The image is copied without their bytes, for targets that accept that. Nodes fetch them
    /// from their owner.
    Skip,
    /// They are copied as any other layer, from the source or from their owner. Whoever sets
    /// this has the right to.
    Fetch,
}

/// What a manifest names and does not travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// Manifests of platforms that nobody wants.
    Platforms,
    /// Layers that are their owner's matter.
    ForeignLayers,
}

/// Not a rule for foreign layers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is none of refuse, skip and fetch")]
pub struct ForeignLayersError(String);

impl FromStr for ForeignLayers {
    type Err = ForeignLayersError;

    fn from_str(text: &str) -> Result<Self, ForeignLayersError> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "skip" => Ok(Self::Skip),
            "fetch" => Ok(Self::Fetch),
            other => Err(ForeignLayersError(other.chars().take(100).collect())),
        }
    }
}

impl Referrers {
    /// Whether something of this type is copied.
    pub(crate) fn include(&self, artifact_type: &str) -> bool {
        match self {
            Self::All => true,
            Self::OfTypes(types) => {
                types.iter().any(|one| one.as_str().eq_ignore_ascii_case(artifact_type))
            }
            Self::Nothing => false,
        }
    }
}

impl Scope {
    /// The same for a referrer: it is one thing for all platforms.
    pub(crate) fn of_referrers(&self) -> Self {
        Self { platforms: Vec::new(), ..self.clone() }
    }

    /// Why a target refused a manifest that names what was left out, and what to do; None where
    /// that is not why.
    pub(crate) fn objection(&self, left_out: LeftOut, error: &registry::Error) -> Option<String> {
        let is_why = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Malformed);
        let status = error.status().filter(|_| is_why)?;
        let codes = error.codes().iter().map(|code| format!(" {code}")).collect::<String>();
        Some(match left_out {
            LeftOut::Platforms => format!(
                "it wants every platform of an index ({status}{codes}), and only {} is to be \
                 copied; copy all platforms, or set the registry to accept an index without some",
                list(&self.platforms)
            ),
            LeftOut::ForeignLayers => format!(
                "it wants the foreign layers ({status}{codes}), which are skipped; fetch them with \
                 their owner's leave, or set the registry to accept their URLs"
            ),
        })
    }

    /// The children of an index that travel. One without a platform does, unless it says that
    /// it refers to a child that does not, as BuildKit's attestations do.
    pub(crate) fn choose(&self, children: Vec<Child>) -> Vec<Child> {
        if self.platforms.is_empty() {
            return children;
        }
        let wanted = |child: &Child| match (&child.platform, &child.refers_to) {
            (Some(platform), _) => self.platforms.iter().any(|wanted| wanted.covers(platform)),
            (None, refers_to) => refers_to.is_none(),
        };
        let digest = |child: &Child| child.descriptor.digest.clone();
        let all: HashSet<Digest> = children.iter().map(digest).collect();
        let chosen: HashSet<Digest> =
            children.iter().filter(|child| wanted(child)).map(digest).collect();
        let travels = |child: &Child| {
            let refers_to = child.refers_to.as_ref().filter(|_| child.platform.is_none());
            chosen.contains(&child.descriptor.digest)
                || refers_to.is_some_and(|one| chosen.contains(one) || !all.contains(one))
        };
        children.into_iter().filter(travels).collect()
    }
}

/// `linux/amd64, linux/arm64`
pub(crate) fn list<'a>(platforms: impl IntoIterator<Item = &'a Platform>) -> String {
    platforms.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry::Descriptor;
    use testkit::{digest_of, media};

    fn child(name: &str, platform: Option<&str>, refers_to: Option<&str>) -> Child {
        Child {
            descriptor: Descriptor {
                media_type: media::MANIFEST.parse().unwrap(),
                digest: digest_of(name.as_bytes()),
                size: 1,
            },
            platform: platform.map(|platform| platform.parse().unwrap()),
            refers_to: refers_to.map(|name| digest_of(name.as_bytes())),
        }
    }

    /// What the scope of linux/arm64 leaves of an index.
    fn chosen(children: &[Child]) -> Vec<Child> {
        let platforms = vec!["linux/arm64".parse().unwrap()];
        Scope { platforms, ..Scope::default() }.choose(children.to_vec())
    }

    #[test]
    fn an_attestation_travels_with_what_it_is_about() {
        let children = [
            child("amd64", Some("linux/amd64"), None),
            child("arm64", Some("linux/arm64/v8"), None),
            child("of amd64", None, Some("amd64")),
            child("of arm64", None, Some("arm64")),
            child("of another image", None, Some("elsewhere")),
            child("an artifact", None, None),
        ];
        assert_eq!(chosen(&children), [1, 3, 4, 5].map(|at| children[at].clone()));
    }

    #[test]
    fn without_a_list_all_travel() {
        let children = vec![child("amd64", Some("linux/amd64"), None), child("x", None, None)];
        assert_eq!(Scope::default().choose(children.clone()), children);
    }

    #[test]
    fn types_are_compared_whole() {
        let some = Referrers::OfTypes(vec!["a/b".parse().unwrap()]);
        assert!(some.include("A/b") && !some.include("a/bc"));
        assert!(Referrers::All.include("") && !Referrers::Nothing.include("a/b"));
    }
}
