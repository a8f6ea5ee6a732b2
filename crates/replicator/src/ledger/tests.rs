//! The ledger on both of its stores. Each scenario is a function of a fresh store; of SQLite each
//! is a test, and all run on one PostgreSQL, since a cluster takes seconds to make.

mod charges;
mod grants;
mod history;
mod inventory;
mod outage;
mod queue;
mod random;
mod removal;
mod replicators;
mod upgrade;
mod uses;

use testkit::Postgres;

use super::testing::*;
use super::*;
use crate::ledger::record::State;
use crate::ledger::work::{Priority, Wish};

/// Makes tests of scenarios.
macro_rules! on_both_stores {
    ($($scenario:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    super::$scenario(&$crate::ledger::testing::Fixture::sqlite().await).await;
                }
            )*
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn on_postgres() {
            let cluster = super::cluster();
            $(
                println!("{}", stringify!($scenario));
                let name = stringify!($scenario);
                let fixture = $crate::ledger::testing::Fixture::postgres(&cluster, name).await;
                super::$scenario(&fixture).await;
            )*
        }
    };
}
use on_both_stores;

fn cluster() -> Postgres {
    Postgres::start().expect("PostgreSQL is not installed: scripts/install-tools.sh does it")
}
