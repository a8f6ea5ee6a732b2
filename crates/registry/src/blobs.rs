//! Verbs on blobs: look up, and read from any byte on. Writing is in `upload`.

use http::{HeaderValue, Method, StatusCode, header};
use protocol::{Registry, Repository};

use crate::answer::{Answer, BlobStream, number};
use crate::client::Client;
use crate::descriptor::Descriptor;
use crate::error::{Error, ErrorKind, Operation};
use crate::request::Request;

impl Client {
    /// How many bytes of a blob a repository says it holds; None where it has no such blob. One
    /// that names no length is taken to have them all.
    pub async fn blob_size(
        &self,
        registry: &Registry,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<Option<u64>, Error> {
        let operation = Operation::HeadBlob;
        let site = self.site(operation, registry)?;
        let url = site.home.url(&format!("{repository}/blobs/{}", blob.digest));
        let request = Request::new(operation, registry, Method::HEAD, url);
        match self.request(&site, request, Some(&self.reading(repository))).await {
            Ok(answer) => Ok(Some(answer.content_length().unwrap_or(blob.size))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bytes of a blob from `from` on, not verified: they are hashed where they are used.
    /// A registry that says another length than the descriptor's is refused at once.
    pub async fn blob(
        &self,
        registry: &Registry,
        repository: &Repository,
        blob: &Descriptor,
        from: u64,
    ) -> Result<BlobStream, Error> {
        let operation = Operation::GetBlob;
        let site = self.site(operation, registry)?;
        let url = site.home.url(&format!("{repository}/blobs/{}", blob.digest));
        let request = from_byte_on(Request::new(operation, registry, Method::GET, url), from)?;
        let answer = self.request(&site, request, Some(&self.reading(repository))).await?;
        into_blob(answer, blob, from)
    }
}

/// The request for all bytes from `from` on.
pub(crate) fn from_byte_on(request: Request, from: u64) -> Result<Request, Error> {
    if from == 0 {
        return Ok(request);
    }
    let range = HeaderValue::from_str(&format!("bytes={from}-"))
        .map_err(|_| request.error(ErrorKind::Malformed, "the range is no header"))?;
    Ok(request.with_header(header::RANGE, range))
}

/// The answer as the bytes of a blob from `from` on.
pub(crate) fn into_blob(answer: Answer, blob: &Descriptor, from: u64) -> Result<BlobStream, Error> {
    let (starts_at, ends_at) = extent(&answer)?;
    if let Some(length) = ends_at.filter(|length| *length != blob.size) {
        let message = format!("the blob should have {} bytes and has {length}", blob.size);
        return Err(answer.error(ErrorKind::DigestMismatch, message));
    }
    match from.checked_sub(starts_at) {
        Some(0) => Ok(answer.into_stream()),
        Some(skipped) => Ok(answer.into_stream().skipping(skipped)),
        None => Err(answer.error(
            ErrorKind::Malformed,
            format!("it was asked for bytes from {from} and sends them from {starts_at}"),
        )),
    }
}

/// Where in the blob an answer begins, and, if it says so, where it ends.
fn extent(answer: &Answer) -> Result<(u64, Option<u64>), Error> {
    if answer.status != StatusCode::PARTIAL_CONTENT {
        return Ok((0, answer.content_length()));
    }
    let range = answer.header(header::CONTENT_RANGE.as_str()).and_then(parse_content_range);
    let (first, last) = range.ok_or_else(|| {
        answer.error(ErrorKind::Malformed, "a partial answer without a legal Content-Range")
    })?;
    Ok((first, Some(last.saturating_add(1))))
}

/// `bytes FIRST-LAST/LENGTH` (RFC 9110, section 14.4).
pub(crate) fn parse_content_range(value: &str) -> Option<(u64, u64)> {
    let (range, _) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first.trim())?, number(last.trim())?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_or_refused() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, 9)));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, 9)));
        for value in
            ["bytes */10", "bytes 9-5/10", "5-9/10", "bytes 5-9", "bytes -1-5/10", "bytes +5-9/10"]
        {
            assert_eq!(parse_content_range(value), None, "{value}");
        }
    }
}
