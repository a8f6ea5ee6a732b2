//! What a trigger costs: `just bench-front`. It asks the real binary, and beside it a server that
//! answers everything with one fixed manifest; the difference is ours.
//!
//! `calls` makes one call after the other, with the client that Kubewarden's hosts use; `cluster`
//! asks what a large cluster asks, however long the answers take. Each prints a table in Markdown.

#![allow(clippy::panic, reason = "a benchmark fails by panicking")]

mod calls;
mod cluster;
mod connection;
mod fixed;
mod load;
mod questions;
mod replicator;
mod rows;

use std::path::Path;
use std::time::Duration;

const USAGE: &str = "usage: bench_front PATH-OF-IMAGE-REPLICATOR calls|cluster";

/// How long each load is, unless LOAD_S says another number of seconds.
const LOAD: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (binary, what) = (arguments.next().expect(USAGE), arguments.next().expect(USAGE));
    let binary = Path::new(&binary);
    let time = std::env::var("LOAD_S").ok().map_or(LOAD, |seconds| {
        Duration::from_secs(seconds.parse().expect("LOAD_S is a number of seconds"))
    });
    match what.as_str() {
        "calls" => calls::run(binary).await,
        "cluster" => cluster::run(binary, time).await,
        _ => panic!("{USAGE}"),
    }
}

/// Of sorted times.
fn percentile(times: &[Duration], part: usize) -> Duration {
    times[(times.len() - 1) * part / 100]
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
