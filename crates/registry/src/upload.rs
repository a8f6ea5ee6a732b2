//! Writing blobs: a mount, or one POST that opens an upload and one PUT that streams it whole.
//!
//! An [`Upload`] holds its registry's permit from the POST on, so that a reader opened after it
//! is the last thing that a copy waits for (see `lane`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderValue, Method, StatusCode, header};
use protocol::{Registry, Repository};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use crate::answer::Answer;
use crate::client::{Client, Site, unsent};
use crate::descriptor::Descriptor;
use crate::error::{Error, ErrorKind, Operation};
use crate::request::{Payload, Request, Scope};

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
    location: Url,
    complete: AtomicBool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Client {
    /// Takes a blob over from another repository of the same registry.
    pub async fn mount(
        &self,
        registry: &Registry,
        repository: &Repository,
        blob: &Descriptor,
        from: &Repository,
    ) -> Result<Mount, Error> {
        let site = self.site(Operation::MountBlob, registry)?;
        let mut url = site.home.url(&format!("{repository}/blobs/uploads/"));
        url.query_pairs_mut()
            .append_pair("mount", &blob.digest.to_string())
            .append_pair("from", from.as_str());
        let request = Request::new(Operation::MountBlob, registry, Method::POST, url);
        self.open(&site, request, &Scope::mount(repository, from), |client, site, scope, answer| {
            if answer.status == StatusCode::CREATED {
                return Ok(Mount::Done);
            }
            client.opened(site, scope, answer).map(|upload| Mount::Upload(Box::new(upload)))
        })
        .await
    }

    /// Opens an upload.
    pub async fn start_upload(
        &self,
        registry: &Registry,
        repository: &Repository,
    ) -> Result<Upload, Error> {
        let operation = Operation::StartUpload;
        let site = self.site(operation, registry)?;
        let url = site.home.url(&format!("{repository}/blobs/uploads/"));
        let request = Request::new(operation, registry, Method::POST, url);
        self.open(&site, request, &Scope::push(repository), Self::opened).await
    }

    /// Sends a POST, and makes of the answer what it means. Each try is seen through in a task
    /// of its own, whoever stops waiting for it: what nobody knows of could not be given up.
    async fn open<T: Send + 'static>(
        &self,
        site: &Site,
        request: Request,
        scope: &Scope,
        meaning: fn(&Self, Site, &Scope, Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let attempt = move || {
            let (client, site, scope) = (self.clone(), site.clone(), scope.clone());
            let once = request.again().expect("it has no body");
            async move {
                let permit = site.lane.enter(&once.method).await;
                let permit = permit.map_err(|closed| unsent(&once, &closed))?;
                let sent = tokio::spawn(async move {
                    let mut answer = Box::pin(client.once(&site, once, Some(&scope))).await?;
                    answer.permit = Some(permit);
                    meaning(&client, site, &scope, answer)
                });
                // It is cancelled by nobody but the runtime's end, which ends this as well.
                sent.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
            }
        };
        self.retry_policy().run_request(attempt).await
    }

    fn opened(&self, site: Site, scope: &Scope, answer: Answer) -> Result<Upload, Error> {
        let location = answer
            .header(header::LOCATION.as_str())
            .and_then(|location| answer.url.join(location).ok())
            .ok_or_else(|| {
                answer.error(ErrorKind::Malformed, "an upload without a legal Location")
            })?;
        if location.scheme() != "https"
            && !(site.home.is_plain_http() && location.scheme() == "http")
        {
            let message = "its upload goes to a URL that is not https; a registry behind a proxy \
                           has to be told its own URL (X-Forwarded-Proto)";
            return Err(answer.error(ErrorKind::Denied, message));
        }
        Ok(Upload {
            client: self.clone(),
            site,
            registry: answer.registry,
            repository: scope.repository.clone(),
            location,
            complete: AtomicBool::new(false),
            _permit: answer.permit,
        })
    }
}

impl Upload {
    /// Sends the whole blob. The body must be of the descriptor's size; it fails the upload by
    /// an error in its stream, and nothing is committed then.
    pub async fn put<S, E>(&self, blob: &Descriptor, body: S) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BodyError>,
    {
        let mut url = self.location.clone();
        url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let stream = body.map(|chunk| chunk.map_err(Into::into)).boxed();
        let payload = match blob.size {
            0 => Payload::Empty,
            length => Payload::Stream { length, stream },
        };
        let request = Request::new(Operation::PutBlob, &self.registry, Method::PUT, url)
            .with_header(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .with_payload(payload);
        let scope = Scope::push(&self.repository);
        let answer = Box::pin(self.client.once(&self.site, request, Some(&scope))).await?;
        match answer.status {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => {
                self.complete.store(true, Ordering::Relaxed);
                Ok(())
            }
            other => Err(answer.error(
                ErrorKind::Malformed,
                format!("it answered the last byte of a blob with {}", other.as_u16()),
            )),
        }
    }
}

impl Drop for Upload {
    /// Best effort, in a task of its own: who drops an upload has something else to do.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.complete.load(Ordering::Relaxed) {
            return;
        }
        let (client, site, location) =
            (self.client.clone(), self.site.clone(), self.location.clone());
        let request =
            Request::new(Operation::CancelUpload, &self.registry, Method::DELETE, location);
        let scope = Scope::push(&self.repository);
        runtime.spawn(async move {
            let cancelled = Box::pin(client.once(&site, request, Some(&scope)));
            if let Ok(Err(error)) = tokio::time::timeout(CANCEL_TIMEOUT, cancelled).await {
                tracing::debug!(%error, "an upload could not be given up");
            }
        });
    }
}
