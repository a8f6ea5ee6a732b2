//! Images that a ledger knows already, written by bulk SQL while no replicator runs.

use std::time::SystemTime;

use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

use crate::questions::known_source;

/// Writes `rows` images that are there and were looked at just now, each asked for once.
pub(crate) async fn fill(ledger_url: &str, rows: u64, target_root: &str) {
    install_default_drivers();
    let mut connection =
        AnyConnection::connect(ledger_url).await.expect("the ledger that the replicator made");
    let now_ms = SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970").as_millis();
    let numbers = format!(
        "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {rows})"
    );
    let source = known_source(0).replacen('0', "' || n || '", 1);
    let zeros = "0".repeat(64);
    let replicas = format!(
        "{numbers} INSERT INTO replicas (source, target, state, digest, size_bytes, attempts, \
         registry, namespace, priority, claims, checked_at_ms, changed_at_ms, revision) \
         SELECT '{source}', '{target_root}/{source}', 'present', \
         'sha256:' || substr('{zeros}' || n, length('{zeros}' || n) - 63), 30000000, 0, \
         'docker.io', 'shop', 1, 1, {now_ms}, {now_ms}, 3 FROM numbers"
    );
    let requests = format!(
        "{numbers} INSERT INTO requests (source, namespace, caller, first_at_ms, last_at_ms, count) \
         SELECT '{source}', 'shop', 'policy', {now_ms}, {now_ms}, 1 FROM numbers"
    );
    // Public, as the source says: no right is to be found out.
    let until_ms = now_ms + 3_600_000;
    let repository = source.rsplit_once(':').map_or(source.as_str(), |(repository, _)| repository);
    let grants = format!(
        "{numbers} INSERT INTO grants (source, identity, verdict, reason, asked_at_ms, until_ms) \
         SELECT DISTINCT '{repository}', '', 'allowed', '', {now_ms}, {until_ms} FROM numbers"
    );
    // What either store would do by itself, in its own time.
    let tidy = if ledger_url.starts_with("sqlite:") {
        ["PRAGMA wal_checkpoint(TRUNCATE)"].as_slice()
    } else {
        &["VACUUM ANALYZE", "CHECKPOINT"]
    };
    for sql in [replicas.as_str(), &requests, &grants].iter().chain(tidy) {
        connection.execute(AssertSqlSafe((*sql).to_owned())).await.expect("the ledger takes rows");
    }
}
