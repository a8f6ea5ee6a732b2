//! The kinds that Kubernetes makes pods of, and where in each the pod is.

/// The API groups that they are of; the core group has no name.
const CORE: &str = "";
const APPS: &str = "apps";
const BATCH: &str = "batch";

/// A kind of objects that run images, or hold the template of pods that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pod.
    Pod,
    /// A template of pods, alone.
    PodTemplate,
    /// What came before ReplicaSet.
    ReplicationController,
    /// A pod on each node.
    DaemonSet,
    /// Pods that are alike, replaced in turn.
    Deployment,
    /// Pods that are alike.
    ReplicaSet,
    /// Pods that are told apart.
    StatefulSet,
    /// Pods that end.
    Job,
    /// Jobs by the clock.
    CronJob,
}

impl Kind {
    /// All kinds, by the names that Kubernetes has for them.
    pub const BY_NAME: [(&'static str, Self); 9] = [
        ("Pod", Self::Pod),
        ("PodTemplate", Self::PodTemplate),
        ("ReplicationController", Self::ReplicationController),
        ("DaemonSet", Self::DaemonSet),
        ("Deployment", Self::Deployment),
        ("ReplicaSet", Self::ReplicaSet),
        ("StatefulSet", Self::StatefulSet),
        ("Job", Self::Job),
        ("CronJob", Self::CronJob),
    ];

    /// The kind of this name in this API group (empty for the core group); None for all others.
    pub fn of(group: &str, name: &str) -> Option<Self> {
        let (_, kind) = Self::BY_NAME.into_iter().find(|(known, _)| *known == name)?;
        (kind.group() == group).then_some(kind)
    }

    fn group(self) -> &'static str {
        match self {
            Self::Pod | Self::PodTemplate | Self::ReplicationController => CORE,
            Self::DaemonSet | Self::Deployment | Self::ReplicaSet | Self::StatefulSet => APPS,
            Self::Job | Self::CronJob => BATCH,
        }
    }

    /// JSON pointer to the pod within an object of this kind: to what has `metadata` and `spec`.
    pub fn pod(self) -> &'static str {
        match self {
            Self::Pod => "",
            Self::PodTemplate => "/template",
            Self::CronJob => "/spec/jobTemplate/spec/template",
            Self::ReplicationController
            | Self::DaemonSet
            | Self::Deployment
            | Self::ReplicaSet
            | Self::StatefulSet
            | Self::Job => "/spec/template",
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::Resource;
    use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
    use k8s_openapi::api::batch::v1::{CronJob, Job};
    use k8s_openapi::api::core::v1::{Pod, PodTemplate, ReplicationController};

    use super::*;

    fn of<T: Resource>() -> Option<Kind> {
        Kind::of(T::GROUP, T::KIND)
    }

    #[test]
    fn groups_and_names_are_those_of_kubernetes() {
        let found = [
            of::<Pod>(),
            of::<PodTemplate>(),
            of::<ReplicationController>(),
            of::<DaemonSet>(),
            of::<Deployment>(),
            of::<ReplicaSet>(),
            of::<StatefulSet>(),
            of::<Job>(),
            of::<CronJob>(),
        ];
        assert_eq!(found, Kind::BY_NAME.map(|(_, kind)| Some(kind)));
        for (name, _) in Kind::BY_NAME {
            assert_eq!(Kind::of("example.org", name), None);
        }
        assert_eq!(Kind::of("", "Service"), None);
    }
}
