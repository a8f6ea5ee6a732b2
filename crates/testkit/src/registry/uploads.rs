//! Uploads and mounts. A blob is kept only when all of it came and hashes right.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use http::Method;
use hyper::body::Incoming;
use protocol::Digest;

use super::Shared;
use super::fault::Fault;
use super::log::Recorded;
use super::routes::Target;
use super::serve::{BoxError, Reply, read_body};
use crate::content::{Content, to_digest};

pub(super) async fn upload(
    shared: &Shared,
    target: &Target,
    request: &Recorded,
    faults: &[Fault],
    body: Incoming,
) -> Result<Reply, BoxError> {
    match request.method {
        Method::POST => Ok(open(shared, target, faults)),
        Method::PUT => finish(shared, target, faults, body).await,
        Method::DELETE => {
            let id = target.last.parse().unwrap_or(0);
            let known = shared.store.lock().unwrap().uploads.remove(&id);
            Ok(if known { Reply::new(204, "") } else { Reply::error(404, "BLOB_UPLOAD_UNKNOWN") })
        }
        _ => Ok(Reply::error(405, "UNSUPPORTED")),
    }
}

fn open(shared: &Shared, target: &Target, faults: &[Fault]) -> Reply {
    let mut store = shared.store.lock().unwrap();
    let refused = faults.iter().any(|fault| matches!(fault, Fault::RefuseMount));
    if let (Some(mount), Some(from), false) =
        (target.parameter("mount"), target.parameter("from"), refused)
    {
        let digest = mount.parse().unwrap();
        if let Some(content) = store.repository(from).blobs.get(&digest).cloned() {
            store.repository(&target.repository).blobs.insert(digest, content);
            return Reply::new(201, "");
        }
    }
    let id = store.open_upload();
    Reply::new(202, "")
        .with("location", &format!("/v2/{}/blobs/uploads/{id}?_state=x", target.repository))
}

async fn finish(
    shared: &Shared,
    target: &Target,
    faults: &[Fault],
    body: Incoming,
) -> Result<Reply, BoxError> {
    let id = target.last.parse().unwrap_or(0);
    if !shared.store.lock().unwrap().uploads.contains(&id) {
        return Ok(Reply::error(404, "BLOB_UPLOAD_UNKNOWN"));
    }
    let mut context = Context::new(&SHA256);
    let mut kept = BytesMut::new();
    let mut size = 0;
    read_body(body, faults, |piece: Bytes| {
        context.update(&piece);
        size += piece.len() as u64;
        if size <= shared.dropped_above {
            kept.extend_from_slice(&piece);
        } else {
            kept = BytesMut::new();
        }
    })
    .await?;
    let hashed = to_digest(context.finish().as_ref());
    let stated = target.parameter("digest").and_then(|digest| digest.parse::<Digest>().ok());
    let Some(digest) = stated.filter(|stated| shared.trusting || *stated == hashed) else {
        return Ok(Reply::error(400, "DIGEST_INVALID"));
    };
    let mut store = shared.store.lock().unwrap();
    store.uploads.remove(&id);
    let content = if size > shared.dropped_above {
        Content::Dropped(size)
    } else {
        Content::Bytes(kept.freeze())
    };
    store.repository(&target.repository).blobs.insert(digest.clone(), content);
    Ok(Reply::new(201, "").with("docker-content-digest", &digest))
}
