//! The status API: what the page shows as JSON, and the few things that a person with the token
//! may have done.

use axum::Json;
use axum::extract::State;
use futures::{StreamExt, stream};
use protocol::{ImageReference, Namespace, RefusalCode};
use serde::Deserialize;

use super::Status;
use super::answer::{Answer, Body, Problem, Query};
use super::documents::{
    Copy, Failure, Image, ImageDetails, Images, Overview, Prewarm, Prewarmed, PrewarmedImage,
    Request, Retried, Retry, Work,
};
use super::token::Authorized;
use crate::ledger::inventory::{self, Cursor, CursorError, Details, Filter, Page, Seen};
use crate::ledger::record;

/// Images on a page of the inventory, unless asked for otherwise.
const USUAL_PAGE: u32 = 100;

/// The most images that are wanted by one request: more than any chart has, and what is answered
/// within a second or two.
const MAX_PREWARMED: usize = 1_000;

/// Of these, how many are asked for at once. The ledger makes one transaction of those.
const PREWARMED_AT_ONCE: usize = 64;

/// The longest text that is searched for; longer than any reference.
const MAX_SEARCH_CHARS: usize = 512;

/// `GET /api/v1/overview`
pub(super) async fn overview(State(status): State<Status>) -> Answer<Overview> {
    Ok(Json(status.overview().await?))
}

/// What of the inventory is asked for. A field that is empty is as if it were not there: a form
/// sends it so.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ImagesQuery {
    pub(super) namespace: Option<String>,
    pub(super) state: Option<String>,
    pub(super) search: Option<String>,
    pub(super) unreplicated: Option<String>,
    pub(super) in_use: Option<String>,
    pub(super) after: Option<String>,
    pub(super) limit: Option<u32>,
}

impl ImagesQuery {
    /// The same, parsed.
    pub(super) fn filter(&self) -> Result<Filter, Problem> {
        let malformed = |message: String| Problem::new(RefusalCode::Malformed, message);
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let namespace = filled(&self.namespace).map(|name| parse_namespace(&name)).transpose()?;
        let state = filled(&self.state).map(|state| {
            record::State::parse(&state).ok_or_else(|| {
                let states = record::State::ALL.map(record::State::as_str).join(", ");
                malformed(format!("state: it is one of {states}"))
            })
        });
        let search = filled(&self.search);
        if search.as_ref().is_some_and(|search| search.chars().count() > MAX_SEARCH_CHARS) {
            return Err(malformed(format!("search: {MAX_SEARCH_CHARS} characters at most")));
        }
        let is = |key: &str, text: &Option<String>| match filled(text).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(malformed(format!("{key}: true or false"))),
        };
        let unreplicated = is("unreplicated", &self.unreplicated)?;
        let in_use = is("in_use", &self.in_use)?;
        Ok(Filter { namespace, state: state.transpose()?, search, unreplicated, in_use })
    }

    fn after(&self) -> Result<Option<Cursor>, Problem> {
        let after = self.after.as_deref().filter(|after| !after.is_empty());
        after.map(str::parse).transpose().map_err(|error: CursorError| {
            Problem::new(RefusalCode::Malformed, format!("after: {error}"))
        })
    }

    fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(USUAL_PAGE);
        let most = inventory::MAX_PAGE;
        if (1..=most).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::new(RefusalCode::Malformed, format!("limit: a number from 1 to {most}")))
    }
}

/// `GET /api/v1/images`
pub(super) async fn images(
    State(status): State<Status>,
    Query(query): Query<ImagesQuery>,
) -> Answer<Images> {
    Ok(Json(status.images(&query).await?))
}

impl Status {
    /// The source that people mean: they may have a replica's reference, from a pod.
    fn source_of(&self, image: ImageReference) -> ImageReference {
        self.target().source_of(&image).unwrap_or(image)
    }

    /// A page of the inventory.
    pub(super) async fn images(&self, query: &ImagesQuery) -> Result<Images, Problem> {
        let (filter, after, limit) = (query.filter()?, query.after()?, query.limit()?);
        let Page { images, next } =
            self.ledger.images(self.target(), &filter, after, limit).await?;
        let images = images.iter().map(Image::from).collect();
        Ok(Images { images, next: next.map(|next| next.to_string()) })
    }
}

/// Which image is asked for: by its source, or by its replica.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ImageQuery {
    source: String,
}

/// `GET /api/v1/image`
pub(super) async fn image(
    State(status): State<Status>,
    Query(query): Query<ImageQuery>,
) -> Answer<ImageDetails> {
    let image: ImageReference = query
        .source
        .parse()
        .map_err(|error| Problem::new(RefusalCode::Malformed, format!("source: {error}")))?;
    let source = status.source_of(image);
    match status.ledger.image(status.target(), &source).await? {
        Some(details) => Ok(Json(ImageDetails::from(&details))),
        None => Err(nobody_asked(&source)),
    }
}

/// `POST /api/v1/retry`
pub(super) async fn retry(
    State(status): State<Status>,
    Authorized: Authorized,
    Body(Retry { source }): Body<Retry>,
) -> Answer<Retried> {
    let source = status.source_of(source);
    match status.ledger.retry(&source).await? {
        Some(record) => {
            tracing::info!(%source, "a person wants it to be tried again");
            Ok(Json(Retried { source, work: Work::of(&record) }))
        }
        None => Err(nobody_asked(&source)),
    }
}

/// `POST /api/v1/prewarm`
pub(super) async fn prewarm(
    State(status): State<Status>,
    Authorized: Authorized,
    Body(Prewarm { namespace, sources }): Body<Prewarm>,
) -> Answer<Prewarmed> {
    let namespace = parse_namespace(&namespace)?;
    if sources.len() > MAX_PREWARMED {
        let message = format!("sources: {MAX_PREWARMED} at most; ask for the rest by themselves");
        return Err(Problem::new(RefusalCode::Malformed, message));
    }
    let prewarmed = sources.into_iter().map(|source| {
        let (front, namespace) = (&status.front, namespace.clone());
        async move {
            let answer = front.prewarm(namespace, source.clone()).await;
            let (receipt, refusal) = (answer.as_ref().ok(), answer.as_ref().err());
            PrewarmedImage {
                target: receipt.map(|receipt| receipt.target.clone()),
                state: receipt.map(|receipt| receipt.state.to_string()),
                error: refusal.cloned().map(Into::into),
                source,
            }
        }
    });
    let prewarmed: Vec<_> = prewarmed.collect();
    let images = stream::iter(prewarmed).buffered(PREWARMED_AT_ONCE).collect().await;
    Ok(Json(Prewarmed { images }))
}

fn parse_namespace(name: &str) -> Result<Namespace, Problem> {
    name.parse()
        .map_err(|error| Problem::new(RefusalCode::Malformed, format!("namespace: {error}")))
}

fn nobody_asked(source: &ImageReference) -> Problem {
    let message = format!("nobody has asked for {source} yet");
    Problem::new(RefusalCode::NotFound, message)
}

impl From<&Seen> for Image {
    fn from(seen: &Seen) -> Self {
        let Seen { image, record, contents, namespaces, asked, in_use, unreplicated } = seen;
        let (record, contents) = (record.as_ref(), contents.as_ref());
        Self {
            source: image.clone(),
            target: record.map(|record| record.target.clone()),
            state: record.map(|record| record.state),
            digest: record.and_then(|record| record.digest.clone()),
            size_bytes: record.and_then(|record| record.size_bytes),
            platforms: contents.map(|contents| contents.platforms.clone()),
            referrers: contents.and_then(|contents| contents.referrers.clone()),
            signed: contents.and_then(|contents| contents.is_signed),
            namespaces: namespaces.clone(),
            first_asked_ms: asked.map(|(first, _)| first.as_ms()),
            last_asked_ms: asked.map(|(_, last)| last.as_ms()),
            checked_at_ms: record.and_then(|record| record.checked_at).map(|at| at.as_ms()),
            in_use: *in_use,
            unreplicated: *unreplicated,
        }
    }
}

impl From<&Details> for ImageDetails {
    fn from(details: &Details) -> Self {
        let Details { seen, record, requests, copies } = details;
        Self {
            image: Image::from(seen),
            failure: record.failure.as_ref().map(Failure::from),
            attempts: record.attempts,
            work: Work::of(record),
            changed_at_ms: record.changed_at.as_ms(),
            requests: requests.iter().map(Request::from).collect(),
            copies: copies.iter().map(Copy::from).collect(),
        }
    }
}

impl From<&inventory::Request> for Request {
    fn from(request: &inventory::Request) -> Self {
        Self {
            namespace: request.namespace.clone(),
            caller: request.caller.clone(),
            first_at_ms: request.first_at.as_ms(),
            last_at_ms: request.last_at.as_ms(),
            count: request.count,
        }
    }
}

impl From<&inventory::Copied> for Copy {
    fn from(copied: &inventory::Copied) -> Self {
        Self {
            result: copied.result.clone(),
            digest: copied.digest.clone(),
            bytes_moved: copied.bytes_moved,
            began_at_ms: copied.began_at.as_ms(),
            ended_at_ms: copied.ended_at.as_ms(),
            replicator: copied.replicator.clone(),
        }
    }
}
