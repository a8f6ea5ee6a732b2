//! Random lives of a ledger, by seed.

use std::collections::BTreeSet;

use super::*;

mod scenarios {
    use super::super::on_both_stores;
    use super::*;

    on_both_stores!(no_order_of_events_loses_a_source_or_copies_it_twice_at_once);
}

const SEEDS: u64 = 6;
const STEPS: usize = 60;
const TAGS: usize = 8;

async fn no_order_of_events_loses_a_source_or_copies_it_twice_at_once(store: &Fixture) {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        Life::new(store, seed).await.run().await;
    }
}

/// A ledger, and what a test knows of it.
struct Life<'a> {
    store: &'a Fixture,
    random: fastrand::Rng,
    seed: u64,
    ledger: Ledger,
    wanted: BTreeSet<ImageReference>,
    /// Claims of this process that are not settled.
    running: Vec<Ticket>,
    settled: usize,
}

impl<'a> Life<'a> {
    async fn new(store: &'a Fixture, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let (wanted, running) = (BTreeSet::new(), Vec::new());
        Self { store, random, seed, ledger: store.open().await, wanted, running, settled: 0 }
    }

    async fn run(mut self) {
        let before: usize = self.copies().await;
        for _ in 0..STEPS {
            match self.random.u8(0..10) {
                0..=3 => self.want().await,
                4..=5 => self.claim().await,
                6..=7 => self.settle().await,
                8 => self.store.pass(Duration::from_millis(self.random.u64(0..4_000))).await,
                _ => self.begin_again().await,
            }
        }
        // From now on all goes well.
        self.begin_again().await;
        loop {
            self.store.pass(Duration::from_secs(400)).await;
            let Some(claimed) = self.ledger.claim(1).await.unwrap() else { break };
            self.ledger
                .settle(claimed.ticket().unwrap(), copied(), 1, None)
                .await
                .unwrap()
                .unwrap();
            self.settled += 1;
        }
        for source in &self.wanted {
            let record = Record::clone(&self.ledger.find(source).await.unwrap().unwrap());
            let is_well = match record.state {
                State::Present => record.failure.is_none(),
                State::Refused | State::Stale => record.failure.is_some_and(|f| f.is_lasting),
                State::Wanted | State::Copying | State::Failed => false,
            };
            assert!(is_well, "{source}");
        }
        assert_eq!(self.copies().await, before + self.settled);
        assert_eq!(self.ledger.shared.waiting.load(Ordering::Relaxed), 0);
    }

    async fn want(&mut self) {
        let tag = format!("s{}-{}", self.seed, self.random.usize(0..TAGS));
        let record = self.ledger.want(ask(&tag)).await.unwrap();
        self.wanted.insert(record.source.clone());
        assert_eq!(self.ledger.find(&record.source).await.unwrap(), Some(record));
    }

    async fn claim(&mut self) {
        let Some(record) = self.ledger.claim(self.random.usize(1..3)).await.unwrap() else {
            return;
        };
        let is_running = self.running.iter().any(|ticket| ticket.source == record.source);
        assert!(!is_running, "claimed twice at once: {record:?}");
        self.running.push(record.ticket().unwrap());
    }

    async fn settle(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let ticket = self.running.swap_remove(self.random.usize(0..self.running.len()));
        let settlement = match self.random.u8(0..4) {
            0 => copied(),
            1 => failed("no", Duration::ZERO),
            2 => refused(),
            _ => Settlement::HandedBack,
        };
        let record = self.ledger.settle(ticket.clone(), settlement, 1, None).await.unwrap();
        assert!(record.is_some());
        self.settled += 1;
        assert_eq!(self.ledger.settle(ticket, copied(), 1, None).await.unwrap(), None);
    }

    /// The process dies with all that it has claimed, and another comes after its lease.
    async fn begin_again(&mut self) {
        self.store.pass(TEST_LEASE).await;
        self.ledger = self.store.open().await;
        self.running.clear();
    }

    async fn copies(&self) -> usize {
        self.store.rows("SELECT COUNT(*) FROM copies").await[0].parse().unwrap()
    }
}
