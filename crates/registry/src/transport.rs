//! One request on the wire: connect timeout, idle timeouts, trust, and nothing else. It follows
//! no redirect, knows no secret and tries nothing twice.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::header;
use reqwest::redirect::Policy;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::{Instant, sleep_until, timeout};

use crate::answer::Answer;
use crate::config::Timeouts;
use crate::error::{Error, ErrorKind};
use crate::guard::{self, GuardedResolver, NotAsked, Reach};
use crate::limits::{IDLE_CONNECTION_TIMEOUT, IDLE_CONNECTIONS_PER_HOST, MAX_HEADERS};
use crate::meter::Meter;
use crate::request::{BodyStream, Payload, Request};
use crate::upload::BodyError;

/// What registries see of us.
const USER_AGENT: &str = concat!("image-replicator/", env!("CARGO_PKG_VERSION"));

/// The connections of one set of trusted certificates, apart for each reach, and who counts what
/// goes over them. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Transport {
    http: Arc<RwLock<Connections>>,
    timeouts: Timeouts,
    meter: Arc<Meter>,
}

/// The certificates that the system trusts; none where the system has none, as in an image
/// made from scratch.
pub(crate) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// `roots` with the certificates of `pem` beside them; an error where there is none in it.
pub(crate) fn with_certificates(
    mut roots: RootCertStore,
    pem: &[u8],
) -> Result<RootCertStore, String> {
    let mut added = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        added += 1;
    }
    if added == 0 { Err("there is no certificate in it".to_owned()) } else { Ok(roots) }
}

impl Transport {
    pub(crate) fn new(roots: RootCertStore, timeouts: Timeouts) -> Result<Self, String> {
        let http = Arc::new(RwLock::new(Connections::new(roots, timeouts)?));
        Ok(Self { http, timeouts, meter: Arc::default() })
    }

    /// The same connections, counted by `meter`.
    pub(crate) fn counted_by(&self, meter: &Arc<Meter>) -> Self {
        Self { meter: Arc::clone(meter), ..self.clone() }
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Trusts these certificates in place of the former ones. Each request from now on, by whom
    /// ever, goes over a connection that was made since; one that is under way ends on its
    /// own, which is then closed.
    pub(crate) fn trust(&self, roots: RootCertStore) -> Result<(), String> {
        let http = Connections::new(roots, self.timeouts)?;
        *self.http.write().unwrap_or_else(PoisonError::into_inner) = http;
        Ok(())
    }

    /// Sends a request and waits for the head of its answer. Each status is an answer; an error
    /// is none that came, or a host out of reach.
    pub(crate) async fn send(&self, request: Request, reach: Reach) -> Result<Answer, Error> {
        guard::check(&request.url, reach)
            .map_err(|refusal| request.error(ErrorKind::Denied, refusal.to_string()))?;
        let Request { operation, registry, method, url, headers, payload, .. } = request;
        let http = self.http.read().unwrap_or_else(PoisonError::into_inner).of(reach).clone();
        let builder = http.request(method, url.clone()).headers(headers);
        let failed =
            |kind, message: String| Error::new(kind, operation, &registry, message).at(&url);
        let given = if let Payload::Bytes(bytes) = &payload { bytes.len() } else { 0 };
        let sent = match payload {
            Payload::Empty => self.answer_in_time(builder.header(header::CONTENT_LENGTH, 0)).await,
            Payload::Bytes(bytes) => self.answer_in_time(builder.body(bytes)).await,
            Payload::Stream { length, stream } => {
                let watch = Watch::new();
                let meter = Arc::clone(&self.meter);
                let body = Watched { stream, left: length, watch: watch.clone(), meter };
                let builder = builder
                    .header(header::CONTENT_LENGTH, length)
                    .body(reqwest::Body::wrap_stream(body));
                tokio::select! {
                    sent = builder.send() => Some(sent),
                    () = watch.expired(self.timeouts) => None,
                }
            }
        };
        let status = sent.as_ref().and_then(|sent| sent.as_ref().ok()).map(|body| body.status());
        self.meter.answered(status);
        let body = match sent {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => return Err(failed(kind_of(&error), words_of(error))),
            None => {
                let idle = self.timeouts.idle.as_secs_f32();
                return Err(failed(ErrorKind::Timeout, format!("no sign of life for {idle} s")));
            }
        };
        self.meter.wrote(given);
        Ok(Answer {
            status: body.status(),
            headers: body.headers().clone(),
            from_neighbour: body.remote_addr().is_some_and(|peer| Reach::is_neighbour(peer.ip())),
            operation,
            registry,
            url,
            body,
            idle: self.timeouts.idle,
            meter: Arc::clone(&self.meter),
            permit: None,
        })
    }

    async fn answer_in_time(
        &self,
        builder: reqwest::RequestBuilder,
    ) -> Option<Result<reqwest::Response, reqwest::Error>> {
        timeout(self.timeouts.connect + self.timeouts.idle, builder.send()).await.ok()
    }
}

/// An HTTP client for each reach.
struct Connections(Vec<(Reach, reqwest::Client)>);

impl Connections {
    fn new(roots: RootCertStore, timeouts: Timeouts) -> Result<Self, String> {
        let roots = Arc::new(roots);
        let connections = |reach| {
            http_client(Arc::clone(&roots), timeouts.connect, reach).map(|http| (reach, http))
        };
        Reach::ALL.into_iter().map(connections).collect::<Result<_, _>>().map(Self)
    }

    fn of(&self, reach: Reach) -> &reqwest::Client {
        let found = self.0.iter().find(|(of, _)| *of == reach).map(|(_, http)| http);
        found.expect("there are connections for each reach")
    }
}

/// An HTTP client that trusts `roots`, and dials what is within `reach`.
pub(crate) fn http_client(
    roots: Arc<RootCertStore>,
    connect: Duration,
    reach: Reach,
) -> Result<reqwest::Client, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // One connection a stream: a slow layer then holds up no other one, and there is no flow
    // control of a second kind between source and target.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .http1_max_headers(MAX_HEADERS)
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
        // Bytes are taken as they come: nothing is unpacked, whatever a registry calls it.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .connect_timeout(connect)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
        .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
        .tcp_nodelay(true)
        .dns_resolver(GuardedResolver::new(reach))
        .build()
        .map_err(words_of)
}

fn kind_of(error: &reqwest::Error) -> ErrorKind {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    if error.is_builder() {
        ErrorKind::Malformed
    } else if causes.any(|cause| cause.is::<NotAsked>()) {
        ErrorKind::Denied
    } else {
        ErrorKind::Unreachable
    }
}

/// The innermost words of an error: what the system said, without the URL.
pub(crate) fn words_of(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words = inner.to_string();
        cause = inner.source();
    }
    words
}

/// A body that tells when it was last asked for more, so that a registry which takes nothing
/// is told from a source which gives nothing: only the first is ours to time.
struct Watched {
    stream: BodyStream,
    /// Bytes to come. At zero the connection may not ask again, so the end is known here.
    left: u64,
    watch: Arc<Watch>,
    meter: Arc<Meter>,
}

/// The state of a body, in milliseconds since its beginning.
struct Watch {
    begun: Instant,
    since: AtomicU64,
}

/// The body waits for its own source: the registry owes us nothing.
const AWAITS_SOURCE: u64 = u64::MAX;
/// Set where the whole body is sent.
const SENT: u64 = 1 << 63;

impl Watch {
    fn new() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), since: AtomicU64::new(0) })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(0) & !SENT
    }

    /// Ends when the registry has been silent for too long.
    async fn expired(&self, timeouts: Timeouts) {
        loop {
            let since = self.since.load(Ordering::Relaxed);
            let (since, allowed) = match since {
                AWAITS_SOURCE => (self.now(), timeouts.idle),
                sent if sent & SENT != 0 => (sent & !SENT, timeouts.commit),
                taking => (taking, timeouts.idle),
            };
            let deadline = self.begun + Duration::from_millis(since) + allowed;
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

impl Stream for Watched {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let item = this.stream.as_mut().poll_next(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &item {
            this.left = this.left.saturating_sub(chunk.len() as u64);
            this.meter.wrote(chunk.len());
        }
        let state = match &item {
            _ if this.left == 0 => this.watch.now() | SENT,
            Poll::Pending => AWAITS_SOURCE,
            Poll::Ready(_) => this.watch.now(),
        };
        this.watch.since.store(state, Ordering::Relaxed);
        item
    }
}
