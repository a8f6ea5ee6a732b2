//! Random images: layers from none to 300 KiB, shared ones, all platforms in one index, now and
//! then an index in an index. And what refers to them.

use std::collections::HashSet;

use fastrand::Rng;
use testkit::{Content, Image, media};

const PLATFORMS: [&str; 4] = ["linux/amd64", "linux/arm64", "linux/s390x", "linux/ppc64le"];
const SBOM: &str = "application/spdx+json";
const SIGNATURE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Whose media types an image has.
#[derive(Clone, Copy)]
enum Format {
    Oci,
    Docker,
}

/// Layers that were made so far, for images to share.
#[derive(Default)]
pub(crate) struct Layers(Vec<Content>);

/// A random image.
pub(crate) fn image(rng: &mut Rng, layers: &mut Layers) -> Image {
    let format = if rng.bool() { Format::Oci } else { Format::Docker };
    match rng.u8(0..10) {
        0..6 => leaf(rng, layers, format),
        6..9 => index(rng, layers, format),
        _ => {
            let inner = index(rng, layers, format);
            let beside = leaf(rng, layers, format);
            over(format, vec![inner, beside])
        }
    }
}

/// What refers to an image, or to what refers to it.
pub(crate) struct Referrer {
    pub(crate) subject: Image,
    pub(crate) image: Image,
    /// Cosign's tag, where it is found by that alone.
    pub(crate) tag: Option<String>,
}

impl Referrer {
    /// Whether a list has it among the referrers of `subject`.
    pub(crate) fn is_listed_under(&self, subject: &Image) -> bool {
        self.tag.is_none() && self.subject.digest == subject.digest
    }
}

/// Random referrers of an image; mostly none.
pub(crate) fn referrers(rng: &mut Rng, image: &Image) -> Vec<Referrer> {
    let mut referrers = Vec::new();
    for _ in 0..[0, 0, 1, 2][rng.usize(0..4)] {
        let subject = (*rng.choice(image.all()).expect("there is the image")).clone();
        let mut layer = vec![0; rng.usize(1..30 * 1024)];
        rng.fill(&mut layer);
        let tag = rng.bool().then(|| subject.digest_tag(".sig"));
        let referrer = match &tag {
            Some(_) => Image::artifact((media::CONFIG, b"{}"), SIGNATURE, &[&layer]),
            None => Image::referrer(&subject, SBOM, &layer),
        };
        let is_signed = rng.u8(0..3) == 0 && tag.is_none();
        let signature = Image::referrer(&referrer, SIGNATURE, b"signed");
        referrers.push(Referrer { subject, image: referrer.clone(), tag });
        if is_signed {
            referrers.push(Referrer { subject: referrer, image: signature, tag: None });
        }
    }
    // One tag names one thing.
    let mut tags = HashSet::new();
    referrers.retain(|it| it.tag.as_ref().is_none_or(|tag| tags.insert(tag.clone())));
    referrers
}

fn index(rng: &mut Rng, layers: &mut Layers, format: Format) -> Image {
    let children = (0..rng.usize(1..=PLATFORMS.len())).map(|_| leaf(rng, layers, format));
    over(format, children.collect())
}

fn over(format: Format, children: Vec<Image>) -> Image {
    let children: Vec<_> = PLATFORMS.into_iter().zip(children).collect();
    match format {
        Format::Oci => Image::index_of(media::INDEX, &children),
        Format::Docker => Image::index_of(media::DOCKER_LIST, &children),
    }
}

fn leaf(rng: &mut Rng, layers: &mut Layers, format: Format) -> Image {
    let chosen = (0..rng.usize(0..=6)).map(|_| layers.one(rng)).collect();
    match format {
        Format::Oci => Image::of(media::MANIFEST, media::LAYER, chosen),
        Format::Docker => Image::of(media::DOCKER_MANIFEST, DOCKER_LAYER, chosen),
    }
}

impl Layers {
    /// A layer that another image has, or a new one.
    fn one(&mut self, rng: &mut Rng) -> Content {
        if rng.u8(0..3) == 0
            && let Some(known) = rng.choice(&self.0)
        {
            return known.clone();
        }
        let size = match rng.u8(0..10) {
            0 => 0,
            1 => 1,
            2..6 => rng.usize(2..4 * 1024),
            6..9 => rng.usize(4 * 1024..64 * 1024),
            _ => rng.usize(64 * 1024..=300 * 1024),
        };
        let mut bytes = vec![0; size];
        rng.fill(&mut bytes);
        let layer = Content::from(bytes.as_slice());
        self.0.push(layer.clone());
        layer
    }
}
