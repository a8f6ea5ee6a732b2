//! Where at a target a blob was last seen, so that it can be mounted instead of sent: the port,
//! and a memory of what this process did.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use protocol::{Digest, Registry, Repository};

use crate::limits::RECENT_ORIGINS;

/// Knows which repository of a registry holds a blob. A wrong answer costs one request.
pub trait Origins: Send + Sync {
    /// A repository that held the blob when last seen.
    fn find(&self, registry: &Registry, digest: &Digest) -> Option<Repository>;

    /// The blob is in this repository.
    fn record(&self, registry: &Registry, repository: &Repository, digest: &Digest);

    /// The blob is not in this repository, or cannot be had from there.
    fn forget(&self, registry: &Registry, repository: &Repository, digest: &Digest);
}

/// Remembers the blobs that this process saw at targets, the newest of them.
#[derive(Default)]
pub struct RecentOrigins {
    seen: Mutex<Seen>,
}

type Key = (Registry, Digest);

#[derive(Default)]
struct Seen {
    repositories: HashMap<Key, Repository>,
    order: VecDeque<Key>,
}

impl Origins for RecentOrigins {
    fn find(&self, registry: &Registry, digest: &Digest) -> Option<Repository> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.repositories.get(&(registry.clone(), digest.clone())).cloned()
    }

    fn record(&self, registry: &Registry, repository: &Repository, digest: &Digest) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (registry.clone(), digest.clone());
        if seen.repositories.insert(key.clone(), repository.clone()).is_none() {
            seen.order.push_back(key);
        }
        if seen.order.len() > RECENT_ORIGINS
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.repositories.remove(&oldest);
        }
    }

    fn forget(&self, registry: &Registry, repository: &Repository, digest: &Digest) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (registry.clone(), digest.clone());
        // Somebody may have seen it elsewhere in the meantime.
        if seen.repositories.get(&key) == Some(repository) {
            seen.repositories.remove(&key);
            seen.order.retain(|kept| *kept != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::digest_of;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let origins = RecentOrigins::default();
        let registry = "r.example".parse().unwrap();
        let digest = |number: usize| digest_of(&number.to_le_bytes());
        for number in 0..=RECENT_ORIGINS {
            origins.record(&registry, &"a".parse().unwrap(), &digest(number));
        }
        assert_eq!(origins.find(&registry, &digest(0)), None);
        assert_eq!(origins.find(&registry, &digest(1)), Some("a".parse().unwrap()));
    }

    #[test]
    fn a_place_is_forgotten_and_a_newer_one_is_not() {
        let origins = RecentOrigins::default();
        let (registry, digest) = ("r.example".parse().unwrap(), digest_of(b"a"));
        let (old, new) = ("old".parse().unwrap(), "new".parse().unwrap());
        origins.record(&registry, &new, &digest);
        origins.forget(&registry, &old, &digest);
        assert_eq!(origins.find(&registry, &digest).as_ref(), Some(&new));
        origins.forget(&registry, &new, &digest);
        assert_eq!(origins.find(&registry, &digest), None);
        assert!(origins.seen.lock().unwrap().order.is_empty());
    }
}
