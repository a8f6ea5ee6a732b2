//! Bearer tokens: fetched once however many wait, kept for as long as they live (distribution's
//! token specification; OAuth 2.0 for identity tokens).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use protocol::Registry;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::challenge::Realm;
use super::{basic, sensitive};
use crate::config::Endpoint;
use crate::credentials::Credential;
use crate::error::{Error, ErrorKind, Operation};
use crate::limits::{
    DEFAULT_TOKEN_LIFETIME, MAX_ERROR_BYTES, MAX_TOKEN_BYTES, MAX_TOKEN_LIFETIME, MAX_TOKENS,
    TOKEN_MARGIN,
};
use crate::redirect;
use crate::request::{Payload, Request, Scope};
use crate::transport::Transport;

/// The name by which we go at token endpoints.
const CLIENT_ID: &str = "image-replicator";

/// On whose behalf, and by which connections, tokens are asked for.
pub(super) struct Asker<'a> {
    pub(super) transport: &'a Transport,
    pub(super) home: &'a Endpoint,
    pub(super) registry: &'a Registry,
}

/// The tokens of all registries.
#[derive(Default)]
pub(super) struct Tokens {
    slots: Mutex<HashMap<(Registry, Scope), Arc<Slot>>>,
}

/// The place of one token. Whoever holds the lock fetches; whoever waited takes what came.
#[derive(Default)]
struct Slot {
    state: tokio::sync::Mutex<Fetched>,
    /// Readable without waiting: which fetch the state is from.
    fetches: std::sync::atomic::AtomicU64,
}

#[derive(Default)]
struct Fetched {
    token: Option<Token>,
    failure: Option<Error>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    good_until: Instant,
}

impl Tokens {
    /// The token for a scope, and whether it had been here before.
    pub(super) async fn token(
        &self,
        asker: &Asker<'_>,
        realm: &Realm,
        scope: &Scope,
        credential: Option<&Credential>,
    ) -> Result<(HeaderValue, bool), Error> {
        use std::sync::atomic::Ordering::SeqCst;
        let slot = self.slot(asker.registry, scope);
        let seen = slot.fetches.load(SeqCst);
        let mut state = slot.state.lock().await;
        let fetched_meanwhile = slot.fetches.load(SeqCst) != seen;
        if let Some(token) = state.token.as_ref().filter(|token| token.good_until > Instant::now())
        {
            return Ok((token.header.clone(), !fetched_meanwhile));
        }
        if let (true, Some(failure)) = (fetched_meanwhile, &state.failure) {
            return Err(failure.clone());
        }
        let fetched = fetch(asker, realm, scope, credential).await;
        slot.fetches.fetch_add(1, SeqCst);
        state.token = fetched.as_ref().ok().cloned();
        state.failure = fetched.as_ref().err().cloned();
        fetched.map(|token| (token.header, false))
    }

    /// Forgets the token that a registry refused, unless a newer one has taken its place.
    pub(super) fn forget(&self, registry: &Registry, scope: &Scope, refused: Option<&HeaderValue>) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = slots.get(&(registry.clone(), scope.clone())) else { return };
        // Where the lock is held somebody fetches a newer one already.
        if let Ok(mut state) = slot.state.try_lock()
            && state.token.as_ref().map(|token| &token.header) == refused
        {
            state.token = None;
        }
    }

    fn slot(&self, registry: &Registry, scope: &Scope) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_TOKENS {
            let now = Instant::now();
            slots.retain(|_, slot| match slot.state.try_lock() {
                Ok(state) => state.token.as_ref().is_some_and(|token| token.good_until > now),
                Err(_) => true,
            });
            if slots.len() >= MAX_TOKENS {
                slots.clear();
            }
        }
        Arc::clone(slots.entry((registry.clone(), scope.clone())).or_default())
    }
}

async fn fetch(
    asker: &Asker<'_>,
    realm: &Realm,
    scope: &Scope,
    credential: Option<&Credential>,
) -> Result<Token, Error> {
    let failed =
        |kind, message: &str| Error::new(kind, Operation::FetchToken, asker.registry, message);
    let url: Url = realm
        .url
        .parse()
        .map_err(|_| failed(ErrorKind::Malformed, "the realm of its challenge is no URL"))?;
    match url.scheme() {
        "https" => {}
        "http" if asker.home.is_plain_http() => {}
        _ => {
            return Err(failed(
                ErrorKind::Denied,
                "the realm of its challenge is not https: no secret goes there",
            ));
        }
    }
    let request = match credential {
        Some(Credential::Identity(token)) => refresh_request(asker, url, realm, scope, token),
        Some(Credential::Basic { user, password }) => get_request(asker, url, realm, scope)
            .with_header(header::AUTHORIZATION, basic(user, password)),
        None => get_request(asker, url, realm, scope),
    };
    // The realm is where this secret is for: redirects from there do not take it along.
    let realm_home = Endpoint::of(&request.url);
    let answer = redirect::follow(asker.transport, &realm_home, request).await?;
    if !answer.status.is_success() {
        let (status, url) = (answer.status, answer.url.clone());
        let body = answer.beginning(MAX_ERROR_BYTES).await;
        return Err(Error::from_answer(Operation::FetchToken, asker.registry, status, &body)
            .at(&url)
            .anonymously(credential.is_none()));
    }
    let body = answer.bytes(MAX_TOKEN_BYTES).await?;
    read(&body, Instant::now())
        .ok_or_else(|| failed(ErrorKind::Malformed, "the token endpoint answered without a token"))
}

fn get_request(asker: &Asker<'_>, mut url: Url, realm: &Realm, scope: &Scope) -> Request {
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &realm.service {
            query.append_pair("service", service);
        }
        for value in scope.values() {
            query.append_pair("scope", &value);
        }
    }
    Request::new(Operation::FetchToken, asker.registry, Method::GET, url)
}

/// An identity token is changed for an access token by a form (RFC 6749, section 6).
fn refresh_request(
    asker: &Asker<'_>,
    url: Url,
    realm: &Realm,
    scope: &Scope,
    token: &SecretString,
) -> Request {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token")
        .append_pair("client_id", CLIENT_ID)
        .append_pair("service", realm.service.as_deref().unwrap_or_default())
        .append_pair("scope", &scope.values().join(" "))
        .append_pair("refresh_token", token.expose_secret());
    Request::new(Operation::FetchToken, asker.registry, Method::POST, url)
        .with_header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        )
        .with_payload(Payload::Bytes(Bytes::from(form.finish())))
}

/// What a token endpoint answers. There is no `Debug`: it is a secret.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

fn read(body: &[u8], now: Instant) -> Option<Token> {
    let reply: Reply = serde_json::from_slice(body).ok()?;
    let text = reply.token.or(reply.access_token).filter(|token| !token.is_empty())?;
    let lifetime = reply
        .expires_in
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(DEFAULT_TOKEN_LIFETIME)
        .min(MAX_TOKEN_LIFETIME);
    let margin = TOKEN_MARGIN.min(lifetime / 10);
    Some(Token {
        header: sensitive(&format!("Bearer {text}"))?,
        good_until: now + lifetime - margin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(body: &str) -> Option<Duration> {
        let now = Instant::now();
        read(body.as_bytes(), now).map(|token| token.good_until - now)
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        assert_eq!(lifetime(r#"{"token":"t","expires_in":300}"#), Some(Duration::from_secs(270)));
        assert_eq!(lifetime(r#"{"access_token":"t"}"#), Some(Duration::from_secs(54)));
        assert_eq!(lifetime(r#"{"token":"t","expires_in":-1}"#), Some(Duration::from_secs(54)));
        assert!(lifetime(r#"{"token":"t","expires_in":1e300}"#) <= Some(MAX_TOKEN_LIFETIME));
    }

    #[test]
    fn what_holds_no_token_is_none() {
        for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\r\nX: y"}"#] {
            assert_eq!(lifetime(body), None, "{body}");
        }
    }
}
