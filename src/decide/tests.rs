//! Every kind of finding against every mode; the words are in `evaluate`'s snapshots.

use std::time::Duration;

use protocol::ReplicaState;
use serde_json::json;

use super::*;
use crate::plan::{By, usual_terms};
use crate::tests::fake::{REPLICATOR, TARGET, VERIFIED, pending, receipt};

const MODES: [&str; 3] = ["rewrite", "wait", "keep"];
const NOT_YET: Outcome = Outcome::Refuse(Obstacle::NotYet);
const NEVER: Outcome = Outcome::Refuse(Obstacle::Never);

fn settings(mode: &str, on_unavailable: &str) -> Settings {
    Settings::read(&json!({"replicator": REPLICATOR, "target": TARGET, "mode": mode,
        "onUnavailable": on_unavailable}))
    .unwrap()
}

/// What the finding means on the usual terms, or in the target already.
fn outcome_of(
    finding: &Finding,
    settings: &Settings,
    dry_run: bool,
    is_in_target: bool,
) -> Outcome {
    let terms = Terms { is_in_target, ..usual_terms(settings) };
    outcome(&Inquiry { terms, verified: None, finding: finding.clone() }, settings, dry_run)
}

/// What the finding means in each of the modes.
fn outcomes(finding: &Finding, dry_run: bool) -> [Outcome; 3] {
    MODES.map(|mode| outcome_of(finding, &settings(mode, "deny"), dry_run, false))
}

fn refused(code: RefusalCode) -> Finding {
    Finding::Refusal(Refusal::new(code, "docker.io/library/nginx:latest", "why"))
}

fn out_of_time(is_unverified: bool) -> Finding {
    let took = Duration::from_secs(2);
    Finding::OutOfTime(OutOfTime { took, asked: 1, all: 3, is_unverified })
}

#[test]
fn receipts_rewrite_at_once_or_when_the_replica_is_there() {
    let rewrite =
        || Outcome::Rewrite("registry.corp/mirror/docker.io/library/nginx:latest".parse().unwrap());
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
    let denied = Refusal::new(RefusalCode::Denied, "docker.io/library/nginx:latest", "why");
    let failed = [
        refused(RefusalCode::NotFound),
        refused(RefusalCode::Failed),
        Finding::Refusal(denied.clone().at(Side::Source)),
        Finding::Unaskable("too long".to_owned()),
    ];
    for finding in failed {
        assert_eq!(outcomes(&finding, false), [NEVER, NEVER, Outcome::Leave]);
    }
    let forbidden = [
        refused(RefusalCode::Denied),
        Finding::Refusal(denied.at(Side::Replicator)),
        refused(RefusalCode::Malformed),
        refused(RefusalCode::Unknown),
        Finding::Unusable("garbage".to_owned()),
        Finding::NotAllowed(3),
        Finding::NotSigned(3, "no signatures found".to_owned()),
    ];
    for finding in forbidden {
        assert_eq!(outcomes(&finding, false), [NEVER, NEVER, NEVER]);
    }
    let no_reference = Finding::NoReference("why".to_owned());
    assert_eq!(
        outcomes(&no_reference, false),
        [0; 3].map(|_| Outcome::Refuse(Obstacle::NoReference))
    );
    assert_eq!(outcomes(&Finding::InTarget, false), [0; 3].map(|_| Outcome::InTarget));
    let left_alone = Finding::LeftAlone(By::IgnoreImages);
    assert_eq!(outcomes(&left_alone, false), [0; 3].map(|_| Outcome::Pass));
}

#[test]
fn without_an_answer_the_setting_decides_in_every_mode() {
    let findings = [
        (Finding::NoAnswer(Some("connection refused".to_owned())), Obstacle::NoAnswer),
        (Finding::NoAnswer(None), Obstacle::NoAnswer),
        (refused(RefusalCode::Unavailable), Obstacle::CannotSay),
        (out_of_time(false), Obstacle::OutOfTime),
    ];
    for (finding, obstacle) in &findings {
        for mode in MODES {
            let deny = outcome_of(finding, &settings(mode, "deny"), false, false);
            assert_eq!(deny, Outcome::Refuse(*obstacle));
            let allow = outcome_of(finding, &settings(mode, "allow"), false, false);
            assert_eq!(allow, Outcome::Leave);
        }
    }
    // The setting is about no answer, not about bad ones.
    let unusable = Finding::Unusable("garbage".to_owned());
    assert_eq!(outcome_of(&unusable, &settings("rewrite", "allow"), false, false), NEVER);
    // Nor about signatures.
    let not_verified = Finding::NotVerified(1, "connection refused".to_owned());
    for (finding, obstacle) in
        [(not_verified, Obstacle::NotVerified), (out_of_time(true), Obstacle::OutOfTime)]
    {
        let outcome = outcome_of(&finding, &settings("keep", "allow"), false, false);
        assert_eq!(outcome, Outcome::Refuse(obstacle));
    }
}

#[test]
fn the_worst_obstacle_gives_the_status() {
    let obstacles = [
        Obstacle::NotYet,
        Obstacle::CannotSay,
        Obstacle::NotVerified,
        Obstacle::OutOfTime,
        Obstacle::NoAnswer,
        Obstacle::Never,
        Obstacle::NoReference,
    ];
    assert_eq!(obstacles.map(Obstacle::http_status), [503, 503, 503, 503, 503, 403, 400]);
    assert!(obstacles.is_sorted());
}

#[test]
fn a_reference_into_the_target_is_known_or_refused_and_never_rewritten() {
    let own = "registry.corp/mirror/docker.io/library/nginx:1";
    let mut known = receipt("nginx:1", ReplicaState::Present);
    known.source = own.parse().unwrap();
    for mode in MODES {
        let outcome = |finding: &Finding| outcome_of(finding, &settings(mode, "deny"), false, true);
        assert_eq!(outcome(&Finding::Receipt(known.clone())), Outcome::InTarget);
        assert_eq!(outcome(&refused(RefusalCode::NotFound)), NEVER);
        assert_eq!(outcome(&refused(RefusalCode::Denied)), NEVER);
        assert_eq!(outcome(&refused(RefusalCode::Pending)), NOT_YET);
    }
}

#[test]
fn pinning_puts_the_replicas_digest_next_to_the_tag_once_it_is_known() {
    let mut settings = settings("rewrite", "deny");
    settings.pin = true;
    let mut receipt = receipt("nginx:1", ReplicaState::Present);
    let reference = |receipt: &Receipt| match outcome_of(
        &Finding::Receipt(receipt.clone()),
        &settings,
        false,
        false,
    ) {
        Outcome::Rewrite(reference) => reference.to_string(),
        other => panic!("{other:?}"),
    };
    let unpinned = "registry.corp/mirror/docker.io/library/nginx:1";
    assert_eq!(reference(&receipt), unpinned);
    receipt.digest = Some(VERIFIED.parse().unwrap());
    assert_eq!(reference(&receipt), format!("{unpinned}@{VERIFIED}"));
}
