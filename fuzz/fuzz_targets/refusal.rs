//! A refusal in a host's error text: it is found again in its own form, whatever wraps it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Refusal;
use protocol::refusal::MAX_REFUSAL_BYTES;

fuzz_target!(|text: &str| {
    let Some(refusal) = Refusal::find(text) else { return };
    let written = refusal.to_json();
    // A code of a later release is written as `unknown`, which may be longer.
    if written.len() <= MAX_REFUSAL_BYTES {
        let wrapped = format!("host error 424: {written}, url https://replicator/v2/");
        assert_eq!(Refusal::find(&wrapped), Some(refusal));
    }
});
