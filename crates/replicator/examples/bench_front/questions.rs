//! What is asked, and what a right answer to it is.

use fastrand::Rng;
use protocol::{ImageReference, Receipt, ReplicaState, Trigger, Verb};

/// Images that most questions are about: what a large cluster's pods run at one time.
const HOT: u64 = 500;

/// Of a hundred questions so many are about a hot image; the others, about any image.
const HOT_PERCENT: u8 = 90;

/// One of so many questions is about an image that nobody has asked for before.
const ONE_NEW_OF: u32 = 1_000;

/// One question.
pub(crate) struct Question {
    /// Where it is asked.
    pub(crate) path: String,
    source: ImageReference,
    expected: Expected,
}

enum Expected {
    /// Any answer.
    Anything,
    /// It is there, with this digest.
    Present(String),
    /// It is being copied, or was meanwhile.
    Begun,
}

/// An image that the ledger knows, by its number.
pub(crate) fn known_source(number: u64) -> String {
    format!("docker.io/shop/app-{number}:1")
}

/// The digest of that image: its number, written with 64 digits.
fn known_digest(number: u64) -> String {
    format!("sha256:{number:064}")
}

impl Question {
    /// About any image, to a server whose answer does not matter.
    pub(crate) fn to_anybody() -> Self {
        Self::new(&known_source(0), Expected::Anything)
    }

    /// About an image that is not there yet.
    pub(crate) fn about_new(source: &str) -> Self {
        Self::new(source, Expected::Begun)
    }

    fn new(source: &str, expected: Expected) -> Self {
        let source: ImageReference = source.parse().expect("a legal reference");
        let namespace = "shop".parse().expect("a legal namespace");
        let trigger = Trigger { verb: Verb::Start, namespace, source: source.clone() };
        let path = trigger.encode().expect("a short reference");
        let path = format!("/v2/{}/manifests/{}", path.repository, path.tag);
        Self { path, source, expected }
    }

    /// Whether this body is a right answer to it.
    pub(crate) fn is_answered_by(&self, body: &[u8]) -> bool {
        let of_ours =
            || Receipt::from_json(body).ok().filter(|receipt| receipt.source == self.source);
        match &self.expected {
            Expected::Anything => true,
            Expected::Present(digest) => of_ours().is_some_and(|receipt| {
                receipt.state == ReplicaState::Present
                    && receipt.digest.is_some_and(|found| found.to_string() == *digest)
            }),
            Expected::Begun => of_ours().is_some_and(|receipt| {
                matches!(receipt.state, ReplicaState::Copying | ReplicaState::Present)
            }),
        }
    }
}

/// The questions of a cluster whose ledger has `rows` images.
pub(crate) struct Mix {
    rows: u64,
    random: Rng,
    new: Box<dyn FnMut() -> String>,
}

impl Mix {
    /// `new` makes an image at a source, of which nobody has heard, and names it.
    pub(crate) fn new(rows: u64, new: impl FnMut() -> String + 'static) -> Self {
        Self { rows, random: Rng::with_seed(1), new: Box::new(new) }
    }

    /// The next question.
    pub(crate) fn next(&mut self) -> Question {
        if self.random.u32(0..ONE_NEW_OF) == 0 {
            return Question::about_new(&(self.new)());
        }
        let number = if self.random.u8(0..100) < HOT_PERCENT {
            // All over the table, as chance would have it.
            self.random.u64(0..HOT.min(self.rows)) * (self.rows / HOT).max(1)
        } else {
            self.random.u64(0..self.rows)
        };
        Question::new(&known_source(number), Expected::Present(known_digest(number)))
    }
}
