//! The configuration: a YAML file and the files that it names, read once and parsed into values
//! that are valid. The one place that knows paths; nothing else reads the file system.

pub(crate) mod error;
pub(crate) mod files;
mod notifications;
mod shape;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU64};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use copy::{Copier, Limits};
use protocol::{ReferenceError, Registry, TargetRoot};
use registry::{Client, ClientConfig, DockerConfig, RegistryConfig};
use serde::Deserialize;

use crate::audit::Destination;
use crate::create_repository::CreateRepository;
use crate::credentials::{Keyring, NamedCredentials, or_nobody};
use crate::freshness::Period;
use crate::front::htpasswd::Htpasswd;
use crate::front::rights::CallerRights;
use crate::front::tls::{Certificate, CertificateError, ClientCa, Tls};
use crate::label::Label;
use crate::ledger::Settings;
use crate::notify::receiver::Receiver;
use crate::retention::Schedule;
use crate::rules::Rules;
use crate::rules::file::RulesError;
use crate::status::token::{self, Token};
use crate::tenants::{Feeds, Tenants, TenantsError};
use crate::watch::{Held, Watcher};
use error::ConfigError;
use files::{Content, Files, Named, Print};
use shape::{
    ByHandFile, File, FrontFile, LimitsFile, QueueFile, RegistryFile, RightsFile, StatusFile,
    TargetFile,
};

/// Images that are copied at once, unless set. A copy is bound by the network, and four keep a
/// 1 Gbit/s line full; each has a few blobs under way.
const DEFAULT_WORKERS: NonZeroU16 = NonZeroU16::new(4).expect("four is not zero");

/// How long running copies may go on after SIGTERM, unless set: shorter than Kubernetes' own
/// `terminationGracePeriodSeconds` of 30 s, so that what is left is handed back in order.
const DEFAULT_DRAIN_MS: u64 = 20_000;

/// Everything that the replicator is told.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where triggers are answered.
    pub(crate) front: Front,
    /// Where is shown how things stand.
    pub(crate) status: Status,
    /// Where and how the ledger is kept.
    pub(crate) ledger: Settings,
    /// Where the audit record goes.
    pub(crate) audit: Destination,
    /// Where replicas live.
    pub(crate) target: TargetRoot,
    /// What is needed to talk to registries.
    pub(crate) registries: Registries,
    /// Who gets what, and how.
    pub(crate) rules: Rules,
    /// The namespaces whose own pull secrets are their credentials.
    pub(crate) tenants: Tenants,
    /// Where to send what their pull secrets are.
    pub(crate) feeds: Feeds,
    /// Bytes of replicas that each namespace may have; None where nobody limits them.
    pub(crate) namespace_bytes: Option<NonZeroU64>,
    /// Whether it is watched which pods run.
    pub(crate) watch_pods: bool,
    /// Credentials by name.
    pub(crate) keyring: Keyring,
    /// Who is told how copies ended.
    pub(crate) receivers: Vec<Receiver>,
    /// When replicas that nobody uses are taken away.
    pub(crate) retention: Schedule,
    /// Images that are copied at once.
    pub(crate) workers: u16,
    /// How long running copies may go on after SIGTERM.
    pub(crate) drain: Duration,
    /// Looks at the files that may change.
    pub(crate) watcher: Watcher,
}

/// The front's part.
#[derive(Debug)]
pub(crate) struct Front {
    /// The address.
    pub(crate) listen: SocketAddr,
    /// Our certificate, and whose we take.
    pub(crate) tls: Tls,
    /// Who may ask by a password; None where certificates alone say who asks.
    pub(crate) htpasswd: Option<Held<Htpasswd>>,
    /// What each caller may ask.
    pub(crate) rights: CallerRights,
}

/// The status listener's part.
#[derive(Debug)]
pub(crate) struct Status {
    /// The address.
    pub(crate) listen: SocketAddr,
    /// What lets a person do more than look; None where nobody may.
    pub(crate) token: Option<Held<Token>>,
}

/// What is needed to talk to registries, for `serve` and `copy` alike.
#[derive(Debug, Default)]
pub(crate) struct Registries {
    /// Those that are named, and so may be on this machine or in a private network.
    pub(crate) named: HashMap<Registry, RegistryConfig>,
    /// Their files of certificates.
    pub(crate) authorities: Vec<(Registry, Files<1>, Print)>,
    /// Who we are to targets.
    pub(crate) target_credentials: Option<Arc<NamedCredentials>>,
    /// For targets that want a repository created before anything is pushed into it.
    pub(crate) create_repository: Option<CreateRepository>,
    /// What one image may take.
    pub(crate) limits: Limits,
}

/// What the commands of a person need of the same file; the rest may be there or not.
#[derive(Debug, Default)]
pub(crate) struct ByHand {
    /// What is needed to talk to registries.
    pub(crate) registries: Registries,
    /// Who gets what, and how; none where the file says nothing of it.
    pub(crate) rules: Rules,
    /// Credentials by name.
    pub(crate) keyring: Keyring,
    /// Where replicas live.
    pub(crate) target: Option<TargetRoot>,
}

/// What the commands about a running replicator need of the same file.
#[derive(Debug, Deserialize)]
pub(crate) struct ForClients {
    status: StatusFile,
}

impl Config {
    /// Reads the configuration at `path`, and the files that it names.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: File = parse_yaml(path)?;
        if file.rules.is_empty() {
            return Err(RulesError::None.into());
        }
        let mut watcher = Watcher::default();
        let keyring = load_keyring(file.credentials, &mut watcher)?;
        let target = file.target.root()?;
        let mut registries =
            load_registries(&file.registries, Some(file.target), file.copy.limits, &keyring)?;
        registries.name(target.registry());
        let workers = file.copy.workers.unwrap_or(DEFAULT_WORKERS).get();
        let namespace_bytes = file.tenancy.namespace_bytes;
        let (tenants, feeds) = file.tenancy.tenants()?;
        let rules = Rules::read(file.rules, &keyring, &tenants, &file.copy.scope())?;
        if !tenants.is_empty() && !rules.use_pull_secrets() {
            return Err(TenantsError::Unused.into());
        }
        Ok(Self {
            front: load_front(file.front, &mut watcher)?,
            status: load_status(file.status, &mut watcher)?,
            ledger: load_ledger(&file.ledger, &file.queue, &file.rights)?,
            audit: file.audit,
            target,
            registries,
            rules,
            tenants,
            feeds,
            namespace_bytes,
            watch_pods: file.inventory.watch_pods,
            keyring,
            receivers: notifications::load_receivers(file.notifications, &mut watcher)?,
            retention: file.retention.schedule()?,
            workers,
            drain: Duration::from_millis(file.drain_ms.unwrap_or(DEFAULT_DRAIN_MS)),
            watcher,
        })
    }
}

impl ByHand {
    /// Reads only what is said of registries, credentials, the target and rules in the
    /// configuration at `path`. For a command that ends before a file changes.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let file: ByHandFile = parse_yaml(path)?;
        let keyring = load_keyring(file.credentials, &mut Watcher::default())?;
        let (tenants, _) = file.tenancy.tenants()?;
        Ok(Self {
            target: file.target.as_ref().map(TargetFile::root).transpose()?,
            registries: load_registries(&file.registries, file.target, file.copy.limits, &keyring)?,
            rules: Rules::read(file.rules, &keyring, &tenants, &file.copy.scope())?,
            keyring,
        })
    }
}

impl ForClients {
    /// Reads the configuration at `path`, and no file that it names.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        parse_yaml(path)
    }

    /// Where the status listener is.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.status.listen
    }

    /// The header that shows the replicator's token; None where it has none.
    pub(crate) fn bearer(&self) -> Result<Option<HeaderValue>, ConfigError> {
        self.status.token.as_ref().map(|path| load_bearer("status.token", path)).transpose()
    }
}

/// The header that shows the token in the file at `path`, which `key` names.
pub(crate) fn load_bearer(key: &str, path: &Path) -> Result<HeaderValue, ConfigError> {
    let file = Named::new(key, path).read()?;
    token::bearer(file.text()?).map_err(|error| file.unusable(&error))
}

impl Registries {
    /// Takes a registry for named that somebody wrote down, without more to say of it.
    pub(crate) fn name(&mut self, registry: &Registry) {
        self.named.entry(registry.clone()).or_default();
    }

    /// A copier that knows them, and to which `watcher` tells new certificates. It reads sources as
    /// it is at targets, until it is told who else to be there.
    pub(crate) fn copier(self, watcher: &mut Watcher) -> Result<Copier, registry::ConfigError> {
        let client = Client::new(ClientConfig {
            registries: self.named,
            credentials: or_nobody(self.target_credentials),
            ..ClientConfig::default()
        })?;
        for (registry, files, print) in self.authorities {
            let client = client.clone();
            watcher.watch(files, print, move |[file]| {
                client.trust(&registry, file.bytes()).map_err(|error| match error {
                    registry::ConfigError::Certificates { reason, .. } => file.unusable(&reason),
                    error @ registry::ConfigError::Http(_) => file.unusable(&error),
                })
            });
        }
        let copier = Copier::new(client, self.limits);
        Ok(match self.create_repository {
            Some(create) => copier.with_repositories(Arc::new(create)),
            None => copier,
        })
    }
}

fn load_ledger(url: &str, queue: &QueueFile, rights: &RightsFile) -> Result<Settings, ConfigError> {
    let settings = Settings::new(url.parse()?);
    let max_waiting = queue.max_waiting.map_or(settings.max_waiting, NonZeroU64::get);
    let remember = rights.remember.map_or(settings.remember, |Period(remember)| remember);
    Ok(Settings { max_waiting, remember, ..settings })
}

fn load_front(file: FrontFile, watcher: &mut Watcher) -> Result<Front, ConfigError> {
    if file.callers.is_none() && file.client_ca.is_none() {
        return Err(ConfigError::NoCallers);
    }
    let htpasswd =
        file.callers.map(|path| watcher.hold(Files::one("front.callers", path), parse_htpasswd));
    let client_ca = file
        .client_ca
        .map(|path| watcher.hold(Files::one("front.client_ca", path), parse_client_ca));
    let pair = Files::pair([
        Named::new("front.certificate", file.certificate),
        Named::new("front.key", file.key),
    ]);
    Ok(Front {
        listen: file.listen,
        tls: Tls {
            certificate: watcher.hold(pair, parse_certificate)?,
            client_ca: client_ca.transpose()?,
        },
        htpasswd: htpasswd.transpose()?,
        rights: file.rights,
    })
}

fn load_status(file: StatusFile, watcher: &mut Watcher) -> Result<Status, ConfigError> {
    let token = file.token.map(|path| watcher.hold(Files::one("status.token", path), parse_token));
    Ok(Status { listen: file.listen, token: token.transpose()? })
}

fn load_registries(
    files: &BTreeMap<String, RegistryFile>,
    target: Option<TargetFile>,
    limits: LimitsFile,
    keyring: &Keyring,
) -> Result<Registries, ConfigError> {
    let (mut named, mut authorities) = (HashMap::new(), Vec::new());
    for (name, file) in files {
        let registry: Registry = parse("registries", name)?;
        let mut ca_pem = None;
        if let Some(path) = &file.ca {
            let files = Files::one(format!("registries.\"{name}\".ca"), path);
            let (print, contents) = files.read();
            let [content] = contents?;
            ca_pem = Some(content.into_bytes());
            authorities.push((registry.clone(), files, print));
        }
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
    let (create_repository, credentials) =
        target.map(|target| (target.create_repository, target.credentials)).unwrap_or_default();
    let target_credentials = credentials
        .map(|name| keyring.get(&name).cloned().ok_or(ConfigError::TargetCredentials { name }));
    Ok(Registries {
        named,
        authorities,
        target_credentials: target_credentials.transpose()?,
        create_repository,
        limits: limits.limits(),
    })
}

fn load_keyring(
    files: BTreeMap<Label, PathBuf>,
    watcher: &mut Watcher,
) -> Result<Keyring, ConfigError> {
    let load = |(name, path): (Label, PathBuf)| {
        let files = Files::one(format!("credentials.{name}"), path);
        let config = watcher.hold(files, parse_docker_config)?;
        Ok((name.clone(), Arc::new(NamedCredentials::new(name, config))))
    };
    files.into_iter().map(load).collect()
}

fn parse_certificate([chain, key]: &[Content; 2]) -> Result<Certificate, ConfigError> {
    Certificate::parse(chain.bytes(), key.bytes()).map_err(|error| match error {
        CertificateError::Chain(_) | CertificateError::Mismatch => chain.unusable(&error),
        CertificateError::Key(_) => key.unusable(&error),
    })
}

fn parse_htpasswd([file]: &[Content; 1]) -> Result<Htpasswd, ConfigError> {
    Htpasswd::parse(file.text()?).map_err(|error| file.unusable(&error))
}

fn parse_client_ca([file]: &[Content; 1]) -> Result<ClientCa, ConfigError> {
    ClientCa::parse(file.bytes()).map_err(|error| file.unusable(&error))
}

fn parse_token([file]: &[Content; 1]) -> Result<Token, ConfigError> {
    Token::parse(file.text()?).map_err(|error| file.unusable(&error))
}

fn parse_docker_config([file]: &[Content; 1]) -> Result<DockerConfig, ConfigError> {
    DockerConfig::parse(file.text()?).map_err(|error| file.unusable(&error))
}

fn parse_yaml<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, ConfigError> {
    let file = Named::new("--config", path).read()?;
    serde_yaml::from_str(file.text()?).map_err(|error| file.unusable(&error))
}

fn parse<T: std::str::FromStr<Err = ReferenceError>>(
    key: &'static str,
    text: &str,
) -> Result<T, ConfigError> {
    text.parse().map_err(|error| ConfigError::Value { key, error })
}

#[cfg(test)]
mod tests;
