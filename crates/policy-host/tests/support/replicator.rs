//! What a replicator says that has every image.

use protocol::{Receipt, ReplicaState, TargetRoot, Trigger};

pub const TARGET: &str = "registry.corp/mirror";

/// The receipt for a trigger, given as the repository and the tag that it is.
pub fn receipt(repository: &str, tag: &str) -> Receipt {
    let source = Trigger::decode(repository, tag).unwrap().source;
    let root: TargetRoot = TARGET.parse().unwrap();
    let target = root.replica_of(&source).unwrap().reference;
    let state = ReplicaState::Present;
    Receipt { digest: source.digest().cloned(), source, target, state, progress: None, age_s: None }
}
