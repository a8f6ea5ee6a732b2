//! Notifications: tells others by HTTP how copies ended, so that a scanner can start, say.
//!
//! ```text
//! event        what is told, and when there is something to tell; pure
//! receiver     who is told, as the configuration has it
//!   address    where, as a URL that holds no secret
//!   signature  how a receiver knows that it is from us
//! delivery     one receiver's queue: again and again, until it has it or it is too late
//! ```
//!
//! A worker puts an event into the queue of each receiver and goes on: one that is slow or away
//! holds up nobody. What does not fit is dropped and counted. Nothing of it is on disk; what is on
//! record is the ledger, and the audit record.

mod address;
mod delivery;
mod event;
pub(crate) mod receiver;
mod signature;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::ending::Ending;
use crate::label::Label;
use crate::metrics::Metrics;
use delivery::{Delivery, Pace};
use event::{Event, Kind, Notice};
use receiver::Receiver;

/// Notifications that wait for one receiver, a KiB each. At ten copies a second they last through
/// a restart of it.
const WAITING_NOTIFICATIONS: usize = 1_000;

/// How long what waits may take when the process ends: the time that uploads have, too.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);

/// Where events are put. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notifier {
    /// The `source` of all events.
    origin: Arc<str>,
    inboxes: Arc<[Inbox]>,
}

/// The end of a receiver's queue.
#[derive(Debug)]
struct Inbox {
    name: Label,
    events: Vec<Kind>,
    notices: mpsc::Sender<Arc<Notice>>,
    /// Whether the last notice found no room, so that a gap is told once in the log.
    is_full: AtomicBool,
    metrics: Metrics,
}

/// What sends them.
#[derive(Debug)]
pub(crate) struct Deliveries {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    closing: Duration,
}

impl Notifier {
    /// Begins to tell `receivers` of replicas below `target`; `clock` is what they compare theirs
    /// with.
    pub(crate) fn begin(
        receivers: Vec<Receiver>,
        target: &protocol::TargetRoot,
        metrics: &Metrics,
        clock: &Clock,
    ) -> (Self, Deliveries) {
        Self::paced(receivers, target, metrics, clock, Pace::default())
    }

    fn paced(
        receivers: Vec<Receiver>,
        target: &protocol::TargetRoot,
        metrics: &Metrics,
        clock: &Clock,
        pace: Pace,
    ) -> (Self, Deliveries) {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let mut inboxes = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            metrics.notifications().begin(&receiver.name);
            let (notices, waiting) = mpsc::channel(pace.waiting);
            inboxes.push(Inbox {
                name: receiver.name.clone(),
                events: receiver.events.clone(),
                notices,
                is_full: AtomicBool::new(false),
                metrics: metrics.clone(),
            });
            let (metrics, clock) = (metrics.clone(), clock.clone());
            let delivery = Delivery { receiver, metrics, clock, pace };
            tasks.spawn(delivery.run(waiting, stop.clone()));
        }
        let origin = event::origin(target);
        (
            Self { origin, inboxes: inboxes.into() },
            Deliveries { tasks, stop, closing: pace.closing },
        )
    }

    /// Tells all who want to know, if there is something to tell. Returns at once.
    pub(crate) fn tell(&self, ending: &Ending<'_>) {
        let Some(event) = Event::of(ending) else { return };
        let mut notice = None;
        for inbox in self.inboxes.iter().filter(|inbox| inbox.events.contains(&event.kind)) {
            inbox.put(Arc::clone(
                notice.get_or_insert_with(|| Arc::new(event.notice(&self.origin))),
            ));
        }
    }

    /// Waits until what waits is delivered, for a short while. Nobody tells anything any more.
    pub(crate) async fn close(self, mut deliveries: Deliveries) {
        drop(self);
        let all = async { while deliveries.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(deliveries.closing, all).await.is_err() {
            deliveries.stop.cancel();
            while deliveries.tasks.join_next().await.is_some() {}
        }
    }
}

impl Inbox {
    fn put(&self, notice: Arc<Notice>) {
        if self.notices.try_send(notice).is_ok() {
            self.is_full.store(false, Ordering::Relaxed);
            return;
        }
        self.metrics.notifications().dropped(&self.name, 1);
        if !self.is_full.swap(true, Ordering::Relaxed) {
            let receiver = self.name.as_str();
            tracing::error!(
                receiver,
                "notifications are dropped: the receiver is away or too slow"
            );
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
