//! One manifest: what it names, and whether it can be copied.
//!
//! Only the edges of the graph are read; the bytes are what travels. So what a stricter reader
//! would refuse (a platform without architecture, a field of a later version) passes through.

use protocol::Digest;
use registry::{Descriptor, ErrorKind, MediaType};
use serde::Deserialize;

use crate::graph::{Blob, Role};

/// What a descriptor without a media type is taken for.
const UNTYPED: &str = "application/octet-stream";

/// What a manifest names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) manifests: Vec<Descriptor>,
    pub(crate) blobs: Vec<Blob>,
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
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    #[serde(default)]
    media_type: Option<String>,
    digest: Digest,
    size: u64,
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
    let is_both = wire.manifests.is_some() && (wire.layers.is_some() || wire.config.is_some());
    if is_both {
        // CVE-2021-41190: one reader would run the one, another reader the other.
        return Err(malformed("the manifest is an index and an image at once"));
    }
    if media_type.is_index() { read_index(wire) } else { read_image(wire) }
}

fn read_index(wire: Wire) -> Result<Named, Flaw> {
    let mut named = Named::default();
    for wire in wire.manifests.ok_or_else(|| malformed("the index has no list of manifests"))? {
        let descriptor = descriptor(wire)?;
        let media_type = &descriptor.media_type;
        if media_type.is_index() || media_type.is_image() || media_type.is_schema1() {
            named.manifests.push(descriptor);
        } else {
            // An index may name anything; build caches name layers in one.
            named.blobs.push(Blob { descriptor, role: Role::Layer });
        }
    }
    Ok(named)
}

fn read_image(wire: Wire) -> Result<Named, Flaw> {
    let mut named = Named::default();
    for wire in wire.layers.into_iter().chain(wire.blobs).flatten() {
        let descriptor = descriptor(wire)?;
        if descriptor.media_type.is_foreign_layer() {
            let digest = &descriptor.digest;
            let message = format!(
                "its layer {digest} is foreign ({}): its owner does not allow it to be pushed",
                descriptor.media_type
            );
            return Err(Flaw { kind: ErrorKind::Unsupported, message });
        }
        named.blobs.push(Blob { descriptor, role: Role::Layer });
    }
    if let Some(config) = wire.config {
        named.blobs.push(Blob { descriptor: descriptor(config)?, role: Role::Config });
    }
    Ok(named)
}

fn descriptor(wire: WireDescriptor) -> Result<Descriptor, Flaw> {
    let text = wire.media_type.as_deref().filter(|text| !text.is_empty()).unwrap_or(UNTYPED);
    let media_type =
        text.parse().map_err(|error| malformed(format!("{}: {error}", wire.digest)))?;
    Ok(Descriptor { media_type, digest: wire.digest, size: wire.size })
}

fn malformed(message: impl Into<String>) -> Flaw {
    Flaw { kind: ErrorKind::Malformed, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Image, media};

    fn read(media_type: &str, manifest: &str) -> Result<Named, Flaw> {
        super::read(&media_type.parse().unwrap(), manifest.as_bytes())
    }

    fn of(image: &Image) -> Named {
        super::read(&image.media_type.parse().unwrap(), &image.manifest).unwrap()
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

    /// Case 39.
    #[test]
    fn schema_1_is_refused_with_the_reason() {
        let flaw = read(media::SCHEMA1, r#"{"schemaVersion":1}"#).unwrap_err();
        assert_eq!(flaw.kind, ErrorKind::Unsupported);
        assert!(flaw.message.contains("schema 1"));
    }

    /// Case 29.
    #[test]
    fn a_foreign_layer_is_named() {
        let image =
            Image::of(media::DOCKER_MANIFEST, media::FOREIGN_LAYER, vec![b"w".as_slice().into()]);
        let flaw = super::read(&image.media_type.parse().unwrap(), &image.manifest).unwrap_err();
        assert!(flaw.message.contains(&image.blobs[1].0.to_string()));
    }

    #[test]
    fn nonsense_is_refused() {
        for manifest in [
            "{",
            r#"{"manifests":[],"layers":[]}"#,
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
