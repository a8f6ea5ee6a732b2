//! Time for copies that are mostly waiting: it passes only while nothing else can happen.
//!
//! Tokio's paused clock alone would jump over bytes that are still on their way through the
//! kernel. So it goes on by small steps, each after a breath of real time in which nothing came.
//! A machine that is busy with something else makes the copies slow, and never late.

use std::future::Future;
use std::time::Duration;

/// How far the clock goes at once: a small part of the shortest timeout in a copy.
const STEP: Duration = Duration::from_millis(25);

/// How long, in real time, nothing must have happened before.
const BREATH: Duration = Duration::from_micros(300);

/// Runs something by such a clock, with all its tasks in this thread; they end with it.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        tokio::spawn(go_on());
        work.await
    })
}

/// A paused clock stands still as long as a blocking task runs.
async fn go_on() {
    loop {
        tokio::task::spawn_blocking(|| std::thread::sleep(BREATH)).await.unwrap();
        tokio::time::sleep(STEP).await;
    }
}
