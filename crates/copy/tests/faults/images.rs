//! Random images: layers from none to 300 KiB, shared ones, all platforms in one index, now and
//! then an index in an index.

use fastrand::Rng;
use testkit::{Content, Image, media};

const PLATFORMS: [&str; 4] = ["linux/amd64", "linux/arm64", "linux/s390x", "linux/ppc64le"];
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
