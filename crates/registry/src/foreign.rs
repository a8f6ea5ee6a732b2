//! The verb on foreign layers: bytes from where a layer's owner keeps them, at hosts that an
//! image names. They get no secret, TLS is a must, and like any registry they have to be in the
//! internet, unless the configuration names them.

use http::Method;
use protocol::Registry;
use url::Url;

use crate::answer::BlobStream;
use crate::blobs::{from_byte_on, into_blob};
use crate::client::Client;
use crate::descriptor::Descriptor;
use crate::error::{Error, ErrorKind, Operation};
use crate::limits::MAX_FOREIGN_URLS;
use crate::request::Request;

const OPERATION: Operation = Operation::GetForeignBlob;

impl Client {
    /// The bytes of a foreign layer from `from` on, not verified, from the first of its URLs
    /// that has them (image-spec, "Descriptors", `urls`). `registry` is the image's own: errors
    /// name it where no host was asked.
    pub async fn foreign_blob(
        &self,
        registry: &Registry,
        blob: &Descriptor,
        urls: &[String],
        from: u64,
    ) -> Result<BlobStream, Error> {
        let nowhere = "it names no place where the layer can be fetched";
        let mut failure = Error::new(ErrorKind::NotFound, OPERATION, registry, nowhere);
        for url in urls.iter().take(MAX_FOREIGN_URLS) {
            match self.foreign_blob_at(registry, blob, url, from).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn foreign_blob_at(
        &self,
        registry: &Registry,
        blob: &Descriptor,
        url: &str,
        from: u64,
    ) -> Result<BlobStream, Error> {
        let refused = |message: &str| Error::new(ErrorKind::Denied, OPERATION, registry, message);
        let url: Url = url.parse().map_err(|_| refused("the layer's address is no URL"))?;
        if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
            return Err(refused("the layer's address is not plain https").at(&url));
        }
        let host = host_of(&url).ok_or_else(|| refused("the layer's address has no host"))?;
        let mut site = self.site(OPERATION, &host)?;
        site.home = site.home.at(&url);
        let request = from_byte_on(Request::new(OPERATION, &host, Method::GET, url), from)?;
        // Without a scope no secret is sent.
        into_blob(self.request(&site, request, None).await?, blob, from)
    }
}

/// The host of a URL as a registry, so that it has a lane of its own.
fn host_of(url: &Url) -> Option<Registry> {
    let host = url.host_str()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{host}{port}").parse().ok()
}
