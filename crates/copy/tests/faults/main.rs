//! Random faults at random points of copies of random images, and what holds all the same: no
//! wrong byte at the target, and each copy right or with an error that tells the side and
//! whether to try again.
//!
//! ```text
//! plan         one copy, made of a seed and an index: image, target, access, faults
//!   images       random images
//!   mischief     the kinds of faults, and what they may do to a copy
//! one          the copy by its plan, and again without faults
//!   clock        waiting costs no time
//!   invariants   what holds after it
//! summary      what was met
//! ```
//!
//! `FAULTS_SEED` and `FAULTS_COPIES` choose the run, `FAULTS_COPY` one copy of it. A copy has
//! registries, client and generator of its own, so that it goes the same way alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clock;
#[path = "../common/mod.rs"]
mod common;
mod images;
mod invariants;
mod mischief;
mod one;
mod plan;
mod summary;

use std::fmt::Write;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use one::Report;
use plan::Plan;
use summary::Summary;

/// In a run of so many copies each kind of fault has to be met, and each sight seen.
const COPIES: u64 = 1_000;

/// The first few tell what is wrong.
const FAILURES_SHOWN: usize = 3;

#[derive(Default)]
struct Found {
    summary: Summary,
    failures: Vec<String>,
}

#[test]
fn each_copy_is_right_or_tells_why_not() {
    let seed = number("FAULTS_SEED").unwrap_or(1);
    let indexes = match number("FAULTS_COPY") {
        Some(index) => index..index + 1,
        None => 0..number("FAULTS_COPIES").unwrap_or(COPIES),
    };
    let Found { summary, failures } = run_all(seed, indexes);
    println!("seed {seed}: {summary}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let not_met = summary.not_met();
    assert!(summary.copies < COPIES || not_met.is_empty(), "never met: {not_met:?}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    let number = text.parse();
    assert!(number.is_ok(), "{variable} is to be a number, not {text:?}");
    number.ok()
}

/// Copies on all cores, each thread taking the next index.
fn run_all(seed: u64, indexes: Range<u64>) -> Found {
    let found = Mutex::new(Found::default());
    let next = AtomicU64::new(indexes.start);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let is_enough = found.lock().unwrap().failures.len() >= FAILURES_SHOWN;
            if index >= indexes.end || is_enough {
                return;
            }
            let plan = Plan::new(seed, index);
            // The client's jitter comes from the thread's generator.
            fastrand::seed(seed ^ index);
            let report = clock::run(one::run(&plan));
            let mut found = found.lock().unwrap();
            found.summary.add(&report);
            if !report.violations.is_empty() {
                found.failures.push(describe(seed, index, &plan, &report));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap()
}

fn describe(seed: u64, index: u64, plan: &Plan, report: &Report) -> String {
    let mut text = format!("copy {index}, alone: FAULTS_COPY={index} just faults {seed}\n{plan}");
    for line in &report.violations {
        writeln!(text, "{line}").unwrap();
    }
    text
}
