//! Pods, as far as it matters which images they run, and how many pods of the cluster run what.
//! Pure.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use ::kube::Resource;
use ::kube::core::{NamespaceResourceScope, ObjectMeta};
use k8s_openapi::api::core::v1;
use protocol::{Digest, ImageReference, Namespace};
use serde::Deserialize;

use crate::ledger::uses::{Running, Use};

/// A Pod as it comes from the API server, without what is of no use here.
#[derive(Clone, Deserialize)]
pub(super) struct Pod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    init_containers: Vec<Container>,
    containers: Vec<Container>,
    ephemeral_containers: Vec<Container>,
    volumes: Vec<Volume>,
}

#[derive(Clone, Deserialize)]
struct Container {
    name: String,
    #[serde(default)]
    image: String,
}

#[derive(Clone, Deserialize)]
struct Volume {
    image: Option<ImageVolume>,
}

#[derive(Clone, Deserialize)]
struct ImageVolume {
    #[serde(default)]
    reference: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    init_container_statuses: Vec<ContainerStatus>,
    container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Deserialize)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "imageID", default)]
    image_id: String,
}

impl Pod {
    /// Namespace and name, which no other pod has at the same time.
    fn key(&self) -> Box<str> {
        let of = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
        format!("{}/{}", of(&self.metadata.namespace), of(&self.metadata.name)).into()
    }

    /// Whether it runs, will, or may again: one that has ended never does.
    fn runs(&self) -> bool {
        !matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// What it runs, each once. What is no image reference runs nowhere.
    fn uses(&self) -> BTreeSet<Use> {
        let namespace = self.metadata.namespace.as_ref().map(|name| name.parse::<Namespace>());
        let Some(Ok(namespace)) = namespace else { return BTreeSet::new() };
        let Self { spec, status, .. } = self;
        let containers = [
            (&spec.init_containers, &status.init_container_statuses),
            (&spec.containers, &status.container_statuses),
            (&spec.ephemeral_containers, &status.ephemeral_container_statuses),
        ];
        let of_containers = containers.into_iter().flat_map(|(containers, statuses)| {
            containers.iter().map(|container| {
                let status = statuses.iter().find(|status| status.name == container.name);
                (&container.image, status.and_then(ContainerStatus::digest))
            })
        });
        let volumes = spec.volumes.iter().filter_map(|volume| volume.image.as_ref());
        let of_volumes = volumes.map(|volume| (&volume.reference, None));
        let uses = of_containers.chain(of_volumes).filter_map(|(image, digest)| {
            let image: ImageReference = image.parse().ok()?;
            Some(Use { image, namespace: namespace.clone(), digest })
        });
        uses.collect()
    }
}

impl ContainerStatus {
    /// The digest that is said to run: of an image that has none in a registry there stands the
    /// node's own ID alone.
    fn digest(&self) -> Option<Digest> {
        self.image_id.rsplit_once('@')?.1.parse().ok()
    }
}

/// All pods of a cluster: of each what it runs, and in all how many run what. What many pods run
/// is kept once.
#[derive(Default)]
pub(super) struct Pods {
    by_key: HashMap<Box<str>, Box<[Arc<Use>]>>,
    running: HashMap<Arc<Use>, u64>,
    /// Of what the number is another one than when it was last told.
    changed: HashSet<Arc<Use>>,
}

impl Pods {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Takes in a pod that is new, or has changed.
    pub(super) fn put(&mut self, pod: &Pod) {
        let uses = if pod.runs() { pod.uses() } else { BTreeSet::new() };
        let key = pod.key();
        let before = self.by_key.get(&key).map_or(&[][..], |before| before);
        if before.iter().map(|used| &**used).eq(uses.iter()) {
            return;
        }
        let uses: Box<[_]> = uses.into_iter().map(|used| self.begin(used)).collect();
        let before = match uses.is_empty() {
            true => self.by_key.remove(&key),
            false => self.by_key.insert(key, uses),
        };
        self.end(before);
    }

    /// A pod is no more.
    pub(super) fn remove(&mut self, pod: &Pod) {
        let before = self.by_key.remove(&pod.key());
        self.end(before);
    }

    /// How many pods run what.
    pub(super) fn all(&self) -> Running {
        self.running.iter().map(|(used, pods)| ((**used).clone(), *pods)).collect()
    }

    /// The same, of what has changed since it was asked for last.
    pub(super) fn take_changes(&mut self) -> Running {
        let changed = self.changed.drain();
        let number = |used: Arc<Use>| {
            let pods = self.running.get(&used).copied().unwrap_or(0);
            ((*used).clone(), pods)
        };
        changed.map(number).collect()
    }

    fn begin(&mut self, used: Use) -> Arc<Use> {
        let used = match self.running.entry(Arc::new(used)) {
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += 1;
                Arc::clone(entry.key())
            }
            Entry::Vacant(entry) => {
                let used = Arc::clone(entry.key());
                entry.insert(1);
                used
            }
        };
        self.changed.insert(Arc::clone(&used));
        used
    }

    fn end(&mut self, uses: Option<Box<[Arc<Use>]>>) {
        for used in uses.into_iter().flatten() {
            if let Entry::Occupied(mut entry) = self.running.entry(Arc::clone(&used)) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
            self.changed.insert(used);
        }
    }
}

impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pod({})", self.key())
    }
}

/// To the API it is a Pod.
impl Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        v1::Pod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        v1::Pod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        v1::Pod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        v1::Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests;
