//! One copy by its plan: two registries, the jobs, the checks, and the same jobs again when the
//! faults are gone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use copy::{Copier, CopyError, Job, Origins, RecentOrigins, Retry, Tracker};
use protocol::Side;
use registry::CircuitState;
use testkit::{Fault, Image, Recorded, ScriptedRegistry};
use tokio::time::{Instant, sleep, timeout};

use crate::common::World;
use crate::images::Referrer;
use crate::invariants;
use crate::mischief::Mischief;
use crate::plan::{Access, Form, Plan};

const TAG: &str = "v1";

/// Longer than any copy between registries of which each request fails in the slowest way.
const HANGS_AFTER: Duration = Duration::from_secs(600);

/// How long an upload may stay open when its copy is over.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(30);

/// How often a copy is begun again that was told to come later.
const RECOVERIES: usize = 6;

/// Failures in a row that open a circuit: fewer than the tries of one request.
pub(crate) const CIRCUIT_FAILURES: u32 = 2;

/// How one job ended.
pub(crate) enum End {
    Copied,
    Failed(CopyError),
    Dropped,
    Hung,
}

/// A fault and the request that met it.
pub(crate) struct Met {
    pub(crate) side: Side,
    pub(crate) request: Recorded,
    pub(crate) mischief: Mischief,
}

/// What a run without it would say nothing of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sight {
    /// Something that refers to the image is at the target.
    Referrer,
    /// Blobs went in chunks.
    Chunks,
    /// An upload went on where it broke off.
    ResumedUpload,
    /// A registry was left alone after too many failures.
    OpenCircuit,
}

impl Sight {
    pub(crate) const ALL: [Self; 4] =
        [Self::Referrer, Self::Chunks, Self::ResumedUpload, Self::OpenCircuit];
}

/// What came of one copy.
pub(crate) struct Report {
    pub(crate) ends: Vec<End>,
    pub(crate) met: Vec<Met>,
    pub(crate) sights: Vec<Sight>,
    /// What must not be, in words.
    pub(crate) violations: Vec<String>,
    pub(crate) waited: Duration,
}

/// Copies by the plan.
pub(crate) async fn run(plan: &Plan) -> Report {
    let begun = Instant::now();
    let world = world(plan).await;
    let copier = copier(plan, &world);
    let jobs: Vec<Job> = plan.repositories.iter().map(|at| job(plan, &world, at)).collect();
    let before = world.target.contents();
    let copies = jobs.iter().map(|job| one(&copier, job, plan.dropped_after));
    let ends = futures::future::join_all(copies).await;
    let sights = sights(plan, &world, &copier);
    let left_open = uploads_left_open(&world).await;
    let met = met(&world);
    let mut violations = invariants::of_uploads(plan, &met, left_open);
    violations.extend(invariants::of_contents(plan, &jobs, &before, &world.target.contents()));
    violations.extend(invariants::of_ends(plan, &world, &jobs, &ends, &met));
    if violations.is_empty() {
        violations = recover(plan, &world, &copier, &jobs, &met).await;
    }
    if !violations.is_empty() {
        violations.extend(witnesses(&world, &ends));
    }
    Report { ends, met, sights, violations, waited: begun.elapsed() }
}

async fn world(plan: &Plan) -> World {
    let access = |access| match access {
        Access::Open => ScriptedRegistry::builder(),
        Access::Basic => ScriptedRegistry::builder().basic("user", "password"),
        Access::Bearer => {
            ScriptedRegistry::builder().bearer("user", "password", Duration::from_secs(300))
        }
    };
    let mut source = access(plan.source);
    let mut target = access(plan.target);
    if !plan.source_lists {
        source = source.without_referrers();
    }
    if !plan.target_lists {
        target = target.without_referrers();
    }
    if plan.trusting {
        target = target.trusting();
    }
    if plan.chunks_alone {
        target = target.chunks_alone();
    }
    if plan.keeps_what_was_cut {
        target = target.keeping_what_was_cut();
    }
    let mut world = World::of(source.start().await, target.start().await);
    world.config.circuit.failures = if plan.has_circuit { CIRCUIT_FAILURES } else { u32::MAX };
    let (source, target) = (world.source.clone(), world.target.clone());
    for repository in &plan.repositories {
        source.push(&plan.image, repository, TAG);
        refer(plan, &source, repository);
        let replica = world.replica(&format!("{repository}:{TAG}"));
        if let Some(older) = &plan.older {
            target.push(older, &replica, TAG);
        }
        if let Some(child) = &plan.child {
            target.push(child, &replica, "child");
        }
        for content in &plan.present {
            target.push_blob(&replica, content.clone());
        }
    }
    for (_, content) in &plan.elsewhere {
        content.iter().for_each(|content| target.push_blob("elsewhere", content.clone()));
    }
    for strike in &plan.strikes {
        let side = if strike.place.0 == Side::Source { &source } else { &target };
        side.script(strike.when.clone(), strike.fault.clone());
    }
    world.with_credentials(&[(&source, "user:password"), (&target, "user:password")])
}

/// Puts what refers to the image beside it.
fn refer(plan: &Plan, source: &ScriptedRegistry, repository: &str) {
    for Referrer { subject, image, tag } in &plan.referrers {
        match tag {
            Some(tag) => source.push(image, repository, tag),
            None => source.push_untagged(image, repository),
        }
        if tag.is_none() && !plan.source_lists {
            let of_subject = plan.referrers.iter().filter(|it| it.is_listed_under(subject));
            let listed: Vec<_> = of_subject.map(|it| ("any/any", it.image.clone())).collect();
            source.push(&Image::index(&listed), repository, &subject.digest_tag(""));
        }
    }
}

fn copier(plan: &Plan, world: &World) -> Copier {
    let origins = RecentOrigins::default();
    let registry = world.target.host().parse().unwrap();
    for (digest, _) in &plan.elsewhere {
        origins.record(&registry, &"elsewhere".parse().unwrap(), digest);
    }
    world.copier().with_origins(Arc::new(origins))
}

fn job(plan: &Plan, world: &World, repository: &str) -> Job {
    let digest = &plan.image.digest;
    world.job(&match plan.form {
        Form::Tag => format!("{repository}:{TAG}"),
        Form::Digest => format!("{repository}@{digest}"),
        Form::Both => format!("{repository}:{TAG}@{digest}"),
    })
}

async fn one(copier: &Copier, job: &Job, dropped_after: Option<usize>) -> End {
    let tracker = Tracker::default();
    let copy = polled_at_most(dropped_after, copier.copy(job, &tracker));
    match timeout(HANGS_AFTER, copy).await {
        Ok(Some(Ok(_))) => End::Copied,
        Ok(Some(Err(error))) => End::Failed(error),
        Ok(None) => End::Dropped,
        Err(_) => End::Hung,
    }
}

/// What a future gives; None if it is not ready after so many polls.
async fn polled_at_most<T>(polls: Option<usize>, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    let mut left = polls.unwrap_or(usize::MAX);
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// How many uploads stay open: what is given up is so a little later.
async fn uploads_left_open(world: &World) -> usize {
    let begun = Instant::now();
    while world.target.open_uploads() > 0 && begun.elapsed() < GIVEN_UP_WITHIN {
        sleep(Duration::from_millis(25)).await;
    }
    world.target.open_uploads()
}

fn met(world: &World) -> Vec<Met> {
    let of = |side, registry: &ScriptedRegistry| {
        let with_side = move |(request, fault): (Recorded, Fault)| {
            let mischief = Mischief::of(&fault);
            Met { side, request, mischief }
        };
        registry.met().into_iter().map(with_side)
    };
    of(Side::Source, &world.source).chain(of(Side::Target, &world.target)).collect()
}

fn sights(plan: &Plan, world: &World, copier: &Copier) -> Vec<Sight> {
    let contents = world.target.contents();
    let is_there = |referrer: &Referrer| {
        contents.values().any(|holding| holding.manifests.contains_key(&referrer.image.digest))
    };
    let requests = world.target.requests();
    let begins: Vec<_> = requests.iter().filter_map(|it| it.content_range.as_deref()).collect();
    let registries = copier.client().registries();
    let is_seen = |sight: &Sight| match sight {
        Sight::Referrer => plan.referrers.iter().any(is_there),
        Sight::Chunks => !begins.is_empty(),
        Sight::ResumedUpload => begins.iter().any(|range| !range.starts_with("0-")),
        Sight::OpenCircuit => registries.iter().any(|it| it.circuit != CircuitState::Closed),
    };
    Sight::ALL.into_iter().filter(is_seen).collect()
}

/// Without faults the same jobs go well with the same copier, once its waits are over.
async fn recover(
    plan: &Plan,
    world: &World,
    copier: &Copier,
    jobs: &[Job],
    met: &[Met],
) -> Vec<String> {
    world.source.behave();
    world.target.behave();
    let before = world.target.contents();
    for job in jobs {
        let mut error = None;
        for _ in 0..RECOVERIES {
            match timeout(HANGS_AFTER, copier.copy(job, &Tracker::default())).await {
                Ok(Ok(_)) => {
                    error = None;
                    break;
                }
                Ok(Err(failed)) => match failed.retry() {
                    Retry::Later { after } => {
                        error = Some(failed.to_string());
                        tokio::time::advance(after + Duration::from_secs(1)).await;
                    }
                    Retry::Never => return vec![format!("without faults: {failed}")],
                },
                Err(_) => return vec!["without faults it hangs".to_owned()],
            }
        }
        if let Some(error) = error {
            return vec![format!("without faults, and after its waits: {error}")];
        }
    }
    let after = world.target.contents();
    let mut violations = invariants::of_contents(plan, jobs, &before, &after);
    violations.extend(jobs.iter().flat_map(|job| invariants::of_success(plan, job, &after, met)));
    violations
}

/// What was asked, and how it ended.
fn witnesses(world: &World, ends: &[End]) -> Vec<String> {
    let mut lines = Vec::new();
    for (side, registry) in [(Side::Source, &world.source), (Side::Target, &world.target)] {
        for request in registry.requests() {
            lines.push(format!("    {side} {} {}", request.method, request.path));
        }
        for (request, fault) in registry.met() {
            lines.push(format!("    {side} met {fault:?} in {} {}", request.method, request.path));
        }
    }
    lines.extend(ends.iter().map(|end| match end {
        End::Copied => "    ended well".to_owned(),
        End::Failed(error) => format!("    ended with {:?}: {error}", error.retry()),
        End::Dropped => "    was dropped".to_owned(),
        End::Hung => "    hung".to_owned(),
    }));
    lines
}
