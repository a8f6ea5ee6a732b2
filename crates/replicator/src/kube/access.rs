//! What the cluster lets us read, for the doctor: objects are listed and watched once, a little of
//! each.

use std::fmt;
use std::pin::pin;

use ::kube::api::{ListParams, WatchEvent, WatchParams};
use ::kube::core::Status;
use ::kube::{Api, Client, Error, Resource};
use futures::StreamExt;
use protocol::Namespace;
use serde::de::DeserializeOwned;

use super::follow::{answer, failure};
use super::pod::Pod;
use super::pull_secret::PullSecret;
use super::{ConnectError, client, configuration, pods, secrets};

/// How long the API server is to keep a watch open on which nothing happens: a person waits.
const WATCH_S: u32 = 1;

/// The way to the API server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Access(Client);

impl Access {
    /// As a replicator connects. Asks nobody yet.
    pub(crate) async fn connect() -> Result<Self, ConnectError> {
        Ok(Self(client(configuration().await?)?))
    }

    /// Whether the pull secrets of `namespace` can be followed.
    pub(crate) async fn to_pull_secrets(&self, namespace: &Namespace) -> Result<(), AccessError> {
        let api = Api::<PullSecret>::namespaced(self.0.clone(), namespace.as_str());
        try_out(&api, secrets::PULL_SECRETS).await
    }

    /// Whether the pods of the whole cluster can be followed.
    pub(crate) async fn to_pods(&self) -> Result<(), AccessError> {
        try_out(&Api::<Pod>::all(self.0.clone()), pods::NOT_ENDED).await
    }
}

/// Why objects cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    /// There is no way to it.
    #[error(transparent)]
    Unconnected(#[from] ConnectError),
    /// The API server does not let us.
    #[error("{0}")]
    Refused(String),
    /// It cannot be reached, or is in trouble.
    #[error("{0}")]
    Away(String),
}

impl AccessError {
    fn told(status: Option<&Status>, told: String) -> Self {
        match status.map(|status| status.code) {
            Some(401 | 403) => Self::Refused(told),
            _ => Self::Away(told),
        }
    }
}

impl From<Error> for AccessError {
    fn from(error: Error) -> Self {
        let status = if let Error::Api(status) = &error { Some(&**status) } else { None };
        Self::told(status, failure(&error))
    }
}

async fn try_out<K>(api: &Api<K>, which: &str) -> Result<(), AccessError>
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug,
{
    let listed = api.list(&ListParams::default().fields(which).limit(1)).await?;
    let from = listed.metadata.resource_version.unwrap_or_default();
    let watch = WatchParams::default().fields(which).timeout(WATCH_S);
    let mut events = pin!(api.watch(&watch, &from).await?);
    match events.next().await {
        Some(Ok(WatchEvent::Error(status))) => {
            Err(AccessError::told(Some(&status), answer(&status)))
        }
        Some(Err(error)) => Err(error.into()),
        // Something happened, or nothing within that time.
        Some(Ok(_)) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ::kube::Config;
    use serde_json::json;
    use testkit::KubeApi;

    use super::*;

    fn access(api: &KubeApi) -> Access {
        Access(client(Config::new(api.url().parse().unwrap())).unwrap())
    }

    #[tokio::test]
    async fn a_list_and_a_watch_are_asked_for_as_a_replicator_does() {
        let api = KubeApi::start().await;
        api.put_pull_secret("shop", "pull", "{}");
        api.put("pods", "shop", "web", json!({"spec": {}, "status": {"phase": "Running"}}));
        let access = access(&api);
        access.to_pull_secrets(&"shop".parse().unwrap()).await.unwrap();
        access.to_pods().await.unwrap();
        for words in [
            ["/api/v1/namespaces/shop/secrets?", "type%3Dkubernetes.io%2Fdockerconfigjson"],
            ["/api/v1/pods?", "status.phase%21%3DSucceeded"],
        ] {
            assert_eq!(api.count(&words), 2, "{:?}", api.requests());
            assert_eq!(api.count(&[words[0], words[1], "watch=true"]), 1);
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_from_an_api_server_that_is_away() {
        let api = KubeApi::start().await;
        let (access, shop) = (access(&api), "shop".parse().unwrap());
        api.refuse("shop");
        let error = access.to_pull_secrets(&shop).await.unwrap_err();
        assert!(matches!(&error, AccessError::Refused(told) if told.contains("403")), "{error}");
        api.be_away(true);
        let error = access.to_pull_secrets(&shop).await.unwrap_err();
        assert!(matches!(error, AccessError::Away(_)), "{error}");
    }
}
