//! A trigger's path and tag: what `decode` takes, `encode` writes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Trigger;

fuzz_target!(|text: &str| {
    let Some((repository, tag)) = text.rsplit_once(':') else { return };
    if let Ok(trigger) = Trigger::decode(repository, tag) {
        let path = trigger.encode().expect("what was decoded can be encoded");
        assert_eq!(path.to_string(), text);
    }
});
