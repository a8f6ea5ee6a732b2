//! The kinds of faults, where they can strike, and what they may do to a copy.

use std::time::Duration;

use fastrand::Rng;
use http::Method;
use protocol::Side;
use testkit::{Fault, Kind, Recorded, digest_of};

/// What one request asks, and of whom.
pub(crate) type Place = (Side, Method, Kind);

/// Seconds of a `Retry-After` that nobody waits out within a copy.
pub(crate) const LONG_PAUSE_S: u64 = 600;

const DIGEST_HEADER: &str = "docker-content-digest";

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mischief {
    Cut,
    Stall,
    Short,
    ShortLength,
    WrongByte,
    Endless,
    Drop,
    Silence,
    LostAnswer,
    LateAnswer,
    Status(u16),
    /// A status, and a `Retry-After` of so many seconds.
    Busy(u16, u64),
    Delay,
    IgnoredRange,
    CutRequest,
    StalledRequest,
    NoHeader(&'static str),
    WrongDigest,
    RevokedTokens,
    RefusedMount,
    /// A status before the body came.
    Early(u16),
    /// Only some of a chunk is taken.
    TakenInPart,
}

/// What a fault may do to a copy that meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bearing {
    /// The copy goes well all the same.
    Harmless,
    /// If the copy fails of it, another may go well.
    Passing,
    /// If the copy fails of it, somebody has to change something.
    Lasting,
    /// Either of the two: it is a lie that cannot be told from the truth.
    Either,
}

impl Mischief {
    /// Each kind that there is.
    pub(crate) const ALL: [Self; 32] = [
        Self::Cut,
        Self::Stall,
        Self::Short,
        Self::ShortLength,
        Self::WrongByte,
        Self::Endless,
        Self::Drop,
        Self::Silence,
        Self::LostAnswer,
        Self::LateAnswer,
        Self::Status(401),
        Self::Status(403),
        Self::Status(404),
        Self::Status(429),
        Self::Status(500),
        Self::Status(502),
        Self::Status(503),
        Self::Busy(429, 1),
        Self::Busy(503, 1),
        Self::Busy(429, LONG_PAUSE_S),
        Self::Delay,
        Self::IgnoredRange,
        Self::CutRequest,
        Self::StalledRequest,
        Self::NoHeader("location"),
        Self::NoHeader(DIGEST_HEADER),
        Self::NoHeader("content-type"),
        Self::WrongDigest,
        Self::RevokedTokens,
        Self::RefusedMount,
        Self::Early(500),
        Self::TakenInPart,
    ];

    /// The requests that it can strike.
    pub(crate) fn places(self) -> Vec<Place> {
        let at = |side, method: &Method, kind| (side, method.clone(), kind);
        let (source, target) = (Side::Source, Side::Target);
        let resolve = at(source, &Method::HEAD, Kind::Manifest);
        let read_manifest = at(source, &Method::GET, Kind::Manifest);
        let read_blob = at(source, &Method::GET, Kind::Blob);
        let list = at(source, &Method::GET, Kind::Referrers);
        let look_up = at(target, &Method::HEAD, Kind::Manifest);
        let open = at(target, &Method::POST, Kind::Upload);
        let send = at(target, &Method::PUT, Kind::Upload);
        let send_chunk = at(target, &Method::PATCH, Kind::Upload);
        let write = at(target, &Method::PUT, Kind::Manifest);
        match self {
            Self::Cut
            | Self::Stall
            | Self::Short
            | Self::ShortLength
            | Self::WrongByte
            | Self::Endless => vec![read_manifest, read_blob.clone(), read_blob, list],
            Self::IgnoredRange => vec![read_blob],
            Self::LostAnswer | Self::LateAnswer => vec![open, send, send_chunk, write],
            Self::CutRequest | Self::StalledRequest => {
                vec![send.clone(), send, send_chunk, write]
            }
            Self::NoHeader("location") | Self::RefusedMount => vec![open],
            Self::NoHeader(_) => vec![resolve, read_manifest, look_up],
            Self::WrongDigest => vec![resolve, look_up, write],
            Self::RevokedTokens => vec![read_blob, open, send, write],
            Self::Early(_) => vec![send, write],
            Self::TakenInPart => vec![send_chunk],
            Self::Drop | Self::Silence | Self::Status(_) | Self::Busy(..) | Self::Delay => vec![
                resolve,
                read_manifest,
                read_blob.clone(),
                read_blob,
                list,
                look_up,
                at(target, &Method::HEAD, Kind::Blob),
                open,
                send.clone(),
                send,
                send_chunk,
                at(target, &Method::GET, Kind::Upload),
                write,
                at(target, &Method::GET, Kind::Manifest),
                at(source, &Method::GET, Kind::Token),
                at(target, &Method::GET, Kind::Token),
                at(target, &Method::DELETE, Kind::Upload),
            ],
        }
    }

    /// One fault of this kind, somewhere in a body of `size` bytes.
    pub(crate) fn fault(self, rng: &mut Rng, size: u64) -> Fault {
        let place = rng.u64(0..size.max(1));
        match self {
            Self::Cut => Fault::Cut(place),
            Self::Stall => Fault::Stall(place),
            Self::Short => Fault::Short(place),
            Self::ShortLength => Fault::ShortLength(place),
            Self::WrongByte => Fault::Corrupt(place),
            Self::Endless => Fault::Endless,
            Self::Drop => Fault::Drop,
            Self::Silence => Fault::Silence,
            Self::LostAnswer => Fault::LoseAnswer,
            Self::LateAnswer => Fault::LateAnswer(Duration::from_millis(rng.u64(1..150))),
            Self::Status(status) => Fault::status(status, "scripted"),
            Self::Busy(status, pause_s) => Fault::Answer(
                status,
                vec![("retry-after".to_owned(), pause_s.to_string())],
                "scripted".to_owned(),
            ),
            Self::Delay => Fault::Delay(Duration::from_millis(rng.u64(1..150))),
            Self::IgnoredRange => Fault::IgnoreRange,
            Self::CutRequest => Fault::CutRequest(place),
            Self::StalledRequest => Fault::StallRequest(place),
            Self::NoHeader(name) => Fault::Without(name),
            Self::WrongDigest => {
                Fault::With(DIGEST_HEADER, digest_of(&place.to_le_bytes()).to_string())
            }
            Self::RevokedTokens => Fault::RevokeTokens,
            Self::RefusedMount => Fault::RefuseMount,
            Self::Early(status) => Fault::Early(status, Vec::new()),
            Self::TakenInPart => Fault::TakeOnly(place),
        }
    }

    /// The kind of a fault that was met.
    pub(crate) fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Cut(_) => Self::Cut,
            Fault::Stall(_) => Self::Stall,
            Fault::Short(_) => Self::Short,
            Fault::ShortLength(_) => Self::ShortLength,
            Fault::Corrupt(_) => Self::WrongByte,
            Fault::Endless => Self::Endless,
            Fault::Drop => Self::Drop,
            Fault::Silence => Self::Silence,
            Fault::LoseAnswer => Self::LostAnswer,
            Fault::LateAnswer(_) => Self::LateAnswer,
            Fault::Answer(status, headers, _) => match headers.first() {
                Some((_, pause_s)) => Self::Busy(*status, pause_s.parse().unwrap()),
                None => Self::Status(*status),
            },
            Fault::Delay(_) | Fault::Pace { .. } => Self::Delay,
            Fault::IgnoreRange => Self::IgnoredRange,
            Fault::CutRequest(_) => Self::CutRequest,
            Fault::StallRequest(_) => Self::StalledRequest,
            Fault::Without(name) => Self::NoHeader(name),
            Fault::With(..) => Self::WrongDigest,
            Fault::RevokeTokens => Self::RevokedTokens,
            Fault::RefuseMount => Self::RefusedMount,
            Fault::Early(status, _) => Self::Early(*status),
            Fault::TakeOnly(_) => Self::TakenInPart,
        }
    }

    /// What it may do to the copy, by the request that met it.
    pub(crate) fn bearing(self, side: Side, request: &Recorded) -> Bearing {
        let is_look_up = request.method == Method::HEAD && side == Side::Target;
        let is_mount = request.path.contains("mount=");
        let by_digest = request.path.contains("/manifests/sha256:");
        match (self, request.kind) {
            // Nobody else gets in for as long, whatever the request was.
            (Self::Busy(..), _) => Bearing::Passing,
            // An upload that is not given up is the registry's to tidy up.
            _ if request.method == Method::DELETE => Bearing::Harmless,
            (Self::Delay | Self::LateAnswer, _) => Bearing::Harmless,
            (Self::IgnoredRange | Self::RefusedMount, _) => Bearing::Harmless,
            (Self::NoHeader("location"), _) if is_mount => Bearing::Harmless,
            (Self::NoHeader("location"), _) => Bearing::Lasting,
            (Self::NoHeader(_), _) => Bearing::Harmless,
            (Self::Status(404), _) if is_look_up => Bearing::Harmless,
            // A source without a list of referrers, or with another one.
            (Self::Status(401 | 403 | 404), Kind::Referrers) => Bearing::Harmless,
            (
                Self::Short | Self::ShortLength | Self::WrongByte | Self::Endless,
                Kind::Referrers,
            ) => Bearing::Either,
            (Self::TakenInPart, _) => Bearing::Either,
            (Self::Status(401 | 403 | 404), _) if is_mount => Bearing::Harmless,
            (Self::Status(401 | 403 | 404), _) => Bearing::Lasting,
            (Self::WrongDigest, _) if is_look_up => Bearing::Harmless,
            (Self::WrongDigest, _) if side == Side::Source => Bearing::Either,
            // One that ends between its grant and its first use looks like one that was refused.
            (Self::RevokedTokens, _) => Bearing::Either,
            (Self::Endless, Kind::Manifest) => Bearing::Lasting,
            // By a tag and without a digest beside it, other bytes are another image.
            (Self::Short | Self::ShortLength | Self::WrongByte, Kind::Manifest) if !by_digest => {
                Bearing::Either
            }
            _ => Bearing::Passing,
        }
    }

    /// Whether a copy gets over it when it meets it once, and nothing else.
    pub(crate) fn is_absorbed(self, request: &Recorded) -> bool {
        match self {
            Self::Status(status) | Self::Early(status) => status == 429 || status >= 500,
            Self::Busy(_, pause_s) => pause_s < LONG_PAUSE_S,
            Self::Cut | Self::Stall | Self::Short => request.kind == Kind::Blob,
            Self::Drop
            | Self::Silence
            | Self::LostAnswer
            | Self::CutRequest
            | Self::StalledRequest => true,
            // That token has been in use; a fresh one that is refused is a refusal.
            Self::RevokedTokens => request.kind == Kind::Blob,
            _ => false,
        }
    }

    /// Whether a registry that does so to each request is taken for dead.
    pub(crate) fn is_failure(self) -> bool {
        match self {
            Self::Status(status) | Self::Busy(status, _) | Self::Early(status) => status >= 500,
            // One that is cut early closes the connection before its head is out.
            Self::Cut
            | Self::Drop
            | Self::Silence
            | Self::LostAnswer
            | Self::CutRequest
            | Self::StalledRequest => true,
            _ => false,
        }
    }

    /// Whether what it struck may have told of referrers, and then did not, or not the truth.
    pub(crate) fn hides_referrers(self) -> bool {
        matches!(
            self,
            Self::Status(401 | 403 | 404)
                | Self::NoHeader(_)
                | Self::WrongDigest
                | Self::Short
                | Self::ShortLength
                | Self::WrongByte
        )
    }
}
