//! The ledger: whether it can be read, and is one that this release knows. Writes nothing.

use super::{Finding, Patient, clock};
use crate::ledger::{Checkup, LedgerError};

pub(super) async fn look(patient: &Patient) -> Vec<Finding> {
    let checkup = match Checkup::of(&patient.config.ledger.url).await {
        Ok(checkup) => checkup,
        Err(error) => return vec![unreadable(patient, &error)],
    };
    let Checkup { version, known, .. } = checkup;
    let mut findings = vec![match version {
        None => Finding::ok("ledger", "ledger", "there is none yet: it is made at the start"),
        Some(version) if version > known => {
            let found = format!("its schema is {version}, and this release knows {known}");
            let next = "use the newer release, or restore a backup from before it";
            Finding::fail("ledger", "ledger", found, next)
        }
        Some(version) if version < known => {
            let found = format!("its schema is {version}, and becomes {known} at the next start");
            Finding::ok("ledger", "ledger", found)
        }
        Some(version) => Finding::ok("ledger", "ledger", format!("its schema is {version}")),
    }];
    if checkup.is_read_only {
        let next = "let `ledger` lead to the primary, with a user that may write";
        findings.push(Finding::fail("ledger", "ledger", "the database takes no writes", next));
    }
    if let Some(theirs) = checkup.now {
        findings.push(clock("PostgreSQL", theirs, patient.clock.now()));
    }
    findings
}

fn unreadable(patient: &Patient, error: &LedgerError) -> Finding {
    let next = match patient.config.ledger.url.file() {
        Some(_) => "restore a backup, or take the file away: an empty ledger is made then",
        None => "look whether the database runs, and mend address, user and password in `ledger`",
    };
    match error {
        LedgerError::Unreachable(_) | LedgerError::Busy => {
            Finding::away("ledger", "ledger", error, next)
        }
        _ => Finding::fail("ledger", "ledger", error, next),
    }
}
