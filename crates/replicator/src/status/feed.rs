//! How things stand, as it changes: one snapshot for all who listen, made while somebody does.
//! Listeners hear it by server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};
use protocol::RefusalCode;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::Status;
use super::answer::Problem;
use super::documents::Overview;
use super::live;

/// How often a snapshot is made at most: as often as a person sees a bar move.
const EVERY: Duration = Duration::from_secs(1);

/// After a snapshot, for how many times as long as it took none is made: so looking on takes a
/// tenth of one connection to the ledger at most, whatever its size.
const REST_FACTOR: u32 = 9;

/// Those who may listen at once: whole teams. Each costs a connection, and what has changed.
pub(super) const MAX_LISTENERS: usize = 64;

/// How long one may listen before its browser connects anew, which it does by itself: so one that
/// is gone without a word is not counted for ever.
const LISTEN_TIME: Duration = Duration::from_secs(15 * 60);

/// After which time a browser connects anew.
const RECONNECT: Duration = Duration::from_secs(2);

/// How things stood at a moment.
struct Snapshot {
    /// As JSON.
    json: Arc<str>,
    /// As the page has it.
    sections: Vec<(&'static str, Arc<str>)>,
}

/// Makes snapshots for those who listen. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Feed(Arc<Shared>);

struct Shared {
    /// None until there is one.
    newest: watch::Sender<Option<Arc<Snapshot>>>,
    places: Arc<Semaphore>,
    is_running: Mutex<bool>,
    /// Ends all that listen.
    closing: CancellationToken,
}

impl Feed {
    /// One that ends with `closing`: the listener waits for the connections that it has.
    pub(crate) fn new(closing: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            newest: watch::Sender::new(None),
            places: Arc::new(Semaphore::new(MAX_LISTENERS)),
            is_running: Mutex::new(false),
            closing,
        }))
    }

    /// What there is to hear: the newest snapshot at once, or soon, and each one after it that
    /// there is time for.
    fn listen(
        &self,
        status: &Status,
    ) -> Result<impl Stream<Item = Arc<Snapshot>> + use<>, Problem> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().map_err(|_| {
            let message = format!("{MAX_LISTENERS} look on already; close a page somewhere");
            Problem::new(RefusalCode::TooMany, message).retry_after(RECONNECT)
        })?;
        let mut is_running = self.is_running();
        if !std::mem::replace(&mut *is_running, true) {
            self.0.newest.send_replace(None);
            tokio::spawn(self.clone().run(status.clone()));
        }
        let mut newest = self.0.newest.subscribe();
        drop(is_running);
        newest.mark_changed();
        let closing = self.0.closing.clone();
        let end = async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = tokio::time::sleep(LISTEN_TIME) => {}
            }
        };
        Ok(stream::unfold((newest, place), next).take_until(Box::pin(end)))
    }

    /// Makes snapshots until nobody listens.
    async fn run(self, status: Status) {
        loop {
            let begin = Instant::now();
            match status.overview().await {
                Ok(overview) => {
                    let snapshot = Snapshot::of(&overview, status.keeper.has_token());
                    self.0.newest.send_replace(Some(Arc::new(snapshot)));
                }
                Err(error) => tracing::warn!(%error, "nobody hears how things stand"),
            }
            let rest = EVERY.max(begin.elapsed() * REST_FACTOR);
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.0.closing.cancelled() => return,
            }
            let mut is_running = self.is_running();
            if self.0.newest.receiver_count() == 0 {
                *is_running = false;
                return;
            }
        }
    }

    fn is_running(&self) -> MutexGuard<'_, bool> {
        self.0.is_running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Listening = (watch::Receiver<Option<Arc<Snapshot>>>, OwnedSemaphorePermit);

/// The newest snapshot that was not heard yet.
async fn next((mut newest, place): Listening) -> Option<(Arc<Snapshot>, Listening)> {
    loop {
        newest.changed().await.ok()?;
        let snapshot = newest.borrow_and_update().clone();
        if let Some(snapshot) = snapshot {
            return Some((snapshot, (newest, place)));
        }
    }
}

impl Snapshot {
    fn of(overview: &Overview, has_token: bool) -> Self {
        let sections = live::sections(overview, has_token).into_iter();
        Self {
            // Maps with keys of text alone: this cannot fail.
            json: serde_json::to_string(overview).unwrap_or_default().into(),
            sections: sections.map(|(id, html)| (id, html.into_string().into())).collect(),
        }
    }

    /// What is not in `known`, which has it afterwards.
    fn news(&self, known: &mut HashMap<&'static str, Arc<str>>) -> Vec<(&'static str, Arc<str>)> {
        let is_news = |(id, html): &&(&'static str, Arc<str>)| known.get(id) != Some(html);
        let news: Vec<_> = self.sections.iter().filter(is_news).cloned().collect();
        known.extend(news.iter().cloned());
        news
    }
}

/// `GET /api/v1/events`: each snapshot as an event `overview`.
pub(super) async fn overviews(State(status): State<Status>) -> Result<impl IntoResponse, Problem> {
    let events = status.feed.listen(&status)?;
    Ok(sent(events.map(|snapshot| Event::default().event("overview").data(&*snapshot.json))))
}

/// `GET /live`: the parts of the page that have changed, as events `sections`.
pub(super) async fn sections(State(status): State<Status>) -> Result<impl IntoResponse, Problem> {
    let mut known = HashMap::new();
    let events = status.feed.listen(&status)?.map(move |snapshot| {
        let news = snapshot.news(&mut known);
        let html: serde_json::Map<_, _> =
            news.iter().map(|(id, html)| ((*id).to_owned(), json!(&**html))).collect();
        let event = Event::default().event("sections");
        event.data(serde_json::Value::Object(html).to_string())
    });
    Ok(sent(events))
}

fn sent(events: impl Stream<Item = Event> + Send + 'static) -> impl IntoResponse {
    let events = events.map(|event| Ok::<_, Infallible>(event.retry(RECONNECT)));
    Sse::new(events).keep_alive(KeepAlive::default())
}
