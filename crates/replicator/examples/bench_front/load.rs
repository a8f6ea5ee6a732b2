//! An open loop: questions come when they are due, whatever became of those before them, and each
//! one's time counts from when it was due. So a stall counts for all that it held up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::connection::{BoxError, Connection, Place};
use crate::questions::Question;
use crate::{ms, percentile};

/// Clients at once: those of a few policy servers. A question that finds none free waits, and its
/// time runs.
const CLIENTS: usize = 64;

/// How clients connect.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    /// One connection for all questions.
    KeepAlive,
    /// As a Kubewarden host: for each question a new TLS connection, and `GET /v2/` before it.
    Anew,
}

struct Due {
    at: Instant,
    question: Question,
}

/// What became of a load.
#[derive(Default)]
pub(crate) struct Outcome {
    /// From when each question was due to its answer, sorted.
    times: Vec<Duration>,
    /// Answers 429.
    shed: usize,
    /// Wrong answers, and none at all.
    wrong: usize,
    /// By how much the load was late at asking, sorted.
    lags: Vec<Duration>,
}

/// Asks these questions, so many a second.
pub(crate) async fn run(
    place: &Place,
    manner: Manner,
    per_second: u32,
    questions: Vec<Question>,
) -> Outcome {
    let (due, waiting) = mpsc::unbounded_channel();
    let waiting = Arc::new(Mutex::new(waiting));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(client(place.clone(), manner, Arc::clone(&waiting))))
        .collect();
    // A thread of its own: the runtime's clock ticks in whole milliseconds.
    let clock = std::thread::spawn(move || keep_time(per_second, questions, &due));
    let mut outcome = Outcome::default();
    for client in clients {
        outcome.add(client.await.expect("a client does not panic"));
    }
    outcome.lags = clock.join().expect("the clock does not panic");
    outcome.lags.sort_unstable();
    outcome.times.sort_unstable();
    outcome
}

/// Hands each question out when it is due. Returns by how much that was late.
fn keep_time(
    per_second: u32,
    questions: Vec<Question>,
    due: &UnboundedSender<Due>,
) -> Vec<Duration> {
    let begin = Instant::now();
    let hand_out = |(number, question): (u32, Question)| {
        let at = begin + Duration::from_secs(1) * number / per_second;
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let _ = due.send(Due { at, question });
        at.elapsed()
    };
    (0..).zip(questions).map(hand_out).collect()
}

async fn client(
    place: Place,
    manner: Manner,
    waiting: Arc<Mutex<UnboundedReceiver<Due>>>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = None;
    loop {
        let next = waiting.lock().await.recv().await;
        let Some(Due { at, question }) = next else { return outcome };
        let answer = ask(&place, manner, &mut connection, &question).await;
        outcome.times.push(at.elapsed());
        match answer {
            Ok(StatusCode::TOO_MANY_REQUESTS) => outcome.shed += 1,
            Ok(StatusCode::OK) => {}
            Ok(_) | Err(_) => {
                outcome.wrong += 1;
                connection = None;
            }
        }
    }
}

/// The answer's status; an error where it is not a right one.
async fn ask(
    place: &Place,
    manner: Manner,
    connection: &mut Option<Connection>,
    question: &Question,
) -> Result<StatusCode, BoxError> {
    let mut open = match (manner, connection.take()) {
        (Manner::KeepAlive, Some(open)) => open,
        (Manner::KeepAlive, None) => Connection::open(place).await?,
        (Manner::Anew, _) => {
            let mut open = Connection::open(place).await?;
            open.ping().await?;
            open
        }
    };
    let (status, body) = open.get(&question.path).await?;
    *connection = Some(open);
    if status == StatusCode::OK && !question.is_answered_by(&body) {
        return Err("a wrong answer".into());
    }
    Ok(status)
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.shed += other.shed;
        self.wrong += other.wrong;
    }

    /// p50, p99 and the longest time; the shares of 429 and of wrong answers; how late the load was.
    pub(crate) fn cells(&self) -> String {
        let percent = |count: usize| 100.0 * count as f64 / self.times.len() as f64;
        format!(
            "{:.2} | {:.2} | {:.2} | {:.2} % | {:.2} % | {:.2}",
            ms(percentile(&self.times, 50)),
            ms(percentile(&self.times, 99)),
            ms(percentile(&self.times, 100)),
            percent(self.shed),
            percent(self.wrong),
            ms(percentile(&self.lags, 99)),
        )
    }

    /// How many questions were asked.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.times.len()).expect("a load of minutes")
    }
}
