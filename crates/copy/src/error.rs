//! Why a copy failed, as one sentence for people at three in the morning, and as values for
//! programs: side, kind, and whether to try again.

use std::fmt;
use std::time::Duration;

use protocol::{Digest, ImageReference, Registry, Side};
use registry::{ErrorKind, Operation, Retry};

use crate::room::NoRoom;

/// Why a copy failed.
#[derive(Clone, Debug, thiserror::Error)]
pub struct CopyError {
    /// Where it went wrong.
    pub side: Side,
    details: Box<Details>,
}

#[derive(Clone, Debug)]
struct Details {
    image: ImageReference,
    part: Option<Digest>,
    /// Whether the image was to be read there, or else written.
    reads: bool,
    cause: Cause,
}

#[derive(Clone, Debug)]
enum Cause {
    /// What the registry's client says.
    Registry(registry::Error),
    /// What the engine found.
    Found { kind: ErrorKind, message: String },
    /// The target wants the repository created first, and that failed.
    NotCreated { reason: String },
    /// There is no room for the image.
    NoRoom(NoRoom),
}

impl CopyError {
    pub(crate) fn source(image: &ImageReference, error: registry::Error) -> Self {
        Self::new(Side::Source, image, Cause::Registry(error))
    }

    pub(crate) fn target(image: &ImageReference, error: registry::Error) -> Self {
        Self::new(Side::Target, image, Cause::Registry(error))
    }

    /// Something that is wrong with the image itself.
    pub(crate) fn found(
        image: &ImageReference,
        kind: ErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Side::Source, image, Cause::Found { kind, message: message.into() })
    }

    /// An error where the image has more of something than a limit allows.
    pub(crate) fn check(
        image: &ImageReference,
        what: &str,
        number: u64,
        limit: u64,
    ) -> Result<(), Self> {
        if number <= limit {
            return Ok(());
        }
        let message = format!("it has more than {limit} {what}");
        Err(Self::found(image, ErrorKind::TooLarge, message))
    }

    /// Something about the image that this target does not take.
    pub(crate) fn not_taken(image: &ImageReference, message: impl Into<String>) -> Self {
        Self::found_at_target(image, ErrorKind::Unsupported, message)
    }

    /// Something that is wrong with what the target says.
    pub(crate) fn found_at_target(
        image: &ImageReference,
        kind: ErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Side::Target, image, Cause::Found { kind, message: message.into() })
    }

    /// A repository that the target does not know, and that could not be created.
    pub(crate) fn not_created(image: &ImageReference, reason: String) -> Self {
        Self::new(Side::Target, image, Cause::NotCreated { reason })
    }

    /// An image that the target is not to hold, since there is no room for it.
    pub(crate) fn no_room(image: &ImageReference, why: NoRoom) -> Self {
        Self::new(Side::Replicator, image, Cause::NoRoom(why))
    }

    fn new(side: Side, image: &ImageReference, cause: Cause) -> Self {
        let reads = side == Side::Source;
        let details = Details { image: image.clone(), part: None, reads, cause };
        Self { side, details: Box::new(details) }
    }

    /// The same of an image that is read at the target.
    #[must_use]
    pub(crate) fn at_target(self) -> Self {
        Self { side: Side::Target, ..self }
    }

    #[must_use]
    pub(crate) fn with_part(mut self, part: &Digest) -> Self {
        self.details.part = Some(part.clone());
        self
    }

    /// The image on that side.
    pub fn image(&self) -> &ImageReference {
        &self.details.image
    }

    /// The blob or manifest below the image that it went wrong with, if one is to blame.
    pub fn part(&self) -> Option<&Digest> {
        self.details.part.as_ref()
    }

    /// The registry on the side where it went wrong.
    pub fn registry(&self) -> &Registry {
        self.image().registry()
    }

    /// What was being done, where a request failed.
    pub fn operation(&self) -> Option<Operation> {
        self.request().map(registry::Error::operation)
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        match &self.details.cause {
            Cause::Registry(error) => error.kind(),
            Cause::Found { kind, .. } => *kind,
            Cause::NotCreated { .. } => ErrorKind::NotFound,
            Cause::NoRoom(NoRoom::Full(_)) => ErrorKind::Denied,
            Cause::NoRoom(NoRoom::Unknown(_)) => ErrorKind::Server,
        }
    }

    /// The HTTP status, where an answer came.
    pub fn status(&self) -> Option<u16> {
        self.request().and_then(registry::Error::status)
    }

    /// Whether the source does not let who asked have the image. A blob alone that it keeps back is
    /// a fault of its own, and what was not asked at all has not refused.
    pub fn is_lack_of_rights(&self) -> bool {
        let refuses = matches!(self.kind(), ErrorKind::Unauthorized | ErrorKind::Denied);
        let is_an_answer = self.status().is_some() && self.part().is_none();
        refuses && is_an_answer && self.side == Side::Source
    }

    /// Whether the same copy can go well later.
    pub fn retry(&self) -> Retry {
        match &self.details.cause {
            // Each part was sent: of several machines behind one name not all know of it yet.
            Cause::Registry(_) if self.misses_a_part() => Retry::Later { after: Duration::ZERO },
            Cause::Registry(error) => error.retry(),
            // Other bytes can come from the same place: from another cache, after a repair.
            Cause::Found { kind: ErrorKind::DigestMismatch, .. } if self.side == Side::Source => {
                Retry::Later { after: Duration::ZERO }
            }
            // Who creates repositories may have had a bad moment.
            Cause::NotCreated { .. } | Cause::NoRoom(NoRoom::Unknown(_)) => {
                Retry::Later { after: Duration::ZERO }
            }
            Cause::Found { .. } | Cause::NoRoom(NoRoom::Full(_)) => Retry::Never,
        }
    }

    /// Whether a manifest was refused since the registry has not all that it names.
    pub(crate) fn misses_a_part(&self) -> bool {
        let says_so = |code: &String| {
            matches!(code.as_str(), "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN" | "MANIFEST_UNKNOWN")
        };
        self.operation() == Some(Operation::PutManifest)
            && self.request().is_some_and(|error| error.codes().iter().any(says_so))
    }

    fn request(&self) -> Option<&registry::Error> {
        match &self.details.cause {
            Cause::Registry(error) => Some(error),
            Cause::Found { .. } | Cause::NotCreated { .. } | Cause::NoRoom(_) => None,
        }
    }

    /// `repository:tag`: the image without its registry, which stands before it.
    fn name(&self) -> String {
        let whole = self.image().to_string();
        let registry = self.registry().as_str().len();
        whole.get(registry + 1..).unwrap_or(&whole).to_owned()
    }

    /// What the side did, in words that follow its name.
    fn deed(&self) -> String {
        let name = self.name();
        let reads = self.details.reads;
        match self.kind() {
            ErrorKind::NotFound if reads => format!("has no image {name}"),
            ErrorKind::NoCredentials => format!("was not asked about {name}"),
            ErrorKind::NotFound => format!("knows no repository for {name}"),
            ErrorKind::Denied if self.status().is_none() => {
                format!("is not trusted with {name}")
            }
            ErrorKind::Unauthorized | ErrorKind::Denied if reads => {
                format!("refuses to hand out {name}")
            }
            ErrorKind::Unauthorized | ErrorKind::Denied => format!("refuses to take {name}"),
            ErrorKind::RateLimited => "allows no more requests at the moment".to_owned(),
            ErrorKind::Unreachable if self.status().is_none() => "cannot be reached".to_owned(),
            ErrorKind::Timeout => format!("went silent over {name}"),
            ErrorKind::DigestMismatch if reads => format!("sends wrong bytes for {name}"),
            ErrorKind::DigestMismatch => format!("got other bytes than were sent for {name}"),
            ErrorKind::TooLarge if reads => format!("sends more than is read for {name}"),
            ErrorKind::TooLarge => format!("finds {name} too large"),
            ErrorKind::Unsupported if reads => {
                format!("has {name} in a form that cannot be copied")
            }
            ErrorKind::Unsupported => format!("cannot take {name}"),
            ErrorKind::Malformed if reads => format!("sends nonsense for {name}"),
            ErrorKind::Malformed => format!("does not accept {name}"),
            ErrorKind::Unreachable | ErrorKind::Server => format!("failed over {name}"),
        }
    }

    /// What to look at first; None where the cause says it all.
    fn advice(&self) -> Option<String> {
        let registry = self.registry();
        let anonymous = self.request().is_some_and(registry::Error::is_anonymous);
        match (self.kind(), self.details.reads) {
            (ErrorKind::NotFound, true) if self.part().is_some() => {
                Some("the image is not whole at its source".to_owned())
            }
            (ErrorKind::NotFound, true) => Some("check its name and tag".to_owned()),
            (ErrorKind::NotFound, _) if self.misses_a_part() => {
                Some("it misses a part although each was sent to it".to_owned())
            }
            (ErrorKind::NotFound, _) if self.request().is_some() => Some(
                "some registries (Amazon ECR) want a repository to be created first, which \
                 target.create_repository can do"
                    .to_owned(),
            ),
            (ErrorKind::Unauthorized, true) if anonymous => Some(format!(
                "the image is not public, or not there, and no credentials for {registry} are configured"
            )),
            (ErrorKind::Unauthorized, _) if anonymous => {
                Some(format!("no credentials for {registry} are configured"))
            }
            (ErrorKind::Unauthorized, _) => {
                Some(format!("the credentials for {registry} are wrong, or do not reach that far"))
            }
            (ErrorKind::Denied, _) if self.status().is_some() && !anonymous => {
                Some(format!("the credentials for {registry} do not reach that far"))
            }
            (ErrorKind::TooLarge, true) if self.request().is_none() => {
                Some("copy.limits can allow more bytes in all, layers and manifests".to_owned())
            }
            (ErrorKind::RateLimited, _) => match self.retry() {
                Retry::Later { after } if !after.is_zero() => {
                    Some(format!("it asks to wait for {} s", after.as_secs()))
                }
                _ if anonymous => Some("with credentials it may allow more".to_owned()),
                _ => None,
            },
            _ => None,
        }
    }
}

/// `source docker.io refuses to hand out library/nginx:1.27 (401 UNAUTHORIZED): the credentials
/// for docker.io are wrong, or do not reach that far`
impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Where there is no room, no registry has done anything.
        if self.side != Side::Replicator {
            write!(f, "{} {} {}", self.side, self.registry(), self.deed())?;
        }
        let codes = self.request().map(registry::Error::codes).unwrap_or_default();
        if let Some(status) = self.status() {
            write!(f, " ({status}")?;
            codes.iter().try_for_each(|code| write!(f, " {code}"))?;
            f.write_str(")")?;
        }
        let mut separator = ": ";
        if let Some(advice) = self.advice() {
            write!(f, "{separator}{advice}")?;
            separator = "; ";
        }
        match &self.details.cause {
            Cause::Found { message, .. } => {
                write!(f, "{separator}{message}")?;
                if let Some(part) = self.part() {
                    write!(f, " (in {part})")?;
                }
            }
            Cause::NoRoom(NoRoom::Full(why) | NoRoom::Unknown(why)) => f.write_str(why)?,
            Cause::NotCreated { reason } => {
                let repository = self.image().repository();
                write!(f, "{separator}the repository {repository} could not be created: {reason}")?;
            }
            Cause::Registry(error) => {
                write!(f, "{separator}could not {}", error.operation())?;
                if let Some(part) = self.part() {
                    write!(f, " {part}")?;
                }
                match (error.message(), self.status()) {
                    ("", _) => {}
                    (words, Some(_)) => write!(f, ", it says: {words}")?,
                    (words, None) => write!(f, ": {words}")?,
                }
            }
        }
        Ok(())
    }
}
