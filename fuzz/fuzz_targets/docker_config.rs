//! A docker config: neither what is kept of it nor what is said of a bad one shows a secret.

#![no_main]

use libfuzzer_sys::fuzz_target;
use registry::DockerConfig;
use serde_json::Value;

/// What stands in the place of each secret.
const CANARY: &str = "canary-3f9a";

fuzz_target!(|text: &str| {
    let _ = DockerConfig::parse(text);
    if text.contains(CANARY) {
        return;
    }
    let Ok(mut config) = serde_json::from_str::<Value>(text) else { return };
    let Some(auths) = config.get_mut("auths").and_then(Value::as_object_mut) else { return };
    for entry in auths.values_mut().filter_map(Value::as_object_mut) {
        for (key, secret) in entry {
            if ["auth", "password", "identitytoken"].contains(&key.as_str()) {
                *secret = match secret {
                    Value::String(_) => CANARY.into(),
                    _ => vec![CANARY].into(),
                };
            }
        }
    }
    let shown = match DockerConfig::parse(&config.to_string()) {
        Ok(config) => format!("{config:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown.contains(CANARY), "{shown}");
});
