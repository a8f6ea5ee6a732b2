//! A replicator behind a host, for tests: it reads triggers and answers as it is told.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kubewarden_policy_sdk::host_capabilities::SigstoreVerificationInputV2;
use protocol::{
    ImageReference, Progress, Receipt, Refusal, RefusalCode, ReplicaState, TargetRoot, Trigger,
    Verb,
};

use serde_json::{Value, json};

use crate::host::Host;

pub(crate) const REPLICATOR: &str = "replicator.test:8443";
pub(crate) const TARGET: &str = "registry.corp/mirror";

/// The digest that the fake host verifies of an image by tag.
pub(crate) const VERIFIED: &str =
    "sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

/// The fake. Images that it was told nothing about are copied as soon as they are asked for.
#[derive(Default)]
pub(crate) struct Replicator {
    answers: BTreeMap<String, Result<Vec<u8>, String>>,
    triggers: RefCell<Vec<Trigger>>,
    signatures: BTreeMap<String, Result<Vec<u8>, String>>,
    verified: RefCell<Vec<Value>>,
    call_takes: Duration,
    begun: OnceCell<Instant>,
    elapsed: Cell<Duration>,
}

impl Replicator {
    /// The answer about `image` is this receipt.
    pub(crate) fn receipt(mut self, image: &str, receipt: &Receipt) -> Self {
        self.answers.insert(canonical(image), Ok(receipt.to_json().into_bytes()));
        self
    }

    /// The answer about `image` is a receipt with this state.
    pub(crate) fn state(self, image: &str, state: ReplicaState) -> Self {
        self.receipt(image, &receipt(image, state))
    }

    /// The answer about `image` is this refusal, wrapped as a host wraps it.
    pub(crate) fn refusal(mut self, image: &str, refusal: &Refusal) -> Self {
        self.answers.insert(canonical(image), Err(wrapped(refusal)));
        self
    }

    /// The answer about `image` is a refusal with this code and message.
    pub(crate) fn refused(self, image: &str, code: RefusalCode, message: &str) -> Self {
        self.refusal(image, &Refusal::new(code, canonical(image), message))
    }

    /// The host's answer about `image` is this, whatever the replicator says.
    pub(crate) fn raw(mut self, image: &str, answer: Result<&[u8], &str>) -> Self {
        let answer = answer.map(<[u8]>::to_vec).map_err(str::to_owned);
        self.answers.insert(canonical(image), answer);
        self
    }

    /// The host's answer when it is to verify `image`; else it finds every signature good.
    pub(crate) fn signature(mut self, image: &str, answer: Result<&str, &str>) -> Self {
        let answer = answer.map(|text| text.as_bytes().to_vec()).map_err(str::to_owned);
        self.signatures.insert(canonical(image), answer);
        self
    }

    /// Each call of the host takes this long, by the fake's own clock; else no time at all.
    pub(crate) fn slow(self, call_takes_ms: u64) -> Self {
        Self { call_takes: Duration::from_millis(call_takes_ms), ..self }
    }

    /// What the host was to verify.
    pub(crate) fn verified(&self) -> Vec<Value> {
        self.verified.borrow().clone()
    }

    /// What was asked, as `verb namespace source`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let words = |trigger: &Trigger| {
            format!("{} {} {}", trigger.verb.as_str(), trigger.namespace, trigger.source)
        };
        self.triggers.borrow().iter().map(words).collect()
    }
}

impl Host for Replicator {
    fn oci_manifest(&self, image: &str) -> Result<Vec<u8>, String> {
        let path = image.strip_prefix(REPLICATOR).and_then(|path| path.strip_prefix('/')).unwrap();
        let (repository, tag) = path.rsplit_once(':').unwrap();
        let trigger = Trigger::decode(repository, tag).unwrap();
        let source = trigger.source.to_string();
        let verb = trigger.verb;
        self.elapsed.set(self.elapsed.get() + self.call_takes);
        self.triggers.borrow_mut().push(trigger);
        match (self.answers.get(&source), verb) {
            (Some(answer), _) => answer.clone(),
            (None, Verb::Plan) => Ok(receipt(&source, ReplicaState::Planned).to_json().into()),
            (None, Verb::Start) => Ok(receipt(&source, ReplicaState::Copying).to_json().into()),
            (None, Verb::Replica) => Err(wrapped(&pending(&source))),
        }
    }

    fn verify(&self, question: &SigstoreVerificationInputV2) -> Result<Vec<u8>, String> {
        self.elapsed.set(self.elapsed.get() + self.call_takes);
        let question = serde_json::to_value(question).unwrap();
        let image = canonical(question["image"].as_str().unwrap());
        self.verified.borrow_mut().push(question);
        let digest = image.split_once('@').map_or(VERIFIED, |(_, digest)| digest);
        let trusted = json!({"is_trusted": true, "digest": digest}).to_string();
        self.signatures.get(&image).cloned().unwrap_or(Ok(trusted.into_bytes()))
    }

    fn now(&self) -> Instant {
        *self.begun.get_or_init(Instant::now) + self.elapsed.get()
    }
}

/// A receipt about `image`, as a replicator of this target gives it.
pub(crate) fn receipt(image: &str, state: ReplicaState) -> Receipt {
    let source: ImageReference = image.parse().unwrap();
    let target: TargetRoot = TARGET.parse().unwrap();
    let target = target.replica_of(&source).unwrap().reference;
    Receipt { digest: source.digest().cloned(), source, target, state, progress: None, age_s: None }
}

/// A refusal that tells how far the copy of `image` is.
pub(crate) fn pending(image: &str) -> Refusal {
    let mut refusal = Refusal::new(RefusalCode::Pending, canonical(image), "it is being copied");
    refusal.progress =
        Some(Progress { layers_done: 2, layers_total: 5, bytes_done: 43, bytes_total: 100 });
    refusal
}

/// A refusal in the host's wrapping, which tells the body twice.
fn wrapped(refusal: &Refusal) -> String {
    let body = refusal.to_json();
    let error = format!("Server error: url https://{REPLICATOR}/v2/…, code: 409, message: {body}");
    format!(
        "Host error: Callback evaluation failure: Fail to interact with OCI registry: {error}\n\n\
         Caused by:\n    {error}"
    )
}

fn canonical(image: &str) -> String {
    image.parse::<ImageReference>().unwrap().to_string()
}
