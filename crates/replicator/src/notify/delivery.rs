//! One receiver's queue: each notification in its turn, again and again, until the receiver has
//! it, says that it will never take it, or it is too late.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::event::Notice;
use super::receiver::Receiver;
use super::{LAST_DELIVERIES, WAITING_NOTIFICATIONS};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// The media type of a CloudEvent in JSON, by which a receiver knows the structured mode.
const CLOUDEVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json");

/// How long a receiver may take to answer, as Standard Webhooks recommends: it is to take an event
/// in, not to work on it.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// How long a notification is tried: what is older is of no use to a scanner that looks for itself
/// once a day, and what comes after it has waited long enough.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60 * 60);

/// The pauses between tries, with jitter: soon after a restart, seldom in an outage.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// The longest `Retry-After` that is believed: a wrong one must not silence us for a day.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) waiting: usize,
    pub(super) answer: Duration,
    pub(super) give_up: Duration,
    pub(super) first_pause: Duration,
    pub(super) last_pause: Duration,
    pub(super) closing: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            waiting: WAITING_NOTIFICATIONS,
            answer: ANSWER_TIME,
            give_up: GIVE_UP_AFTER,
            first_pause: FIRST_PAUSE,
            last_pause: LAST_PAUSE,
            closing: LAST_DELIVERIES,
        }
    }
}

/// Sends to one receiver.
pub(super) struct Delivery {
    pub(super) receiver: Receiver,
    pub(super) metrics: Metrics,
    /// What the receiver compares its clock with.
    pub(super) clock: Clock,
    pub(super) pace: Pace,
}

/// Why a receiver does not have a notification.
#[derive(Debug, thiserror::Error)]
enum NotDelivered {
    /// It may take it later.
    #[error("{reason}")]
    Yet { reason: String, after: Duration },
    /// It never will.
    #[error("{0}")]
    Ever(String),
}

impl NotDelivered {
    /// The pause before the next try: what was asked for, where it is longer than ours.
    fn pause(&self, ours: Duration) -> Duration {
        match self {
            Self::Yet { after, .. } => ours.max((*after).min(LONGEST_PAUSE)),
            Self::Ever(_) => ours,
        }
    }
}

impl Delivery {
    /// Sends what comes until there is nobody left who could tell anything, or `stop`.
    pub(super) async fn run(
        self,
        mut waiting: mpsc::Receiver<Arc<Notice>>,
        stop: CancellationToken,
    ) {
        let receiver = self.receiver.name.as_str();
        let mut lost = 0;
        while let Some(Some(notice)) = stop.run_until_cancelled(waiting.recv()).await {
            match stop.run_until_cancelled(self.deliver(&notice)).await {
                Some(Ok(())) => self.metrics.notifications().delivered(&self.receiver.name),
                Some(Err(error)) => {
                    self.metrics.notifications().failed(&self.receiver.name);
                    let (id, host) = (&notice.id, &self.receiver.address);
                    tracing::error!(receiver, %host, id, "a notification is given up: {error}");
                }
                None => lost = 1,
            }
        }
        lost += waiting.len();
        if lost > 0 {
            self.metrics.notifications().dropped(&self.receiver.name, lost as u64);
            tracing::warn!(receiver, lost, "notifications are lost, as the replicator ends");
        }
    }

    async fn deliver(&self, notice: &Notice) -> Result<(), NotDelivered> {
        let Pace { give_up, first_pause, last_pause, .. } = self.pace;
        let pauses = ExponentialBuilder::new()
            .with_min_delay(first_pause)
            .with_max_delay(last_pause)
            .with_jitter()
            .without_max_times();
        let until = notice.told_at + give_up;
        let try_once = || self.send(notice);
        try_once
            .retry(pauses)
            .when(|error| matches!(error, NotDelivered::Yet { .. }))
            .adjust(|error, pause| {
                let pause = pause.map(|pause| error.pause(pause));
                pause.filter(|pause| Instant::now() + *pause < until)
            })
            .notify(|error, pause| {
                let receiver = self.receiver.name.as_str();
                let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                let id = &notice.id;
                tracing::warn!(receiver, id, pause_ms, "a notification is sent again: {error}");
            })
            .await
    }

    async fn send(&self, notice: &Notice) -> Result<(), NotDelivered> {
        let Receiver { address, poster, .. } = &self.receiver;
        let (headers, body) = (self.headers(notice), notice.body.clone());
        let sent = poster.current().post(address.url(), headers, body, self.pace.answer).await;
        let later = |reason, after| Err(NotDelivered::Yet { reason, after });
        match sent {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) if may_pass(answer.status) => {
                let reason = format!("it answers {}: {}", answer.status, answer.words);
                later(reason, answer.retry_after.unwrap_or_default())
            }
            Ok(answer) if answer.status.is_redirection() => Err(NotDelivered::Ever(
                "it redirects, which is not followed: write down where it is".to_owned(),
            )),
            Ok(answer) => {
                let reason = format!("it answers {}: {}", answer.status, answer.words);
                Err(NotDelivered::Ever(reason))
            }
            Err(reason) => later(reason, Duration::ZERO),
        }
    }

    /// The id is the same for each try, the time and so the signature another one.
    fn headers(&self, notice: &Notice) -> HeaderMap {
        let time_s = self.clock.now().as_ms().div_euclid(1000);
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, CLOUDEVENT)]);
        let mut add = |name: &'static str, value: &str| {
            // Hexadecimal digits, a number, and base64: all legal.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        add("webhook-id", &notice.id);
        add("webhook-timestamp", &time_s.to_string());
        if let Some(secrets) = &self.receiver.secrets {
            let signature = secrets.current().sign(&notice.id, time_s, &notice.body);
            add("webhook-signature", &signature);
        }
        headers
    }
}

/// Whether a receiver that answers so may take the same later: it is overloaded or not there yet,
/// or has yet to hear of a changed secret.
fn may_pass(status: StatusCode) -> bool {
    let passing = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::CONFLICT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_server_error() || passing.contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_left_alone_for_as_long_as_it_asks_within_bounds() {
        let pause = |after_s| {
            let after = Duration::from_secs(after_s);
            let error = NotDelivered::Yet { reason: String::new(), after };
            error.pause(Duration::from_secs(2)).as_secs()
        };
        assert_eq!((pause(0), pause(1), pause(30)), (2, 2, 30));
        assert_eq!(pause(24 * 60 * 60), LONGEST_PAUSE.as_secs());
    }
}
