//! Uploads and mounts. A blob is kept only when all of it came and hashes right.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use protocol::Digest;

use super::Shared;
use super::fault::Fault;
use super::log::Recorded;
use super::routes::Target;
use super::serve::{BoxError, Reply, read_body};
use super::store::Upload;
use crate::content::{Content, to_digest};

/// What is special about uploads here.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) min_chunk: Option<u64>,
    pub(super) max_body: Option<u64>,
    pub(super) takes_chunks_alone: bool,
    pub(super) keeps_what_was_cut: bool,
    pub(super) repositories_are_created_first: bool,
}

pub(super) async fn upload(
    shared: &Shared,
    target: &Target,
    request: &Recorded,
    faults: &[Fault],
    body: Incoming,
) -> Result<Reply, BoxError> {
    if request.method == Method::POST {
        return Ok(open(shared, target, faults));
    }
    let id = target.last.parse().unwrap_or(0);
    let Some(upload) = shared.store.lock().unwrap().uploads.get(&id).cloned() else {
        return Ok(Reply::error(404, "BLOB_UPLOAD_UNKNOWN"));
    };
    let too_large = shared.rules.max_body.is_some_and(|most| request.content_length > Some(most));
    match request.method {
        Method::GET => Ok(at(Reply::new(204, ""), target, id, upload.size)),
        Method::DELETE => {
            shared.store.lock().unwrap().uploads.remove(&id);
            Ok(Reply::new(204, ""))
        }
        Method::PATCH | Method::PUT if too_large => {
            tokio::spawn(body.collect());
            Ok(Reply::new(413, "<html>too large</html>"))
        }
        Method::PUT if shared.rules.takes_chunks_alone && request.content_length > Some(0) => {
            tokio::spawn(body.collect());
            Ok(Reply::error(405, "UNSUPPORTED"))
        }
        Method::PATCH | Method::PUT if !in_order(target, request, upload.size) => {
            Ok(Reply::error(416, "RANGE_INVALID"))
        }
        Method::PATCH => {
            let least = shared.rules.min_chunk.unwrap_or(0);
            if upload.short {
                return Ok(Reply::error(400, "SIZE_INVALID"));
            }
            let mut upload = take_in(shared, id, upload, faults, body).await?;
            upload.short = request.content_length < Some(least);
            let size = upload.size;
            shared.store.lock().unwrap().uploads.insert(id, upload);
            Ok(at(Reply::new(202, ""), target, id, size))
        }
        Method::PUT => {
            let upload = take_in(shared, id, upload, faults, body).await?;
            Ok(finish(shared, target, id, upload))
        }
        _ => Ok(Reply::error(405, "UNSUPPORTED")),
    }
}

fn open(shared: &Shared, target: &Target, faults: &[Fault]) -> Reply {
    let mut store = shared.store.lock().unwrap();
    if shared.rules.repositories_are_created_first && !store.created.contains(&target.repository) {
        return Reply::error(404, "NAME_UNKNOWN");
    }
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
    let reply = at(Reply::new(202, ""), target, id, 0);
    match shared.rules.min_chunk {
        Some(bytes) => reply.with("oci-chunk-min-length", &bytes),
        None => reply,
    }
}

/// An answer that tells where an upload is, and where it goes on: at another URL each time, as
/// distribution's does.
fn at(reply: Reply, target: &Target, id: u64, size: u64) -> Reply {
    let location = format!("/v2/{}/blobs/uploads/{id}?_state={size}", target.repository);
    reply.with("location", &location).with("range", &format!("0-{}", size.max(1) - 1))
}

/// Whether what comes follows what is here, by the URL and by its range.
fn in_order(target: &Target, request: &Recorded, size: u64) -> bool {
    let state = target.parameter("_state").and_then(|state| state.parse().ok());
    let range = request.content_range.as_deref().and_then(|range| range.split_once('-'));
    let begin = range.map(|(begin, end)| {
        let (begin, end): (u64, u64) = (begin.parse().unwrap(), end.parse().unwrap());
        assert_eq!(request.content_length, Some(end + 1 - begin), "the range has another length");
        begin
    });
    state == Some(size) && begin.is_none_or(|begin| begin == size)
}

/// The upload with the request's body.
async fn take_in(
    shared: &Shared,
    id: u64,
    mut upload: Upload,
    faults: &[Fault],
    body: Incoming,
) -> Result<Upload, BoxError> {
    let mut taken = faults.iter().find_map(|fault| match fault {
        Fault::TakeOnly(bytes) => Some(usize::try_from(*bytes).unwrap()),
        _ => None,
    });
    let came = read_body(body, faults, |mut piece: Bytes| {
        shared.uploaded_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        if let Some(left) = &mut taken {
            piece.truncate(*left);
            *left -= piece.len();
        }
        upload.add(&piece, shared.dropped_above);
    });
    match came.await {
        Ok(()) => Ok(upload),
        Err(error) => {
            // It may have been given up before the cut is seen here.
            let mut store = shared.store.lock().unwrap();
            let known = store.uploads.get_mut(&id).filter(|_| shared.rules.keeps_what_was_cut);
            if let Some(known) = known {
                *known = upload;
            }
            Err(error)
        }
    }
}

fn finish(shared: &Shared, target: &Target, id: u64, upload: Upload) -> Reply {
    let hashed = to_digest(upload.context.finish().as_ref());
    let stated = target.parameter("digest").and_then(|digest| digest.parse::<Digest>().ok());
    let Some(digest) = stated.filter(|stated| shared.trusting || *stated == hashed) else {
        return Reply::error(400, "DIGEST_INVALID");
    };
    let content = if upload.size > shared.dropped_above {
        Content::Dropped(upload.size)
    } else {
        Content::Bytes(upload.kept.freeze())
    };
    let mut store = shared.store.lock().unwrap();
    store.uploads.remove(&id);
    store.repository(&target.repository).blobs.insert(digest.clone(), content);
    Reply::new(201, "").with("docker-content-digest", &digest)
}
