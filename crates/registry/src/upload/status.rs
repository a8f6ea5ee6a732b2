//! What a registry says it holds of an upload: the `Range` of its answers.

use http::{Method, header};

use super::{Upload, location_of};
use crate::answer::{Answer, number};
use crate::error::{Error, ErrorKind, Operation};
use crate::request::Scope;

impl Upload {
    /// How many bytes the registry holds; None where it does not know, or no longer knows, this
    /// upload, or none of it is worth going on with. An error says that it cannot be asked now.
    pub async fn held(&mut self) -> Result<Option<u64>, Error> {
        let request = self.request(Operation::UploadStatus, Method::GET);
        let scope = Scope::push(&self.repository);
        let answer = match self.client.request(&self.site, request, Some(&scope)).await {
            Ok(answer) => answer,
            Err(error) => match error.kind() {
                ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::RateLimited => {
                    return Err(error);
                }
                // Many registries keep nothing of a request that broke, and some not even the
                // upload: distribution 2 gives it up when it is asked.
                _ => {
                    tracing::debug!(%error, "the upload cannot be gone on with");
                    return Ok(None);
                }
            },
        };
        let held = answer.header(header::RANGE.as_str()).and_then(parse_range);
        match held {
            // `0-0` is what registries say of no byte as well.
            None | Some(0 | 1) => Ok(None),
            Some(held) => {
                self.follow(&answer)?;
                Ok(Some(held))
            }
        }
    }

    /// Goes on where an answer says; at the same place where it says nothing.
    pub(super) fn follow(&mut self, answer: &Answer) -> Result<(), Error> {
        if let Some(location) = location_of(&self.site, answer) {
            self.location = location?;
        }
        Ok(())
    }
}

/// How many bytes the registry has after a chunk from `from` to `end`; None where its Range names
/// no new byte. That counts for nothing beside the success that it is in: some registries name
/// the last byte of the chunk alone (distribution-spec 580), or always that of the first chunk.
/// If they lost the chunk, they refuse the next one, or the blob for its digest.
pub(super) fn taken(answer: &Answer, from: u64, end: u64) -> Result<Option<u64>, Error> {
    let Some(range) = answer.header(header::RANGE.as_str()) else { return Ok(Some(end)) };
    match parse_range(range) {
        Some(held) if held <= from => Ok(None),
        // Of a blob's first chunk `0-0` may mean no byte as well.
        Some(held) if held <= end && held >= end.min(2) => Ok(Some(held)),
        _ => {
            let last = end.saturating_sub(1);
            let message = format!("it got bytes {from}-{last} and says that it has {range}");
            Err(answer.error(ErrorKind::Malformed, message))
        }
    }
}

/// The number of bytes that `0-<last>` names. Some registries write a unit before it.
pub(crate) fn parse_range(value: &str) -> Option<u64> {
    let value = value.trim();
    number(value.strip_prefix("bytes=").unwrap_or(value).strip_prefix("0-")?)?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_or_refused() {
        assert_eq!(parse_range("0-0"), Some(1));
        assert_eq!(parse_range(" 0-1023 "), Some(1024));
        assert_eq!(parse_range("bytes=0-9"), Some(10));
        for value in
            ["", "0-", "0--1", "0-+1", "1-5", "5", "bytes 0-5/9", "0-18446744073709551615", "0-1-2"]
        {
            assert_eq!(parse_range(value), None, "{value}");
        }
    }
}
