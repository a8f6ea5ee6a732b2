//! What is looked at, in the order in which it is told: first what is on this machine, then what
//! is elsewhere.

mod cluster;
pub(super) mod configuration;
mod disk;
mod front;
mod ledger;
mod programs;
mod receivers;
mod registries;
mod rules;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt;
use protocol::ImageReference;
use registry::{Client, ClientConfig, RetryPolicy, Timeouts};

use super::{Check, Finding};
use crate::clock::{Clock, Timestamp};
use crate::commands::{Exit, Failure};
use crate::config::Config;

/// How long a registry may be silent: who looks is a person who waits.
const SILENCE: Duration = Duration::from_secs(8);

/// By how much clocks may differ. Tokens are renewed 30 s before their end, and receivers of
/// notifications take none that is five minutes old.
const SMALL_SKEW: Duration = Duration::from_secs(30);
const LARGE_SKEW: Duration = Duration::from_secs(4 * 60);

/// A source on a host that nobody can have (RFC 2606), so that its replica is nobody's.
const TRIAL_SOURCE: &str = "image-replicator.invalid/doctor:trial";

/// Who is looked at.
pub(super) struct Patient {
    /// Where the configuration is.
    path: PathBuf,
    config: Config,
    /// Asks registries, each once.
    pub(super) client: Client,
    clock: Clock,
    /// A replica of a source that there cannot be: where the rights at the target are tried.
    trial: ImageReference,
}

impl Patient {
    pub(super) fn new(path: PathBuf, config: Config, clock: Clock) -> Result<Self, Failure> {
        let client = Client::new(ClientConfig {
            registries: config.registries.named.clone(),
            timeouts: Timeouts { connect: SILENCE, idle: SILENCE, commit: SILENCE },
            retry: RetryPolicy { attempts: 1, ..RetryPolicy::default() },
            ..ClientConfig::default()
        });
        let client = client.map_err(|error| Failure::new(Exit::Usage, error))?;
        let source: ImageReference = TRIAL_SOURCE.parse().expect("it is a legal reference");
        let trial = config.target.replica_of(&source);
        let trial = trial.map_err(|error| Failure::new(Exit::Usage, error))?.reference;
        Ok(Self { path, config, client, clock, trial })
    }
}

/// All that there is to look at.
pub(super) fn all(patient: &Patient) -> Vec<Check<'_>> {
    let here = |name, look| Check { name, subject: "this machine".to_owned(), look };
    let known = |name, findings| here(name, async { findings }.boxed_local());
    let mut checks = vec![
        known("configuration", configuration::look(patient)),
        known("certificate", front::look(patient)),
        known("rules", rules::look(patient)),
        known("programs", programs::look(patient)),
        here("disk", disk::look(patient).boxed_local()),
        here("ledger", ledger::look(patient).boxed_local()),
    ];
    checks.extend(registries::checks(patient));
    checks.extend(receivers::checks(patient));
    checks.extend(cluster::checks(patient));
    checks
}

/// How far the clock of `subject`, which says `theirs`, is from ours.
fn clock(subject: &str, theirs: Timestamp, ours: Timestamp) -> Finding {
    let apart = ours.apart(theirs);
    let direction = if theirs > ours { "ahead of" } else { "behind" };
    let found = match apart.as_secs() {
        seconds @ ..120 => format!("its clock is {seconds} s {direction} ours"),
        seconds => format!("its clock is {} min {direction} ours", (seconds + 30) / 60),
    };
    let next = "set both by the same time servers (NTP)";
    match apart {
        _ if apart <= SMALL_SKEW => {
            let found = format!("its clock is within {} s of ours", SMALL_SKEW.as_secs());
            Finding::ok("clock", subject, found)
        }
        _ if apart <= LARGE_SKEW => Finding::warn("clock", subject, found, next),
        _ => Finding::fail("clock", subject, found, next),
    }
}

fn list(addresses: &[IpAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    format!("it is at {}", addresses.join(", "))
}
