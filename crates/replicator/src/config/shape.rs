//! The shape of the configuration file: what stands in it, before anything of it is looked up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use copy::{ForeignLayers, Limits, Platform, Scope};
use protocol::{Namespace, Naming, TargetRoot};
use serde::Deserialize;

use super::error::ConfigError;
use super::parse;
use crate::audit::Destination;
use crate::create_repository::CreateRepository;
use crate::freshness::Period;
use crate::front::rights::CallerRights;
use crate::label::Label;
use crate::notify::receiver::ReceiverFile;
use crate::retention::{Schedule, UnusedFor};
use crate::rules::file::{ReferrersFile, RuleFile};
use crate::tenants::{Feeds, Tenants};

/// All of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) front: FrontFile,
    pub(super) status: StatusFile,
    pub(super) ledger: String,
    #[serde(default)]
    pub(super) audit: Destination,
    #[serde(default)]
    pub(super) queue: QueueFile,
    pub(super) target: TargetFile,
    #[serde(default)]
    pub(super) registries: BTreeMap<String, RegistryFile>,
    #[serde(default)]
    pub(super) credentials: BTreeMap<Label, PathBuf>,
    #[serde(default)]
    pub(super) tenancy: TenancyFile,
    #[serde(default)]
    pub(super) inventory: InventoryFile,
    pub(super) rules: Vec<RuleFile>,
    #[serde(default)]
    pub(super) rights: RightsFile,
    #[serde(default)]
    pub(super) copy: CopyFile,
    #[serde(default)]
    pub(super) notifications: Vec<ReceiverFile>,
    #[serde(default)]
    pub(super) retention: RetentionFile,
    pub(super) drain_ms: Option<u64>,
}

/// The part of it that commands of a person read.
#[derive(Deserialize)]
pub(super) struct ByHandFile {
    pub(super) target: Option<TargetFile>,
    #[serde(default)]
    pub(super) registries: BTreeMap<String, RegistryFile>,
    #[serde(default)]
    pub(super) credentials: BTreeMap<Label, PathBuf>,
    #[serde(default)]
    pub(super) tenancy: TenancyFile,
    #[serde(default)]
    pub(super) rules: Vec<RuleFile>,
    #[serde(default)]
    pub(super) copy: CopyFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrontFile {
    pub(super) listen: SocketAddr,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) callers: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    #[serde(default)]
    pub(super) rights: CallerRights,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusFile {
    pub(super) listen: SocketAddr,
    pub(super) token: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetFile {
    pub(super) root: String,
    #[serde(default)]
    pub(super) naming: Naming,
    pub(super) create_repository: Option<CreateRepository>,
    pub(super) credentials: Option<Label>,
}

impl TargetFile {
    pub(super) fn root(&self) -> Result<TargetRoot, ConfigError> {
        let root: TargetRoot = parse("target.root", &self.root)?;
        Ok(root.with_naming(self.naming))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistryFile {
    pub(super) ca: Option<PathBuf>,
    #[serde(default)]
    pub(super) plain_http: bool,
    pub(super) requests_per_second: Option<NonZeroU32>,
    pub(super) requests_at_once: Option<NonZeroU16>,
    #[serde(default)]
    pub(super) trusted_hosts: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueueFile {
    pub(super) max_waiting: Option<NonZeroU64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RightsFile {
    pub(super) remember: Option<Period>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TenancyFile {
    #[serde(default)]
    pub(super) secret_namespaces: Vec<String>,
    pub(super) namespace_bytes: Option<NonZeroU64>,
}

impl TenancyFile {
    pub(super) fn tenants(self) -> Result<(Tenants, Feeds), ConfigError> {
        let namespaces = self.secret_namespaces.iter().map(|name| {
            name.parse::<Namespace>().map_err(|_| ConfigError::Namespace { name: name.clone() })
        });
        Ok(Tenants::new(namespaces.collect::<Result<_, _>>()?)?)
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InventoryFile {
    #[serde(default)]
    pub(super) watch_pods: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetentionFile {
    pub(super) unused_for: Option<Period>,
    pub(super) every: Option<Period>,
}

impl RetentionFile {
    pub(super) fn schedule(&self) -> Result<Schedule, ConfigError> {
        let unused_for = match self.unused_for {
            Some(Period(time)) => UnusedFor::new(time).ok_or(ConfigError::UnusedFor)?,
            None => UnusedFor::default(),
        };
        Ok(Schedule { unused_for, every: self.every.map(|Period(every)| every) })
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CopyFile {
    pub(super) workers: Option<NonZeroU16>,
    #[serde(default)]
    pub(super) platforms: Vec<Platform>,
    #[serde(default)]
    pub(super) referrers: ReferrersFile,
    #[serde(default)]
    pub(super) foreign_layers: ForeignLayers,
    #[serde(default)]
    pub(super) limits: LimitsFile,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsFile {
    pub(super) image_bytes: Option<NonZeroU64>,
    pub(super) layers: Option<NonZeroU32>,
    pub(super) manifests: Option<NonZeroU32>,
}

impl LimitsFile {
    pub(super) fn limits(self) -> Limits {
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

impl CopyFile {
    pub(super) fn scope(self) -> Scope {
        let Self { platforms, referrers, foreign_layers, .. } = self;
        Scope { platforms, referrers: referrers.into(), foreign_layers }
    }
}
