//! The ledger behind the copy engine's port for places of blobs: neither knows the other.

use copy::Origins;
use protocol::{Digest, Registry, Repository};

use crate::ledger::BlobPlaces;

impl Origins for BlobPlaces {
    fn find(&self, registry: &Registry, digest: &Digest) -> Option<Repository> {
        self.find(registry, digest)
    }

    fn record(&self, registry: &Registry, repository: &Repository, digest: &Digest) {
        self.record(registry, repository, digest);
    }

    fn forget(&self, registry: &Registry, repository: &Repository, digest: &Digest) {
        self.forget(registry, repository, digest);
    }
}
