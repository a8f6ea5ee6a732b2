//! What holds after each copy, however it ended. Read from the target's store, not over HTTP.

use std::collections::BTreeMap;

use copy::{CopyError, Job, Retry};
use protocol::{Digest, Side};
use registry::CircuitPolicy;
use serde_json::Value;
use testkit::{Holding, Image, Kind, Recorded, digest_of};

use crate::common::World;
use crate::images::Referrer;
use crate::mischief::{Bearing, LONG_PAUSE_S, Mischief};
use crate::one::{CIRCUIT_FAILURES, End, Met};
use crate::plan::{Form, Plan, blobs};

type Contents = BTreeMap<String, Holding>;

/// No wrong byte, no manifest before what it names, and no tag but on the old or the new image.
pub(crate) fn of_contents(
    plan: &Plan,
    jobs: &[Job],
    before: &Contents,
    after: &Contents,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (repository, holding) in after {
        for (digest, content) in &holding.blobs {
            if content.digest() != *digest {
                wrong.push(format!("{repository} has wrong bytes as blob {digest}"));
            }
        }
        for (digest, (_, bytes)) in &holding.manifests {
            if digest_of(bytes) != *digest {
                wrong.push(format!("{repository} has wrong bytes as manifest {digest}"));
            }
            let parsed = serde_json::from_slice(bytes).expect("only JSON is accepted");
            if let Some(missing) = holding.missing(&parsed, false) {
                wrong.push(format!("{repository} has manifest {digest} without {missing}"));
            }
        }
        let tags_before = before.get(repository).map(|holding| &holding.tags);
        let is_ours = jobs.iter().any(|job| repository_of(job) == *repository);
        for (tag, digest) in &holding.tags {
            let named = tags_before.and_then(|tags| tags.get(tag));
            let is_new = is_ours && *digest == plan.image.digest;
            let is_of_referrers = is_ours && names_referrers(plan, holding, tag, digest);
            if named != Some(digest) && !is_new && !is_of_referrers {
                wrong.push(format!("{repository}:{tag} names {digest}, before {named:?}"));
            }
            if is_new && !is_whole(holding, &plan.image) {
                wrong.push(format!("{repository}:{tag} names an image that is not whole"));
            }
        }
        for tag in tags_before.into_iter().flat_map(BTreeMap::keys) {
            if !holding.tags.contains_key(tag) {
                wrong.push(format!("{repository}:{tag} is gone"));
            }
        }
    }
    wrong
}

/// Whether a tag is one of those by which referrers are found, and names what it should.
fn names_referrers(plan: &Plan, holding: &Holding, tag: &str, digest: &Digest) -> bool {
    let mut referrers = plan.referrers.iter();
    if referrers.any(|it| it.tag.as_deref() == Some(tag) && it.image.digest == *digest) {
        return true;
    }
    let list = listed(holding, tag);
    !list.is_empty()
        && list.iter().all(|entry| {
            let has = |it: &Referrer| *entry == it.image.digest.to_string();
            let is_listed = |it: &Referrer| it.tag.is_none() && it.subject.digest_tag("") == tag;
            plan.referrers.iter().any(|it| has(it) && is_listed(it))
        })
}

/// The digests in the index that a tag names.
fn listed(holding: &Holding, tag: &str) -> Vec<String> {
    let index = holding.tags.get(tag).and_then(|digest| holding.manifests.get(digest));
    let index = index.map(|(_, bytes)| serde_json::from_slice(bytes).expect("it is JSON"));
    let index: Value = index.unwrap_or_default();
    let entries = index["manifests"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry["digest"].as_str().map(ToOwned::to_owned)).collect()
}

/// A copy that went well has left the whole image, under its names, and what refers to it unless
/// the source hid that.
pub(crate) fn of_success(plan: &Plan, job: &Job, after: &Contents, met: &[Met]) -> Vec<String> {
    let repository = repository_of(job);
    let Some(holding) = after.get(&repository).filter(|it| is_whole(it, &plan.image)) else {
        return vec![format!("{repository} was copied and is not whole")];
    };
    let is_current = plan.older.as_ref().is_some_and(|older| older.digest == plan.image.digest);
    let hides = |met: &Met| met.side == Side::Source && met.mischief.hides_referrers();
    if !is_current && !met.iter().any(hides) {
        for Referrer { subject, image, tag } in &plan.referrers {
            let is_found = match tag {
                Some(tag) => holding.tags.get(tag) == Some(&image.digest),
                None if plan.target_lists => true,
                None => {
                    listed(holding, &subject.digest_tag("")).contains(&image.digest.to_string())
                }
            };
            if !is_found || !is_whole(holding, image) {
                return vec![format!("{repository} was copied without referrer {}", image.digest)];
            }
        }
    }
    let names = |tag: &str| holding.tags.get(tag) == Some(&plan.image.digest);
    let keeper = job.replica.keeper.as_ref().map(ToString::to_string);
    let tag = job.source.tag().map(ToString::to_string);
    let is_named = match plan.form {
        Form::Tag => tag.is_some_and(|tag| names(&tag)),
        Form::Digest => keeper.is_some_and(|keeper| names(&keeper)),
        // A tag beside a digest is set only where there was none.
        Form::Both => {
            keeper.is_some_and(|keeper| names(&keeper))
                && tag.is_some_and(|tag| holding.tags.contains_key(&tag))
        }
    };
    if is_named { Vec::new() } else { vec![format!("{repository} was copied without its names")] }
}

/// Success is true, and failure has a reason among the faults that were met.
pub(crate) fn of_ends(
    plan: &Plan,
    world: &World,
    jobs: &[Job],
    ends: &[End],
    met: &[Met],
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (job, end) in jobs.iter().zip(ends) {
        match end {
            End::Copied => wrong.extend(of_success(plan, job, &world.target.contents(), met)),
            End::Failed(error) => wrong.extend(of_failure(plan, world, error, met)),
            End::Dropped => {}
            End::Hung => wrong.push("it hangs".to_owned()),
        }
    }
    let failed = ends.iter().any(|end| matches!(end, End::Failed(_)));
    let is_dropped = plan.dropped_after.is_some();
    if let ([only], true) = (met, failed)
        && only.mischief.is_absorbed(&only.request)
    {
        wrong.push(format!("it fails of a single {:?}", only.mischief));
    }
    if let ([strike], false, false) = (plan.strikes.as_slice(), failed, is_dropped)
        && strike.always
        && strike.place.0 == Side::Source
        && met.iter().any(|met| {
            met.mischief.bearing(met.side, &met.request) == Bearing::Lasting
                && is_of_image(plan, &met.request)
        })
    {
        wrong.push(format!("it goes well though the source always answers {:?}", strike.fault));
    }
    wrong
}

/// Whether a request is about the image and not about what refers to it.
fn is_of_image(plan: &Plan, request: &Recorded) -> bool {
    let has = |(digest, _): &(Digest, _)| request.path.contains(digest.hex());
    request.kind != Kind::Blob || blobs(&plan.image).iter().any(has)
}

/// The side is one that misbehaved, and so that it can lead to such an error.
fn of_failure(plan: &Plan, world: &World, error: &CopyError, met: &[Met]) -> Vec<String> {
    let mut wrong = Vec::new();
    let registry = if error.side == Side::Source { &world.source } else { &world.target };
    if error.registry().as_str() != registry.host() {
        wrong.push(format!("{error}: that registry is not the {}", error.side));
    }
    if !error.to_string().starts_with(&error.side.to_string()) {
        wrong.push(format!("{error}: does not begin with its side"));
    }
    let at_side = || met.iter().filter(|met| met.side == error.side);
    let is_left_alone = is_left_alone(plan, error.side, met);
    let bearings = at_side().map(|met| met.mischief.bearing(met.side, &met.request));
    let fits = |bearing| match (error.retry(), bearing) {
        (_, Bearing::Either) => true,
        (Retry::Never, bearing) => bearing == Bearing::Lasting,
        (Retry::Later { .. }, bearing) => bearing == Bearing::Passing,
    };
    let is_left_alone = is_left_alone && error.retry() != Retry::Never;
    if !bearings.into_iter().any(fits) && !is_left_alone {
        wrong.push(format!("{:?} without a reason: {error}", error.retry()));
    }
    let asked = at_side().any(|met| matches!(met.mischief, Mischief::Busy(_, LONG_PAUSE_S)));
    if let Retry::Later { after } = error.retry()
        && after.as_secs() > 1
        && !(is_left_alone && after <= CircuitPolicy::default().max_open)
        && !asked
    {
        wrong.push(format!("asks for a pause that nobody asked for: {error}"));
    }
    wrong
}

/// Whether a registry may have failed often enough to be left alone for a while.
fn is_left_alone(plan: &Plan, side: Side, met: &[Met]) -> bool {
    let failures = met.iter().filter(|met| met.side == side && met.mischief.is_failure()).count();
    plan.has_circuit && failures >= CIRCUIT_FAILURES as usize
}

/// Each upload is ended or given up, unless a fault kept us from knowing it or from saying so.
pub(crate) fn of_uploads(plan: &Plan, met: &[Met], left_open: usize) -> Vec<String> {
    let at_target = || met.iter().filter(|met| met.side == Side::Target);
    // Without a token nothing can be given up, and nothing is sent while the target wants peace.
    let is_closed = at_target().any(|met| matches!(met.mischief, Mischief::Busy(_, LONG_PAUSE_S)))
        || is_left_alone(plan, Side::Target, met);
    let no_token = at_target().any(|met| met.request.kind == Kind::Token);
    let excused = at_target().filter(|met| match (met.request.method.as_str(), met.mischief) {
        ("POST", Mischief::NoHeader("location") | Mischief::LostAnswer) => true,
        ("DELETE", Mischief::Delay | Mischief::RevokedTokens) => false,
        ("DELETE", _) => true,
        _ => false,
    });
    let excused = excused.count();
    if no_token || is_closed || plan.dropped_after.is_some() || left_open <= excused {
        return Vec::new();
    }
    vec![format!("{left_open} uploads stay open, {excused} of them for a reason")]
}

fn is_whole(holding: &Holding, image: &Image) -> bool {
    image.all().into_iter().all(|part| {
        holding.manifests.get(&part.digest).is_some_and(|(_, bytes)| *bytes == part.manifest)
            && part.blobs.iter().all(|(digest, _)| holding.blobs.contains_key(digest))
    })
}

fn repository_of(job: &Job) -> String {
    job.replica.reference.repository().to_string()
}
