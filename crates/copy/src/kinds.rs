//! What a referrer is for, by its artifact type or the tag that it hangs on. For people: nothing is
//! decided by it, and nothing of it is verified.

use protocol::Tag;

/// What a referrer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferrerKind {
    /// A signature: cosign's, Notation's, or a Sigstore bundle (which may hold an attestation;
    /// that is signed as well).
    Signature,
    /// A signed statement, such as of where the image was built.
    Attestation,
    /// A list of what is in it.
    Sbom,
    /// Something else.
    Other,
}

/// Parts of artifact types, in the order in which they decide.
const TYPES: [(&str, ReferrerKind); 9] = [
    ("vnd.cncf.notary.signature", ReferrerKind::Signature),
    ("vnd.dev.cosign.artifact.sig.", ReferrerKind::Signature),
    ("vnd.dev.cosign.simplesigning.", ReferrerKind::Signature),
    ("vnd.dev.sigstore.bundle", ReferrerKind::Signature),
    ("vnd.dev.cosign.artifact.att.", ReferrerKind::Attestation),
    ("vnd.in-toto", ReferrerKind::Attestation),
    ("spdx", ReferrerKind::Sbom),
    ("cyclonedx", ReferrerKind::Sbom),
    ("vnd.dev.cosign.artifact.sbom.", ReferrerKind::Sbom),
];

impl ReferrerKind {
    /// The word in records and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Attestation => "attestation",
            Self::Sbom => "sbom",
            Self::Other => "other",
        }
    }

    /// What an artifact type says.
    pub(crate) fn of_type(artifact_type: &str) -> Self {
        let artifact_type = artifact_type.to_ascii_lowercase();
        let known = TYPES.iter().find(|(part, _)| artifact_type.contains(part));
        known.map_or(Self::Other, |(_, kind)| *kind)
    }

    /// What one of cosign's tags says.
    pub(crate) fn of_tag(tag: &Tag) -> Self {
        match tag.as_str().rsplit_once('.').map(|(_, suffix)| suffix) {
            Some("sig") => Self::Signature,
            Some("att") => Self::Attestation,
            Some("sbom") => Self::Sbom,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_tags_tell_what_a_referrer_is_for() {
        for (artifact_type, word) in [
            ("application/vnd.cncf.notary.signature", "signature"),
            ("application/vnd.dev.cosign.artifact.sig.v1+json", "signature"),
            ("application/vnd.dev.sigstore.bundle.v0.3+json", "signature"),
            ("application/vnd.in-toto+json", "attestation"),
            ("application/spdx+json", "sbom"),
            ("application/vnd.CycloneDX+json", "sbom"),
            ("application/vnd.example.signature-policy", "other"),
            ("", "other"),
        ] {
            assert_eq!(ReferrerKind::of_type(artifact_type).as_str(), word, "{artifact_type}");
        }
        for (tag, word) in [
            ("sha256-0123.sig", "signature"),
            ("sha256-0123.att", "attestation"),
            ("sha256-0123.sbom", "sbom"),
            ("sha256-0123", "other"),
        ] {
            assert_eq!(ReferrerKind::of_tag(&tag.parse().unwrap()).as_str(), word, "{tag}");
        }
    }
}
