//! The POST: takes a blob over from another repository, or opens an upload.

use http::{Method, StatusCode};
use protocol::{Registry, Repository};

use super::{Mount, Upload, location_of};
use crate::answer::Answer;
use crate::client::{Client, Site};
use crate::descriptor::Descriptor;
use crate::error::{Error, ErrorKind, Operation};
use crate::request::{Request, Scope};

/// Of the POST's answer (distribution-spec, "Pushing a blob in chunks").
const MIN_CHUNK: &str = "oci-chunk-min-length";

impl Client {
    /// Takes a blob over from another repository of the same registry.
    pub async fn mount(
        &self,
        registry: &Registry,
        repository: &Repository,
        blob: &Descriptor,
        from: &Repository,
    ) -> Result<Mount, Error> {
        let site = self.site(Operation::MountBlob, registry)?;
        let mut url = site.home.url(&format!("{repository}/blobs/uploads/"));
        url.query_pairs_mut()
            .append_pair("mount", &blob.digest.to_string())
            .append_pair("from", from.as_str());
        let request = Request::new(Operation::MountBlob, registry, Method::POST, url);
        let scope = Scope::mount(repository, from);
        self.request_to_the_end(&site, request, &scope, |client, site, scope, answer| {
            if answer.status == StatusCode::CREATED {
                return Ok(Mount::Done);
            }
            client.opened(site, scope, answer).map(|upload| Mount::Upload(Box::new(upload)))
        })
        .await
    }

    /// Opens an upload.
    pub async fn start_upload(
        &self,
        registry: &Registry,
        repository: &Repository,
    ) -> Result<Upload, Error> {
        let operation = Operation::StartUpload;
        let site = self.site(operation, registry)?;
        let url = site.home.url(&format!("{repository}/blobs/uploads/"));
        let request = Request::new(operation, registry, Method::POST, url);
        self.request_to_the_end(&site, request, &Scope::push(repository), Self::opened).await
    }

    fn opened(&self, site: Site, scope: &Scope, answer: Answer) -> Result<Upload, Error> {
        let location = location_of(&site, &answer).unwrap_or_else(|| {
            Err(answer.error(ErrorKind::Malformed, "an upload without a Location"))
        })?;
        // A length that is no number says nothing.
        let min_chunk_bytes = answer.header(MIN_CHUNK).and_then(|length| length.parse().ok());
        Ok(Upload {
            client: self.clone(),
            site,
            registry: answer.registry,
            repository: scope.repository.clone(),
            location,
            min_chunk_bytes: min_chunk_bytes.unwrap_or(0),
            is_doubtful: false,
            complete: false,
            known: self.uploads().token(),
            _permit: answer.permit,
        })
    }
}
