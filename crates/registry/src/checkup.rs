//! What a person asks of a registry before anything is copied: where its name leads, whether it
//! takes our credentials, and whether we may push and delete. Leaves nothing behind.

use std::net::IpAddr;
use std::time::SystemTime;

use http::{Method, header};
use protocol::{Digest, Registry, Repository};

use crate::client::Client;
use crate::error::{Error, Operation};
use crate::guard::{self, LookUpError};
use crate::request::Request;

/// A digest that no manifest has, as far as anybody will ever know.
const NOBODYS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A registry that let us in.
#[derive(Clone, Copy, Debug)]
pub struct Greeting {
    /// What its clock says; None where it does not tell.
    pub date: Option<SystemTime>,
}

/// An upload that was opened, and given up at once.
#[derive(Debug)]
pub struct PushTrial {
    /// Why the registry keeps the upload, which is empty, until its own purge; None where it is
    /// gone.
    pub kept: Option<Error>,
}

impl Client {
    /// The addresses of a registry's host, or why it is not asked there.
    pub async fn look_up(&self, registry: &Registry) -> Result<Vec<IpAddr>, LookUpError> {
        let site = self.site(Operation::Ping, registry);
        let site = site.map_err(|error| LookUpError::Unknown(error.to_string()))?;
        let url = site.home.url("");
        guard::look_up(&url, site.home.reach(&url, false)).await
    }

    /// Whether the registry takes us for who our credentials for `repository` say.
    pub async fn log_in(
        &self,
        registry: &Registry,
        repository: &Repository,
    ) -> Result<Greeting, Error> {
        let site = self.site(Operation::Ping, registry)?;
        let request = Request::new(Operation::Ping, registry, Method::GET, site.home.url(""));
        let answer = self.request(&site, request, Some(&self.reading(repository))).await?;
        let date = answer.header(header::DATE.as_str());
        Ok(Greeting { date: date.and_then(|date| httpdate::parse_http_date(date).ok()) })
    }

    /// Whether we may push into `repository`: opens an upload, and gives it up.
    pub async fn try_push(
        &self,
        registry: &Registry,
        repository: &Repository,
    ) -> Result<PushTrial, Error> {
        let upload = self.start_upload(registry, repository).await?;
        Ok(PushTrial { kept: upload.give_up().await.err() })
    }

    /// Whether we may delete manifests of `repository`: asks for the end of one that nobody has.
    pub async fn try_delete(
        &self,
        registry: &Registry,
        repository: &Repository,
    ) -> Result<(), Error> {
        let nobodys: Digest = NOBODYS.parse().expect("64 digits make a digest");
        self.delete_manifest(registry, repository, &nobodys).await.map(drop)
    }
}
