//! Puts the layers together, once for each request: lane, auth, redirects, transport, and the
//! retry around them. The verbs stand in `manifests`, `blobs` and `upload`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use http::{Method, StatusCode, header};
use protocol::Registry;

use crate::answer::Answer;
use crate::auth::Auth;
use crate::config::{ClientConfig, ConfigError, Endpoint};
use crate::error::{Error, ErrorKind, Operation};
use crate::lane::{Closed, Lane};
use crate::limits::{MAX_ERROR_BYTES, MAX_REGISTRIES};
use crate::request::{Request, Scope};
use crate::retry::{RetryPolicy, parse_retry_after};
use crate::transport::{Transport, system_roots, with_certificates};

/// A client for all registries. Cheap to clone; clones share connections, tokens and permits.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    config: ClientConfig,
    auth: Auth,
    /// For registries with certificates of their own.
    special: HashMap<Registry, Transport>,
    usual: Transport,
    lanes: Mutex<HashMap<Registry, Arc<Lane>>>,
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
        let usual = Transport::new(roots.clone(), config.timeouts).map_err(ConfigError::Http)?;
        let mut special = HashMap::new();
        for (registry, of_registry) in &config.registries {
            let Some(pem) = &of_registry.ca_pem else { continue };
            let roots = with_certificates(roots.clone(), pem).map_err(|reason| {
                ConfigError::Certificates { registry: registry.clone(), reason }
            })?;
            let transport = Transport::new(roots, config.timeouts).map_err(ConfigError::Http)?;
            special.insert(registry.clone(), transport);
        }
        let auth = Auth::new(Arc::clone(&config.credentials));
        let lanes = Mutex::default();
        Ok(Self { shared: Arc::new(Shared { config, auth, special, usual, lanes }) })
    }

    /// How often and how soon requests are tried again.
    pub fn retry_policy(&self) -> RetryPolicy {
        self.shared.config.retry
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

    pub(crate) fn site(&self, operation: Operation, registry: &Registry) -> Result<Site, Error> {
        let shared = &self.shared;
        let plain_http = shared.config.registries.get(registry).is_some_and(|of| of.plain_http);
        let home = Endpoint::new(registry, plain_http).ok_or_else(|| {
            Error::new(ErrorKind::Malformed, operation, registry, "its name makes no URL")
        })?;
        let transport = shared.special.get(registry).unwrap_or(&shared.usual).clone();
        let mut lanes = shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= MAX_REGISTRIES {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let new = || Arc::new(Lane::new(shared.config.permits, shared.config.retry.max_wait));
        let lane = Arc::clone(lanes.entry(registry.clone()).or_insert_with(new));
        Ok(Site { home, transport, lane })
    }

    /// Sends a request that can be sent twice; Ok is a 2xx.
    pub(crate) async fn request(
        &self,
        site: &Site,
        request: Request,
        scope: Option<&Scope>,
    ) -> Result<Answer, Error> {
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
                let mut answer = Box::pin(self.once(site, once, scope)).await?;
                answer.permit = Some(permit);
                Ok(answer)
            }
        };
        self.shared.config.retry.run_request(attempt).await
    }

    /// Sends a request once, under a permit that the caller holds; Ok is a 2xx.
    pub(crate) async fn once(
        &self,
        site: &Site,
        request: Request,
        scope: Option<&Scope>,
    ) -> Result<Answer, Error> {
        let sent = self.shared.auth.send(&site.transport, &site.home, request, scope).await?;
        let answer = sent.answer;
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
pub(crate) fn unsent(request: &Request, Closed(left): &Closed) -> Error {
    request.error(ErrorKind::RateLimited, "the registry asked for a pause").retry_after(Some(*left))
}
