//! Failed attempts to give a password or a token, limited by peer: whoever guesses is told to wait, and
//! costs no bcrypt meanwhile.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// Failures of one peer that have no consequence when they come together: a person tries a few
/// times, and a policy server with an old password has several pods to ask about.
const FREE_FAILURES: u32 = 10;

/// One failure is forgiven after this time, so a peer has ten guesses a minute in the long run:
/// none that lead to a password of eight random letters within the age of the universe.
const FORGIVEN_AFTER: Duration = Duration::from_secs(6);

/// Peers that are remembered; of more, the one that was seen longest ago is forgotten. More than
/// a cluster has nodes, and some hundred KiB.
const MAX_PEERS: u64 = 4_096;

/// The failures of all peers.
pub(crate) struct Failures {
    /// When all failures of a peer will be forgiven.
    clean_at: Cache<IpAddr, Instant>,
}

impl Failures {
    /// Of nobody yet.
    pub(crate) fn new() -> Self {
        let clean_at = Cache::builder()
            .max_capacity(MAX_PEERS)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(FORGIVEN_AFTER * (FREE_FAILURES + 1))
            .build();
        Self { clean_at }
    }

    /// How long a peer has to wait before it may try again; None where it may now.
    pub(crate) fn wait(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let owed = self.clean_at.get(&network_of(peer))?.checked_duration_since(now)?;
        let wait = (owed + FORGIVEN_AFTER).checked_sub(FORGIVEN_AFTER * FREE_FAILURES)?;
        (wait > Duration::ZERO).then_some(wait)
    }

    /// A peer failed.
    pub(crate) fn note(&self, peer: IpAddr, now: Instant) {
        self.clean_at.entry(network_of(peer)).and_upsert_with(|known| {
            known.map_or(now, |known| known.into_value().max(now)) + FORGIVEN_AFTER
        });
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failures").field("peers", &self.clean_at.entry_count()).finish()
    }
}

/// Whom an address is counted with: whoever has one IPv6 address has the 2^64 of its network.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_that_fails_again_and_again_has_to_wait_and_others_have_not() {
        let (failures, begin) = (Failures::new(), Instant::now());
        let (guesser, other) = (peer("10.0.0.7"), peer("10.0.0.8"));
        for _ in 0..FREE_FAILURES {
            assert_eq!(failures.wait(guesser, begin), None);
            failures.note(guesser, begin);
        }
        assert_eq!(failures.wait(guesser, begin), Some(FORGIVEN_AFTER));
        assert_eq!(failures.wait(peer("::ffff:10.0.0.7"), begin), Some(FORGIVEN_AFTER));
        assert_eq!(failures.wait(other, begin), None);

        let later = begin + FORGIVEN_AFTER;
        assert_eq!(failures.wait(guesser, later), None);
        failures.note(guesser, later);
        assert_eq!(failures.wait(guesser, later), Some(FORGIVEN_AFTER));
        assert_eq!(failures.wait(guesser, later + FORGIVEN_AFTER * FREE_FAILURES), None);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_peer() {
        let (failures, now) = (Failures::new(), Instant::now());
        for host in 0..FREE_FAILURES {
            failures.note(peer(&format!("2001:db8:0:1::{host:x}")), now);
        }
        assert!(failures.wait(peer("2001:db8:0:1:ffff::1"), now).is_some());
        assert_eq!(failures.wait(peer("2001:db8:0:2::1"), now), None);
    }

    #[test]
    fn the_peers_that_are_remembered_are_bounded() {
        let (failures, now) = (Failures::new(), Instant::now());
        for number in 0..u32::try_from(MAX_PEERS).unwrap() + 500 {
            failures.note(std::net::Ipv4Addr::from_bits(number).into(), now);
        }
        failures.clean_at.run_pending_tasks();
        assert_eq!(failures.clean_at.entry_count(), MAX_PEERS);
    }
}
