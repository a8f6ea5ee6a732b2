//! A receipt: what was read is written so that it is read as the same, within the limit.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Receipt;
use protocol::receipt::MAX_RECEIPT_BYTES;

fuzz_target!(|body: &[u8]| {
    if let Ok(receipt) = Receipt::from_json(body) {
        let written = receipt.to_json();
        assert!(written.len() <= MAX_RECEIPT_BYTES);
        assert_eq!(Receipt::from_json(written.as_bytes()), Ok(receipt));
    }
});
