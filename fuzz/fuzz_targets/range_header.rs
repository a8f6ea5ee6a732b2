//! `Range` and `Content-Range`: digits alone, and the first byte not behind the last.

#![no_main]

use libfuzzer_sys::fuzz_target;
use registry::fuzzing::{content_range, range};

fuzz_target!(|value: &str| {
    if let Some(held) = range(value) {
        assert!(value.trim_end().ends_with(&(held - 1).to_string()), "{value}");
        assert_eq!(range(&format!("0-{}", held - 1)), Some(held));
    }
    if let Some((first, last)) = content_range(value) {
        assert!(first <= last);
        assert!(!value.split('/').next().unwrap_or_default().contains('+'), "{value}");
        assert_eq!(content_range(&format!("bytes {first}-{last}/*")), Some((first, last)));
    }
});
