//! How the registry misbehaves, and when.

use std::time::Duration;

use http::Method;

use super::log::{Kind, Recorded};

/// A way to misbehave.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Another answer: status, headers, body.
    Answer(u16, Vec<(String, String)>, String),
    /// Another answer, before the request's body came: status, headers.
    Early(u16, Vec<(String, String)>),
    /// The right answer, later.
    Delay(Duration),
    /// No answer: the connection is cut at once.
    Drop,
    /// No answer, ever.
    Silence,
    /// The body is cut after this many bytes.
    Cut(u64),
    /// The body stalls for ever after this many bytes.
    Stall(u64),
    /// The body comes so slowly.
    Pace {
        /// At most: each wait is one of whole milliseconds.
        bytes_per_second: u64,
    },
    /// One bit of the byte at this place is wrong.
    Corrupt(u64),
    /// This many bytes, and a clean end, without a length.
    Short(u64),
    /// This many bytes, and a clean end, with a length that says so.
    ShortLength(u64),
    /// The right beginning, then bytes without end.
    Endless,
    /// The range that was asked for is not honoured.
    IgnoreRange,
    /// A header is left out of the answer.
    Without(&'static str),
    /// A header is in the answer.
    With(&'static str, String),
    /// The connection is cut when this many bytes of the request's body have come.
    CutRequest(u64),
    /// Only this many bytes of a chunk are taken.
    TakeOnly(u64),
    /// Nothing more is read of the request when this many bytes of its body have come.
    StallRequest(u64),
    /// The request is done, and the connection is cut instead of the answer.
    LoseAnswer,
    /// The request is done, and its answer comes later.
    LateAnswer(Duration),
    /// All tokens end before the request is looked at.
    RevokeTokens,
    /// A mount is refused: an upload is opened instead.
    RefuseMount,
}

impl Fault {
    /// Another answer with a body and no headers of note.
    #[must_use]
    pub fn status(status: u16, body: &str) -> Self {
        Self::Answer(status, Vec::new(), body.to_owned())
    }

    /// A redirect.
    #[must_use]
    pub fn redirect(location: &str) -> Self {
        Self::Answer(307, vec![("location".to_owned(), location.to_owned())], String::new())
    }
}

/// Which requests.
#[derive(Clone, Debug)]
pub struct When {
    method: Method,
    kind: Kind,
    part: Option<String>,
    skipped: usize,
    times: usize,
}

impl When {
    /// The first request of a method and kind.
    #[must_use]
    pub fn first(method: Method, kind: Kind) -> Self {
        Self { method, kind, part: None, skipped: 0, times: 1 }
    }

    /// Each request of a method and kind.
    #[must_use]
    pub fn each(method: Method, kind: Kind) -> Self {
        Self { times: usize::MAX, ..Self::first(method, kind) }
    }

    /// Only where the path has this in it.
    #[must_use]
    pub fn of(mut self, part: &(impl ToString + ?Sized)) -> Self {
        self.part = Some(part.to_string());
        self
    }

    /// Not the first few of them.
    #[must_use]
    pub fn after(mut self, skipped: usize) -> Self {
        self.skipped = skipped;
        self
    }

    /// So many times.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    fn matches(&self, request: &Recorded) -> bool {
        self.method == request.method
            && self.kind == request.kind
            && self.part.as_ref().is_none_or(|part| request.path.contains(part))
    }
}

/// The faults to come, and those that came.
#[derive(Default)]
pub(super) struct Script {
    entries: Vec<(When, Fault)>,
    pub(super) met: Vec<(Recorded, Fault)>,
}

impl Script {
    pub(super) fn add(&mut self, when: When, fault: Fault) {
        self.entries.push((when, fault));
    }

    pub(super) fn end(&mut self) {
        self.entries.clear();
    }

    /// The faults that a request meets: of each entry that it is like.
    pub(super) fn take(&mut self, request: &Recorded) -> Vec<Fault> {
        let mut found = Vec::new();
        for (when, fault) in &mut self.entries {
            if !when.matches(request) || when.times == 0 {
                continue;
            }
            if when.skipped > 0 {
                when.skipped -= 1;
            } else {
                when.times -= 1;
                found.push(fault.clone());
                self.met.push((request.clone(), fault.clone()));
            }
        }
        found
    }
}
