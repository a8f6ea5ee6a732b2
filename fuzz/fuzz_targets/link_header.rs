//! `Link`: the target of a next page is what stands between its angle brackets, and alone in a
//! header it is found again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use registry::fuzzing::next_link;

fuzz_target!(|value: &str| {
    if let Some(target) = next_link(value) {
        let link = format!("<{target}>");
        assert!(value.contains(&link));
        assert_eq!(next_link(&format!("{link}; rel=\"next\"")), Some(target));
        // Others before and after it in one header (RFC 8288, section 3) change nothing.
        let among = format!("<before>; rel=\"prev\", {link}; rel=\"next\", <after>; rel=\"last\"");
        assert_eq!(next_link(&among), Some(target));
    }
});
