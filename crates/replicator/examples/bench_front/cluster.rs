//! What a large cluster asks, in an open loop: on connections that stay and on new ones, while
//! hardly anything is copied and while many copies run, with few and with many images in the ledger.

use std::path::Path;
use std::time::Duration;

use http::Method;
use tempfile::TempDir;
use testkit::{Certificates, Fault, Image, Kind, Postgres, ScriptedRegistry, When, media};

use crate::connection::Place;
use crate::load::{self, Manner, Outcome};
use crate::questions::{Mix, Question};
use crate::replicator::{Installation, Replicator};
use crate::{fixed, rows};

/// Questions a second on connections that stay, and on new ones.
const LOADS: [(Manner, &str, u32); 2] =
    [(Manner::KeepAlive, "keep-alive", 2_000), (Manner::Anew, "new connections", 200)];

/// Images in the ledger.
const ROWS: [u64; 2] = [1_000, 1_000_000];

/// Copies that run meanwhile, each at this rate: together 50 MiB/s, half of a line of 1 Gbit/s.
const COPIES: u64 = 50;
const BYTES_PER_SECOND: u64 = 1024 * 1024;

/// Workers beyond these, for the new images.
const OTHER_WORKERS: u64 = 4;

/// Long enough for everything that is measured while the copies run.
const COPY_TIME: Duration = Duration::from_secs(40);

/// Questions that nobody counts, so that memory has what is asked for often.
const WARM_UP: Duration = Duration::from_secs(3);

/// Prints a table; each of its lines is a load of so long a `time`.
pub(crate) async fn run(binary: &Path, time: Duration) {
    assert!(2 * time + WARM_UP < COPY_TIME, "the copies do not last that long");
    println!("- each load: {} s\n", time.as_secs());
    println!(
        "| ledger | rows | meanwhile | load | p50 ms | p99 ms | max ms | 429 | wrong | load's own lag, p99 ms | CPU µs a trigger |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let certificates = Certificates::new();
    let place = Place::new(fixed::start(&certificates).await, &certificates);
    for (manner, name, per_second) in LOADS {
        let questions = std::iter::repeat_with(Question::to_anybody);
        let questions = questions.take(count(per_second, time)).collect();
        let outcome = load::run(&place, manner, per_second, questions).await;
        println!("| none: a fixed answer | | | {name}, {per_second}/s | {} | |", outcome.cells());
    }
    let postgres = Postgres::start_durable().expect("PostgreSQL: scripts/install-tools.sh");
    for rows in ROWS {
        let folder = TempDir::new().expect("a temporary folder");
        let url = format!("sqlite:{}/ledger.db", folder.path().display());
        measure(binary, &certificates, ("SQLite", &url), rows, time).await;
    }
    for rows in ROWS {
        let url = postgres.database(&format!("ledger_{rows}"));
        measure(binary, &certificates, ("PostgreSQL", &url), rows, time).await;
    }
}

fn count(per_second: u32, time: Duration) -> usize {
    usize::try_from(u64::from(per_second) * time.as_secs()).expect("a load of minutes")
}

/// All loads on one ledger.
async fn measure(
    binary: &Path,
    certificates: &Certificates,
    (store, ledger_url): (&str, &str),
    rows: u64,
    time: Duration,
) {
    let source = ScriptedRegistry::builder().tls(certificates).start().await;
    let target = ScriptedRegistry::builder().tls(certificates).drop_uploads_above(0).start().await;
    let root = format!("{}/mirror", target.host());
    let of_registry =
        |host: String| format!("  \"{host}\":\n    ca: CA\n    requests_at_once: 200\n");
    let rest = format!(
        "target:\n  root: {root}\nregistries:\n{}{}rules:\n- name: all\n  sources: '**'\ncopy:\n  workers: {}\n  referrers: {{enabled: false}}\n",
        of_registry(source.host()),
        of_registry(target.host()),
        COPIES + OTHER_WORKERS,
    );
    let installation = Installation::new(binary, certificates, ledger_url, &rest);
    // It makes the tables.
    drop(installation.start().await);
    rows::fill(ledger_url, rows, &root).await;

    let replicator = installation.start().await;
    let place = Place::new(installation.port, certificates);
    let mut mix = Mix::new(rows, new_images(source.clone()));
    let mut ask = async |manner, per_second, time| {
        let questions = (0..count(per_second, time)).map(|_| mix.next()).collect();
        load::run(&place, manner, per_second, questions).await
    };
    let (manner, _, per_second) = LOADS[0];
    ask(manner, per_second, WARM_UP).await;
    for meanwhile in ["new images alone", "50 copies"] {
        if meanwhile == "50 copies" {
            begin_copies(&place, &source, &target).await;
        }
        for (manner, name, per_second) in LOADS {
            let cpu_before = replicator.cpu();
            let outcome = ask(manner, per_second, time).await;
            let cpu = cpu_each(&replicator, cpu_before, &outcome);
            println!(
                "| {store} | {rows} | {meanwhile} | {name}, {per_second}/s | {} | {cpu:.0} |",
                outcome.cells()
            );
        }
    }
    assert!(target.open_uploads() >= COPIES as usize, "the copies ended too early");
}

/// Microseconds of the processor for each question, whatever else ran.
fn cpu_each(replicator: &Replicator, before: Duration, outcome: &Outcome) -> f64 {
    (replicator.cpu() - before).as_secs_f64() * 1e6 / f64::from(outcome.count())
}

/// Small images at the source, each of which nobody has heard of.
fn new_images(source: ScriptedRegistry) -> impl FnMut() -> String {
    let image = Image::new(&[b"small"]);
    let mut number = 0;
    move || {
        number += 1;
        let repository = format!("shop/new-{number}");
        source.push(&image, &repository, "1");
        format!("{}/{repository}:1", source.host())
    }
}

/// Begins copies of large images from a slow source, and waits until each is under way.
async fn begin_copies(place: &Place, source: &ScriptedRegistry, target: &ScriptedRegistry) {
    let slow = When::each(Method::GET, Kind::Blob).of("/large-");
    source.script(slow, Fault::Pace { bytes_per_second: BYTES_PER_SECOND });
    let ask = |number| {
        // No two have the same layer.
        let layer = testkit::Content::Made(BYTES_PER_SECOND * COPY_TIME.as_secs() + number);
        let repository = format!("shop/large-{number}");
        source.push(&Image::of(media::MANIFEST, media::LAYER, vec![layer]), &repository, "1");
        Question::about_new(&format!("{}/{repository}:1", source.host()))
    };
    let questions = (0..COPIES).map(ask).collect();
    load::run(place, Manner::KeepAlive, 1_000, questions).await;
    while target.open_uploads() < COPIES as usize {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
