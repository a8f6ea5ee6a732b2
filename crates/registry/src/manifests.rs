//! Verbs on manifests: look up, read, write. What is read is verified before it is returned.

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use protocol::reference::Algorithm;
use protocol::{Digest, Registry, Repository};
use serde::Deserialize;

use crate::answer::Answer;
use crate::client::Client;
use crate::descriptor::{ACCEPTED_MANIFESTS, Descriptor, ManifestRef, MediaType};
use crate::error::{Error, ErrorKind, Operation};
use crate::hasher::Hasher;
use crate::limits::MAX_MANIFEST_BYTES;
use crate::request::{Payload, Request, Scope};

/// The subject of a manifest that a registry took note of (distribution-spec, "Pushing
/// Manifests with Subject").
const SUBJECT: &str = "oci-subject";

/// The digest that a registry says its answer has.
const CONTENT_DIGEST: &str = "docker-content-digest";

impl Client {
    /// Whether the registry shows who asks a repository, whatever is in it; false where there is
    /// none, as far as they are told (distribution-spec, "Listing Tags").
    pub async fn shows_repository(
        &self,
        registry: &Registry,
        repository: &Repository,
    ) -> Result<bool, Error> {
        let operation = Operation::ListTags;
        let site = self.site(operation, registry)?;
        let mut url = site.home.url(&format!("{repository}/tags/list"));
        url.set_query(Some("n=1"));
        let request = Request::new(operation, registry, Method::GET, url);
        match self.request(&site, request, Some(&self.reading(repository))).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a manifest by its digest, and with it all tags that name it. False where there was
    /// none (distribution-spec, "Deleting Manifests").
    pub async fn delete_manifest(
        &self,
        registry: &Registry,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let operation = Operation::DeleteManifest;
        let site = self.site(operation, registry)?;
        let url = site.home.url(&format!("{repository}/manifests/{digest}"));
        let request = Request::new(operation, registry, Method::DELETE, url);
        match self.request(&site, request, Some(&Scope::delete(repository))).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a tag or digest names at the moment, without reading it; None where there is no
    /// such manifest or repository.
    pub async fn head_manifest(
        &self,
        registry: &Registry,
        repository: &Repository,
        reference: &ManifestRef,
    ) -> Result<Option<Descriptor>, Error> {
        let looked_up =
            self.fetch(Operation::HeadManifest, Method::HEAD, registry, repository, reference);
        match looked_up.await {
            Ok(answer) => {
                let digest = match reference {
                    ManifestRef::Digest(digest) => Some(digest.clone()),
                    ManifestRef::Tag(_) => stated_digest(&answer)?,
                };
                let (media_type, size) = (stated_type(&answer), answer.content_length());
                if let (Some(media_type), Some(digest), Some(size)) = (media_type, digest, size) {
                    return Ok(Some(Descriptor { media_type, digest, size }));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => return Err(error),
        }
        // Some registries leave out of a HEAD what a GET shows, or take none.
        match self.manifest(registry, repository, reference).await {
            Ok((descriptor, _)) => Ok(Some(descriptor)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A manifest, byte for byte. The bytes hash to the digest that was asked for, and to the
    /// one that the registry states.
    pub async fn manifest(
        &self,
        registry: &Registry,
        repository: &Repository,
        reference: &ManifestRef,
    ) -> Result<(Descriptor, Bytes), Error> {
        let answer = self
            .fetch(Operation::GetManifest, Method::GET, registry, repository, reference)
            .await?;
        let stated = stated_digest(&answer)?;
        let content_type = stated_type(&answer);
        let url = answer.url.clone();
        let bytes = answer.bytes(MAX_MANIFEST_BYTES).await?;
        let failed = |kind, message: String| {
            Error::new(kind, Operation::GetManifest, registry, message).at(&url)
        };
        let expected = match reference {
            ManifestRef::Digest(digest) => Some(digest.clone()),
            ManifestRef::Tag(_) => stated,
        };
        let algorithm = expected.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = Hasher::digest(algorithm, &bytes);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            let message = format!("the manifest should be {expected} and is {digest}");
            return Err(failed(ErrorKind::DigestMismatch, message));
        }
        let media_type = agreed_type(content_type, &bytes)
            .map_err(|message| failed(ErrorKind::Malformed, message))?;
        let size = bytes.len() as u64;
        Ok((Descriptor { media_type, digest, size }, bytes))
    }

    /// Writes a manifest under a tag or its digest, byte for byte. Tells which subject the
    /// registry says it will list the manifest under; None where it has no referrers API, or
    /// the manifest no subject.
    pub async fn put_manifest(
        &self,
        registry: &Registry,
        repository: &Repository,
        reference: &ManifestRef,
        media_type: &MediaType,
        bytes: &Bytes,
    ) -> Result<Option<Digest>, Error> {
        let operation = Operation::PutManifest;
        let site = self.site(operation, registry)?;
        let url = site.home.url(&format!("{repository}/manifests/{reference}"));
        let request = Request::new(operation, registry, Method::PUT, url);
        let content_type = HeaderValue::from_str(media_type.as_str())
            .map_err(|_| request.error(ErrorKind::Malformed, "the media type is no header"))?;
        let request = request
            .with_header(header::CONTENT_TYPE, content_type)
            .with_payload(Payload::Bytes(bytes.clone()));
        let answer = self.request(&site, request, Some(&Scope::push(repository))).await?;
        match stated_digest(&answer)? {
            Some(stated) if stated != Hasher::digest(stated.algorithm(), bytes) => {
                let message = format!("it keeps the manifest as {stated}, which it is not");
                Err(answer.error(ErrorKind::DigestMismatch, message))
            }
            _ => Ok(answer.header(SUBJECT).and_then(|subject| subject.parse().ok())),
        }
    }

    async fn fetch(
        &self,
        operation: Operation,
        method: Method,
        registry: &Registry,
        repository: &Repository,
        reference: &ManifestRef,
    ) -> Result<Answer, Error> {
        let site = self.site(operation, registry)?;
        let url = site.home.url(&format!("{repository}/manifests/{reference}"));
        let request = Request::new(operation, registry, method, url)
            .with_header(header::ACCEPT, HeaderValue::from_static(ACCEPTED_MANIFESTS));
        self.request(&site, request, Some(&self.reading(repository))).await
    }
}

/// The digest that the registry states; an error where it is none that can be verified.
fn stated_digest(answer: &Answer) -> Result<Option<Digest>, Error> {
    let Some(text) = answer.header(CONTENT_DIGEST) else { return Ok(None) };
    let illegal = |_| answer.error(ErrorKind::Malformed, "its Docker-Content-Digest is no digest");
    text.parse().map(Some).map_err(illegal)
}

/// The media type of the header, unless it says no more than "some JSON".
fn stated_type(answer: &Answer) -> Option<MediaType> {
    let media_type: MediaType = answer.header(header::CONTENT_TYPE.as_str())?.parse().ok()?;
    let says_nothing = matches!(
        media_type.as_str(),
        "application/json" | "text/plain" | "application/octet-stream"
    );
    (!says_nothing).then_some(media_type)
}

/// What a manifest says of its own type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeField {
    #[serde(default)]
    media_type: Option<MediaType>,
    #[serde(default)]
    schema_version: Option<u64>,
}

/// Header and body must agree, since one of them alone would let the same bytes be read as two
/// things (CVE-2021-41190). Where neither says anything, old OCI manifests are told by form.
fn agreed_type(stated: Option<MediaType>, bytes: &[u8]) -> Result<MediaType, String> {
    // Serde would take an array for a struct as well.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err("the manifest is not a JSON object".to_owned());
    }
    let body: TypeField = serde_json::from_slice(bytes)
        .map_err(|error| format!("the manifest is not JSON: {error}"))?;
    match (stated, body.media_type) {
        (Some(stated), Some(own)) if stated != own => {
            Err(format!("the manifest comes as {stated} and calls itself {own}"))
        }
        (Some(media_type), _) | (None, Some(media_type)) => Ok(media_type),
        (None, None) if body.schema_version == Some(1) => {
            Err("it is a schema 1 manifest, which has no digest of its own".to_owned())
        }
        (None, None) => Err("the manifest comes without a media type".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

    #[test]
    fn header_and_body_must_agree() {
        let body = format!(r#"{{"mediaType":"{INDEX}"}}"#);
        let agreed = |stated: Option<&str>, body: &str| {
            agreed_type(stated.map(|stated| stated.parse().unwrap()), body.as_bytes())
        };
        assert_eq!(agreed(Some(INDEX), &body).unwrap().as_str(), INDEX);
        assert_eq!(agreed(None, &body).unwrap().as_str(), INDEX);
        assert_eq!(agreed(Some(IMAGE), "{}").unwrap().as_str(), IMAGE);
        assert!(agreed(Some(IMAGE), &body).unwrap_err().contains("calls itself"));
        assert!(agreed(None, "{}").is_err());
        for other in ["<html>", "[]", "", "{"] {
            assert!(agreed(Some(IMAGE), other).is_err(), "{other}");
        }
    }
}
