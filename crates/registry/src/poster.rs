//! POSTs to a host that the configuration names and that is no registry, such as a receiver of
//! notifications: with the trust, the guard and the silence that registries get. It follows no
//! redirect and tries nothing twice.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, StatusCode, header};
use url::Url;

use crate::error::presentable;
use crate::guard::{self, LookUpError, Reach};
use crate::limits;
use crate::retry::parse_retry_after;
use crate::transport::{http_client, system_roots, with_certificates, words_of};

/// How much of an answer is read: enough for a sentence about what is wrong.
const MAX_ANSWER_BYTES: usize = 4 * 1024;

/// Sends. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Poster {
    http: reqwest::Client,
}

/// What was answered. Each status is an answer.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The status.
    pub status: StatusCode,
    /// How long it wants to be left alone, at most [`limits::MAX_RETRY_AFTER`].
    pub retry_after: Option<Duration>,
    /// How the body begins, on one line.
    pub words: String,
}

impl Poster {
    /// One that trusts the certificates in `ca_pem` beside the system's. An error says what is
    /// wrong with them.
    pub fn new(ca_pem: Option<&[u8]>) -> Result<Self, String> {
        let roots = match ca_pem {
            Some(pem) => with_certificates(system_roots(), pem)?,
            None => system_roots(),
        };
        // The configuration names the host: it may be anywhere but where nobody is ever asked.
        let http = http_client(roots.into(), limits::CONNECT_TIMEOUT, Reach::Local)?;
        Ok(Self { http })
    }

    /// The addresses of the host in `url`, or why it is not asked there.
    pub async fn look_up(&self, url: &Url) -> Result<Vec<IpAddr>, LookUpError> {
        guard::look_up(url, Reach::Local).await
    }

    /// Sends `body` to `url` and waits for the answer, for `limit` at most. An error is none that
    /// came, without the URL.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<Posted, String> {
        guard::check(url, Reach::Local).map_err(|refusal| refusal.to_string())?;
        let sent = async {
            let answer = self.http.post(url.clone()).headers(headers).body(body).send().await;
            let answer = answer.map_err(words_of)?;
            let retry_after = answer.headers().get(header::RETRY_AFTER);
            let retry_after = retry_after
                .and_then(|value| parse_retry_after(value.to_str().ok()?, SystemTime::now()));
            let status = answer.status();
            Ok(Posted { status, retry_after, words: beginning(answer).await })
        };
        let silent = |_| Err(format!("no answer within {} s", limit.as_secs_f32()));
        tokio::time::timeout(limit, sent).await.unwrap_or_else(silent)
    }
}

/// How a body begins. What it has beyond that is not read: its connection is closed then.
async fn beginning(answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(Ok(chunk)) = stream.next().await {
        bytes.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER_BYTES - bytes.len())]);
        if bytes.len() == MAX_ANSWER_BYTES {
            break;
        }
    }
    presentable(&String::from_utf8_lossy(&bytes))
}
