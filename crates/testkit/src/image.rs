//! Images as registries hold them: manifests with their digests, and the blobs they name.

use bytes::Bytes;
use protocol::Digest;
use serde_json::{Value, json};

use crate::content::{Content, digest_of};

/// Media types.
pub mod media {
    /// OCI's index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI's manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI's image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI's compressed layer.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest, schema 1, signed.
    pub const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// The type of what is `{}` (image-spec, "Guidance for an Empty Descriptor").
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// Docker's foreign layer.
    pub const FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
}

/// An image: one manifest, with what it names.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest's media type.
    pub media_type: String,
    /// The manifest, byte for byte.
    pub manifest: Bytes,
    /// The manifest's digest.
    pub digest: Digest,
    /// The blobs that it names, config first.
    pub blobs: Vec<(Digest, Content)>,
    /// The manifests that it names.
    pub children: Vec<Image>,
}

impl Image {
    /// An OCI image with these layers. The manifest is written with odd white space, so that
    /// whoever writes it anew changes its digest.
    #[must_use]
    pub fn new(layers: &[&[u8]]) -> Self {
        Self::of(
            media::MANIFEST,
            media::LAYER,
            layers.iter().map(|layer| (*layer).into()).collect(),
        )
    }

    /// A Docker schema 2 image with these layers.
    #[must_use]
    pub fn docker(layers: &[&[u8]]) -> Self {
        let layers = layers.iter().map(|layer| (*layer).into()).collect();
        Self::of(
            media::DOCKER_MANIFEST,
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            layers,
        )
    }

    /// An image of a manifest type with layers of a type.
    #[must_use]
    pub fn of(media_type: &str, layer_type: &str, layers: Vec<Content>) -> Self {
        let layers: Vec<_> = layers.into_iter().map(|layer| (layer.digest(), layer)).collect();
        let diff_ids: Vec<_> = layers.iter().map(|(digest, _)| digest.to_string()).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = Content::Bytes(Bytes::from(config.to_string()));
        let described: Vec<Value> = layers
            .iter()
            .map(|(digest, layer)| describe(layer_type, digest, layer.size()))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": describe(media::CONFIG, &config.digest(), config.size()),
            "layers": described,
        });
        let mut image = Self::raw(media_type, serde_json::to_vec_pretty(&manifest).unwrap());
        image.blobs.push((config.digest(), config));
        image.blobs.extend(layers);
        image
    }

    /// An OCI manifest with a config of any type and layers of any type: an artifact.
    #[must_use]
    pub fn artifact(config: (&str, &[u8]), layer_type: &str, layers: &[&[u8]]) -> Self {
        let (config_type, config) = (config.0, Content::from(config.1));
        let layers: Vec<_> = layers.iter().map(|layer| Content::from(*layer)).collect();
        let described: Vec<Value> = layers
            .iter()
            .map(|layer| describe(layer_type, &layer.digest(), layer.size()))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::MANIFEST,
            "config": describe(config_type, &config.digest(), config.size()),
            "layers": described,
        });
        let mut image = Self::raw(media::MANIFEST, serde_json::to_vec_pretty(&manifest).unwrap());
        image.blobs.push((config.digest(), config));
        image.blobs.extend(layers.into_iter().map(|layer| (layer.digest(), layer)));
        image
    }

    /// An artifact of a type that refers to another manifest.
    #[must_use]
    pub fn referrer(subject: &Self, artifact_type: &str, layer: &[u8]) -> Self {
        let subject = describe(&subject.media_type, &subject.digest, subject.manifest.len() as u64);
        Self::artifact((media::EMPTY, b"{}"), artifact_type, &[layer]).edited(|manifest| {
            manifest["artifactType"] = artifact_type.into();
            manifest["subject"] = subject;
            manifest["annotations"] = json!({"org.example.for": "tests"});
        })
    }

    /// The same image with its manifest changed, and so with another digest.
    #[must_use]
    pub fn edited(&self, edit: impl FnOnce(&mut Value)) -> Self {
        let mut manifest = serde_json::from_slice(&self.manifest).unwrap();
        edit(&mut manifest);
        let manifest = serde_json::to_vec_pretty(&manifest).unwrap();
        let Self { blobs, children, .. } = self.clone();
        Self { blobs, children, ..Self::raw(&self.media_type, manifest) }
    }

    /// The tag under which cosign, or the referrers tag schema, has what belongs to this image.
    #[must_use]
    pub fn digest_tag(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.digest.dashed())
    }

    /// An OCI index over images, one a platform (`linux/amd64`).
    #[must_use]
    pub fn index(children: &[(&str, Self)]) -> Self {
        Self::index_of(media::INDEX, children)
    }

    /// An index of a media type.
    #[must_use]
    pub fn index_of(media_type: &str, children: &[(&str, Self)]) -> Self {
        let described: Vec<Value> = children
            .iter()
            .map(|(platform, child)| {
                let (os, architecture) = platform.split_once('/').unwrap();
                let mut described =
                    describe(&child.media_type, &child.digest, child.manifest.len() as u64);
                described["platform"] = json!({"os": os, "architecture": architecture});
                described
            })
            .collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": described});
        let mut image = Self::raw(media_type, serde_json::to_vec_pretty(&manifest).unwrap());
        image.children = children.iter().map(|(_, child)| child.clone()).collect();
        image
    }

    /// A manifest of any bytes, which names nothing that a registry has to have.
    #[must_use]
    pub fn raw(media_type: &str, manifest: Vec<u8>) -> Self {
        let manifest = Bytes::from(manifest);
        Self {
            media_type: media_type.to_owned(),
            digest: digest_of(&manifest),
            manifest,
            blobs: Vec::new(),
            children: Vec::new(),
        }
    }

    /// This image and all below it, parents first.
    #[must_use]
    pub fn all(&self) -> Vec<&Self> {
        let mut found = vec![self];
        self.children.iter().for_each(|child| found.extend(child.all()));
        found
    }
}

/// A descriptor.
fn describe(media_type: &str, digest: &Digest, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}
