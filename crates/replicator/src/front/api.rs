//! HTTP to triggers, and answers to HTTP: `GET /v2/` and `GET /v2/<trigger>/manifests/<tag>`
//! (distribution-spec end-1 and end-3), which is all that a Kubewarden host's client uses.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use protocol::{
    ImageReference, Namespace, Receipt, Refusal, RefusalCode, Side, TargetRoot, Trigger,
    TriggerError, Verb,
};
use sha2::{Digest as _, Sha256};

use super::answer::{
    Answer, Question, answer_direct, crowded, full_queue, guesses, not_a_replica, not_allowed,
    unavailable,
};
use super::callers::{Callers, Peer, Unknown};
use super::rights::CallerRights;
use crate::audit::Audit;
use crate::audit::entry::Decision;
use crate::board::Board;
use crate::ledger::grant::{Right, Standing};
use crate::ledger::record::Record;
use crate::ledger::usage::as_asked_for;
use crate::ledger::work::{Ask, Asker, Priority, Wish};
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::Metrics;
use crate::rights::Rights;
use crate::rules::{Fit, NotAllowed, Rules, Terms, allowed_by};

/// Who asks by the status API, in records. No caller of the front has a colon in its name by
/// password, and none is asked for that has this one by certificate.
const PERSON: &str = "status:token";

/// A reply: small and whole, so that it leaves in one write.
pub(crate) type Reply = Response<Full<Bytes>>;

/// What the front needs to answer. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// What was asked for, and what became of it.
    pub(crate) ledger: Ledger,
    /// How far running copies are.
    pub(crate) board: Board,
    /// Where replicas live.
    pub(crate) target: Arc<TargetRoot>,
    /// Who gets what, and how.
    pub(crate) rules: Rules,
    /// Who has shown what.
    pub(crate) rights: Rights,
    /// Who may ask.
    pub(crate) callers: Callers,
    /// What they may.
    pub(crate) caller_rights: Arc<CallerRights>,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// What is kept of each answer.
    pub(crate) audit: Audit,
}

impl Api {
    /// Answers one request of `peer`. Its body, if any, is not read.
    pub(crate) async fn handle<B>(self, peer: &Peer, request: Request<B>) -> Reply {
        let header = request.headers().get(header::AUTHORIZATION);
        let caller = self.callers.identify(peer, header.map(HeaderValue::as_bytes)).await;
        let caller = match caller {
            Ok(caller) => caller,
            Err(Unknown::Nobody) => {
                if header.is_some() {
                    self.metrics.caller_is_refused("wrong");
                }
                return challenge();
            }
            Err(Unknown::Guesses { wait }) => {
                self.metrics.caller_is_refused("guesses");
                return refusal_reply(&guesses(wait));
            }
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "this is no registry: it answers GET and HEAD\n",
            );
        }
        let Some(path) = request.uri().path().strip_prefix("/v2/") else {
            return plain(StatusCode::NOT_FOUND, "this is an image replicator: see /v2/\n");
        };
        if path.is_empty() {
            return json(StatusCode::OK, Bytes::from_static(b"{}"));
        }
        let Some((repository, tag)) = path.rsplit_once("/manifests/") else {
            return plain(
                StatusCode::NOT_FOUND,
                "this is no registry: it has no blobs and no lists\n",
            );
        };
        self.answer_trigger(&caller, repository, tag).await
    }

    async fn answer_trigger(&self, caller: &str, repository: &str, tag: &str) -> Reply {
        let trigger = Trigger::decode(repository, tag);
        let may = |trigger: &Trigger| {
            let checked = self.caller_rights.check(caller, trigger);
            checked.map_err(|error| not_allowed(&trigger.source, &error.to_string()))
        };
        let answer = self.answer_and_tell(caller, &trigger, may).await;
        match answer {
            Ok(receipt) => receipt_reply(&receipt),
            Err(refusal) => refusal_reply(&refusal),
        }
    }

    /// Answers what a person wants to be there before pods ask for it: as a trigger `start`, but
    /// past the callers' rights. Who may want that is found out before.
    pub(crate) async fn prewarm(&self, namespace: Namespace, source: ImageReference) -> Answer {
        let trigger = Trigger { verb: Verb::Start, namespace, source };
        self.answer_and_tell(PERSON, &Ok(trigger), |_| Ok(())).await
    }

    /// The answer to `caller`, counted and on record; `may` says whether the caller may ask.
    async fn answer_and_tell(
        &self,
        caller: &str,
        trigger: &Result<Trigger, TriggerError>,
        may: impl FnOnce(&Trigger) -> Result<(), Refusal>,
    ) -> Answer {
        let begin = Instant::now();
        let asked = trigger.as_ref().ok().filter(|asked| !self.target.contains(&asked.source));
        let fit = asked.and_then(|asked| self.rules.find(&asked.namespace, &asked.source));
        let answer = match trigger {
            Ok(trigger) => match may(trigger) {
                Ok(()) => self.answer(caller, trigger, fit).await,
                Err(refusal) => Err(refusal),
            },
            Err(error) => {
                let message = format!("the replicator does not understand the question: {error}");
                Err(Refusal::new(RefusalCode::Malformed, "", message))
            }
        };
        let took = begin.elapsed();
        let trigger = trigger.as_ref().ok();
        let rule = fit.map(|fit| &fit.rule.name);
        let decision = Decision::new(caller, trigger, rule, &answer, took);
        let verb = trigger.map_or("none", |trigger| trigger.verb.as_str());
        self.metrics.trigger(verb, decision.result(), took);
        self.audit.record(self.ledger.now(), decision);
        answer
    }

    /// The answer to `caller`; `fit` is the rule that decides about a source.
    async fn answer(&self, caller: &str, trigger: &Trigger, fit: Option<Fit<'_>>) -> Answer {
        let source = &trigger.source;
        if self.target.contains(source) {
            return self.answer_direct(caller, trigger).await;
        }
        let terms = allowed_by(fit, &trigger.namespace, source);
        let terms = terms.map_err(|error| denied(source, &error))?;
        let replica = self.target.replica_of(source).map_err(|error| {
            Refusal::new(RefusalCode::Denied, source.to_string(), error.to_string())
        })?;
        let wish = Wish {
            target: replica.reference,
            priority: Priority::of(trigger.verb),
            max_age: terms.check.max_age(),
        };
        let (verb, namespace) = (trigger.verb, &trigger.namespace);
        let now = self.ledger.now();
        let question = Question { verb, source, namespace, wish: &wish, now };
        let (mut record, instead) = self.look_up(&question, trigger, source, terms).await?;
        if let Some(answer) = instead {
            return answer;
        }
        let asker = Asker { namespace: trigger.namespace.clone(), caller: caller.into() };
        if question.needs_want(record.as_deref()) {
            let ask = Ask { source: source.clone(), wish: wish.clone(), asker: asker.clone() };
            record = match (self.ledger.want(ask).await, record) {
                (Ok(wanted), _) => Some(wanted),
                // It is on record, and would only have been looked at again, or sooner.
                (Err(error), Some(record)) if record.target == wish.target => {
                    tracing::warn!(%source, %error, "answered as before");
                    self.ledger.note(source, &asker);
                    Some(record)
                }
                (Err(error), _) => return Err(self.cannot_answer(source, &error)),
            };
        } else if record.is_some() {
            self.ledger.note(source, &asker);
        }
        question.answer(record.as_deref(), self.board.progress(source))
    }

    /// What is known of `source`, and what is answered instead to a namespace that has not shown
    /// its right to it. Has that right found out where it is time to.
    async fn look_up(
        &self,
        question: &Question<'_>,
        trigger: &Trigger,
        source: &ImageReference,
        terms: &Terms,
    ) -> Result<(Option<Arc<Record>>, Option<Answer>), Refusal> {
        let who = terms.who(source, &trigger.namespace);
        let found = tokio::try_join!(self.ledger.find(source), self.rights.standing(source, &who));
        let (record, Standing { right, is_due }) =
            found.map_err(|error| self.cannot_answer(question.source, &error))?;
        // Where nobody else could have it, a first copy shows the right by itself.
        let is_guarded = record.as_ref().is_some_and(|record| record.state.is_there())
            || self.rules.divide(source, &who);
        let is_a_matter = is_guarded || !matches!(right, Right::Unknown(_));
        if is_due && is_a_matter && question.verb != Verb::Plan {
            self.rights.prove(source, &who);
        }
        let instead = question.without_right(&right, is_guarded);
        Ok((record, instead))
    }

    /// A question about what leads into the target already: is it a replica of ours?
    async fn answer_direct(&self, caller: &str, trigger: &Trigger) -> Answer {
        let reference = &trigger.source;
        let priority = Priority::of(trigger.verb);
        let wish = Wish { target: reference.clone(), priority, max_age: None };
        let now = self.ledger.now();
        let (verb, namespace) = (trigger.verb, &trigger.namespace);
        let question = Question { verb, source: reference, namespace, wish: &wish, now };
        for source in self.target.source_of(reference).iter().flat_map(as_asked_for) {
            let terms = self.rules.allow(&trigger.namespace, &source);
            let terms = terms.map_err(|error| denied(reference, &error))?;
            let (record, instead) = self.look_up(&question, trigger, &source, terms).await?;
            if let Some(answer) = instead {
                return answer;
            }
            let progress = self.board.progress(&source);
            if let Some(answer) =
                record.and_then(|record| answer_direct(&question, &record, progress))
            {
                let asker = Asker { namespace: trigger.namespace.clone(), caller: caller.into() };
                self.ledger.note(&source, &asker);
                return answer;
            }
        }
        Err(not_a_replica(reference))
    }

    fn cannot_answer(&self, image: &ImageReference, error: &LedgerError) -> Refusal {
        let reason = error.to_string();
        match error {
            LedgerError::TooMany { .. } => {
                tracing::warn!(%image, %error, "a trigger was refused");
                self.metrics.shed("queue");
                full_queue(image, &reason)
            }
            LedgerError::Crowded => {
                self.metrics.shed("ledger");
                crowded(image, &reason)
            }
            _ => {
                tracing::error!(%image, %error, "a trigger could not be answered");
                unavailable(image, &reason)
            }
        }
    }
}

fn denied(image: &ImageReference, error: &NotAllowed) -> Refusal {
    let refusal = Refusal::new(RefusalCode::Denied, image.to_string(), error.to_string());
    refusal.at(Side::Replicator)
}

/// 401 with a challenge: without one the host's client sends no credentials at all.
fn challenge() -> Reply {
    let body =
        r#"{"errors":[{"code":"UNAUTHORIZED","message":"the replicator wants to know who asks"}]}"#;
    challenging(json(StatusCode::UNAUTHORIZED, Bytes::from_static(body.as_bytes())))
}

pub(super) fn challenging(mut reply: Reply) -> Reply {
    let realm = HeaderValue::from_static("Basic realm=\"image-replicator\", charset=\"UTF-8\"");
    reply.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
    reply
}

fn receipt_reply(receipt: &Receipt) -> Reply {
    let body = receipt.to_json();
    let digest = format!("sha256:{}", hex(&Sha256::digest(&body)));
    let mut reply = with_type(StatusCode::OK, body.into(), protocol::receipt::MEDIA_TYPE);
    // Hexadecimal digits are always a legal header value.
    if let Ok(digest) = HeaderValue::from_str(&digest) {
        reply.headers_mut().insert("docker-content-digest", digest);
    }
    reply
}

pub(super) fn refusal_reply(refusal: &Refusal) -> Reply {
    let status = StatusCode::from_u16(refusal.code.http_status())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = json(status, refusal.to_json().into());
    if let Some(retry_after_s) = refusal.retry_after_s {
        reply.headers_mut().insert(header::RETRY_AFTER, retry_after_s.into());
    }
    reply
}

fn json(status: StatusCode, body: Bytes) -> Reply {
    with_type(status, body, "application/json")
}

fn plain(status: StatusCode, body: &'static str) -> Reply {
    with_type(status, Bytes::from_static(body.as_bytes()), "text/plain; charset=utf-8")
}

fn with_type(status: StatusCode, body: Bytes, media_type: &'static str) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    reply
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
