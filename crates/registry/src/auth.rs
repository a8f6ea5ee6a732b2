//! Which secret goes with which request: challenges answered, tokens fetched once and kept.
//!
//! No secret leaves before the registry asked for it by a challenge. What it asked for is
//! remembered, so that the next request brings it along.

mod challenge;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode};
use protocol::Registry;
use secrecy::{ExposeSecret, SecretString};

use crate::answer::Answer;
use crate::config::Endpoint;
use crate::credentials::{Credential, Credentials};
use crate::error::Error;
use crate::limits::MAX_REGISTRIES;
use crate::redirect;
use crate::request::{Request, Scope};
use crate::transport::Transport;
use challenge::Challenge;
use token::Tokens;

/// Answers challenges for all registries.
pub(crate) struct Auth {
    credentials: Arc<dyn Credentials>,
    challenges: Mutex<HashMap<Registry, Challenge>>,
    tokens: Tokens,
}

/// What came of a request.
pub(crate) struct Sent {
    pub(crate) answer: Answer,
    /// It went without credentials, since none are known.
    pub(crate) anonymous: bool,
    /// A token from the store was refused, and the request could not be sent again.
    pub(crate) stale: bool,
}

/// What one request brings along.
#[derive(Clone)]
struct Ticket {
    header: Option<HeaderValue>,
    /// It was not got for this request, so it may be stale.
    cached: bool,
    /// There is no credential for this repository.
    anonymous: bool,
}

impl Auth {
    pub(crate) fn new(credentials: Arc<dyn Credentials>) -> Self {
        Self { credentials, challenges: Mutex::default(), tokens: Tokens::default() }
    }

    /// Sends a request with what the registry wants to see, and once more when it first says
    /// what that is. Without a scope no secret is sent.
    pub(crate) async fn send(
        &self,
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
        let known = self.challenge_of(&registry);
        let first = match known {
            Some(challenge) => self.ticket(transport, home, &registry, scope, &challenge).await?,
            None => Ticket { header: None, cached: true, anonymous: true },
        };
        let sent = |answer, anonymous| Sent { answer, anonymous, stale: false };
        let spare = request.again();
        let answer =
            redirect::follow(transport, home, request.authorized(first.header.clone())).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !home.is_home_of(&answer.url) {
            return Ok(sent(answer, first.anonymous));
        }
        self.tokens.forget(&registry, scope, first.header.as_ref());
        let challenge = Challenge::of(&answer.headers);
        let Some(request) = spare else {
            let stale = first.cached && matches!(challenge, Some(Challenge::Bearer(_)));
            return Ok(Sent { answer, anonymous: first.anonymous, stale });
        };
        let (Some(challenge), true) = (challenge, first.cached) else {
            return Ok(sent(answer, first.anonymous));
        };
        self.remember(&registry, &challenge);
        let second = self.ticket(transport, home, &registry, scope, &challenge).await?;
        if second.header.is_none() || second.header == first.header {
            return Ok(sent(answer, second.anonymous));
        }
        drop(answer);
        let answer = redirect::follow(transport, home, request.authorized(second.header)).await?;
        Ok(sent(answer, second.anonymous))
    }

    async fn ticket(
        &self,
        transport: &Transport,
        home: &Endpoint,
        registry: &Registry,
        scope: &Scope,
        challenge: &Challenge,
    ) -> Result<Ticket, Error> {
        let credential = self.credentials.find(registry, &scope.repository);
        let anonymous = credential.is_none();
        match challenge {
            Challenge::Basic => {
                let header = match &credential {
                    Some(Credential::Basic { user, password }) => Some(basic(user, password)),
                    Some(Credential::Identity(_)) | None => None,
                };
                Ok(Ticket { header, cached: true, anonymous })
            }
            Challenge::Bearer(realm) => {
                let asker = token::Asker { transport, home, registry };
                let (header, cached) =
                    self.tokens.token(&asker, realm, scope, credential.as_ref()).await?;
                Ok(Ticket { header: Some(header), cached, anonymous })
            }
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
