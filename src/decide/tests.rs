//! Every kind of finding against every mode; the words are in `evaluate`'s snapshots.

use protocol::ReplicaState;
use serde_json::json;

use super::*;
use crate::fake::{REPLICATOR, TARGET, pending, receipt};

const MODES: [&str; 3] = ["rewrite", "wait", "keep"];
const NOT_YET: Outcome = Outcome::Refuse(Obstacle::NotYet);
const NEVER: Outcome = Outcome::Refuse(Obstacle::Never);

fn settings(mode: &str, on_unavailable: &str) -> Settings {
    Settings::read(&json!({"replicator": REPLICATOR, "target": TARGET, "mode": mode,
        "onUnavailable": on_unavailable}))
    .unwrap()
}

/// What the finding means in each of the modes.
fn outcomes(finding: &Finding, dry_run: bool) -> [Outcome; 3] {
    MODES.map(|mode| outcome(finding, &settings(mode, "deny"), dry_run))
}

fn refused(code: RefusalCode) -> Finding {
    Finding::Refusal(Refusal::new(code, "docker.io/library/nginx:latest", "why"))
}

#[test]
fn receipts_rewrite_at_once_or_when_the_replica_is_there() {
    let rewrite =
        || Outcome::Rewrite("registry.corp/mirror/docker.io/library/nginx:latest".to_owned());
    for state in [ReplicaState::Present, ReplicaState::Stale] {
        let finding = Finding::Receipt(receipt("nginx", state));
        assert_eq!(outcomes(&finding, false), [rewrite(), rewrite(), rewrite()]);
        assert_eq!(outcomes(&finding, true), [rewrite(), rewrite(), rewrite()]);
    }
    for state in [ReplicaState::Copying, ReplicaState::Planned] {
        let finding = Finding::Receipt(receipt("nginx", state));
        assert_eq!(outcomes(&finding, false), [rewrite(), NOT_YET, Outcome::Leave]);
        assert_eq!(outcomes(&finding, true), [rewrite(), rewrite(), Outcome::Leave]);
    }
}

#[test]
fn keep_never_holds_a_pod_up_for_a_copy_but_for_what_is_not_allowed() {
    let copying = [Finding::Refusal(pending("nginx")), refused(RefusalCode::TooMany)];
    for finding in copying {
        assert_eq!(outcomes(&finding, false), [NOT_YET, NOT_YET, Outcome::Leave]);
    }
    let failed = [
        refused(RefusalCode::NotFound),
        refused(RefusalCode::Failed),
        Finding::Unaskable("too long".to_owned()),
    ];
    for finding in failed {
        assert_eq!(outcomes(&finding, false), [NEVER, NEVER, Outcome::Leave]);
    }
    let forbidden = [
        refused(RefusalCode::Denied),
        refused(RefusalCode::Malformed),
        refused(RefusalCode::Unknown),
        Finding::Unusable("garbage".to_owned()),
    ];
    for finding in forbidden {
        assert_eq!(outcomes(&finding, false), [NEVER, NEVER, NEVER]);
    }
    let no_reference = Finding::NoReference("why".to_owned());
    assert_eq!(
        outcomes(&no_reference, false),
        [0; 3].map(|_| Outcome::Refuse(Obstacle::NoReference))
    );
    assert_eq!(outcomes(&Finding::InTarget, false), [0; 3].map(|_| Outcome::Pass));
}

#[test]
fn without_an_answer_the_setting_decides_in_every_mode() {
    let findings = [
        (Finding::NoAnswer(Some("connection refused".to_owned())), Obstacle::NoAnswer),
        (Finding::NoAnswer(None), Obstacle::NoAnswer),
        (refused(RefusalCode::Unavailable), Obstacle::CannotSay),
    ];
    for (finding, obstacle) in &findings {
        for mode in MODES {
            let deny = outcome(finding, &settings(mode, "deny"), false);
            assert_eq!(deny, Outcome::Refuse(*obstacle));
            assert_eq!(outcome(finding, &settings(mode, "allow"), false), Outcome::Leave);
        }
    }
    // The setting is about no answer, not about bad ones.
    let unusable = Finding::Unusable("garbage".to_owned());
    assert_eq!(outcome(&unusable, &settings("rewrite", "allow"), false), NEVER);
}

#[test]
fn the_worst_obstacle_gives_the_status() {
    let obstacles = [
        Obstacle::NotYet,
        Obstacle::CannotSay,
        Obstacle::NoAnswer,
        Obstacle::Never,
        Obstacle::NoReference,
    ];
    assert_eq!(obstacles.map(Obstacle::http_status), [503, 503, 503, 403, 400]);
    assert!(obstacles.is_sorted());
}
