//! The configuration: a YAML file and the files that it names, read once and parsed into values
//! that are valid. The one place that knows paths; nothing else reads the file system at start.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use copy::{Copier, ForeignLayers, Limits, MediaType, Platform, Referrers, Scope};
use protocol::{Naming, ReferenceError, Registry, TargetRoot};
use registry::{Client, ClientConfig, DockerConfig, RegistryConfig};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use crate::audit::Destination;
use crate::create_repository::CreateRepository;
use crate::freshness::{Freshness, FreshnessError, Rule};
use crate::front::callers::Callers;
use crate::ledger::{LedgerUrlError, Settings};

/// Images that are copied at once, unless set. A copy is bound by the network, and four keep a
/// 1 Gbit/s line full; each has a few blobs under way.
const DEFAULT_WORKERS: NonZeroU16 = NonZeroU16::new(4).expect("four is not zero");

/// How long running copies may go on after SIGTERM, unless set: shorter than Kubernetes' own
/// `terminationGracePeriodSeconds` of 30 s, so that what is left is handed back in order.
const DEFAULT_DRAIN_MS: u64 = 20_000;

/// The largest file that is read at start. A CA bundle of all public roots has 220 KiB.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Everything that the replicator is told.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where triggers are answered.
    pub(crate) front: Front,
    /// Where health and metrics are shown.
    pub(crate) status: SocketAddr,
    /// Where and how the ledger is kept.
    pub(crate) ledger: Settings,
    /// Where the audit record goes.
    pub(crate) audit: Destination,
    /// How long sources are believed.
    pub(crate) freshness: Freshness,
    /// Where replicas live.
    pub(crate) target: TargetRoot,
    /// What is needed to talk to registries.
    pub(crate) registries: Registries,
    /// What of an image is copied.
    pub(crate) scope: Scope,
    /// Images that are copied at once.
    pub(crate) workers: u16,
    /// How long running copies may go on after SIGTERM.
    pub(crate) drain: Duration,
}

/// The front's part.
#[derive(Debug)]
pub(crate) struct Front {
    /// The address.
    pub(crate) listen: SocketAddr,
    /// Certificate and key.
    pub(crate) tls: Arc<ServerConfig>,
    /// Who may ask.
    pub(crate) callers: Callers,
}

/// What is needed to talk to registries, for `serve` and `copy` alike.
#[derive(Debug, Default)]
pub(crate) struct Registries {
    /// Those that are named, and so may be on this machine or in a private network.
    pub(crate) named: HashMap<Registry, RegistryConfig>,
    /// Who we are to them: a docker config, with the helpers that it names.
    pub(crate) credentials: DockerConfig,
    /// For targets that want a repository created before anything is pushed into it.
    pub(crate) create_repository: Option<CreateRepository>,
    /// What one image may take.
    pub(crate) limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    front: FrontFile,
    status: StatusFile,
    ledger: String,
    #[serde(default)]
    audit: Destination,
    #[serde(default)]
    queue: QueueFile,
    #[serde(default)]
    freshness: Vec<Rule>,
    target: TargetFile,
    #[serde(default)]
    registries: BTreeMap<String, RegistryFile>,
    credentials: Option<PathBuf>,
    #[serde(default)]
    copy: CopyFile,
    drain_ms: Option<u64>,
}

/// What `copy` needs of the same file; the rest may be there or not.
#[derive(Deserialize)]
struct RegistriesFile {
    #[serde(default)]
    registries: BTreeMap<String, RegistryFile>,
    credentials: Option<PathBuf>,
    #[serde(default)]
    target: CreationFile,
    #[serde(default)]
    copy: OnlyLimitsFile,
}

/// What `copy` needs of the section that is named like it.
#[derive(Default, Deserialize)]
struct OnlyLimitsFile {
    #[serde(default)]
    limits: LimitsFile,
}

/// What `copy` needs of the target.
#[derive(Default, Deserialize)]
struct CreationFile {
    create_repository: Option<CreateRepository>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontFile {
    listen: SocketAddr,
    certificate: PathBuf,
    key: PathBuf,
    callers: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusFile {
    listen: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetFile {
    root: String,
    #[serde(default)]
    naming: Naming,
    create_repository: Option<CreateRepository>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    ca: Option<PathBuf>,
    #[serde(default)]
    plain_http: bool,
    requests_per_second: Option<NonZeroU32>,
    requests_at_once: Option<NonZeroU16>,
    #[serde(default)]
    trusted_hosts: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueFile {
    max_waiting: Option<NonZeroU64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CopyFile {
    workers: Option<NonZeroU16>,
    #[serde(default)]
    platforms: Vec<Platform>,
    #[serde(default)]
    referrers: ReferrersFile,
    #[serde(default)]
    foreign_layers: ForeignLayers,
    #[serde(default)]
    limits: LimitsFile,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsFile {
    image_bytes: Option<NonZeroU64>,
    layers: Option<NonZeroU32>,
    manifests: Option<NonZeroU32>,
}

impl LimitsFile {
    fn limits(self) -> Limits {
        let Self { image_bytes, layers, manifests } = self;
        let or = |set: Option<NonZeroU32>, usual: usize| {
            set.map_or(usual, |set| usize::try_from(set.get()).unwrap_or(usize::MAX))
        };
        let usual = Limits::default();
        Limits {
            image_bytes: image_bytes.map_or(usual.image_bytes, NonZeroU64::get),
            blobs: or(layers, usual.blobs),
            manifests: or(manifests, usual.manifests),
            ..usual
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReferrersFile {
    enabled: bool,
    artifact_types: Vec<MediaType>,
}

impl Default for ReferrersFile {
    fn default() -> Self {
        Self { enabled: true, artifact_types: Vec::new() }
    }
}

impl CopyFile {
    fn scope(self) -> Scope {
        let ReferrersFile { enabled, artifact_types } = self.referrers;
        let referrers = match (enabled, artifact_types.is_empty()) {
            (false, _) => Referrers::Nothing,
            (true, true) => Referrers::All,
            (true, false) => Referrers::OfTypes(artifact_types),
        };
        Scope { platforms: self.platforms, referrers, foreign_layers: self.foreign_layers }
    }
}

impl Config {
    /// Reads the configuration at `path`, and the files that it names.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: File = parse_yaml(path)?;
        let target: TargetRoot = parse("target.root", &file.target.root)?;
        let mut registries = load_registries(&file.registries, file.credentials.as_deref())?;
        registries.name(target.registry());
        Ok(Self {
            front: load_front(&file.front)?,
            status: file.status.listen,
            ledger: load_ledger(&file.ledger, &file.queue)?,
            audit: file.audit,
            freshness: Freshness::new(file.freshness)?,
            target: target.with_naming(file.target.naming),
            registries: Registries {
                create_repository: file.target.create_repository,
                limits: file.copy.limits.limits(),
                ..registries
            },
            workers: file.copy.workers.unwrap_or(DEFAULT_WORKERS).get(),
            scope: file.copy.scope(),
            drain: Duration::from_millis(file.drain_ms.unwrap_or(DEFAULT_DRAIN_MS)),
        })
    }
}

impl Registries {
    /// Reads only what is said of registries, credentials, creating repositories and limits in
    /// the configuration at `path`.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: RegistriesFile = parse_yaml(path)?;
        let registries = load_registries(&file.registries, file.credentials.as_deref())?;
        let limits = file.copy.limits.limits();
        Ok(Self { create_repository: file.target.create_repository, limits, ..registries })
    }

    /// Takes a registry for named that somebody wrote down, without more to say of it.
    pub(crate) fn name(&mut self, registry: &Registry) {
        self.named.entry(registry.clone()).or_default();
    }

    /// A copier that knows them, of what is in `scope`.
    pub(crate) fn copier(self, scope: Scope) -> Result<Copier, registry::ConfigError> {
        let client = Client::new(ClientConfig {
            registries: self.named,
            credentials: Arc::new(self.credentials),
            ..ClientConfig::default()
        })?;
        let copier = Copier::new(client, self.limits).with_scope(scope);
        Ok(match self.create_repository {
            Some(create) => copier.with_repositories(Arc::new(create)),
            None => copier,
        })
    }
}

fn load_ledger(url: &str, queue: &QueueFile) -> Result<Settings, ConfigError> {
    let settings = Settings::new(url.parse()?);
    let max_waiting = queue.max_waiting.map_or(settings.max_waiting, NonZeroU64::get);
    Ok(Settings { max_waiting, ..settings })
}

fn load_front(file: &FrontFile) -> Result<Front, ConfigError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut key = [0; 32];
    provider.secure_random.fill(&mut key).map_err(|_| ConfigError::Random)?;
    let callers = Callers::parse(&read_text("front.callers", &file.callers)?, key)
        .map_err(|error| unusable("front.callers", &file.callers, &error))?;

    let pem = read("front.certificate", &file.certificate)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable("front.certificate", &file.certificate, &error))?;
    let pem = read("front.key", &file.key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| unusable("front.key", &file.key, &error))?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| unusable("front.certificate", &file.certificate, &error))?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    // The host makes a new client for each call, so nobody resumes: tickets would only delay.
    tls.send_tls13_tickets = 0;
    Ok(Front { listen: file.listen, tls: Arc::new(tls), callers })
}

fn load_registries(
    files: &BTreeMap<String, RegistryFile>,
    credentials: Option<&Path>,
) -> Result<Registries, ConfigError> {
    let mut named = HashMap::new();
    for (name, file) in files {
        let registry: Registry = parse("registries", name)?;
        let ca_pem = match &file.ca {
            Some(path) => Some(read(&format!("registries.\"{name}\".ca"), path)?),
            None => None,
        };
        let config = RegistryConfig {
            ca_pem,
            plain_http: file.plain_http,
            requests_per_second: file.requests_per_second,
            requests_at_once: file.requests_at_once,
            trusted_hosts: file
                .trusted_hosts
                .iter()
                .map(|host| parse("registries.HOST.trusted_hosts", host))
                .collect::<Result<_, _>>()?,
        };
        if named.insert(registry, config).is_some() {
            return Err(ConfigError::Twice { registry: name.clone() });
        }
    }
    let credentials = match credentials {
        Some(path) => DockerConfig::parse(&read_text("credentials", path)?)
            .map_err(|error| unusable("credentials", path, &error))?,
        None => DockerConfig::default(),
    };
    Ok(Registries { named, credentials, ..Registries::default() })
}

fn parse_yaml<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, ConfigError> {
    let text = read_text("--config", path)?;
    serde_yaml::from_str(&text).map_err(|error| unusable("--config", path, &error))
}

fn parse<T: std::str::FromStr<Err = ReferenceError>>(
    key: &'static str,
    text: &str,
) -> Result<T, ConfigError> {
    text.parse().map_err(|error| ConfigError::Value { key, error })
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |error: std::io::Error| ConfigError::Unreadable {
        key: key.to_owned(),
        path: path.to_owned(),
        error,
    };
    let size_bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if size_bytes > MAX_FILE_BYTES {
        let reason = format!("it has {size_bytes} bytes, at most {MAX_FILE_BYTES} are read");
        return Err(unusable(key, path, &reason));
    }
    std::fs::read(path).map_err(unreadable)
}

fn read_text(key: &str, path: &Path) -> Result<String, ConfigError> {
    String::from_utf8(read(key, path)?).map_err(|_| unusable(key, path, &"it is not UTF-8 text"))
}

fn unusable(key: &str, path: &Path, reason: &impl ToString) -> ConfigError {
    ConfigError::Unusable { key: key.to_owned(), path: path.to_owned(), reason: reason.to_string() }
}

/// Why the replicator cannot start with this configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A file is not there, or not ours to read.
    #[error("{key}: {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{key}: {} cannot be used: {reason}", path.display())]
    Unusable {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A value is not legal.
    #[error("{key}: {error}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        error: ReferenceError,
    },
    /// The ledger's URL is not legal. Says nothing of what stands in it, which may be a secret.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerUrlError),
    /// There are too many rules.
    #[error("freshness: {0}")]
    Freshness(#[from] FreshnessError),
    /// One registry under two names.
    #[error("registries: '{registry}' stands there under another spelling, too; keep one")]
    Twice {
        /// The second name.
        registry: String,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

#[cfg(test)]
mod tests;
