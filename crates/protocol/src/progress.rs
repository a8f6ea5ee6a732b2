//! How far a copy is, as a value and in the words that people read.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a copy is. Totals are zero until the manifests are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Layers that are at the target.
    pub layers_done: u64,
    /// Layers of the image, over all platforms, each counted once.
    pub layers_total: u64,
    /// Bytes of layers and configs that are at the target.
    pub bytes_done: u64,
    /// Bytes of layers and configs in all.
    pub bytes_total: u64,
}

impl Progress {
    /// Parts of a hundred that are done, by bytes; 0 while the total is unknown.
    pub fn percent(&self) -> u64 {
        let done = self.bytes_done.min(self.bytes_total);
        u64::try_from(u128::from(done) * 100 / u128::from(self.bytes_total.max(1))).unwrap_or(100)
    }
}

/// `43 %, 2 of 5 layers`
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layers_done, layers_total, .. } = self;
        write!(f, "{} %, {layers_done} of {layers_total} layers", self.percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_people_say_it() {
        let progress =
            Progress { layers_done: 2, layers_total: 5, bytes_done: 430, bytes_total: 1000 };
        assert_eq!(progress.to_string(), "43 %, 2 of 5 layers");
    }

    #[test]
    fn an_unknown_total_and_an_overrun_stay_within_a_hundred() {
        assert_eq!(Progress::default().percent(), 0);
        let over = Progress { bytes_done: u64::MAX, bytes_total: 3, ..Progress::default() };
        assert_eq!(over.percent(), 100);
        let huge = Progress { bytes_done: u64::MAX, bytes_total: u64::MAX, ..Progress::default() };
        assert_eq!(huge.percent(), 100);
    }
}
