//! What the ledger's tests share: sources, wishes, how copies end, and a store of either kind.

use protocol::{RefusalCode, Side};
use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe, Executor, Row};
use tempfile::TempDir;
use testkit::Postgres;

use super::record::Failure;
use super::work::{Priority, Wish};
use super::*;

/// How long a sign of life holds in tests: so long that none is given behind a test's back.
pub(crate) const TEST_LEASE: Duration = Duration::from_secs(3_600);

pub(crate) fn source(tag: &str) -> ImageReference {
    format!("nginx:{tag}").parse().unwrap()
}

pub(crate) fn target(tag: &str) -> ImageReference {
    format!("registry.corp/docker.io/library/nginx:{tag}").parse().unwrap()
}

pub(crate) fn asker(namespace: &str) -> Asker {
    Asker { namespace: namespace.parse().unwrap(), caller: "policy".into() }
}

/// What a pod asks for in namespace `shop`, which waits.
pub(crate) fn ask(tag: &str) -> Ask {
    let max_age = Some(Duration::from_secs(3_600));
    let wish = Wish { target: target(tag), priority: Priority::Now, max_age };
    Ask { source: source(tag), wish, asker: asker("shop") }
}

pub(crate) fn copied() -> Settlement {
    copied_as('a')
}

pub(crate) fn copied_as(digit: char) -> Settlement {
    let digest = format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap();
    Settlement::Copied { digest, size_bytes: 42, contents: None, charge: None }
}

pub(crate) fn failed(message: &str, not_before: Duration) -> Settlement {
    let failure = Failure {
        code: RefusalCode::Failed,
        side: Side::Source,
        message: message.to_owned(),
        is_lasting: false,
    };
    Settlement::Failed { failure, not_before }
}

pub(crate) fn refused() -> Settlement {
    lasting(RefusalCode::NotFound, "no such image")
}

pub(crate) fn denied() -> Settlement {
    lasting(RefusalCode::Denied, "not for you")
}

fn lasting(code: RefusalCode, message: &str) -> Settlement {
    let (side, message) = (Side::Source, message.to_owned());
    let failure = Failure { code, side, message, is_lasting: true };
    Settlement::Failed { failure, not_before: Duration::ZERO }
}

/// One store, made for one test, with a clock that the test turns by hand.
pub(crate) struct Fixture {
    pub(crate) url: String,
    now_ms: Arc<AtomicI64>,
    sql: AnyPool,
    _directory: Option<TempDir>,
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        let directory = TempDir::new().unwrap();
        let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
        Self::new(url, Some(directory)).await
    }

    /// PostgreSQL's clock is one of its functions; in this database it is one of ours.
    pub(crate) async fn postgres(cluster: &Postgres, name: &str) -> Self {
        let url = cluster.database(name);
        let begin = Self::BEGIN_MS;
        cluster.sql(
            name,
            &format!(
                "CREATE SCHEMA ledger; CREATE TABLE ledger.clock AS SELECT {begin}::bigint AS ms; \
                 CREATE FUNCTION ledger.clock_timestamp() RETURNS timestamptz LANGUAGE sql \
                 VOLATILE AS 'SELECT to_timestamp(ms / 1000.0) FROM ledger.clock'; \
                 ALTER DATABASE {name} SET search_path = ledger, pg_catalog"
            ),
        );
        Self::new(url, None).await
    }

    const BEGIN_MS: i64 = 1_000_000;

    async fn new(url: String, directory: Option<TempDir>) -> Self {
        let options = url.parse::<LedgerUrl>().unwrap().options().unwrap();
        let sql = AnyPool::connect_lazy_with(options);
        Self { url, now_ms: Arc::new(Self::BEGIN_MS.into()), sql, _directory: directory }
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.url.starts_with("postgres")
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { lease: TEST_LEASE, ..Settings::new(self.url.parse().unwrap()) }
    }

    pub(crate) async fn open(&self) -> Ledger {
        self.open_with(self.settings()).await
    }

    pub(crate) async fn open_with(&self, settings: Settings) -> Ledger {
        Ledger::open(settings, self.clock_ahead(Duration::ZERO)).await.unwrap()
    }

    /// The clock of a process, wrong by so much.
    pub(crate) fn clock_ahead(&self, ahead: Duration) -> Clock {
        let now_ms = Arc::clone(&self.now_ms);
        Clock::of(move || Timestamp::from_ms(now_ms.load(Ordering::Relaxed)) + ahead)
    }

    /// Lets time pass for processes alone.
    pub(crate) fn pass_for_processes(&self, duration: Duration) {
        let ms = i64::try_from(duration.as_millis()).unwrap();
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Lets time pass, for processes and database alike.
    pub(crate) async fn pass(&self, duration: Duration) {
        self.pass_for_processes(duration);
        if self.is_shared() {
            let ms = duration.as_millis();
            self.run(&format!("UPDATE clock SET ms = ms + {ms}")).await;
        }
    }

    /// The clocks of processes and database are set back.
    pub(crate) async fn set_back(&self, duration: Duration) {
        let ms = i64::try_from(duration.as_millis()).unwrap();
        self.now_ms.fetch_sub(ms, Ordering::Relaxed);
        if self.is_shared() {
            self.run(&format!("UPDATE clock SET ms = ms - {ms}")).await;
        }
    }

    pub(crate) async fn run(&self, statement: &str) {
        self.sql.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    }

    /// The rows of a query of texts and numbers, each as its values with blanks between them.
    pub(crate) async fn rows(&self, query: &str) -> Vec<String> {
        let rows = self.sql.fetch_all(AssertSqlSafe(query.to_owned())).await.unwrap();
        let value = |row: &AnyRow, column: usize| {
            let number = row.try_get::<i64, _>(column).map(|number| number.to_string());
            number.unwrap_or_else(|_| row.try_get::<String, _>(column).unwrap())
        };
        let row = |row: &AnyRow| {
            let values: Vec<_> = (0..row.len()).map(|column| value(row, column)).collect();
            values.join(" ")
        };
        rows.iter().map(row).collect()
    }
}

/// A sign of life, as housekeeping gives one now and then.
pub(crate) async fn live(ledger: &Ledger) {
    housekeeping::live(&ledger.shared, &ledger.commands).await;
}

/// Claims what comes first, and settles it.
pub(crate) async fn work_once(ledger: &Ledger, settlement: Settlement) -> Arc<Record> {
    let claimed = ledger.claim(usize::MAX).await.unwrap().unwrap();
    ledger.settle(claimed.ticket().unwrap(), settlement, 7, None).await.unwrap().unwrap()
}

/// Claims what comes first, and returns the tag of its source.
pub(crate) async fn claim(ledger: &Ledger) -> Option<String> {
    let claimed = ledger.claim(usize::MAX).await.unwrap();
    claimed.map(|record| record.source.tag().unwrap().to_string())
}
