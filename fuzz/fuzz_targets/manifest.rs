//! A manifest: its bytes are an image or an index, never both (CVE-2021-41190), and what is said
//! of a bad one is a line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use registry::{Descriptor, Hasher, MediaType};

/// The longest message, in characters: the client's limit for what it shows, and an ellipsis.
const MAX_MESSAGE_CHARS: usize = 301;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fuzz_target!(|bytes: &[u8]| {
    let read_as = |media_type: &str| {
        let media_type: MediaType = media_type.parse().expect("it is a media type");
        match copy::fuzzing::edges(&media_type, bytes) {
            Ok(edges) => edges,
            Err(message) => {
                assert!(message.chars().count() <= MAX_MESSAGE_CHARS, "{message}");
                Vec::new()
            }
        }
    };
    let (image, index) = (read_as(IMAGE), read_as(INDEX));
    assert!(image.is_empty() || index.is_empty(), "an image and an index at once");

    let descriptor = Descriptor {
        media_type: IMAGE.parse().expect("it is a media type"),
        digest: Hasher::digest(protocol::reference::Algorithm::Sha256, bytes),
        size: bytes.len() as u64,
    };
    if let Some((_, entry)) = copy::fuzzing::referrer(&descriptor, bytes) {
        let listed: Descriptor = serde_json::from_value(entry).expect("an entry is a descriptor");
        assert_eq!(listed, descriptor);
    }
});
