//! What is told of the images in manifests, as a document and as lines for people.

use std::collections::{BTreeMap, BTreeSet};

use copy::{Brings, CopyError, Estimate};
use protocol::Digest;
use serde::Serialize;

use super::decide::{Allowed, Decided};
use crate::commands::{Exit, Failure};
use crate::credentials::Who;
use crate::manifests::{Mentioned, NamedBy};

mod text;

/// All that is told.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    /// The images of pods, in the order in which they are named first. One about which different
    /// rules decide in different namespaces is there for each of these rules.
    images: Vec<Image>,
    /// What reads as an image outside of pods. The policy rewrites it only in the pods that an
    /// operator makes of it, and what it says there is the operator's choice.
    mentions: Vec<Mention>,
    total: Total,
}

/// An image of pods.
#[derive(Debug, Serialize)]
struct Image {
    /// As the manifests name it, in canonical form where it has one.
    image: String,
    /// What is copied: another image where the manifests name a replica. None where nothing is.
    source: Option<String>,
    /// Where to.
    target: Option<String>,
    namespaces: BTreeSet<String>,
    /// The rule that decides; None where none has it.
    rule: Option<String>,
    state: State,
    /// Why it is refused, or not known.
    reason: Option<String>,
    /// The digest at its source, where that is to be copied.
    digest: Option<Digest>,
    /// Bytes of the image; None where nothing was read that would tell.
    size_bytes: Option<u64>,
    /// Bytes of it, and of what refers to it, that the target has not.
    to_copy_bytes: Option<u64>,
    named_by: Vec<NamedBy>,
    #[serde(skip)]
    missing: BTreeMap<Digest, u64>,
    #[serde(skip)]
    exit: Exit,
}

/// How an image stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// The target has it; what its source is, unless a reason says that nobody knows.
    Present,
    /// The target has what its source was.
    Outdated,
    /// The target does not have it.
    Missing,
    /// The rules refuse it, or it is no image.
    Refused,
    /// The target could not be asked.
    Unknown,
    /// Nobody was asked.
    NotAsked,
}

/// What reads as an image outside of pods.
#[derive(Debug, Serialize)]
struct Mention {
    image: String,
    named_by: NamedBy,
}

/// The sum, of each image once: it is one of those that follow.
#[derive(Debug, Serialize)]
struct Total {
    images: usize,
    present: usize,
    to_copy: usize,
    refused: usize,
    /// Those of which a registry did not say enough, or that their source does not have.
    unknown: usize,
    /// Those that are allowed, and nobody was asked about.
    not_asked: usize,
    /// Bytes that the target has not, of each layer once; of those images alone that are known.
    to_copy_bytes: u64,
}

impl Document {
    /// What was decided, and what registries said of each image that is allowed, if they were
    /// asked.
    pub(crate) fn new(
        decided: Vec<Decided>,
        estimates: Vec<Option<Result<Estimate, CopyError>>>,
        mentions: Vec<Mentioned>,
    ) -> Self {
        let estimates = estimates.into_iter().chain(std::iter::repeat_with(|| None));
        let images: Vec<_> =
            decided.into_iter().zip(estimates).map(|(one, said)| Image::new(one, said)).collect();
        let mentions = mentions.into_iter().map(|Mentioned { reference, by }| Mention {
            image: reference.to_string(),
            named_by: by,
        });
        Self { total: Total::of(&images), mentions: mentions.collect(), images }
    }

    /// What the process ends with.
    pub(crate) fn exit(&self) -> Exit {
        Exit::of_all(self.images.iter().map(|image| image.exit))
    }
}

/// What is said where a replicator might have got more.
const UNSEEN: &str = "; it was asked without credentials, since those are in the pull secrets of \
                      the namespace, which are not seen from here";

impl Image {
    fn new(decided: Decided, said: Option<Result<Estimate, CopyError>>) -> Self {
        let Decided { image, by, rule, outcome } = decided;
        let mut told = Self {
            image,
            source: None,
            target: None,
            namespaces: by.iter().map(|by| by.namespace.to_string()).collect(),
            rule: rule.map(|rule| rule.to_string()),
            state: State::NotAsked,
            reason: None,
            digest: None,
            size_bytes: None,
            to_copy_bytes: None,
            named_by: by,
            missing: BTreeMap::new(),
            exit: Exit::Done,
        };
        match outcome {
            Err(reason) => {
                (told.state, told.exit, told.reason) =
                    (State::Refused, Exit::Refused, Some(reason));
            }
            Ok(Allowed { job, who, .. }) => {
                told.source = Some(job.source.to_string());
                told.target = Some(job.replica.reference.to_string());
                if let Some(said) = said {
                    told.hear(said, &who);
                }
            }
        }
        told
    }

    /// Takes in what registries said.
    fn hear(&mut self, said: Result<Estimate, CopyError>, who: &Who) {
        let (held, brings) = match said {
            Ok(Estimate { held, brings }) => (Some(held), brings),
            Err(error) => (None, Err(error)),
        };
        self.state = match (held, &brings) {
            (None, _) => State::Unknown,
            (Some(None), _) => State::Missing,
            (Some(Some(_)), Ok(Some(_))) => State::Outdated,
            (Some(Some(_)), _) => State::Present,
        };
        match brings {
            Ok(None) => self.to_copy_bytes = Some(0),
            Ok(Some(Brings { digest, size_bytes, blobs })) => {
                self.digest = Some(digest);
                self.size_bytes = Some(size_bytes);
                self.to_copy_bytes = Some(blobs.values().sum());
                self.missing = blobs;
            }
            Err(error) => {
                let is_blind = who.is_unread() && error.is_lack_of_rights();
                let note = if is_blind { UNSEEN } else { "" };
                let Failure { exit, message } = error.into();
                (self.exit, self.reason) = (exit, Some(format!("{message}{note}")));
            }
        }
    }
}

impl Total {
    fn of(images: &[Image]) -> Self {
        let count = |has: fn(&Image) -> bool| {
            let those = images.iter().filter(|image| has(image));
            those.map(|image| image.image.as_str()).collect::<BTreeSet<_>>().len()
        };
        // A layer that several images have is copied once.
        let missing: BTreeMap<_, _> = images.iter().flat_map(|image| &image.missing).collect();
        Self {
            images: count(|_| true),
            present: count(|image| image.state == State::Present && image.reason.is_none()),
            to_copy: count(|image| image.digest.is_some()),
            refused: count(|image| image.state == State::Refused),
            unknown: count(|image| image.state != State::Refused && image.reason.is_some()),
            not_asked: count(|image| image.state == State::NotAsked),
            to_copy_bytes: missing.into_values().sum(),
        }
    }
}
