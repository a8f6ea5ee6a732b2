//! The routes about replicas that nobody uses: what would go, and having it taken away.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use protocol::RefusalCode;
use serde::Deserialize;

use super::Status;
use super::answer::{Answer, Body, Problem, Query};
use super::documents::{Kept, Prune, PruneBegun, PrunePlan, PruneRun, Unused};
use super::token::Authorized;
use crate::retention::{self, PruneError};
use crate::retention::{Group, Planner, RunReport, UnusedFor, Why};

/// Of each list so many are shown, the first ones: more than a person reads. The figures count all.
const LISTED: usize = 1_000;

/// When to ask again while somebody else looks.
const LOOK_RETRY: Duration = Duration::from_secs(2);

/// Which time is asked about.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PruneQuery {
    unused_for_s: Option<u64>,
}

/// `GET /api/v1/prune`
pub(super) async fn look(
    State(status): State<Status>,
    Query(query): Query<PruneQuery>,
) -> Answer<PrunePlan> {
    let unused_for = unused_for(&status, query.unused_for_s)?;
    let Ok(_looking) = status.pruner.looking.try_lock() else {
        let message = "somebody else looks at the whole ledger just now";
        return Err(Problem::new(RefusalCode::TooMany, message).retry_after(LOOK_RETRY));
    };
    let ledger = &status.ledger;
    let (now, picture) = (ledger.now(), ledger.picture().await?);
    let mut plan = PrunePlan {
        now_ms: now.as_ms(),
        unused_for_s: unused_for.time().as_secs(),
        refused: retention::check(picture, now).err().map(|blind| blind.to_string()),
        every_s: status.retention.every.map(|every| every.as_secs()),
        run: status.pruner.last_run().as_ref().map(PruneRun::from),
        ..PrunePlan::default()
    };
    let target = &status.pruner.target;
    let mut planner = Planner::new(ledger, target, unused_for.cutoff(now)).await?;
    while let Some(page) = planner.next().await? {
        for group in page.unused {
            plan.images += 1;
            plan.sources += group.records.len() as u64;
            let size = group.records.iter().filter_map(|one| one.record.size_bytes).max();
            plan.size_bytes += size.unwrap_or(0);
            if plan.unused.len() < LISTED {
                plan.unused.push(Unused::from(&group));
            }
        }
        for kept in page.kept {
            plan.kept_count += 1;
            if plan.kept.len() < LISTED {
                plan.kept.push(Kept { source: kept.source, reason: reason(&kept.why) });
            }
        }
    }
    Ok(Json(plan))
}

/// `POST /api/v1/prune`
pub(super) async fn begin(
    State(status): State<Status>,
    Authorized: Authorized,
    Body(Prune { unused_for_s }): Body<Prune>,
) -> Answer<PruneBegun> {
    let unused_for = unused_for(&status, unused_for_s)?;
    status.pruner.begin(unused_for).await.map_err(|error| match error {
        PruneError::Ledger(error) => error.into(),
        PruneError::Running => Problem::new(RefusalCode::TooMany, error.to_string()),
        _ => Problem::new(RefusalCode::Denied, error.to_string()),
    })?;
    let unused_for_s = unused_for.time().as_secs();
    tracing::info!(unused_for_s, "a person wants unused replicas to be taken away");
    Ok(Json(PruneBegun { unused_for_s, follow: "GET /api/v1/prune".to_owned() }))
}

/// The time that is asked about, or that of the configuration.
fn unused_for(status: &Status, seconds: Option<u64>) -> Result<UnusedFor, Problem> {
    let Some(seconds) = seconds else { return Ok(status.retention.unused_for) };
    UnusedFor::new(Duration::from_secs(seconds)).ok_or_else(|| {
        let (least, most) = (retention::LEAST_UNUSED, retention::MOST_UNUSED);
        let message =
            format!("unused_for_s: a number from {} to {}", least.as_secs(), most.as_secs());
        Problem::new(RefusalCode::Malformed, message)
    })
}

fn reason(why: &Why) -> String {
    match why {
        Why::Runs => "a pod runs it".to_owned(),
        Why::Ran(at) => format!("a pod ran it at {at}"),
        Why::SharedWith(other) => format!("{other} is the same replica, and was asked for"),
        Why::Busy => "it is worked on, or was looked at not long ago".to_owned(),
        Why::Elsewhere => "its replica is not below `target.root`".to_owned(),
    }
}

impl From<&Group> for Unused {
    fn from(group: &Group) -> Self {
        Self {
            sources: group.records.iter().map(|one| one.record.source.clone()).collect(),
            repository: group.at.as_ref().map(|(repository, _)| repository.to_string()),
            digest: group.at.as_ref().map(|(_, digest)| digest.clone()),
            size_bytes: group.records.iter().filter_map(|one| one.record.size_bytes).max(),
            last_asked_ms: group
                .records
                .iter()
                .filter_map(|one| one.last_at)
                .max()
                .map(|at| at.as_ms()),
            last_run_ms: group.last_run.map(|at| at.as_ms()),
        }
    }
}

impl From<&RunReport> for PruneRun {
    fn from(report: &RunReport) -> Self {
        Self {
            began_at_ms: report.began_at.map(|at| at.as_ms()),
            ended_at_ms: report.ended_at.map(|at| at.as_ms()),
            removed: report.removed,
            kept: report.kept,
            manifests: report.manifests,
            error: report.error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::ledger::testing::{Fixture, ask, copied, live, work_once};
    use crate::ledger::uses::{Running, Sighting};
    use crate::retention::LEAST_UNUSED;
    use crate::rules::Rules;
    use crate::status::testing::status;
    use crate::status::token::Keeper;

    fn query(unused_for_s: Option<u64>) -> Query<PruneQuery> {
        Query(PruneQuery { unused_for_s })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_would_go_is_shown_and_whether_it_could() {
        let store = Fixture::sqlite().await;
        let (keeper, stop) = (Keeper::new(None), CancellationToken::new());
        let status = status(&store.open().await, Rules::default(), keeper, &stop);
        let ledger = status.ledger.clone();
        let ask = ask("1");
        let target = status.pruner.target.replica_of(&ask.source).unwrap().reference;
        let wish = crate::ledger::work::Wish { target, ..ask.wish.clone() };
        ledger.want(crate::ledger::work::Ask { wish, ..ask }).await.unwrap();
        work_once(&ledger, copied()).await;
        store.pass(LEAST_UNUSED * 2).await;
        let look = async |seconds| look(State(status.clone()), query(seconds)).await;
        let Json(plan) = look(Some(3_600)).await.unwrap();
        assert_eq!((plan.images, plan.sources, plan.size_bytes), (1, 1, 42));
        assert_eq!(plan.unused[0].sources, ["nginx:1".parse().unwrap()]);
        assert_eq!(
            plan.unused[0].repository.as_deref(),
            Some("registry.corp/mirror/docker.io/library/nginx")
        );
        let refused = plan.refused.unwrap();
        assert!(refused.contains("inventory.watch_pods"), "{refused}");
        let Json(usual) = look(None).await.unwrap();
        assert_eq!((usual.images, usual.unused_for_s), (0, 100 * 24 * 60 * 60));
        assert!(look(Some(3_599)).await.is_err());

        let wish = |unused_for_s| Body(Prune { unused_for_s: Some(unused_for_s) });
        let begun = begin(State(status.clone()), Authorized, wish(3_600)).await;
        assert!(begun.is_err(), "nobody watches pods");
        ledger.see(Sighting::Cluster(Running::new()), ledger.now()).await.unwrap();
        live(&ledger).await;
        assert_eq!(look(Some(3_600)).await.unwrap().0.refused, None);
        // Nothing is unused for so long: it ends at once.
        let Json(begun) = begin(State(status.clone()), Authorized, wish(86_400)).await.unwrap();
        assert_eq!(begun.follow, "GET /api/v1/prune");
        status.pruner.ended().await;
        let run = look(None).await.unwrap().0.run.unwrap();
        assert_eq!((run.removed, run.kept, run.error), (0, 0, None));
    }
}
