//! Following objects of the cluster: a list, then what changes, for ever. Errors are told at once,
//! and the next try comes after a pause.

use std::fmt;
use std::time::Duration;

use ::kube::core::Status;
use ::kube::runtime::watcher::{self, Config, Event, watcher};
use ::kube::{Api, Error, Resource};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use serde::de::DeserializeOwned;

/// How long one watch lasts; then another one goes on where it ended. A connection that died
/// without a word is found soon after, and two watches a minute are little to an API server.
const WATCH_S: u32 = 30;

/// How long the API server may say nothing: longer than a watch lasts.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(WATCH_S as u64 + 10);

/// How long it may stay unnoticed that nothing is heard any more: until a watch on a connection that
/// died is over (35 s), after a pause, another one does not begin (50 s), which is an error then.
pub(super) const UNNOTICED_MS: i64 = 120_000;

/// The first pause after an error, and the longest one: right after a hiccup it works again, and a
/// cluster in trouble is not made worse.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];

/// The most that is told of what the API server says.
const MAX_TOLD_CHARS: usize = 300;

/// What is told of an answer that is none.
const UNREADABLE: &str = "the API server's answer cannot be read";

/// Why objects are not followed at present: another try is made after a pause.
#[derive(Debug)]
pub(super) struct FollowError(String);

impl fmt::Display for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

struct State<K> {
    /// None where all is to be listed anew.
    events: Option<Events<K>>,
    pauses: ExponentialBackoff,
    /// How long to wait before the next try.
    pause: Duration,
}

/// All objects that `api` has and `config` selects, and what becomes of them. After an error they
/// are followed again from the next [`Event::InitDone`] on.
pub(super) fn follow<K>(
    api: Api<K>,
    config: Config,
) -> impl Stream<Item = Result<Event<K>, FollowError>>
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let config = config.timeout(WATCH_S);
    let state = State { events: None, pauses: pauses(), pause: Duration::ZERO };
    stream::unfold(state, move |mut state| {
        let (api, config) = (api.clone(), config.clone());
        async move {
            loop {
                tokio::time::sleep(std::mem::take(&mut state.pause)).await;
                let events = state
                    .events
                    .get_or_insert_with(|| watcher(api.clone(), config.clone()).boxed());
                match events.next().await? {
                    Ok(event) => {
                        // That a list begins is no sign that it succeeds.
                        if !matches!(event, Event::Init) {
                            state.pauses = pauses();
                        }
                        return Some((Ok(event), state));
                    }
                    Err(error) => {
                        state.pause = state.pauses.next().unwrap_or(PAUSES[1]);
                        let reason = reason(&error);
                        // Of what is told, a list tells that it is over; and where a watch does not
                        // begin, the place where it was to begin may be too old.
                        if reason.is_some() || matches!(error, watcher::Error::WatchStartFailed(_))
                        {
                            state.events = None;
                        }
                        if let Some(reason) = reason {
                            return Some((Err(FollowError(reason)), state));
                        }
                    }
                }
            }
        }
    })
}

fn pauses() -> ExponentialBackoff {
    let [first, longest] = PAUSES;
    let builder = ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest);
    builder.with_jitter().without_max_times().build()
}

/// What is told of an error. Nothing of one that belongs to watching: that a connection ends, or
/// that the API server has forgotten where we were; if that is more, the next try fails, too.
/// Never anything of an object, which may be secret.
fn reason(error: &watcher::Error) -> Option<String> {
    match error {
        watcher::Error::WatchError(status) if is_gone(status) => None,
        watcher::Error::WatchFailed(Error::Api(status))
        | watcher::Error::WatchStartFailed(Error::Api(status))
            if is_gone(status) =>
        {
            None
        }
        watcher::Error::WatchError(status) => Some(answer(status)),
        watcher::Error::WatchFailed(error @ (Error::Api(_) | Error::SerdeError(_)))
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::InitialListFailed(error) => Some(failure(error)),
        watcher::Error::WatchFailed(_) => None,
        watcher::Error::NoResourceVersion => {
            Some("the API server gives its lists no version".to_owned())
        }
    }
}

fn is_gone(status: &Status) -> bool {
    status.code == 410
}

pub(super) fn answer(status: &Status) -> String {
    match status.code {
        // The client takes what it cannot read for an answer without a code.
        0 => UNREADABLE.to_owned(),
        code => format!("the API server answers {code}: {}", shortened(&status.message)),
    }
}

pub(super) fn failure(error: &Error) -> String {
    match error {
        Error::Api(status) => answer(status),
        Error::Service(error) => {
            let mut told = format!("the API server gives no answer: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                told += &format!(": {error}");
                cause = error.source();
            }
            shortened(&told)
        }
        Error::Auth(error) => shortened(&format!("the API server cannot be asked: {error}")),
        Error::SerdeError(_) | Error::FromUtf8(_) => UNREADABLE.to_owned(),
        _ => "the API server's answer ends early".to_owned(),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TOLD_CHARS).collect()
}
