//! Which secret goes with which request: challenges answered, tokens fetched once and kept.
//!
//! No secret leaves before the registry asked for it by a challenge. What it asked for is
//! remembered, so that the next request brings it along.

pub(crate) mod challenge;
mod elsewhere;
mod pairs;
pub(crate) mod token;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode};
use protocol::Registry;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::answer::Answer;
use crate::config::Endpoint;
use crate::credentials::{Anonymous, Credential, Credentials};
use crate::error::{Error, ErrorKind, Operation};
use crate::limits::MAX_REGISTRIES;
use crate::redirect;
use crate::request::{Request, Scope};
use crate::transport::Transport;
use challenge::Challenge;
use elsewhere::Elsewhere;
use token::{Asker, Tokens};

/// Answers challenges for all registries.
pub(crate) struct Auth {
    challenges: Mutex<HashMap<Registry, Challenge>>,
    tokens: Tokens,
}

/// What came of a request.
pub(crate) struct Sent {
    pub(crate) answer: Answer,
    /// It went without credentials, since none are known.
    pub(crate) anonymous: bool,
    /// What we kept was refused; there is another now, but the request cannot be sent again.
    pub(crate) stale: bool,
}

/// What one request brings along.
struct Ticket {
    header: Option<HeaderValue>,
    /// Who we are there; None where no credential is known.
    credential: Option<Credential>,
    /// How long the header is worth something.
    term: Term,
}

enum Term {
    /// As long as the credential itself.
    OfCredential,
    /// A token's life, which ends then; a fresh one was fetched for this very request.
    OfToken { until: Instant, fresh: bool },
}

impl Ticket {
    /// Before anything was asked for.
    fn nothing() -> Self {
        Self { header: None, credential: None, term: Term::OfCredential }
    }

    /// Whether its refusal says little: another one may do.
    fn may_be_stale(&self) -> bool {
        match self.term {
            Term::OfCredential => true,
            Term::OfToken { until, fresh } => !fresh || until <= Instant::now(),
        }
    }
}

impl Auth {
    pub(crate) fn new() -> Self {
        Self { challenges: Mutex::default(), tokens: Tokens::new() }
    }

    /// Sends a request as whom `credentials` say, with what the registry wants to see, and once
    /// more when it first says what that is, or refuses what we kept. Without a scope no secret is
    /// sent.
    pub(crate) async fn send(
        &self,
        credentials: &dyn Credentials,
        transport: &Transport,
        home: &Endpoint,
        request: Request,
        scope: Option<&Scope>,
    ) -> Result<Sent, Error> {
        let Some(scope) = scope else {
            let answer = redirect::follow(transport, home, request).await?;
            return Ok(Sent { answer, anonymous: true, stale: false });
        };
        let registry = request.registry.clone();
        let asker = Asker { credentials, transport, home, registry: &registry };
        let first = match self.challenge_of(&registry) {
            Some(challenge) => self.ticket(&asker, scope, &challenge).await?,
            None => Ticket::nothing(),
        };
        let spare = request.again();
        let answer = self.follow(&asker, request.authorized(first.header.clone())).await?;
        let anonymous = first.credential.is_none();
        if answer.status != StatusCode::UNAUTHORIZED || !home.is_home_of(&answer.url) {
            return Ok(Sent { answer, anonymous, stale: false });
        }
        self.refused(&asker, scope, &first);
        let challenge =
            Challenge::of(&answer.headers, answer.from_neighbour).filter(|_| first.may_be_stale());
        let Some(challenge) = challenge else {
            return Ok(Sent { answer, anonymous, stale: false });
        };
        self.remember(&registry, &challenge);
        let second = self.ticket(&asker, scope, &challenge).await?;
        let anonymous = second.credential.is_none();
        let differs = second.header.is_some() && second.header != first.header;
        // A stream cannot be sent again here: who made it hears that it may be worth it.
        let (true, Some(request)) = (differs, spare) else {
            return Ok(Sent { answer, anonymous, stale: differs });
        };
        drop(answer);
        let answer = self.follow(&asker, request.authorized(second.header)).await?;
        Ok(Sent { answer, anonymous, stale: false })
    }

    /// Sends a request to where it leads in the end. That may be another registry.
    async fn follow(&self, asker: &Asker<'_>, request: Request) -> Result<Answer, Error> {
        let spare = request.again();
        let mut answer = redirect::follow(asker.transport, asker.home, request).await?;
        let (Some(elsewhere), Some(spare)) = (Elsewhere::of(&answer, asker.home), spare) else {
            return Ok(answer);
        };
        let Elsewhere { registry, realm, scope } = elsewhere;
        let (url, named_by_neighbour) = (answer.url.clone(), answer.from_neighbour);
        let there = asker.home.at(&url);
        let asker = Asker { credentials: &Anonymous, home: &there, registry: &registry, ..*asker };
        let request = Request { url, named_by_neighbour, ..spare };
        // A token that was kept may have been taken back.
        for request in request.again().into_iter().chain([request]) {
            let token = self.tokens.token(&asker, &realm, &scope, None).await?;
            let request = request.authorized(Some(token.value.clone()));
            answer = redirect::follow(asker.transport, &there, request).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                break;
            }
            self.tokens.forget(&registry, &scope, None, &token.value);
            if token.fresh {
                break;
            }
        }
        Ok(answer)
    }

    /// What to bring along. A credential that the token endpoint refuses is found anew, in case
    /// that it was changed.
    async fn ticket(
        &self,
        asker: &Asker<'_>,
        scope: &Scope,
        challenge: &Challenge,
    ) -> Result<Ticket, Error> {
        let credential = find(asker, scope).await?;
        let error = match self.ticket_of(asker, scope, challenge, credential.clone()).await {
            Err(error) if token::is_refusal(&error) => error,
            done => return done,
        };
        let Some(credential) = credential else { return Err(error) };
        asker.credentials.refused(asker.registry, &credential);
        match find(asker, scope).await? {
            Some(other) if other.fingerprint() != credential.fingerprint() => {
                self.ticket_of(asker, scope, challenge, Some(other)).await
            }
            _ => Err(error),
        }
    }

    async fn ticket_of(
        &self,
        asker: &Asker<'_>,
        scope: &Scope,
        challenge: &Challenge,
        credential: Option<Credential>,
    ) -> Result<Ticket, Error> {
        match challenge {
            Challenge::Basic => {
                let header = match &credential {
                    Some(Credential::Basic { user, password }) => Some(basic(user, password)),
                    Some(Credential::Identity(_)) | None => None,
                };
                Ok(Ticket { header, credential, term: Term::OfCredential })
            }
            Challenge::Bearer(realm) => {
                let token = self.tokens.token(asker, realm, scope, credential.as_ref()).await?;
                let term = Term::OfToken { until: token.until, fresh: token.fresh };
                Ok(Ticket { header: Some(token.value), credential, term })
            }
        }
    }

    /// Forgets what a registry refused, unless something newer has taken its place.
    fn refused(&self, asker: &Asker<'_>, scope: &Scope, ticket: &Ticket) {
        match (&ticket.header, &ticket.term, &ticket.credential) {
            (Some(header), Term::OfToken { .. }, credential) => {
                self.tokens.forget(asker.registry, scope, credential.as_ref(), header);
            }
            (Some(_), Term::OfCredential, Some(credential)) => {
                asker.credentials.refused(asker.registry, credential);
            }
            _ => {}
        }
    }

    fn challenge_of(&self, registry: &Registry) -> Option<Challenge> {
        let known = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(registry).cloned()
    }

    fn remember(&self, registry: &Registry, challenge: &Challenge) {
        let mut known = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REGISTRIES {
            known.clear();
        }
        known.insert(registry.clone(), challenge.clone());
    }
}

async fn find(asker: &Asker<'_>, scope: &Scope) -> Result<Option<Credential>, Error> {
    let found = asker.credentials.find(asker.registry, &scope.repository).await;
    found.map_err(|error| {
        let operation = Operation::FindCredentials;
        Error::new(ErrorKind::NoCredentials, operation, asker.registry, error.to_string())
            .retry_after(error.retry_after())
    })
}

/// `Basic …`, marked so that nothing prints it.
fn basic(user: &str, password: &SecretString) -> HeaderValue {
    let encoded = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
    sensitive(&format!("Basic {encoded}")).expect("base64 is a legal header")
}

/// A header value that `Debug` does not show; None where the text cannot be one.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_does_not_show_its_secret() {
        let value = basic("u", &"hunter2".into());
        assert_eq!(value.to_str().unwrap(), "Basic dTpodW50ZXIy");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }
}
