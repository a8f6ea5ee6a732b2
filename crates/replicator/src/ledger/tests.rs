use std::sync::atomic::AtomicI64;

use protocol::{RefusalCode, Side};
use tempfile::TempDir;

use super::record::Failure;
use super::*;
use crate::clock::Timestamp;

struct Fixture {
    directory: TempDir,
    now_ms: Arc<AtomicI64>,
}

impl Fixture {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), now_ms: Arc::new(AtomicI64::new(1_000)) }
    }

    async fn open(&self) -> Ledger {
        let path = self.directory.path().join("ledger.db");
        let now_ms = Arc::clone(&self.now_ms);
        let clock = Clock::of(move || Timestamp::from_ms(now_ms.load(Ordering::Relaxed)));
        Ledger::open(&format!("sqlite:{}", path.display()), clock).await.unwrap()
    }

    fn pass(&self, duration: Duration) {
        self.now_ms.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

fn source(tag: &str) -> ImageReference {
    format!("nginx:{tag}").parse().unwrap()
}

fn target(tag: &str) -> ImageReference {
    format!("registry.corp/docker.io/library/nginx:{tag}").parse().unwrap()
}

fn copied() -> Settlement {
    let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    Settlement::Copied { digest, size_bytes: 42 }
}

fn failed(message: &str, not_before: Duration) -> Settlement {
    let failure = Failure {
        code: RefusalCode::Failed,
        side: Side::Target,
        message: message.to_owned(),
        is_lasting: false,
    };
    Settlement::Failed { failure, not_before }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let fixture = Fixture::new();
    let ledger = fixture.open().await;
    assert_eq!(ledger.find(&source("1")).await.unwrap(), None);
    ledger.want(source("1"), target("1")).await.unwrap();
    ledger.claim(usize::MAX).await.unwrap().unwrap();
    let present = ledger.settle(source("1"), copied()).await.unwrap().unwrap();
    ledger.want(source("2"), target("2")).await.unwrap();
    ledger.claim(usize::MAX).await.unwrap().unwrap();
    let failed =
        ledger.settle(source("2"), failed("it's \"gone\"", Duration::ZERO)).await.unwrap().unwrap();
    drop(ledger);

    let ledger = fixture.open().await;
    assert_eq!(ledger.find(&source("1")).await.unwrap(), Some(present));
    assert_eq!(ledger.find(&source("2")).await.unwrap(), Some(failed));
}

#[tokio::test]
async fn a_copy_under_way_at_the_end_is_wanted_at_the_next_start() {
    let fixture = Fixture::new();
    let ledger = fixture.open().await;
    ledger.want(source("1"), target("1")).await.unwrap();
    assert_eq!(ledger.claim(usize::MAX).await.unwrap().unwrap().state, State::Copying);
    assert_eq!(ledger.claim(usize::MAX).await.unwrap(), None);
    drop(ledger);

    let ledger = fixture.open().await;
    assert_eq!(ledger.find(&source("1")).await.unwrap().unwrap().state, State::Wanted);
    assert_eq!(ledger.claim(usize::MAX).await.unwrap().unwrap().source, source("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_14_a_burst_for_one_image_is_one_copy() {
    let ledger = Fixture::new().open().await;
    let asked = (0..500).map(|_| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.want(source("1"), target("1")).await.unwrap() })
    });
    for asked in asked.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap().revision, 1);
    }
    let claims = (0..8).map(|_| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.claim(usize::MAX).await.unwrap() })
    });
    let mut claimed = 0;
    for claim in claims.collect::<Vec<_>>() {
        claimed += usize::from(claim.await.unwrap().is_some());
    }
    assert_eq!(claimed, 1);
}

#[tokio::test]
async fn the_one_due_longest_is_claimed_first_and_none_before_it_is_due() {
    let fixture = Fixture::new();
    let ledger = fixture.open().await;
    ledger.want(source("1"), target("1")).await.unwrap();
    fixture.pass(Duration::from_millis(5));
    ledger.want(source("2"), target("2")).await.unwrap();
    assert_eq!(ledger.claim(usize::MAX).await.unwrap().unwrap().source, source("1"));
    ledger.settle(source("1"), failed("no", Duration::from_secs(10))).await.unwrap();
    assert_eq!(ledger.claim(usize::MAX).await.unwrap().unwrap().source, source("2"));
    assert_eq!(ledger.claim(usize::MAX).await.unwrap(), None);
    fixture.pass(Duration::from_secs(10));
    assert_eq!(ledger.claim(usize::MAX).await.unwrap().unwrap().source, source("1"));
}

#[tokio::test]
async fn one_registry_gets_so_many_claims_and_no_more() {
    let ledger = Fixture::new().open().await;
    let other: ImageReference = "docker.io.example/nginx:1".parse().unwrap();
    for tag in ["1", "2", "3"] {
        ledger.want(source(tag), target(tag)).await.unwrap();
    }
    ledger.want(other.clone(), target("other")).await.unwrap();
    for expected in [source("1"), source("2"), other] {
        assert_eq!(ledger.claim(2).await.unwrap().unwrap().source, expected);
    }
    assert_eq!(ledger.claim(2).await.unwrap(), None);
    ledger.settle(source("2"), Settlement::HandedBack).await.unwrap();
    assert_eq!(ledger.claim(1).await.unwrap(), None);
    assert!(ledger.claim(2).await.unwrap().is_some());
    assert_eq!(ledger.claim(2).await.unwrap(), None);
}

#[tokio::test]
async fn memory_keeps_the_newer_of_two_readings() {
    let ledger = Fixture::new().open().await;
    let old = ledger.want(source("1"), target("1")).await.unwrap();
    let new = ledger.claim(usize::MAX).await.unwrap().unwrap();
    ledger.shared.remember(&old);
    assert_eq!(ledger.find(&source("1")).await.unwrap(), Some(new));
}

#[tokio::test]
async fn waiting_for_work_ends_when_some_comes() {
    let ledger = Fixture::new().open().await;
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.wait_for_work(Duration::from_secs(60)).await }
    });
    ledger.want(source("1"), target("1")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn states_are_counted() {
    let ledger = Fixture::new().open().await;
    for tag in ["1", "2", "3"] {
        ledger.want(source(tag), target(tag)).await.unwrap();
    }
    ledger.claim(usize::MAX).await.unwrap();
    let mut counts = ledger.count_by_state().await.unwrap();
    counts.sort_by_key(|(state, _)| state.as_str());
    assert_eq!(counts, [(State::Copying, 1), (State::Wanted, 2)]);
}

#[tokio::test]
async fn a_ledger_of_a_later_release_is_refused() {
    let fixture = Fixture::new();
    drop(fixture.open().await);
    let path = fixture.directory.path().join("ledger.db");
    let url = format!("sqlite:{}", path.display());
    let pool = SqlitePool::connect(&url).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let error = Ledger::open(&url, Clock::system()).await.unwrap_err().to_string();
    assert!(error.contains("does not fit this release"), "{error}");
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_an_error_at_start() {
    let error = Ledger::open("sqlite:/nowhere/ledger.db", Clock::system()).await.unwrap_err();
    assert!(error.to_string().contains("the ledger's database failed"), "{error}");
}
