//! A registry on loopback that speaks the distribution API from memory, records each request,
//! and misbehaves as scripted.

mod access;
pub(crate) mod fault;
pub(crate) mod log;
mod routes;
mod serve;
pub(crate) mod store;
mod uploads;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use protocol::{Digest, ImageReference};

use crate::certificates::Certificates;
use crate::content::Content;
use crate::image::Image;
use access::Access;
use fault::{Fault, Script, When};
use log::{Kind, Recorded};
use store::{Holding, Store};
use uploads::Rules;

/// How a registry is to be.
#[derive(Default)]
pub struct Builder {
    tls: Option<Arc<rustls::ServerConfig>>,
    access: Access,
    dropped_above: Option<u64>,
    no_referrers: bool,
    referrers_page: Option<usize>,
    accepts_sparse: bool,
    wants_subjects: bool,
    hides_absent: bool,
    rules: Rules,
    trusting: bool,
}

impl Builder {
    /// TLS with these certificates.
    #[must_use]
    pub fn tls(mut self, certificates: &Certificates) -> Self {
        self.tls = Some(certificates.server_config());
        self
    }

    /// Basic auth, with this user alone.
    #[must_use]
    pub fn basic(mut self, user: &str, password: &str) -> Self {
        self.access = Access::basic(user, password);
        self
    }

    /// Bearer auth by a token endpoint of its own, with this user alone; tokens live that long.
    #[must_use]
    pub fn bearer(mut self, user: &str, password: &str, lifetime: Duration) -> Self {
        self.access = Access::bearer(Some((user, password)), lifetime);
        self
    }

    /// Bearer auth that gives everybody a token.
    #[must_use]
    pub fn anonymous_bearer(mut self, lifetime: Duration) -> Self {
        self.access = Access::bearer(None, lifetime);
        self
    }

    /// Bearer auth that gives tokens by accounts: see [`ScriptedRegistry::let_read`]. Nobody may
    /// anything at first.
    #[must_use]
    pub fn accounts(mut self, lifetime: Duration) -> Self {
        self.access = Access::accounts(lifetime);
        self
    }

    /// Bearer auth that changes this identity token for tokens (OAuth 2.0), and nothing else.
    #[must_use]
    pub fn identity(mut self, token: &str, lifetime: Duration) -> Self {
        self.access = Access::identity(token, lifetime);
        self
    }

    /// Uploads of more bytes than this are hashed and not kept.
    #[must_use]
    pub fn drop_uploads_above(mut self, bytes: u64) -> Self {
        self.dropped_above = Some(bytes);
        self
    }

    /// No referrers API: 404, and no `OCI-Subject`.
    #[must_use]
    pub fn without_referrers(mut self) -> Self {
        self.no_referrers = true;
        self
    }

    /// The referrers API lists so many at once, and a `Link` to the rest.
    #[must_use]
    pub fn referrers_page(mut self, referrers: usize) -> Self {
        self.referrers_page = Some(referrers);
        self
    }

    /// Takes manifests that name others which are not here, and foreign layers likewise.
    #[must_use]
    pub fn accept_sparse(mut self) -> Self {
        self.accepts_sparse = true;
        self
    }

    /// Takes no manifest whose subject is not here, as GitLab's does.
    #[must_use]
    pub fn wanting_subjects(mut self) -> Self {
        self.wants_subjects = true;
        self
    }

    /// That a repository is not there is told to those alone whose token lets them make it.
    #[must_use]
    pub fn hiding_what_is_not_there(mut self) -> Self {
        self.hides_absent = true;
        self
    }

    /// Chunks below this size, the last one apart, are refused; POST's answer says so.
    #[must_use]
    pub fn chunks_of_at_least(mut self, bytes: u64) -> Self {
        self.rules.min_chunk = Some(bytes);
        self
    }

    /// Knows no upload of a blob in one request: a PUT may commit what PATCHes brought, and bring
    /// nothing itself.
    #[must_use]
    pub fn chunks_alone(mut self) -> Self {
        self.rules.takes_chunks_alone = true;
        self
    }

    /// Bodies of uploads above this size get a 413 at once; what still comes is read and
    /// dropped, as proxies do for a while.
    #[must_use]
    pub fn bodies_up_to(mut self, bytes: u64) -> Self {
        self.rules.max_body = Some(bytes);
        self
    }

    /// What came of a request that broke is kept; others forget it.
    #[must_use]
    pub fn keeping_what_was_cut(mut self) -> Self {
        self.rules.keeps_what_was_cut = true;
        self
    }

    /// A repository has to be created before anything is written into it.
    #[must_use]
    pub fn with_repositories_created_first(mut self) -> Self {
        self.rules.repositories_are_created_first = true;
        self
    }

    /// What comes is kept as it comes: manifests whatever they name, bytes whatever they hash to.
    #[must_use]
    pub fn trusting(mut self) -> Self {
        self.trusting = true;
        self
    }

    /// Starts it on a free port of 127.0.0.1; it ends with the runtime.
    pub async fn start(self) -> ScriptedRegistry {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let shared = Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            tls: Mutex::new(self.tls),
            access: self.access,
            dropped_above: self.dropped_above.unwrap_or(u64::MAX),
            has_referrers: !self.no_referrers,
            referrers_page: self.referrers_page.unwrap_or(usize::MAX),
            accepts_sparse: self.accepts_sparse,
            wants_subjects: self.wants_subjects,
            hides_absent: self.hides_absent,
            rules: self.rules,
            uploaded_bytes: AtomicU64::new(0),
            trusting: self.trusting,
            store: Mutex::default(),
            script: Mutex::default(),
            log: Mutex::default(),
        });
        tokio::spawn(serve::accept(listener, Arc::clone(&shared)));
        ScriptedRegistry { shared }
    }
}

/// A running registry.
#[derive(Clone)]
pub struct ScriptedRegistry {
    shared: Arc<Shared>,
}

struct Shared {
    address: SocketAddr,
    /// None for plain HTTP.
    tls: Mutex<Option<Arc<rustls::ServerConfig>>>,
    access: Access,
    dropped_above: u64,
    has_referrers: bool,
    referrers_page: usize,
    accepts_sparse: bool,
    wants_subjects: bool,
    hides_absent: bool,
    rules: Rules,
    uploaded_bytes: AtomicU64,
    trusting: bool,
    store: Mutex<Store>,
    script: Mutex<Script>,
    log: Mutex<Vec<Recorded>>,
}

impl ScriptedRegistry {
    /// One without TLS and auth.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// How it is to be.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `127.0.0.1:port`
    #[must_use]
    pub fn host(&self) -> String {
        self.shared.address.to_string()
    }

    /// `http[s]://127.0.0.1:port`
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// An image's reference here.
    #[must_use]
    pub fn reference(&self, rest: &str) -> ImageReference {
        format!("{}/{rest}", self.host()).parse().unwrap()
    }

    /// Keeps an image with all it names, under a tag.
    pub fn push(&self, image: &Image, repository: &str, tag: &str) {
        self.push_untagged(image, repository);
        let mut store = self.shared.store.lock().unwrap();
        store.repository(repository).tags.insert(tag.to_owned(), image.digest.clone());
    }

    /// Keeps an image with all it names, by its digest alone.
    pub fn push_untagged(&self, image: &Image, repository: &str) {
        let mut store = self.shared.store.lock().unwrap();
        let repository = store.repository(repository);
        for part in image.all() {
            repository.blobs.extend(part.blobs.iter().cloned());
            let manifest = (part.media_type.clone(), part.manifest.clone());
            repository.manifests.insert(part.digest.clone(), manifest);
        }
    }

    /// Keeps a blob.
    pub fn push_blob(&self, repository: &str, content: Content) {
        let mut store = self.shared.store.lock().unwrap();
        store.repository(repository).blobs.insert(content.digest(), content);
    }

    /// Loses a blob, whatever manifests name it.
    pub fn lose_blob(&self, repository: &str, digest: &Digest) {
        self.shared.store.lock().unwrap().repository(repository).blobs.remove(digest);
    }

    /// Keeps other bytes under a blob's digest.
    pub fn damage_blob(&self, repository: &str, digest: &Digest, content: Content) {
        let mut store = self.shared.store.lock().unwrap();
        store.repository(repository).blobs.insert(digest.clone(), content);
    }

    /// Loses a manifest, whatever tags and indexes name it.
    pub fn lose_manifest(&self, repository: &str, digest: &Digest) {
        self.shared.store.lock().unwrap().repository(repository).manifests.remove(digest);
    }

    /// A blob that is here.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Content> {
        self.shared.store.lock().unwrap().repository(repository).blobs.get(digest).cloned()
    }

    /// How many blobs a repository has.
    #[must_use]
    pub fn blob_count(&self, repository: &str) -> usize {
        self.shared.store.lock().unwrap().repository(repository).blobs.len()
    }

    /// The bytes of a manifest that is here, by tag or digest.
    #[must_use]
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Bytes> {
        let mut store = self.shared.store.lock().unwrap();
        store.repository(repository).manifest(reference).map(|(_, (_, bytes))| bytes)
    }

    /// The tags of a repository, sorted.
    #[must_use]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.shared.store.lock().unwrap().repository(repository).tags.keys().cloned().collect()
    }

    /// Uploads that were begun, and neither ended nor given up.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.shared.store.lock().unwrap().uploads.len()
    }

    /// Bytes of blobs that came in, those of refused and broken requests included.
    #[must_use]
    pub fn uploaded_bytes(&self) -> u64 {
        self.shared.uploaded_bytes.load(Ordering::Relaxed)
    }

    /// Creates a repository, where that has to be done first.
    pub fn create_repository(&self, repository: &str) {
        self.shared.store.lock().unwrap().created.insert(repository.to_owned());
    }

    /// All that is here, by repository.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Holding> {
        self.shared.store.lock().unwrap().repositories.clone()
    }

    /// Whether an image is here with all that it names, byte for byte.
    #[must_use]
    pub fn holds(&self, image: &Image, repository: &str) -> bool {
        image.all().iter().all(|part| {
            self.manifest(repository, &part.digest.to_string()) == Some(part.manifest.clone())
                && part.blobs.iter().all(|(digest, _)| self.blob(repository, digest).is_some())
        })
    }

    /// Misbehaves in this way when a request is like that.
    pub fn script(&self, when: When, fault: Fault) {
        self.shared.script.lock().unwrap().add(when, fault);
    }

    /// Misbehaves no more.
    pub fn behave(&self) {
        self.shared.script.lock().unwrap().end();
    }

    /// The faults that requests met up to now, each with its request.
    #[must_use]
    pub fn met(&self) -> Vec<(Recorded, Fault)> {
        self.shared.script.lock().unwrap().met.clone()
    }

    /// All tokens end at once.
    pub fn revoke_tokens(&self) {
        self.shared.access.revoke();
    }

    /// From now on it knows this user with this password alone; tokens that are out stay good.
    pub fn change_password(&self, user: &str, password: &str) {
        self.shared.access.change(user, password);
    }

    /// From now on new connections see these.
    pub fn change_certificates(&self, certificates: &Certificates) {
        *self.shared.tls.lock().unwrap() = Some(certificates.server_config());
    }

    /// From now on this user, or whoever comes without a name, may read these repositories and no
    /// others; tokens that are out end.
    pub fn let_read(&self, user: Option<(&str, &str)>, repositories: &[&str]) {
        self.shared.access.let_read(user, repositories);
    }

    /// Loses a tag; what it named stays.
    pub fn lose_tag(&self, repository: &str, tag: &str) {
        self.shared.store.lock().unwrap().repository(repository).tags.remove(tag);
    }

    /// The requests up to now.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.lock().unwrap().clone()
    }

    /// How many requests of a kind there were.
    #[must_use]
    pub fn count(&self, method: &Method, kind: Kind) -> usize {
        self.requests().iter().filter(|r| r.method == *method && r.kind == kind).count()
    }

    /// Forgets the requests up to now.
    pub fn forget_requests(&self) {
        self.shared.log.lock().unwrap().clear();
    }
}

impl Shared {
    fn url(&self) -> String {
        let scheme = if self.tls.lock().unwrap().is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Whether nothing was ever kept in a repository.
    fn is_absent(&self, repository: &str) -> bool {
        let store = self.store.lock().unwrap();
        let held = store.repositories.get(repository);
        held.is_none_or(|held| held.manifests.is_empty() && held.blobs.is_empty())
    }
}
