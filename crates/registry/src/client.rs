//! Puts the layers together, once for each request: lane, auth, redirects, transport, and the
//! retry around them. The verbs stand in `manifests`, `blobs` and `upload`.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, header};
use protocol::{Registry, Repository};
use tokio_util::task::TaskTracker;

use crate::answer::Answer;
use crate::auth::Auth;
use crate::config::{ClientConfig, ConfigError, Endpoint};
use crate::credentials::Credentials;
use crate::error::{Error, ErrorKind, Operation, Retry};
use crate::lane::{Closed, Lane, Permit, RegistryStatus};
use crate::limits::{MAX_ERROR_BYTES, MAX_REGISTRIES};
use crate::request::{Payload, Request, Rights, Scope};
use crate::retry::parse_retry_after;
use crate::transport::{Transport, system_roots, with_certificates};
use crate::upload::Refusals;

/// A client for all registries. Cheap to clone; clones share connections, tokens and permits.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// Who we are to registries.
    credentials: Arc<dyn Credentials>,
    /// What tokens for reads are to allow.
    reads_with: Rights,
}

struct Shared {
    config: ClientConfig,
    auth: Auth,
    /// For registries with certificates of their own.
    special: HashMap<Registry, Transport>,
    usual: Transport,
    lanes: Mutex<HashMap<Registry, Arc<Lane>>>,
    refusals: Refusals,
    /// Uploads that are open, about to be, or about to be given up.
    uploads: TaskTracker,
}

/// One registry as requests need it.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) home: Endpoint,
    transport: Transport,
    pub(crate) lane: Arc<Lane>,
}

impl Client {
    /// A client. Reads the system's certificates; opens no connection.
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let roots = system_roots();
        let transport = |roots| Transport::new(roots, config.timeouts).map_err(ConfigError::Http);
        let usual = transport(roots.clone())?;
        let mut special = HashMap::new();
        for (registry, of_registry) in &config.registries {
            let Some(pem) = &of_registry.ca_pem else { continue };
            let roots = with_certificates(roots.clone(), pem).map_err(|reason| {
                ConfigError::Certificates { registry: registry.clone(), reason }
            })?;
            special.insert(registry.clone(), transport(roots)?);
        }
        let credentials = Arc::clone(&config.credentials);
        let auth = Auth::new();
        let (lanes, refusals) = Default::default();
        let uploads = TaskTracker::new();
        uploads.close();
        let shared = Shared { config, auth, special, usual, lanes, refusals, uploads };
        Ok(Self { shared: Arc::new(shared), credentials, reads_with: Rights::Pull })
    }

    /// The same client as somebody else. What both share knows them apart: tokens are kept by
    /// the secret that they were given for, and what a registry asked for holds no secret.
    #[must_use]
    pub fn with_credentials(&self, credentials: Arc<dyn Credentials>) -> Self {
        Self { credentials, ..self.clone() }
    }

    /// The same client for repositories that are to be written: what it reads there it reads with
    /// the right to push. There are registries that show nobody else that a repository is not there
    /// yet (Quay, GitLab, Docker Hub); and one token is then enough for both.
    #[must_use]
    pub fn for_targets(&self) -> Self {
        Self { reads_with: Rights::Push, ..self.clone() }
    }

    /// The scope of a read.
    pub(crate) fn reading(&self, repository: &Repository) -> Scope {
        Scope { rights: self.reads_with, ..Scope::pull(repository) }
    }

    /// Trusts `ca_pem` beside the system's certificates, which are read anew, in place of what this
    /// registry's [`crate::RegistryConfig::ca_pem`] was: for one that had some at the start. Connections
    /// that are open are used no more. On an error everything is as before.
    pub fn trust(&self, registry: &Registry, ca_pem: &[u8]) -> Result<(), ConfigError> {
        let unusable = |reason| ConfigError::Certificates { registry: registry.clone(), reason };
        let transport = self.shared.special.get(registry);
        let transport = transport.ok_or_else(|| unusable("it had none at the start".to_owned()))?;
        let roots = with_certificates(system_roots(), ca_pem).map_err(unusable)?;
        transport.trust(roots).map_err(ConfigError::Http)
    }

    /// Runs `attempt`, which is about `registry`, until it succeeds, fails for good, or was tried
    /// as often as a request is. `retry` and `describe` look at the caller's own error type.
    pub async fn with_retries<T, E, Sent: Future<Output = Result<T, E>>>(
        &self,
        registry: &Registry,
        attempt: impl FnMut() -> Sent,
        retry: impl Fn(&E) -> Retry,
        describe: impl Fn(&E) -> String,
    ) -> Result<T, E> {
        self.with_retries_at(&self.lane(registry), attempt, retry, describe).await
    }

    async fn with_retries_at<T, E, Sent: Future<Output = Result<T, E>>>(
        &self,
        lane: &Lane,
        attempt: impl FnMut() -> Sent,
        retry: impl Fn(&E) -> Retry,
        describe: impl Fn(&E) -> String,
    ) -> Result<T, E> {
        let notice = |error: &E, pause: Duration| {
            lane.meter().retried();
            let (error, pause_ms) = (describe(error), pause.as_millis());
            tracing::info!(error, pause_ms, "trying again");
        };
        self.shared.config.retry.run(attempt, retry, notice).await
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }

    /// Whether the registry is there and speaks the distribution API; sends no secret, so a
    /// registry that asks for one is there as well.
    pub async fn ping(&self, registry: &Registry) -> Result<(), Error> {
        let site = self.site(Operation::Ping, registry)?;
        let request = Request::new(Operation::Ping, registry, Method::GET, site.home.url(""));
        match self.request(&site, request, None).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Unauthorized => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How many requests a registry gets at once, reads and writes each, while it bears them.
    pub fn requests_at_once(&self, registry: &Registry) -> usize {
        self.shared.config.requests_at_once(registry)
    }

    /// How things stand with each registry that was asked lately, by name.
    pub fn registries(&self) -> Vec<RegistryStatus> {
        let lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = lanes.values().map(|lane| lane.status()).collect();
        drop(lanes);
        all.sort_unstable_by(|a, b| a.registry.cmp(&b.registry));
        all
    }

    /// Waits until no upload is open: those that were dropped have been given up at their registry
    /// by then. False where `limit` passes before. A process that ends earlier leaves uploads
    /// behind, which registries keep for days.
    pub async fn uploads_ended(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.shared.uploads.wait()).await.is_ok()
    }

    pub(crate) fn uploads(&self) -> &TaskTracker {
        &self.shared.uploads
    }

    pub(crate) fn site(&self, operation: Operation, registry: &Registry) -> Result<Site, Error> {
        let shared = &self.shared;
        let home = Endpoint::new(registry, shared.config.registries.get(registry));
        let home = home.ok_or_else(|| {
            Error::new(ErrorKind::Malformed, operation, registry, "its name makes no URL")
        })?;
        let lane = self.lane(registry);
        let transport = shared.special.get(registry).unwrap_or(&shared.usual);
        let transport = transport.counted_by(lane.meter());
        Ok(Site { home, transport, lane })
    }

    fn lane(&self, registry: &Registry) -> Arc<Lane> {
        let shared = &self.shared;
        let mut lanes = shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= MAX_REGISTRIES {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let new = || Arc::new(Lane::new(registry, &shared.config));
        Arc::clone(lanes.entry(registry.clone()).or_insert_with(new))
    }

    /// Sends a request that can be sent twice; Ok is a 2xx.
    pub(crate) async fn request(
        &self,
        site: &Site,
        request: Request,
        scope: Option<&Scope>,
    ) -> Result<Answer, Error> {
        let send = |once, permit| async move {
            let mut answer = Box::pin(self.once(site, once, scope)).await?;
            answer.permit = Some(permit);
            Ok(answer)
        };
        self.tries(site, request, send).await
    }

    /// Does the same, and makes of the answer what it means. Each try is seen through in a task
    /// of its own, whoever stops waiting for it: for requests that leave something at the
    /// registry which nobody could give up without the answer.
    pub(crate) async fn request_to_the_end<T: Send + 'static>(
        &self,
        site: &Site,
        request: Request,
        scope: &Scope,
        meaning: fn(&Self, Site, &Scope, Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let send = |once, permit| {
            let (client, site, scope) = (self.clone(), site.clone(), scope.clone());
            async move {
                let sent = self.uploads().spawn(async move {
                    let mut answer = Box::pin(client.once(&site, once, Some(&scope))).await?;
                    answer.permit = Some(permit);
                    meaning(&client, site, &scope, answer)
                });
                // It is cancelled by nobody but the runtime's end, which ends this as well.
                sent.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
            }
        };
        self.tries(site, request, send).await
    }

    /// Sends a request as often as it takes, each time under a permit.
    async fn tries<T, Sent: Future<Output = Result<T, Error>>>(
        &self,
        site: &Site,
        request: Request,
        send: impl Fn(Request, Permit) -> Sent + Copy,
    ) -> Result<T, Error> {
        // Each try has a request of its own: one with a stream in it cannot be borrowed by a
        // future that moves between threads.
        let attempt = move || {
            let once = request.again().ok_or_else(|| {
                request.error(ErrorKind::Unsupported, "a stream cannot be sent twice")
            });
            async move {
                let once = once?;
                let permit = site.lane.enter(&once.method).await;
                let permit = permit.map_err(|closed| unsent(&once, &closed))?;
                send(once, permit).await
            }
        };
        // Waiting for a dead registry is for who has a queue, not for who holds up others.
        let retry = |error: &Error| match site.lane.is_dead() {
            true => Retry::Never,
            false => error.retry(),
        };
        self.with_retries_at(&site.lane, attempt, retry, ToString::to_string).await
    }

    /// Sends a request once, under a permit that the caller holds; Ok is a 2xx.
    pub(crate) async fn once(
        &self,
        site: &Site,
        request: Request,
        scope: Option<&Scope>,
    ) -> Result<Answer, Error> {
        let pass = site.lane.pass().await.map_err(|closed| unsent(&request, &closed))?;
        let has_stream = matches!(request.payload, Payload::Stream { .. });
        let who = self.credentials.as_ref();
        let sent = self.shared.auth.send(who, &site.transport, &site.home, request, scope).await;
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => {
                pass.broke(&error, has_stream);
                return Err(error);
            }
        };
        let answer = sent.answer;
        pass.answered(answer.status);
        if site.home.is_home_of(&answer.url) {
            site.lane.note_quota(&answer.headers);
        }
        if answer.status.is_success() {
            return Ok(answer);
        }
        let after = answer
            .header(header::RETRY_AFTER.as_str())
            .and_then(|value| parse_retry_after(value, SystemTime::now()));
        if let (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(after)) =
            (answer.status, after)
        {
            site.lane.close_for(after);
        }
        let (operation, registry) = (answer.operation, answer.registry.clone());
        let (status, url) = (answer.status, answer.url.clone());
        let body = answer.beginning(MAX_ERROR_BYTES).await;
        Err(Error::from_answer(operation, &registry, status, &body)
            .at(&url)
            .retry_after(after)
            .anonymously(sent.anonymous)
            .with_stale_token(sent.stale))
    }
}

/// Why the lane did not let a request go.
fn unsent(request: &Request, closed: &Closed) -> Error {
    match closed {
        Closed::Paused(left) => request
            .error(ErrorKind::RateLimited, "the registry asked for a pause")
            .retry_after(Some(*left)),
        Closed::Dead(refused) => request
            .error(ErrorKind::Unreachable, format!("{} {refused}", request.registry))
            .retry_after(Some(refused.after)),
    }
}
