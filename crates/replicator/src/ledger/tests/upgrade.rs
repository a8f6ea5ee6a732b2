//! Ledgers of other releases. Those of earlier ones, of each schema that there ever was, hold rows
//! as they were written then: after this release has opened them all is known, and goes on. One of
//! a later release is refused.
//!
//! Who adds a table adds its rows to [`rows`], and what is to be known of them to [`assert_known`].

use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, Connection};

use super::*;
use crate::ledger::charge::Charge;
use crate::ledger::grant::{Identity, Right};

static MIGRATIONS: Migrator = sqlx::migrate!();

#[tokio::test(flavor = "multi_thread")]
async fn each_schema_in_sqlite_is_brought_up_to_date() {
    for version in versions() {
        let store = Fixture::sqlite().await;
        assert_known(&older(&store, version).await, &store, version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_schema_in_postgresql_is_brought_up_to_date() {
    let cluster = cluster();
    for version in versions() {
        let store = Fixture::postgres(&cluster, &format!("version_{version}")).await;
        assert_known(&older(&store, version).await, &store, version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_a_later_release_in_sqlite_is_refused() {
    assert_later_is_refused(&Fixture::sqlite().await, "x'00'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_a_later_release_in_postgresql_is_refused() {
    let cluster = cluster();
    assert_later_is_refused(&Fixture::postgres(&cluster, "later").await, "'\\x00'").await;
}

/// The last migration of each schema that a release had.
fn versions() -> impl Iterator<Item = i64> {
    MIGRATIONS.iter().map(|migration| migration.version)
}

/// A ledger that has just been opened, and whose rows are of a schema before.
async fn older(store: &Fixture, version: i64) -> Ledger {
    let options = store.settings().url.options().unwrap();
    let mut connection = AnyConnection::connect_with(&options).await.unwrap();
    MIGRATIONS.run_to(version, &mut connection).await.unwrap();
    connection.close().await.unwrap();
    for statement in rows(version) {
        store.run(&statement).await;
    }
    store.open().await
}

/// What a replicator wrote whose last migration was this.
fn rows(version: i64) -> Vec<String> {
    let digest = format!("'sha256:{}'", "a".repeat(64));
    let (no, yes) = if version == 1 { ("FALSE", "TRUE") } else { ("0", "1") };
    let replica = |tag: &str, state: &str, more: &[(&str, &str)]| {
        let (source, target) = (format!("'{}'", source(tag)), format!("'{}'", target(tag)));
        let state = format!("'{state}'");
        let mut columns = vec![
            ("source", source.as_str()),
            ("target", &target),
            ("state", &state),
            ("changed_at_ms", "1000"),
            ("revision", "3"),
        ];
        if version >= 2 {
            columns.extend([("registry", "'docker.io'"), ("namespace", "'shop'")]);
            columns.extend([("priority", "1"), ("claims", "1")]);
        }
        columns.extend(more);
        if columns.iter().all(|(name, _)| *name != "attempts") {
            columns.push(("attempts", "0"));
        }
        let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        format!("INSERT INTO replicas ({}) VALUES ({})", names.join(", "), values.join(", "))
    };
    let (waits, copying, checked): (&[_], &[_], &[_]) = if version == 1 {
        (&[("due_at_ms", "1000")], &[], &[])
    } else {
        (
            &[("turn", "1"), ("since_ms", "1000")],
            &[("lease_owner", "'gone'"), ("since_ms", "1000")],
            &[("checked_at_ms", "1000")],
        )
    };
    let charged: &[_] =
        if version >= 8 { &[("charged_to", "'shop'"), ("charged_bytes", "42")] } else { &[] };
    let size = [("digest", digest.as_str()), ("size_bytes", "42")];
    let is_there = [&size, checked, charged].concat();
    let failure = |code, message, is_lasting, more: &[_]| {
        let failure = [("failure_code", code), ("failure_message", message)];
        let side = [("failure_side", "'source'"), ("failure_is_lasting", is_lasting)];
        [&failure, &side, more].concat()
    };
    let failed = [("attempts", "3"), ("due_at_ms", "1000001")];
    let mut rows = vec![
        replica("wanted", "wanted", waits),
        replica("copying", "copying", copying),
        replica("present", "present", &is_there),
        replica("failed", "failed", &failure("'failed'", "'it is away'", no, &failed)),
        replica("refused", "refused", &failure("'not-found'", "'it has none'", yes, &[])),
    ];
    if version >= 2 {
        let stale = failure("'failed'", "'it is away'", no, &is_there);
        rows.push(replica("stale", "stale", &stale));
        rows.push("INSERT INTO replicators (id, until_ms) VALUES ('gone', 2000)".into());
    }
    if version >= 3 {
        let source = source("present");
        rows.push(format!(
            "INSERT INTO requests (source, namespace, caller, first_at_ms, last_at_ms, count) \
             VALUES ('{source}', 'shop', 'policy', 1000, 2000, 7)"
        ));
        rows.push(format!(
            "INSERT INTO copies (source, claim, replicator, result, digest, bytes_moved, \
             began_at_ms, ended_at_ms) VALUES ('{source}', 1, 'gone', 'copied', {digest}, 42, 1000, 2000)"
        ));
        rows.push(format!(
            "INSERT INTO blob_places (registry, digest, repository, seen_at_ms) \
             VALUES ('registry.corp', {digest}, 'docker.io/library/nginx', 1000)"
        ));
    }
    if version >= 4 {
        rows.push(
            "INSERT INTO grants (source, identity, verdict, reason, asked_at_ms, until_ms) \
             VALUES ('docker.io/library/nginx', 'hub', 'denied', 'not for you', 1000000, 2000000)"
                .into(),
        );
    }
    rows
}

async fn assert_known(ledger: &Ledger, store: &Fixture, version: i64) {
    let known = async |tag: &str| {
        let record = ledger.find(&source(tag)).await.unwrap();
        record.unwrap_or_else(|| panic!("{tag} is not known of version {version}"))
    };
    let present = known("present").await;
    assert_eq!((present.state, &present.target), (State::Present, &target("present")));
    assert_eq!(present.digest, Some(format!("sha256:{}", "a".repeat(64)).parse().unwrap()));
    assert_eq!(present.size_bytes, Some(42));
    assert_eq!(present.checked_at, Some(Timestamp::from_ms(1_000)));
    // Whoever asked for it pays for it; the first schema does not say who that was.
    let (payer, in_all) = if version == 1 { ("unknown", 42) } else { ("shop", 84) };
    let payer = payer.parse().unwrap();
    assert_eq!(ledger.charged(&payer, &[]).await.unwrap(), in_all);
    assert_eq!(present.charge, Some(Charge { namespace: payer, bytes: 42 }));
    let refused = known("refused").await;
    let failure = refused.failure.as_ref().unwrap();
    assert_eq!(refused.state, State::Refused);
    assert_eq!((failure.message.as_str(), failure.is_lasting), ("it has none", true));
    let failed = known("failed").await;
    let failure = failed.failure.as_ref().unwrap();
    assert_eq!((failed.state, failed.attempts), (State::Failed, 3));
    assert_eq!((failure.message.as_str(), failure.is_lasting), ("it is away", false));
    if version >= 2 {
        let stale = known("stale").await;
        assert_eq!((stale.state, &stale.digest), (State::Stale, &present.digest));
    }

    // What waited and what was under way is copied now, what failed when it is due, and what was
    // refused when somebody asks.
    let mut order = [next(ledger).await, next(ledger).await];
    order.sort_unstable();
    assert_eq!(order, ["copying", "wanted"], "of version {version}");
    assert_eq!(claim(ledger).await, None);
    store.pass(Duration::from_millis(1)).await;
    assert_eq!(next(ledger).await, "failed");
    assert_eq!(ledger.want(ask("refused")).await.unwrap().state, State::Refused);
    assert_eq!(next(ledger).await, "refused");

    if version >= 3 {
        let requests = store.rows("SELECT source, namespace, count FROM requests").await;
        assert!(requests.contains(&format!("{} shop 7", source("present"))), "{requests:?}");
        let copies = store.rows("SELECT source, result, bytes_moved FROM copies").await;
        assert_eq!(copies, [format!("{} copied 42", source("present"))]);
        let registry = "registry.corp".parse().unwrap();
        let place = ledger.places().find(&registry, present.digest.as_ref().unwrap());
        assert_eq!(place, Some("docker.io/library/nginx".parse().unwrap()));
    }
    if version >= 4 {
        let grants = ledger.grants(&(&source("present")).into()).await.unwrap();
        let hub = Identity::Named("hub".parse().unwrap());
        let standing = grants.standing(&hub, None, ledger.now(), ledger.remember());
        assert_eq!(standing.right, Right::Denied("not for you".into()));
    }
}

/// What comes first; what a replicator that is gone was at is given back in the background.
async fn next(ledger: &Ledger) -> String {
    let patience = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(tag) = claim(ledger).await {
            return tag;
        }
        assert!(std::time::Instant::now() < patience, "nothing comes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn assert_later_is_refused(store: &Fixture, no_bytes: &str) {
    drop(store.open().await);
    store
        .run(&format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'later', TRUE, {no_bytes}, 0)"
        ))
        .await;
    let error = Ledger::open(store.settings(), Clock::system()).await.unwrap_err().to_string();
    assert!(error.contains("written by a newer release"), "{error}");
}
