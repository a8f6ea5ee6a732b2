//! The ledger's SQL URL: which database, and how to get there. May hold a password, so it shows
//! itself to nobody.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::any::AnyConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use url::Url;

/// Parameters that PostgreSQL's driver knows. It would log an unknown one with its value.
const POSTGRES_PARAMETERS: [&str; 15] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// Which engine keeps the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// A file, of which one process is the master.
    Sqlite,
    /// A server, which many replicators can share.
    Postgres,
}

/// A URL such as `sqlite:/var/lib/image-replicator/ledger.db` or
/// `postgres://replicator@db.corp/ledger?sslmode=verify-full`.
#[derive(Clone)]
pub(crate) struct LedgerUrl {
    engine: Engine,
    url: Url,
}

impl LedgerUrl {
    /// Which engine it leads to.
    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    /// The file that it names; None where it leads to a server.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let options = match self.engine {
            Engine::Sqlite => SqliteConnectOptions::from_url(&self.url).ok()?,
            Engine::Postgres => return None,
        };
        Some(options.get_filename().to_owned())
    }

    /// The same, for reading what is there alone: no file is made, no row is written.
    pub(super) fn for_reading(&self) -> Self {
        let mut url = self.url.clone();
        if self.engine == Engine::Sqlite {
            url.set_query(Some("mode=ro"));
        }
        Self { engine: self.engine, url }
    }

    /// For the driver.
    pub(super) fn options(&self) -> Result<AnyConnectOptions, sqlx::Error> {
        sqlx::any::install_default_drivers();
        AnyConnectOptions::from_url(&self.url)
    }
}

impl FromStr for LedgerUrl {
    type Err = LedgerUrlError;

    fn from_str(text: &str) -> Result<Self, LedgerUrlError> {
        let mut url: Url = text.parse().map_err(LedgerUrlError::Syntax)?;
        let engine = match url.scheme() {
            "sqlite" => Engine::Sqlite,
            "postgres" | "postgresql" => Engine::Postgres,
            _ => return Err(LedgerUrlError::Engine),
        };
        match engine {
            Engine::Sqlite if url.query().is_none() => url.set_query(Some("mode=rwc")),
            Engine::Sqlite => {}
            Engine::Postgres => {
                let is_known =
                    |key: &str| POSTGRES_PARAMETERS.contains(&key) || key.starts_with("options[");
                if let Some((key, _)) = url.query_pairs().find(|(key, _)| !is_known(key)) {
                    return Err(LedgerUrlError::Parameter(key.chars().take(32).collect()));
                }
            }
        }
        Ok(Self { engine, url })
    }
}

/// Only which engine: the rest can hold a password.
impl fmt::Debug for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerUrl({:?}, ..)", self.engine)
    }
}

/// Why a text is no ledger's URL. Repeats nothing of it that could be a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LedgerUrlError {
    /// Not a URL at all.
    #[error("it is not a URL: {0}; write `sqlite:/PATH` or `postgres://USER@HOST/DATABASE`")]
    Syntax(url::ParseError),
    /// Some other database.
    #[error("it begins with neither `sqlite:` nor `postgres:`")]
    Engine,
    /// A parameter that the driver does not know.
    #[error("PostgreSQL's driver knows no parameter '{0}'")]
    Parameter(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_told_by_the_scheme() {
        let engine = |text: &str| text.parse::<LedgerUrl>().map(|url| url.engine());
        assert_eq!(engine("sqlite:/var/lib/ledger.db"), Ok(Engine::Sqlite));
        assert_eq!(engine("postgres://r@db.corp/ledger?sslmode=require"), Ok(Engine::Postgres));
        assert_eq!(engine("postgresql:///ledger?host=/run/postgresql"), Ok(Engine::Postgres));
        assert_eq!(engine("mysql://r@db.corp/ledger"), Err(LedgerUrlError::Engine));
        assert_eq!(
            engine("postgres://db.corp/l?sslmodus=require"),
            Err(LedgerUrlError::Parameter("sslmodus".to_owned()))
        );
    }

    #[test]
    fn case_24_a_password_is_neither_shown_nor_in_an_error() {
        let url: LedgerUrl = "postgres://r:hunter2@db.corp/ledger".parse().unwrap();
        assert_eq!(format!("{url:?}"), "LedgerUrl(Postgres, ..)");
        for text in [
            "postgres://r:hunter2@db.corp:port/ledger",
            "postgres://r:hunter2@db.corp/ledger?pasword=hunter2",
            "mysql://r:hunter2@db.corp/ledger",
            "r:hunter2@db.corp/ledger",
            "hunter2",
        ] {
            let error = text.parse::<LedgerUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
