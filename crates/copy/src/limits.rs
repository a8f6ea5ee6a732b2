//! Every limit of the engine, with its reason. A source is not trusted: each number that it
//! chooses has one.

/// What one copy may take. `Limits::default()` is right for all images that are known to exist.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Levels of indexes and manifests. Two are usual; an index of indexes has three.
    pub depth: usize,
    /// Manifests of one image, over all levels. The largest public ones have below a hundred.
    pub manifests: usize,
    /// Bytes of all manifests together: they are kept in memory until they are written.
    pub manifest_bytes: u64,
    /// Layers and configs of one image. A file system of overlays takes 127 layers a platform.
    pub blobs: usize,
    /// Bytes of one blob. Registries stop far below; sums of sizes stay in their range.
    pub blob_bytes: u64,
    /// Bytes of all that an image is made of, over all platforms. Models have hundreds of GB.
    pub image_bytes: u64,
    /// Signatures, attestations, SBOMs and the like of one image, and of each other. An image
    /// that is signed anew each night gathers hundreds.
    pub referrers: usize,
    /// Bytes of all of these together. SBOMs have a few MiB each.
    pub referrer_bytes: u64,
    /// How far it goes from the image to what refers to what refers to it. A signature on an
    /// SBOM is the second step; what is further away is not looked for.
    pub referrer_depth: usize,
    /// Blobs of one image on their way at once: enough to hide the pauses between requests.
    pub blobs_at_once: usize,
    /// Manifests of one image read, written or looked for at once.
    pub manifests_at_once: usize,
    /// How often a cut source is opened again in one blob, and a cut upload gone on with, as
    /// long as bytes come through each time.
    pub resumes: usize,
    /// How often that is done without a new byte.
    pub fruitless_resumes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 5,
            manifests: 1_000,
            manifest_bytes: 16 * 1024 * 1024,
            blobs: 10_000,
            blob_bytes: 1 << 40,
            image_bytes: 1 << 40,
            referrers: 1_000,
            referrer_bytes: 1 << 30,
            referrer_depth: 2,
            blobs_at_once: 6,
            manifests_at_once: 8,
            resumes: 100,
            fruitless_resumes: 3,
        }
    }
}

/// Pairs of source and target whose blobs under way are counted. Pods name any source.
pub(crate) const MAX_SLOTS: usize = 1_024;

/// Blobs whose place at a target is remembered in memory, 200 bytes each.
pub(crate) const RECENT_ORIGINS: usize = 20_000;

/// Manifests of one repository that are looked at before anything in it is removed: some 20 MiB
/// of digests. One that holds more is left as it is, and somebody who fills one harms that alone.
pub(crate) const MANIFESTS_OF_A_REPOSITORY: usize = 100_000;

/// Repositories of whose creation at a target is remembered what came of it. One that is
/// forgotten is at most created once more.
pub(crate) const CREATIONS: usize = 1_000;
