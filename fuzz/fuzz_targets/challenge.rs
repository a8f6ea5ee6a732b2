//! `WWW-Authenticate`: a challenge that is understood means the same when it is written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use registry::fuzzing::bearer_challenge;

fuzz_target!(|lines: &[u8]| {
    let Some((realm, service)) = bearer_challenge(lines) else { return };
    let mut written = format!("Bearer realm={}", quoted(&realm));
    if let Some(service) = &service {
        written += &format!(", service={}", quoted(service));
    }
    assert_eq!(bearer_challenge(written.as_bytes()), Some((realm, service)));
});

/// RFC 9110, section 5.6.4.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#))
}
