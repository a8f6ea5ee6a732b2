//! Who must have signed an image, and how the host is asked to see to it.
//!
//! The question is the SDK's own type, so that the host understands it.

use std::collections::BTreeMap;

use kubewarden_policy_sdk::host_capabilities::SigstoreVerificationInputV2 as Question;
use kubewarden_policy_sdk::host_capabilities::verification::{KeylessInfo, KeylessPrefixInfo};
use protocol::ImageReference;
use serde_json::Value;

use super::keys::{CERTIFICATE, GITHUB_ACTIONS, IDENTITY, IDENTITY_PREFIX, Key};
use super::reader::Reader;

/// The signers, of which one is chosen.
const SIGNERS: [&str; 5] =
    ["publicKeys", "keyless", "keylessPrefix", "githubActions", "certificate"];

/// Who must have signed, and with what annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verification {
    signer: Signer,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Signer {
    PublicKeys(Vec<String>),
    Keyless(Vec<KeylessInfo>),
    KeylessPrefix(Vec<KeylessPrefixInfo>),
    GithubActions { owner: String, repo: Option<String> },
    Certificate { pem: String, chain: Option<Vec<String>>, require_rekor_bundle: bool },
}

impl Verification {
    /// The question to the host about `image`.
    pub(crate) fn question(&self, image: &ImageReference) -> Question {
        let image = image.to_string();
        let annotations = self.annotations.clone();
        match self.signer.clone() {
            Signer::PublicKeys(pub_keys) => {
                Question::SigstorePubKeyVerify { image, pub_keys, annotations }
            }
            Signer::Keyless(keyless) => {
                Question::SigstoreKeylessVerify { image, keyless, annotations }
            }
            Signer::KeylessPrefix(keyless_prefix) => {
                Question::SigstoreKeylessPrefixVerify { image, keyless_prefix, annotations }
            }
            Signer::GithubActions { owner, repo } => {
                Question::SigstoreGithubActionsVerify { image, owner, repo, annotations }
            }
            Signer::Certificate { pem, chain, require_rekor_bundle } => {
                Question::SigstoreCertificateVerify {
                    image,
                    certificate: pem.into_bytes(),
                    certificate_chain: chain
                        .map(|chain| chain.into_iter().map(String::into_bytes).collect()),
                    require_rekor_bundle,
                    annotations,
                }
            }
        }
    }
}

/// Reads a rule's `verify`; None, with errors, where it is wrong.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Verification> {
    let named: Vec<&str> = SIGNERS.into_iter().filter(|key| reader.value(key).is_some()).collect();
    let signer = match named.as_slice() {
        [signer] => *signer,
        [] => {
            reader
                .error(SIGNERS[0], &format!("or another signer is missing: there are {}", list()));
            return None;
        }
        [first, ..] => {
            reader.error(first, &format!("is not the only signer: name one of {}", list()));
            return None;
        }
    };
    let annotations = annotations(reader);
    let signer = match signer {
        "publicKeys" => public_keys(reader).map(Signer::PublicKeys),
        "keyless" => identities(reader, "keyless", &IDENTITY, "subject")
            .map(|found| found.into_iter().map(|(issuer, subject)| KeylessInfo { issuer, subject }))
            .map(|found| Signer::Keyless(found.collect())),
        "keylessPrefix" => identities(reader, "keylessPrefix", &IDENTITY_PREFIX, "urlPrefix")
            .map(|found| {
                found
                    .into_iter()
                    .map(|(issuer, url_prefix)| KeylessPrefixInfo { issuer, url_prefix })
            })
            .map(|found| Signer::KeylessPrefix(found.collect())),
        "githubActions" => within(reader, "githubActions", &GITHUB_ACTIONS, |inner| {
            let owner = inner.required("owner", not_empty);
            let repo = inner.optional("repo", not_empty);
            Some(Signer::GithubActions { owner: owner?, repo })
        }),
        _ => within(reader, "certificate", &CERTIFICATE, |inner| {
            let pem = inner.required("pem", |text| check_pem(text, "CERTIFICATE"));
            let chain = inner.texts("chain", |text| check_pem(text, "CERTIFICATE"));
            let require_rekor_bundle = inner.flag("requireRekorBundle").unwrap_or(true);
            Some(Signer::Certificate { pem: pem?, chain, require_rekor_bundle })
        }),
    }?;
    reader.is_good().then_some(Verification { signer, annotations })
}

fn list() -> String {
    format!("`{}`", SIGNERS.join("`, `"))
}

fn public_keys(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    if reader.items("publicKeys")?.is_empty() {
        reader.error("publicKeys", "is empty: nobody need have signed");
    }
    reader.texts("publicKeys", |text| check_pem(text, "PUBLIC KEY"))
}

/// Pairs of an issuer and what `other` says.
fn identities(
    reader: &mut Reader<'_>,
    key: &str,
    known: &'static [Key],
    other: &str,
) -> Option<Vec<(String, String)>> {
    let items = reader.items(key)?;
    if items.is_empty() {
        reader.error(key, "is empty: nobody need have signed");
    }
    let mut identities = Vec::with_capacity(items.len());
    for item in items {
        let mut inner =
            Reader::new(item, known, &format!("an item of `{key}` is"), reader.place_of(key));
        let pair = (inner.required("issuer", not_empty), inner.required(other, not_empty));
        if let (Some(issuer), Some(other)) = pair {
            identities.push((issuer, other));
        }
        reader.take_over(inner);
    }
    Some(identities)
}

fn within(
    reader: &mut Reader<'_>,
    key: &str,
    known: &'static [Key],
    read: impl FnOnce(&mut Reader<'_>) -> Option<Signer>,
) -> Option<Signer> {
    let value = reader.value(key)?;
    let mut inner = Reader::new(value, known, &format!("`{key}` is"), reader.place_of(key));
    let signer = read(&mut inner);
    reader.take_over(inner);
    signer
}

fn annotations(reader: &mut Reader<'_>) -> Option<BTreeMap<String, String>> {
    let value = reader.value("annotations")?;
    let pairs = value.as_object().and_then(|fields| {
        let pair =
            |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        fields.iter().map(pair).collect::<Option<BTreeMap<_, _>>>()
    });
    if pairs.is_none() {
        reader.error("annotations", "must be an object whose values are texts");
    }
    pairs.filter(|pairs| !pairs.is_empty())
}

fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("it is empty") } else { Ok(text.to_owned()) }
}

/// Whether the host can read it is the host's to say; that it is no file name is seen here.
fn check_pem(text: &str, what: &str) -> Result<String, String> {
    if text.trim_start().starts_with(&format!("-----BEGIN {what}-----")) {
        Ok(text.to_owned())
    } else {
        Err(format!("a text does not begin with `-----BEGIN {what}-----`"))
    }
}
