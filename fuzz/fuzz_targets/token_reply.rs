//! A token endpoint's reply: a token is a header that nothing prints, and ends within a day.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use registry::fuzzing::token_reply;

/// When the replies came: some time in 2026.
const ANSWERED: Duration = Duration::from_secs(1_780_000_000);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fuzz_target!(|body: &[u8]| {
    if let Some((token, life)) = token_reply(body, SystemTime::UNIX_EPOCH + ANSWERED) {
        assert!(token.is_sensitive());
        assert!(token.as_bytes().len() > b"Bearer ".len());
        assert!(life <= DAY);
    }
});
