//! One manifest: what it names, and whether it can be copied.
//!
//! Only the edges of the graph are read; the bytes are what travels. So what a stricter reader
//! would refuse (a platform without architecture, a field of a later version) passes through.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use protocol::Digest;
use registry::{Descriptor, ErrorKind, Hasher, MediaType, presentable};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::graph::{Blob, Role};
use crate::platform::{Platform, Stated};

/// What a descriptor without a media type is taken for.
const UNTYPED: &str = "application/octet-stream";

/// The annotation by which BuildKit ties an attestation in an index to another child of it.
const REFERS_TO: &str = "vnd.docker.reference.digest";

/// What a manifest names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) manifests: Vec<Child>,
    pub(crate) blobs: Vec<Blob>,
    /// The manifest that it refers to.
    pub(crate) subject: Option<Digest>,
}

/// A manifest that an index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) descriptor: Descriptor,
    /// What it is for; None where the index does not know.
    pub(crate) platform: Option<Platform>,
    /// The other child that it is about.
    pub(crate) refers_to: Option<Digest>,
}

/// Why a manifest cannot be copied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    config: Option<WireDescriptor>,
    #[serde(default)]
    layers: Option<Vec<WireDescriptor>>,
    #[serde(default)]
    manifests: Option<Vec<WireDescriptor>>,
    /// Of the artifact manifest that OCI 1.1 had for a while.
    #[serde(default)]
    blobs: Option<Vec<WireDescriptor>>,
    #[serde(default)]
    subject: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    #[serde(default)]
    media_type: Option<String>,
    digest: Digest,
    size: u64,
    // What follows may be anything: a reader who stumbles over it would lose an image for it.
    #[serde(default)]
    platform: Value,
    #[serde(default)]
    annotations: Value,
    #[serde(default)]
    urls: Value,
    #[serde(default)]
    data: Value,
}

/// Reads the edges of a manifest of a media type.
pub(crate) fn read(media_type: &MediaType, bytes: &[u8]) -> Result<Named, Flaw> {
    if media_type.is_schema1() {
        return Err(Flaw {
            kind: ErrorKind::Unsupported,
            message: "it is a Docker schema 1 manifest, whose digest does not cover its bytes; \
                      push the image again with a tool of this decade"
                .to_owned(),
        });
    }
    if !media_type.is_index() && !media_type.is_image() {
        let message = format!("{media_type} is no manifest that is known here");
        return Err(Flaw { kind: ErrorKind::Unsupported, message });
    }
    let wire: Wire = serde_json::from_slice(bytes)
        .map_err(|error| malformed(format!("the manifest cannot be read: {error}")))?;
    let is_image = wire.layers.is_some() || wire.config.is_some() || wire.blobs.is_some();
    if wire.manifests.is_some() && is_image {
        // CVE-2021-41190: one reader would run the one, another reader the other.
        return Err(malformed("the manifest is an index and an image at once"));
    }
    let subject = lenient(&wire.subject["digest"]);
    let named = if media_type.is_index() { read_index(wire) } else { read_image(wire) };
    Ok(Named { subject, ..named? })
}

fn read_index(wire: Wire) -> Result<Named, Flaw> {
    let mut named = Named::default();
    for wire in wire.manifests.ok_or_else(|| malformed("the index has no list of manifests"))? {
        let descriptor = descriptor(&wire)?;
        let media_type = &descriptor.media_type;
        if media_type.is_index() || media_type.is_image() || media_type.is_schema1() {
            let platform = lenient::<Stated>(&wire.platform);
            let platform = platform.as_ref().and_then(Platform::stated);
            let refers_to = lenient(&wire.annotations[REFERS_TO]);
            named.manifests.push(Child { descriptor, platform, refers_to });
        } else {
            // An index may name anything; build caches name layers in one.
            named.blobs.push(blob(&wire, Role::Layer)?);
        }
    }
    Ok(named)
}

fn read_image(wire: Wire) -> Result<Named, Flaw> {
    let mut named = Named::default();
    for wire in wire.layers.into_iter().chain(wire.blobs).flatten() {
        named.blobs.push(blob(&wire, Role::Layer)?);
    }
    if let Some(config) = wire.config {
        named.blobs.push(blob(&config, Role::Config)?);
    }
    Ok(named)
}

fn blob(wire: &WireDescriptor, role: Role) -> Result<Blob, Flaw> {
    let descriptor = descriptor(wire)?;
    let data = embedded(&wire.data, &descriptor)?;
    let urls = lenient(&wire.urls).unwrap_or_default();
    Ok(Blob { descriptor, role, data, urls })
}

/// The content that a descriptor brings along (image-spec, "Descriptors", `data`). It must be
/// what size and digest say.
fn embedded(data: &Value, descriptor: &Descriptor) -> Result<Option<Bytes>, Flaw> {
    if data.is_null() {
        return Ok(None);
    }
    let digest = &descriptor.digest;
    let decoded = data.as_str().and_then(|text| STANDARD.decode(text).ok());
    let bytes = decoded.ok_or_else(|| malformed(format!("the data in {digest} is no base64")))?;
    let found = Hasher::digest(digest.algorithm(), &bytes);
    if bytes.len() as u64 != descriptor.size || found != *digest {
        return Err(malformed(format!("the data in {digest} is {found}")));
    }
    Ok(Some(bytes.into()))
}

/// A manifest that has a subject, as the subject's referrers are listed (distribution-spec,
/// "Pushing Manifests with Subject"); None for any other.
pub(crate) fn as_referrer(descriptor: &Descriptor, bytes: &[u8]) -> Option<(Digest, Value)> {
    let manifest: Value = serde_json::from_slice(bytes).ok()?;
    let subject = lenient(&manifest["subject"]["digest"])?;
    let own = manifest["artifactType"].as_str().filter(|text| !text.is_empty());
    let artifact_type = own.or_else(|| manifest["config"]["mediaType"].as_str());
    let mut entry = json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    });
    if let Some(artifact_type) = artifact_type {
        entry["artifactType"] = artifact_type.into();
    }
    if manifest["annotations"].is_object() {
        entry["annotations"] = manifest["annotations"].clone();
    }
    Some((subject, entry))
}

/// A field as what it should be; None where it is something else.
fn lenient<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn descriptor(wire: &WireDescriptor) -> Result<Descriptor, Flaw> {
    let text = wire.media_type.as_deref().filter(|text| !text.is_empty()).unwrap_or(UNTYPED);
    let media_type =
        text.parse().map_err(|error| malformed(format!("{}: {error}", wire.digest)))?;
    Ok(Descriptor { media_type, digest: wire.digest.clone(), size: wire.size })
}

/// The message may quote the manifest, which may be large.
fn malformed(message: impl AsRef<str>) -> Flaw {
    Flaw { kind: ErrorKind::Malformed, message: presentable(message.as_ref()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Image, media};

    fn read(media_type: &str, manifest: &str) -> Result<Named, Flaw> {
        super::read(&media_type.parse().unwrap(), manifest.as_bytes())
    }

    fn of(image: &Image) -> Named {
        of_result(image).unwrap()
    }

    fn of_result(image: &Image) -> Result<Named, Flaw> {
        super::read(&image.media_type.parse().unwrap(), &image.manifest)
    }

    #[test]
    fn an_image_names_its_layers_and_its_config() {
        let image = Image::new(&[b"one", b"two"]);
        let named = of(&image);
        let roles: Vec<_> = named.blobs.iter().map(|blob| blob.role).collect();
        assert_eq!(roles, [Role::Layer, Role::Layer, Role::Config]);
        assert_eq!(named.blobs[0].descriptor.size, 3);
        assert!(named.manifests.is_empty());
    }

    #[test]
    fn an_index_names_manifests() {
        let index = Image::index(&[
            ("linux/amd64", Image::new(&[b"a"])),
            ("linux/arm64", Image::new(&[b"b"])),
        ]);
        assert_eq!(of(&index).manifests.len(), 2);
    }

    #[test]
    fn an_index_may_name_blobs() {
        let digest = Image::new(&[]).digest;
        let cache = format!(
            r#"{{"manifests":[{{"mediaType":"{}","digest":"{digest}","size":9}}]}}"#,
            media::LAYER
        );
        let named = read(media::INDEX, &cache).unwrap();
        assert_eq!((named.manifests.len(), named.blobs.len()), (0, 1));
    }

    #[test]
    fn an_image_without_layers_is_one() {
        assert_eq!(read(media::MANIFEST, r#"{"layers":null}"#).unwrap(), Named::default());
    }

    #[test]
    fn case_39_schema_1_is_refused_with_the_reason() {
        let flaw = read(media::SCHEMA1, r#"{"schemaVersion":1}"#).unwrap_err();
        assert_eq!(flaw.kind, ErrorKind::Unsupported);
        assert!(flaw.message.contains("schema 1"));
    }

    #[test]
    fn data_is_what_size_and_digest_say_or_an_error() {
        let with = |data: Value| {
            of_result(&Image::new(&[b"abc"]).edited(|m| m["layers"][0]["data"] = data))
        };
        assert_eq!(with("YWJj".into()).unwrap().blobs[0].data, Some(Bytes::from("abc")));
        for data in ["YWJk".into(), "YWI=".into(), "YWJj=".into(), "".into(), 7.into()] {
            assert_eq!(with(data).unwrap_err().kind, ErrorKind::Malformed);
        }
    }

    #[test]
    fn odd_fields_beside_the_edges_are_let_be() {
        let image = Image::index(&[("linux/amd64", Image::new(&[]))]).edited(|manifest| {
            manifest["manifests"][0]["platform"] = json!({"os": 7});
            manifest["manifests"][0]["annotations"] = json!([]);
        });
        let named = of(&image);
        assert_eq!((&named.manifests[0].platform, &named.manifests[0].refers_to), (&None, &None));
    }

    #[test]
    fn a_referrer_is_listed_with_type_and_annotations() {
        let subject = Image::new(&[b"a"]);
        let listed = |image: &Image| {
            let descriptor = Descriptor {
                media_type: image.media_type.parse().unwrap(),
                digest: image.digest.clone(),
                size: image.manifest.len() as u64,
            };
            as_referrer(&descriptor, &image.manifest)
        };
        let referrer = Image::referrer(&subject, "application/spdx", b"sbom");
        let (of, entry) = listed(&referrer).unwrap();
        assert_eq!(of, subject.digest);
        assert_eq!(entry["artifactType"], "application/spdx");
        assert_eq!(entry["annotations"]["org.example.for"], "tests");
        let untyped = referrer.edited(|manifest| manifest["artifactType"] = "".into());
        assert_eq!(listed(&untyped).unwrap().1["artifactType"], media::EMPTY);
        assert_eq!(listed(&subject), None);
    }

    #[test]
    fn what_is_said_of_a_large_manifest_is_a_line() {
        let flaw = read(media::MANIFEST, &format!(r#"{{"layers":"{}"}}"#, "x\\n".repeat(100_000)));
        let message = flaw.unwrap_err().message;
        assert!(message.starts_with("the manifest cannot be read: "), "{message}");
        assert!(message.chars().count() <= 301 && !message.contains('\n'), "{message}");
    }

    #[test]
    fn nonsense_is_refused() {
        for manifest in [
            "{",
            r#"{"manifests":[],"layers":[]}"#,
            r#"{"manifests":[],"blobs":[]}"#,
            r#"{"layers":[{"digest":"sha256:../..","size":1}]}"#,
            r#"{"layers":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":-1}]}"#,
        ] {
            assert_eq!(
                read(media::MANIFEST, manifest).unwrap_err().kind,
                ErrorKind::Malformed,
                "{manifest}"
            );
        }
    }
}
