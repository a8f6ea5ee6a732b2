//! Connections, and the faults on the way out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Shared;
use super::fault::Fault;
use super::log::Recorded;
use super::routes;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// How much of a slow body comes at once: what fits in one TLS record.
const PACED_BYTES: usize = 16 * 1024;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Pieces = std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

/// An answer before faults.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) length: u64,
    pub(super) body: Box<dyn Iterator<Item = Bytes> + Send>,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let length = body.len() as u64;
        Self { status, headers: Vec::new(), length, body: Box::new(std::iter::once(body)) }
    }

    /// An OCI error.
    pub(super) fn error(status: u16, code: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": code.to_lowercase()}]});
        Self::new(status, body.to_string()).with("content-type", "application/json")
    }

    pub(super) fn with(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let tls = shared.tls.lock().unwrap().clone().map(tokio_rustls::TlsAcceptor::from);
        tokio::spawn(async move {
            let _ = socket.set_nodelay(true);
            let service = service_fn(|request| answer(Arc::clone(&shared), request));
            // A connection that a fault or a client cuts ends in an error: nothing to report.
            let _ = match tls {
                Some(tls) => {
                    let Ok(socket) = tls.accept(socket).await else { return };
                    http1::Builder::new().serve_connection(TokioIo::new(socket), service).await
                }
                None => http1::Builder::new().serve_connection(TokioIo::new(socket), service).await,
            };
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError> {
    let text = |name| {
        let value = request.headers().get(name)?;
        value.to_str().ok().map(ToOwned::to_owned)
    };
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let recorded = Recorded {
        method: request.method().clone(),
        kind: routes::kind_of(&path),
        authorization: text(header::AUTHORIZATION),
        range: text(header::RANGE),
        content_range: text(header::CONTENT_RANGE),
        content_length: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        path,
    };
    shared.log.lock().unwrap().push(recorded.clone());
    let faults = shared.script.lock().unwrap().take(&recorded);
    for fault in &faults {
        match fault {
            Fault::Delay(time) => tokio::time::sleep(*time).await,
            Fault::Silence => tokio::time::sleep(FOR_EVER).await,
            Fault::Drop => return Err("scripted: no answer".into()),
            Fault::RevokeTokens => shared.access.revoke(),
            _ => {}
        }
    }
    let early = faults.iter().find_map(|fault| match fault {
        Fault::Early(status, headers) => Some((*status, headers)),
        _ => None,
    });
    if let Some((status, headers)) = early {
        tokio::spawn(request.into_body().collect());
        let mut reply = Reply::new(status, "");
        reply.headers.extend(headers.iter().cloned());
        return Ok(faulty(reply, &[]));
    }
    let replaced = faults.iter().find_map(|fault| match fault {
        Fault::Answer(status, headers, body) => Some((*status, headers, body)),
        _ => None,
    });
    let reply = match replaced {
        Some((status, headers, body)) => {
            // As real servers do: a client that is still sending would lose the answer.
            read_body(request.into_body(), &faults, |_| {}).await?;
            let mut reply = Reply::new(status, body.clone());
            reply.headers.extend(headers.iter().cloned());
            reply
        }
        None => routes::route(&shared, recorded.clone(), &faults, request.into_body()).await?,
    };
    for fault in &faults {
        match fault {
            Fault::LateAnswer(time) => tokio::time::sleep(*time).await,
            Fault::LoseAnswer => return Err("scripted: the answer is lost".into()),
            _ => {}
        }
    }
    Ok(faulty(reply, &faults))
}

/// The answer with the faults that touch its head and body.
fn faulty(reply: Reply, faults: &[Fault]) -> Response<UnsyncBoxBody<Bytes, BoxError>> {
    let mut length = Some(reply.length);
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    for (name, value) in &reply.headers {
        let name: HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    let mut pieces: Pieces = stream::iter(reply.body.map(Ok)).boxed();
    for fault in faults {
        pieces = match fault {
            Fault::Cut(after) => {
                up_to(pieces, *after).chain(stream::iter([Err("scripted: cut".into())])).boxed()
            }
            Fault::Stall(after) => up_to(pieces, *after).chain(stream::pending()).boxed(),
            Fault::Pace { bytes_per_second } => paced(pieces, *bytes_per_second),
            Fault::Corrupt(place) => corrupted(pieces, *place),
            Fault::Short(after) => {
                length = None;
                up_to(pieces, *after)
            }
            Fault::ShortLength(after) => {
                length = Some(*after);
                up_to(pieces, *after)
            }
            Fault::Endless => {
                length = None;
                let more = Bytes::from_static(&[b' '; 16 * 1024]);
                pieces.chain(stream::repeat_with(move || Ok(more.clone()))).boxed()
            }
            Fault::Without(name) => {
                response.headers_mut().remove(*name);
                pieces
            }
            Fault::With(name, value) => {
                response.headers_mut().insert(*name, value.parse().unwrap());
                pieces
            }
            _ => pieces,
        };
    }
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    let frames = pieces.map(|piece| piece.map(Frame::data));
    response.map(|()| BodyExt::boxed_unsync(StreamBody::new(frames)))
}

/// The first `bytes` bytes.
fn up_to(pieces: Pieces, bytes: u64) -> Pieces {
    let mut left = usize::try_from(bytes).unwrap();
    let cut = pieces.map(move |piece| {
        piece.map(|mut piece| {
            piece.truncate(left);
            left -= piece.len();
            piece
        })
    });
    cut.take_while(|piece| {
        let more = piece.as_ref().map_or(true, |piece| !piece.is_empty());
        async move { more }
    })
    .boxed()
}

/// The same, as a line of this rate brings it: a little at a time.
fn paced(pieces: Pieces, bytes_per_second: u64) -> Pieces {
    let little = pieces.flat_map(|piece| {
        let mut rest = piece.map(Some);
        stream::iter(std::iter::from_fn(move || match &mut rest {
            Ok(Some(bytes)) if bytes.len() > PACED_BYTES => Some(Ok(bytes.split_to(PACED_BYTES))),
            rest => std::mem::replace(rest, Ok(None)).transpose(),
        }))
    });
    let late = little.then(move |piece| async move {
        let bytes = piece.as_ref().map_or(0, Bytes::len);
        tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / bytes_per_second as f64)).await;
        piece
    });
    late.boxed()
}

/// The same with one bit changed in the byte at `place`.
fn corrupted(pieces: Pieces, place: u64) -> Pieces {
    let mut at = 0;
    let changed = pieces.map(move |piece| {
        piece.map(|piece| {
            let begin = at;
            at += piece.len() as u64;
            if !(begin..at).contains(&place) {
                return piece;
            }
            let mut piece = piece.to_vec();
            piece[usize::try_from(place - begin).unwrap()] ^= 1;
            Bytes::from(piece)
        })
    });
    changed.boxed()
}

/// The body of a request, as far as the faults let it come.
pub(super) async fn read_body(
    mut body: Incoming,
    faults: &[Fault],
    mut each: impl FnMut(Bytes),
) -> Result<(), BoxError> {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        read += data.len() as u64;
        each(data);
        for fault in faults {
            match fault {
                Fault::CutRequest(after) if read >= *after => return Err("scripted: cut".into()),
                Fault::StallRequest(after) if read >= *after => tokio::time::sleep(FOR_EVER).await,
                _ => {}
            }
        }
    }
    Ok(())
}
