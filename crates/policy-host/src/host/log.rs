//! The guest's log entries (`tracing/log`), passed on to this process's own log on stderr.
//!
//! The last stop of a log call. It answers nothing and knows no other host call.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The target under which guests' entries appear, so that a filter can find them.
const TARGET: &str = "policy_log";

#[derive(Deserialize)]
struct Entry {
    level: Level,
    message: Option<String>,
    #[serde(flatten)]
    data: Map<String, Value>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(try_from = "String")]
enum Level {
    Trace,
    Debug,
    Info,
    Warning,
    Error,
}

impl TryFrom<String> for Level {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.to_ascii_uppercase().as_str() {
            "TRACE" => Ok(Self::Trace),
            "DEBUG" => Ok(Self::Debug),
            "INFO" => Ok(Self::Info),
            "WARNING" => Ok(Self::Warning),
            "ERROR" => Ok(Self::Error),
            _ => Err(format!("unknown log level {name}")),
        }
    }
}

/// Writes one entry of the guest to the log.
pub(crate) fn emit(policy: &str, payload: &[u8]) -> Result<(), serde_json::Error> {
    let entry: Entry = serde_json::from_slice(payload)?;
    let message = entry.message.unwrap_or_default();
    let data = serde_json::to_string(&entry.data)?;
    match entry.level {
        Level::Trace => tracing::trace!(target: TARGET, policy, data, "{message}"),
        Level::Debug => tracing::debug!(target: TARGET, policy, data, "{message}"),
        Level::Info => tracing::info!(target: TARGET, policy, data, "{message}"),
        Level::Warning => tracing::warn!(target: TARGET, policy, data, "{message}"),
        Level::Error => tracing::error!(target: TARGET, policy, data, "{message}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_entry_with_data_is_read_and_an_unknown_level_is_not() {
        super::emit("p", br#"{"level":"warning","message":"m","image":"nginx"}"#).unwrap();
        super::emit("p", br#"{"level":"info"}"#).unwrap();
        assert!(super::emit("p", br#"{"level":"loud","message":"m"}"#).is_err());
    }
}
