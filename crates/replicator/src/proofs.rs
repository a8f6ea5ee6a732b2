//! Proofs: the requests that find out rights, in the background. First without credentials, so
//! that a public image is known as such; then as who asked.

use std::time::Duration;

use protocol::ImageReference;
use registry::{Client, ErrorKind, ManifestRef};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::credentials::Who;
use crate::ledger::grant::Verdict;
use crate::rights::{Proof, Rights};

/// How long a source may take: the client's own tries end before that, unless it is very slow.
const PROOF_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes proofs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Prover {
    /// Where what is found is kept.
    pub(crate) rights: Rights,
    /// Asks sources.
    pub(crate) client: Client,
}

impl Prover {
    /// Makes what is asked for until told to stop. All at once: [`Rights`] keeps their number
    /// within bounds, and the client that of requests to each registry.
    pub(crate) async fn run(self, mut asked_for: mpsc::Receiver<Proof>, stop: CancellationToken) {
        let proofs = TaskTracker::new();
        while let Some(Some(proof)) = stop.run_until_cancelled(asked_for.recv()).await {
            let (prover, stop) = (self.clone(), stop.clone());
            proofs.spawn(async move { stop.run_until_cancelled(prover.prove(proof)).await });
        }
        proofs.close();
        proofs.wait().await;
    }

    async fn prove(&self, proof: Proof) {
        let (without_credentials, as_themselves) = self.rights.open_questions(&proof).await;
        let is_public = without_credentials
            && self.ask(&proof.source, &Who::default()).await == Verdict::Allowed;
        if as_themselves && !is_public {
            self.ask(&proof.source, &proof.who).await;
        }
    }

    /// Asks, and writes down what came of it.
    async fn ask(&self, source: &ImageReference, who: &Who) -> Verdict {
        let changed_at = self.rights.changed_at(who);
        let verdict = ask(&self.client.with_credentials(who.port()), source).await;
        let finding = self.rights.finding(source, who, changed_at, verdict.clone());
        if let Some(finding) = finding {
            self.rights.learn(source, finding).await;
        }
        verdict
    }
}

/// Whether the source shows an image to who `client` is.
async fn ask(client: &Client, source: &ImageReference) -> Verdict {
    let (registry, repository) = (source.registry(), source.repository());
    let hidden = || Verdict::Denied(format!("{registry} has no such image, or does not show it"));
    let at = match (source.digest(), source.tag()) {
        (Some(digest), _) => ManifestRef::Digest(digest.clone()),
        (None, Some(tag)) => ManifestRef::Tag(tag.clone()),
        (None, None) => return hidden(),
    };
    let asked = async {
        match client.head_manifest(registry, repository, &at).await? {
            Some(_) => Ok(true),
            // It may be gone while its replica is not: the repository tells as much of a right.
            None => client.shows_repository(registry, repository).await,
        }
    };
    match tokio::time::timeout(PROOF_TIMEOUT, asked).await {
        Ok(Ok(true)) => Verdict::Allowed,
        Ok(Ok(false)) => hidden(),
        Ok(Err(error)) => match error.kind() {
            // Without a status nobody refused: it was not asked.
            ErrorKind::Unauthorized | ErrorKind::Denied if error.status().is_some() => {
                Verdict::Denied(error.to_string())
            }
            _ => Verdict::Unanswered(error.to_string()),
        },
        Err(_) => Verdict::Unanswered(format!("{registry} gives no answer")),
    }
}
