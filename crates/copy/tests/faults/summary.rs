//! What a run has met, for people, and so that no run passes for want of faults.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::mischief::Mischief;
use crate::one::{End, Report, Sight};

/// The counts of a run.
#[derive(Default)]
pub(crate) struct Summary {
    pub(crate) copies: u64,
    ends: BTreeMap<String, u64>,
    met: BTreeMap<Mischief, u64>,
    sights: BTreeMap<Sight, u64>,
    waited: Duration,
}

impl Summary {
    pub(crate) fn add(&mut self, report: &Report) {
        self.copies += 1;
        self.waited += report.waited;
        for end in &report.ends {
            let end = match end {
                End::Copied => "copied".to_owned(),
                End::Failed(error) => {
                    let later = error.retry() != copy::Retry::Never;
                    let retry = if later { "later" } else { "never" };
                    format!("failed at the {}, {:?}, again {retry}", error.side, error.kind())
                }
                End::Dropped => "dropped".to_owned(),
                End::Hung => "hung".to_owned(),
            };
            *self.ends.entry(end).or_default() += 1;
        }
        for met in &report.met {
            *self.met.entry(met.mischief).or_default() += 1;
        }
        for sight in &report.sights {
            *self.sights.entry(*sight).or_default() += 1;
        }
    }

    /// The kinds of faults that no request met, and what no copy showed.
    pub(crate) fn not_met(&self) -> Vec<String> {
        let faults = Mischief::ALL.iter().filter(|kind| !self.met.contains_key(kind));
        let sights = Sight::ALL.iter().filter(|sight| !self.sights.contains_key(sight));
        let faults = faults.map(|kind| format!("{kind:?}"));
        faults.chain(sights.map(|sight| format!("{sight:?}"))).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waited_s = self.waited.as_secs();
        writeln!(f, "{} copies, {waited_s} s on their clocks. Jobs by their ends:", self.copies)?;
        self.ends.iter().try_for_each(|(end, count)| writeln!(f, "{count:7} {end}"))?;
        writeln!(f, "Copies that showed:")?;
        self.sights.iter().try_for_each(|(sight, count)| writeln!(f, "{count:7} {sight:?}"))?;
        writeln!(f, "Faults that requests met:")?;
        self.met.iter().try_for_each(|(kind, count)| writeln!(f, "{count:7} {kind:?}"))
    }
}
