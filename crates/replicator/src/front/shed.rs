//! What the front says where it does not look at a question: there are too many connections, or
//! the answer did not come in time. Nobody's credentials are looked at here, so nothing is told
//! but what was asked.

use http::Uri;
use protocol::Trigger;

use super::answer::{crowded, unavailable};
use super::api::{Reply, challenging, refusal_reply};

/// The answer on a connection beyond those that are served.
///
/// The host's client asks for `/v2/` first, does not look at that answer's status, and then asks
/// its question, with credentials where the first answer has a challenge. So that question is the
/// one whose refusal reaches the policy, here or on another connection.
pub(super) fn too_many_connections(uri: &Uri) -> Reply {
    let reason = "the replicator serves as many connections as it can; ask again in a moment";
    challenging(refusal_reply(&crowded(&image_of(uri), reason)))
}

/// The answer to a question whose own did not come in time.
pub(super) fn late(uri: &Uri) -> Reply {
    let reason = "it took too long; the log and the load of its machine may say why";
    refusal_reply(&unavailable(&image_of(uri), reason))
}

/// The image that is asked about; empty where there is none.
fn image_of(uri: &Uri) -> String {
    let asked = uri.path().strip_prefix("/v2/").and_then(|path| path.rsplit_once("/manifests/"));
    let trigger = asked.and_then(|(repository, tag)| Trigger::decode(repository, tag).ok());
    trigger.map(|trigger| trigger.source.to_string()).unwrap_or_default()
}
