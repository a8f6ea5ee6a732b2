//! The plan of one copy, made of a seed and an index alone: the image, what the target has
//! before, who may do what, and which faults strike where.

use std::fmt;

use fastrand::Rng;
use http::Method;
use protocol::{Digest, Side};
use testkit::{Content, Fault, Image, Kind, When};

use crate::images::{Layers, Referrer, image, referrers};
use crate::mischief::{Mischief, Place};

/// Spreads indexes over the seeds of the generators (the golden ratio in 64 bits).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// All manifests are longer than this.
const MANIFEST_BYTES: u64 = 100;

/// How the image is named in the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Tag,
    Digest,
    Both,
}

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Open,
    Basic,
    Bearer,
}

/// One fault, and the requests that it strikes.
#[derive(Debug)]
pub(crate) struct Strike {
    pub(crate) mischief: Mischief,
    pub(crate) place: Place,
    pub(crate) when: When,
    pub(crate) fault: Fault,
    /// From the first such request on, without end.
    pub(crate) always: bool,
}

/// What happens in one copy.
pub(crate) struct Plan {
    pub(crate) image: Image,
    /// The image's repositories at the source, each with a job of its own, all at once.
    pub(crate) repositories: Vec<&'static str>,
    pub(crate) form: Form,
    pub(crate) source: Access,
    pub(crate) target: Access,
    /// The target takes manifests whatever they name.
    pub(crate) trusting: bool,
    /// What the tag names at the target before.
    pub(crate) older: Option<Image>,
    /// A part of the image that the target has already.
    pub(crate) child: Option<Image>,
    /// Blobs that the target has already.
    pub(crate) present: Vec<Content>,
    /// Blobs that another repository of the target is said to have, and whether it has.
    pub(crate) elsewhere: Vec<(Digest, Option<Content>)>,
    pub(crate) referrers: Vec<Referrer>,
    /// Whether they have the referrers API.
    pub(crate) source_lists: bool,
    pub(crate) target_lists: bool,
    /// The target takes blobs in chunks alone.
    pub(crate) chunks_alone: bool,
    /// The target keeps what came of a request that broke.
    pub(crate) keeps_what_was_cut: bool,
    /// Registries that fail too often are left alone.
    pub(crate) has_circuit: bool,
    pub(crate) strikes: Vec<Strike>,
    /// The copy is dropped when it was polled so often.
    pub(crate) dropped_after: Option<usize>,
}

impl Plan {
    /// The plan of a copy in the run of a seed.
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ index.wrapping_add(1).wrapping_mul(SPREAD));
        let mut layers = Layers::default();
        let older = (rng.u8(0..3) == 0).then(|| image(&mut rng, &mut layers));
        let image = image(&mut rng, &mut layers);
        let is_current = rng.u8(0..30) == 0;
        let older = if is_current { Some(image.clone()) } else { older };
        let child = rng.choice(&image.children).filter(|_| rng.bool()).cloned();
        let referrers = referrers(&mut rng, &image);
        let parts = std::iter::once(&image).chain(referrers.iter().map(|it| &it.image));
        let blobs_of_all: Vec<_> = parts.flat_map(blobs).collect();
        let strikes = strikes(&mut rng, index, &blobs_of_all);

        let strikes_at = |place: &Place| strikes.iter().any(|strike| strike.place == *place);
        let form = match rng.u8(0..10) {
            _ if strikes_at(&(Side::Source, Method::HEAD, Kind::Manifest)) => Form::Tag,
            0 => Form::Digest,
            1 => Form::Both,
            _ => Form::Tag,
        };
        let access = |rng: &mut Rng, side| {
            let wants_tokens = |strike: &Strike| {
                let (at, _, kind) = &strike.place;
                *at == side && (*kind == Kind::Token || strike.mischief == Mischief::RevokedTokens)
            };
            match rng.u8(0..10) {
                _ if strikes.iter().any(wants_tokens) => Access::Bearer,
                0..5 => Access::Open,
                5..7 => Access::Basic,
                _ => Access::Bearer,
            }
        };
        let (source, target) = (access(&mut rng, Side::Source), access(&mut rng, Side::Target));

        let blobs = blobs(&image);
        let revokes = strikes.iter().any(|strike| strike.mischief == Mischief::RevokedTokens);
        let wants_mount = strikes.iter().any(|strike| strike.mischief == Mischief::RefusedMount);
        let some = |rng: &mut Rng, often: bool| -> Vec<(Digest, Content)> {
            let chance = if often { rng.u8(0..5) } else { 0 };
            blobs.iter().filter(|_| rng.u8(0..10) < chance).cloned().collect()
        };
        let often = rng.u8(0..3) == 0 && !wants_mount;
        let present = some(&mut rng, often).into_iter().map(|(_, content)| content).collect();
        let often = rng.u8(0..3) == 0;
        let mut elsewhere = some(&mut rng, often);
        if wants_mount {
            elsewhere.extend(blobs.first().cloned());
        }
        let elsewhere = elsewhere
            .into_iter()
            .map(|(digest, content)| (digest, (wants_mount || rng.u8(0..5) > 0).then_some(content)))
            .collect();
        let is_of_chunks = |strike: &Strike| strike.place.1 == Method::PATCH;
        let takes_nothing = |strike: &Strike| matches!(strike.fault, Fault::TakeOnly(0));
        let is_of_lists = |strike: &Strike| strike.place.2 == Kind::Referrers;
        Self {
            source_lists: strikes.iter().any(is_of_lists) || rng.bool(),
            target_lists: rng.bool(),
            chunks_alone: strikes.iter().any(is_of_chunks) || rng.u8(0..6) == 0,
            keeps_what_was_cut: rng.bool(),
            has_circuit: rng.u8(0..3) == 0,
            referrers,
            // One job's tokens are to have been in use when another would end them.
            repositories: match rng.u8(0..5) {
                0 if !revokes => vec!["app", "second"],
                _ => vec!["app"],
            },
            // Of a blob of one byte `0-0` says that it has all, and that it has nothing; and a range
            // that stands still may be one that never moves. The digest alone can tell.
            trusting: rng.bool() && !strikes.iter().any(takes_nothing),
            dropped_after: (rng.u8(0..12) == 0).then(|| rng.usize(1..80)),
            image,
            form,
            source,
            target,
            older,
            child,
            present,
            elsewhere,
            strikes,
        }
    }
}

/// One to four faults. The first is of the kind whose turn it is, so that all have theirs.
fn strikes(rng: &mut Rng, index: u64, blobs: &[(Digest, Content)]) -> Vec<Strike> {
    let turn = usize::try_from(index).unwrap() % Mischief::ALL.len();
    let mut strikes = Vec::new();
    let mut kinds = vec![Mischief::ALL[turn]];
    let more = [0, 0, 1, 2, 3][rng.usize(0..5)];
    // Tokens that end twice in one request are no passing matter.
    let others = Mischief::ALL.into_iter().filter(|kind| *kind != Mischief::RevokedTokens);
    kinds.extend(rng.choose_multiple(others, more));
    for mischief in kinds {
        let strike = strike(rng, mischief, blobs);
        if mischief == Mischief::IgnoredRange {
            // Only what was cut is asked for by a range.
            let (part, size) = part(rng, blobs);
            let when = When::first(Method::GET, Kind::Blob).of(&part);
            strikes.push(Strike {
                mischief: Mischief::Cut,
                place: strike.place.clone(),
                when,
                fault: Mischief::Cut.fault(rng, size),
                always: false,
            });
        }
        strikes.push(strike);
    }
    strikes
}

fn strike(rng: &mut Rng, mischief: Mischief, blobs: &[(Digest, Content)]) -> Strike {
    let place = rng.choice(mischief.places()).expect("each kind has its places");
    let (_, method, kind) = place.clone();
    let is_in_body = matches!((&method, kind), (&Method::GET, Kind::Blob))
        || matches!((&method, kind), (&Method::PUT, Kind::Upload));
    let (part, size) = match kind {
        _ if is_in_body => part(rng, blobs),
        _ if method == Method::PATCH => (String::new(), part(rng, blobs).1),
        _ if mischief == Mischief::RefusedMount => ("mount=".to_owned(), 1),
        _ => (String::new(), MANIFEST_BYTES),
    };
    let times = match rng.u8(0..10) {
        _ if mischief == Mischief::RevokedTokens => 1,
        _ if mischief == Mischief::IgnoredRange => usize::MAX,
        0..5 => 1,
        5..7 => 2,
        // A chunk of a few bytes at a time never ends.
        _ if mischief == Mischief::TakenInPart => 2,
        _ => usize::MAX,
    };
    let skipped = if part.is_empty() && rng.u8(0..3) == 0 { rng.usize(1..=2) } else { 0 };
    let fault = mischief.fault(rng, size);
    let when = When::each(method, kind).times(times).after(skipped);
    let always = times == usize::MAX && skipped == 0;
    Strike { mischief, place, when: when.of(&part), fault, always }
}

/// A blob that has bytes: how its requests are known, and its size.
fn part(rng: &mut Rng, blobs: &[(Digest, Content)]) -> (String, u64) {
    let blobs = blobs.iter().filter(|(_, content)| content.size() > 0);
    let (digest, content) = rng.choice(blobs.collect::<Vec<_>>()).expect("there is a config");
    (digest.hex().to_owned(), content.size())
}

/// All blobs of an image.
pub(crate) fn blobs(image: &Image) -> Vec<(Digest, Content)> {
    image.all().into_iter().flat_map(|part| part.blobs.iter().cloned()).collect()
}

/// What a person needs who looks into one copy.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { form, source, target, trusting, dropped_after, repositories, .. } = self;
        writeln!(
            f,
            "image by {form:?} in {repositories:?}, dropped after {dropped_after:?} polls"
        )?;
        for part in self.image.all() {
            let sizes: Vec<_> = part.blobs.iter().map(|(_, content)| content.size()).collect();
            writeln!(f, "  {} {}, blobs of {sizes:?} B", part.digest, part.media_type)?;
        }
        writeln!(f, "source {source:?}, target {target:?}, trusting: {trusting}")?;
        writeln!(
            f,
            "target has an older image: {}, a child: {}, blobs: {}, elsewhere: {}",
            self.older.is_some(),
            self.child.is_some(),
            self.present.len(),
            self.elsewhere.len()
        )?;
        writeln!(
            f,
            "{} referrers, listed at source: {}, at target: {}",
            self.referrers.len(),
            self.source_lists,
            self.target_lists
        )?;
        writeln!(
            f,
            "chunks alone: {}, kept when cut: {}, circuit: {}",
            self.chunks_alone, self.keeps_what_was_cut, self.has_circuit
        )?;
        self.strikes.iter().try_for_each(|strike| {
            writeln!(f, "{:?} {:?} {:?}", strike.place.0, strike.fault, strike.when)
        })
    }
}
