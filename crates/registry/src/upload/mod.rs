//! Writing blobs: a mount, or an upload that takes a blob whole, or in portions where the
//! registry wants that or broke off.
//!
//! ```text
//! open       the POST that mounts a blob or opens an upload
//! send       what goes into an upload: one PUT, or PATCHes and a closing PUT
//! status     what a registry says it holds of an upload
//! portions   how much goes into one request, and what registries were found to refuse
//! ```
//!
//! An [`Upload`] holds its registry's permit from the POST on, so that a reader opened after it
//! is the last thing that a copy waits for (see `lane`).

mod open;
mod portions;
mod send;
pub(crate) mod status;

use std::time::Duration;

use http::{Method, header};
use protocol::{Registry, Repository};
use tokio_util::task::task_tracker::TaskTrackerToken;
use url::Url;

use crate::answer::Answer;
use crate::client::{Client, Site};
use crate::error::{Error, ErrorKind, Operation};
use crate::lane::Permit;
use crate::request::{Request, Scope};

pub use portions::Portion;
pub(crate) use portions::Refusals;

/// Why a body ended before its time. It is not reported again: who made the body knows.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// How long giving an upload up may take: nobody waits for the answer with interest.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// What came of trying to mount a blob.
pub enum Mount {
    /// The blob is there.
    Done,
    /// It has to be sent: the registry opened an upload instead.
    Upload(Box<Upload>),
}

/// An open upload. Dropped before it is complete, it is given up, so that the registry need not
/// keep what it got.
pub struct Upload {
    client: Client,
    site: Site,
    registry: Registry,
    repository: Repository,
    /// Where the next request goes: each answer may name another place.
    location: Location,
    /// The smallest portion that the registry wants, unless it is the last one.
    min_chunk_bytes: u64,
    /// Whether a chunk was taken by an answer whose Range says nothing of it.
    is_doubtful: bool,
    complete: bool,
    /// The client knows of it until it has ended.
    known: TaskTrackerToken,
    _permit: Option<Permit>,
}

/// Where an upload goes on.
#[derive(Clone)]
struct Location {
    url: Url,
    named_by_neighbour: bool,
}

/// Where an upload goes on, by the Location of an answer; None where there is none.
fn location_of(site: &Site, answer: &Answer) -> Option<Result<Location, Error>> {
    let location = answer.header(header::LOCATION.as_str())?;
    let Ok(location) = answer.url.join(location) else {
        let message = "an upload whose Location is no URL";
        return Some(Err(answer.error(ErrorKind::Malformed, message)));
    };
    let is_safe =
        location.scheme() == "https" || (site.home.is_plain_http() && location.scheme() == "http");
    if !is_safe {
        let message = "its upload goes to a URL that is not https; a registry behind a proxy \
                       has to be told its own URL (X-Forwarded-Proto)";
        return Some(Err(answer.error(ErrorKind::Denied, message)));
    }
    Some(Ok(Location { url: location, named_by_neighbour: answer.from_neighbour }))
}

impl Upload {
    /// A request about it.
    fn request(&self, operation: Operation, method: Method) -> Request {
        let Location { url, named_by_neighbour } = self.location.clone();
        Request::new(operation, &self.registry, method, url).named_by_neighbour(named_by_neighbour)
    }

    /// Gives it up, as dropping it does, and hears what the registry says to that.
    pub(crate) async fn give_up(mut self) -> Result<(), Error> {
        let request = self.request(Operation::CancelUpload, Method::DELETE);
        let scope = Scope::push(&self.repository);
        let given_up = Box::pin(self.client.once(&self.site, request, Some(&scope))).await;
        // It has answered: asking once more would not change that.
        self.complete = true;
        given_up.map(drop)
    }
}

impl Drop for Upload {
    /// Best effort, in a task of its own: who drops an upload has something else to do. Who ends
    /// the process waits for it by [`Client::uploads_ended`].
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.complete {
            return;
        }
        let (client, site) = (self.client.clone(), self.site.clone());
        let known = self.known.clone();
        let request = self.request(Operation::CancelUpload, Method::DELETE);
        let scope = Scope::push(&self.repository);
        runtime.spawn(async move {
            let cancelled = Box::pin(client.once(&site, request, Some(&scope)));
            if let Ok(Err(error)) = tokio::time::timeout(CANCEL_TIMEOUT, cancelled).await {
                tracing::debug!(%error, "an upload could not be given up");
            }
            drop(known);
        });
    }
}
