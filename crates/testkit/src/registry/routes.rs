//! The distribution API over the store.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use hyper::body::Incoming;
use protocol::Digest;
use serde_json::{Value, json};

use super::Shared;
use super::access::TokenRequest;
use super::fault::Fault;
use super::log::{Kind, Recorded};
use super::serve::{BoxError, Reply, read_body};
use super::uploads;
use crate::content::digest_of;

/// Path and query of a request, taken apart.
pub(super) struct Target {
    pub(super) repository: String,
    pub(super) last: String,
    pub(super) query: Vec<(String, String)>,
}

impl Target {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a request is about.
pub(super) fn kind_of(path: &str) -> Kind {
    let path = path.split('?').next().unwrap_or_default();
    match path {
        "/v2/" => Kind::Ping,
        "/token" => Kind::Token,
        _ if path.contains("/blobs/uploads/") => Kind::Upload,
        _ if path.contains("/blobs/") => Kind::Blob,
        _ if path.contains("/manifests/") => Kind::Manifest,
        _ if path.contains("/referrers/") => Kind::Referrers,
        _ if path.ends_with("/tags/list") => Kind::Tags,
        _ => Kind::Other,
    }
}

fn take_apart(path: &str, kind: Kind) -> Target {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let divider = match kind {
        Kind::Upload => "/blobs/uploads/",
        Kind::Blob => "/blobs/",
        Kind::Referrers => "/referrers/",
        Kind::Tags => "/tags/",
        _ => "/manifests/",
    };
    let rest = path.strip_prefix("/v2/").unwrap_or_default();
    let (repository, last) = rest.split_once(divider).unwrap_or((rest, ""));
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Target { repository: repository.to_owned(), last: last.to_owned(), query }
}

pub(super) async fn route(
    shared: &Arc<Shared>,
    request: Recorded,
    faults: &[Fault],
    body: Incoming,
) -> Result<Reply, BoxError> {
    let target = take_apart(&request.path, request.kind);
    let authorization = request.authorization.as_deref();
    if request.kind == Kind::Token {
        return token(shared, &request, target, faults, body).await;
    }
    let reads =
        matches!(request.method, Method::GET | Method::HEAD) && request.kind != Kind::Upload;
    let scope = match (request.kind, reads) {
        (Kind::Ping | Kind::Other, _) => String::new(),
        (_, true) if shared.hides_absent && shared.is_absent(&target.repository) => {
            format!("repository:{}:pull,push", target.repository)
        }
        (_, true) => format!("repository:{}:pull", target.repository),
        (Kind::Manifest, false) if request.method == Method::DELETE => {
            format!("repository:{}:pull,delete", target.repository)
        }
        (_, false) => format!("repository:{}:pull,push", target.repository),
    };
    if let Some(challenge) = shared.access.challenge(&shared.url(), authorization, &scope) {
        return Ok(Reply::error(401, "UNAUTHORIZED").with("www-authenticate", &challenge));
    }
    match (request.kind, &request.method) {
        (Kind::Ping, _) => Ok(Reply::new(200, "{}")),
        (Kind::Manifest, &Method::PUT) => put_manifest(shared, &target, faults, body).await,
        (Kind::Manifest, &Method::DELETE) => Ok(delete_manifest(shared, &target)),
        (Kind::Manifest, _) => Ok(manifest(shared, &target)),
        (Kind::Tags, _) => Ok(tags(shared, &target)),
        (Kind::Referrers, _) if shared.has_referrers => Ok(referrers(shared, &target)),
        (Kind::Blob, _) => Ok(blob(shared, &target, &request, faults)),
        (Kind::Upload, _) => uploads::upload(shared, &target, &request, faults, body).await,
        _ => Ok(Reply::error(404, "UNSUPPORTED")),
    }
}

async fn token(
    shared: &Shared,
    request: &Recorded,
    target: Target,
    faults: &[Fault],
    body: Incoming,
) -> Result<Reply, BoxError> {
    let mut parameters = target.query;
    let mut form = Vec::new();
    read_body(body, faults, |piece| form.extend_from_slice(&piece)).await?;
    parameters.extend(url::form_urlencoded::parse(&form).into_owned());
    let (method, authorization) = (&request.method, request.authorization.as_deref());
    let granted = shared.access.grant(&TokenRequest { method, authorization, parameters });
    Ok(match granted {
        Some(token) => Reply::new(200, token),
        None => Reply::error(401, "UNAUTHORIZED"),
    })
}

fn manifest(shared: &Shared, target: &Target) -> Reply {
    let mut store = shared.store.lock().unwrap();
    match store.repository(&target.repository).manifest(&target.last) {
        Some((digest, (media_type, bytes))) => Reply::new(200, bytes)
            .with("content-type", &media_type)
            .with("docker-content-digest", &digest),
        None => Reply::error(404, "MANIFEST_UNKNOWN"),
    }
}

async fn put_manifest(
    shared: &Shared,
    target: &Target,
    faults: &[Fault],
    body: Incoming,
) -> Result<Reply, BoxError> {
    let mut bytes = Vec::new();
    read_body(body, faults, |piece| bytes.extend_from_slice(&piece)).await?;
    let Ok(parsed) = serde_json::from_slice::<Value>(&bytes) else {
        return Ok(Reply::error(400, "MANIFEST_INVALID"));
    };
    let hashed = digest_of(&bytes);
    let stated = target.last.parse::<Digest>().ok().filter(|_| shared.trusting);
    let digest = stated.unwrap_or(hashed);
    let mut store = shared.store.lock().unwrap();
    let repository = store.repository(&target.repository);
    let lacks_parts = repository.missing(&parsed, shared.accepts_sparse).is_some();
    let lacks_subject = shared.wants_subjects && repository.lacks_subject(&parsed);
    if !shared.trusting && (lacks_parts || lacks_subject) {
        return Ok(Reply::error(404, "MANIFEST_BLOB_UNKNOWN"));
    }
    if !target.last.contains(':') {
        repository.tags.insert(target.last.clone(), digest.clone());
    } else if target.last != digest.to_string() {
        return Ok(Reply::error(400, "DIGEST_INVALID"));
    }
    let media_type = parsed["mediaType"].as_str().unwrap_or(crate::media::MANIFEST).to_owned();
    repository.manifests.insert(digest.clone(), (media_type, Bytes::from(bytes)));
    let reply = Reply::new(201, "").with("docker-content-digest", &digest);
    Ok(match parsed["subject"]["digest"].as_str().filter(|_| shared.has_referrers) {
        Some(subject) => reply.with("oci-subject", subject),
        None => reply,
    })
}

/// By digest alone, with all tags that name it.
fn delete_manifest(shared: &Shared, target: &Target) -> Reply {
    let mut store = shared.store.lock().unwrap();
    let repository = store.repository(&target.repository);
    let Ok(digest) = target.last.parse::<Digest>() else {
        return Reply::error(400, "DIGEST_INVALID");
    };
    repository.tags.retain(|_, named| *named != digest);
    match repository.manifests.remove(&digest) {
        Some(_) => Reply::new(202, ""),
        None => Reply::error(404, "MANIFEST_UNKNOWN"),
    }
}

/// All tags at once, of a repository that has any.
fn tags(shared: &Shared, target: &Target) -> Reply {
    let mut store = shared.store.lock().unwrap();
    let tags: Vec<_> = store.repository(&target.repository).tags.keys().cloned().collect();
    if tags.is_empty() {
        return Reply::error(404, "NAME_UNKNOWN");
    }
    let list = json!({"name": target.repository, "tags": tags});
    Reply::new(200, list.to_string()).with("content-type", "application/json")
}

/// The manifests with this subject, page by page (distribution-spec, "Listing Referrers").
fn referrers(shared: &Shared, target: &Target) -> Reply {
    let mut store = shared.store.lock().unwrap();
    let all = store.repository(&target.repository).referrers(&target.last);
    let from: usize = target.parameter("from").map_or(0, |from| from.parse().unwrap());
    let page: Vec<_> = all.iter().skip(from).take(shared.referrers_page).collect();
    let next = from + page.len();
    let index = json!({"schemaVersion": 2, "mediaType": crate::media::INDEX, "manifests": page});
    let reply = Reply::new(200, index.to_string()).with("content-type", crate::media::INDEX);
    if next >= all.len() {
        return reply;
    }
    let path = format!("/v2/{}/referrers/{}", target.repository, target.last);
    reply.with("link", &format!("<{path}?from={next}>; rel=\"next\""))
}

fn blob(shared: &Shared, target: &Target, request: &Recorded, faults: &[Fault]) -> Reply {
    let mut store = shared.store.lock().unwrap();
    let repository = store.repository(&target.repository);
    let found = target.last.parse().ok().and_then(|digest| repository.blobs.get(&digest));
    let Some(content) = found else { return Reply::error(404, "BLOB_UNKNOWN") };
    let ignored = faults.iter().any(|fault| matches!(fault, Fault::IgnoreRange));
    let size = content.size();
    let from = request
        .range
        .as_deref()
        .filter(|_| !ignored)
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<u64>().ok());
    let begin = from.unwrap_or(0);
    if begin >= size && from.is_some() {
        return Reply::error(416, "RANGE_INVALID");
    }
    let body: Box<dyn Iterator<Item = Bytes> + Send> = if request.method == Method::HEAD {
        Box::new(std::iter::empty())
    } else {
        content.pieces(begin, size)
    };
    let reply = Reply { status: 200, headers: Vec::new(), length: size - begin, body }
        .with("docker-content-digest", &target.last);
    match from {
        Some(from) => Reply { status: 206, ..reply }
            .with("content-range", &format!("bytes {from}-{}/{size}", size - 1)),
        None => reply,
    }
}
