//! Bearer tokens: fetched once however many wait, kept for as long as they live (distribution's
//! token specification; OAuth 2.0 for identity tokens).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use protocol::Registry;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;
use url::Url;

use super::challenge::Realm;
use super::{basic, pairs, sensitive};
use crate::cache::{Cache, Found};
use crate::config::Endpoint;
use crate::credentials::{Credential, Credentials, Fingerprint};
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
    pub(super) credentials: &'a dyn Credentials,
    pub(super) transport: &'a Transport,
    pub(super) home: &'a Endpoint,
    pub(super) registry: &'a Registry,
}

/// The tokens of all registries.
pub(super) struct Tokens(Cache<Key, HeaderValue, Error>);

/// What a token is for, and for whom.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    registry: Registry,
    scope: Scope,
    /// Who we are there; None for nobody.
    who: Option<Fingerprint>,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self(Cache::new(MAX_TOKENS))
    }

    /// The token for a scope, as a header.
    pub(super) async fn token(
        &self,
        asker: &Asker<'_>,
        realm: &Realm,
        scope: &Scope,
        credential: Option<&Credential>,
    ) -> Result<Found<HeaderValue>, Error> {
        let key = Key::new(asker.registry, scope, credential);
        let fetch = async {
            let fetched = fetch(asker, realm, scope, credential).await;
            asker.transport.meter().fetched_token(fetched.is_ok());
            fetched
        };
        self.0.get(key, fetch).await
    }

    /// Forgets the token that a registry refused, unless a newer one has taken its place.
    pub(super) fn forget(
        &self,
        registry: &Registry,
        scope: &Scope,
        credential: Option<&Credential>,
        refused: &HeaderValue,
    ) {
        self.0.forget(&Key::new(registry, scope, credential), |token| token == refused);
    }
}

impl Key {
    fn new(registry: &Registry, scope: &Scope, credential: Option<&Credential>) -> Self {
        let who = credential.map(Credential::fingerprint);
        Self { registry: registry.clone(), scope: scope.clone(), who }
    }
}

/// Whether a token endpoint refused a credential. A refresh token that has ended is told by a
/// 400 (RFC 6749, section 5.2), and there are endpoints that say 403.
pub(super) fn is_refusal(error: &Error) -> bool {
    error.operation() == Operation::FetchToken && matches!(error.status(), Some(400 | 401 | 403))
}

async fn fetch(
    asker: &Asker<'_>,
    realm: &Realm,
    scope: &Scope,
    credential: Option<&Credential>,
) -> Result<(HeaderValue, Instant), Error> {
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
    if credential.is_some() && !may_have_secrets(asker.home, &url) {
        let realm = url.host_str().unwrap_or_default();
        let message = format!(
            "its tokens come from {realm}, which is another site: our credentials go there only if \
             it is in the `trusted_hosts` of this registry"
        );
        return Err(failed(ErrorKind::Denied, &message));
    }
    let request = match credential {
        Some(Credential::Identity(token)) => refresh_request(asker, url, realm, scope, token),
        Some(Credential::Basic { user, password }) => get_request(asker, url, realm, scope)
            .with_header(header::AUTHORIZATION, basic(user, password)),
        None => get_request(asker, url, realm, scope),
    };
    // The realm is where this secret is for: redirects from there do not take it along.
    let realm_home = asker.home.at(&request.url);
    let request = request.named_by_neighbour(realm.named_by_neighbour);
    let answer = redirect::follow(asker.transport, &realm_home, request).await?;
    if !answer.status.is_success() {
        let (status, url) = (answer.status, answer.url.clone());
        let body = answer.beginning(MAX_ERROR_BYTES).await;
        return Err(Error::from_answer(Operation::FetchToken, asker.registry, status, &body)
            .at(&url)
            .anonymously(credential.is_none()));
    }
    let answered =
        answer.header(header::DATE.as_str()).and_then(|d| httpdate::parse_http_date(d).ok());
    let body = answer.bytes(MAX_TOKEN_BYTES).await?;
    let (token, life) = read(&body, answered.unwrap_or_else(SystemTime::now)).ok_or_else(|| {
        failed(ErrorKind::Malformed, "the token endpoint answered without a token")
    })?;
    Ok((token, Instant::now() + life))
}

/// Whether a registry's credentials may go to a token endpoint that it names.
fn may_have_secrets(registry: &Endpoint, realm: &Url) -> bool {
    let host = realm.host_str().unwrap_or_default();
    registry.owns(realm) || pairs::belong_together(registry.host(), host)
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

/// An identity token is changed for an access token by a form (RFC 6749, section 6; distribution's
/// "Docker Registry v2 authentication using OAuth2").
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
///
/// A new `refresh_token` in it is let be, as docker's engine does: the identity token is the
/// credentials' to give, and theirs to change.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
    #[serde(default)]
    issued_at: Option<String>,
}

/// The token, and how long it is to be used from `answered` on.
pub(crate) fn read(body: &[u8], answered: SystemTime) -> Option<(HeaderValue, Duration)> {
    let reply: Reply = serde_json::from_slice(body).ok()?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let text = given(reply.token).or_else(|| given(reply.access_token))?;
    let lifetime = reply
        .expires_in
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(DEFAULT_TOKEN_LIFETIME)
        .min(MAX_TOKEN_LIFETIME);
    let age = reply.issued_at.and_then(|issued| age(&issued, answered));
    // By the endpoint's own clock it cannot have ended already: such a date means nothing.
    let left = lifetime - age.filter(|age| *age < lifetime).unwrap_or_default();
    Some((sensitive(&format!("Bearer {text}"))?, left - TOKEN_MARGIN.min(left / 10)))
}

/// How long before `answered` a token was issued (RFC 3339).
fn age(issued: &str, answered: SystemTime) -> Option<Duration> {
    let issued = OffsetDateTime::parse(issued, &Rfc3339).ok()?;
    answered.duration_since(issued.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(body: &str) -> Option<Duration> {
        let answered = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        read(body.as_bytes(), answered).map(|(_, left)| left)
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        assert_eq!(lifetime(r#"{"token":"t","expires_in":300}"#), Some(Duration::from_secs(270)));
        assert_eq!(lifetime(r#"{"access_token":"t"}"#), Some(Duration::from_secs(54)));
        assert_eq!(lifetime(r#"{"token":"t","expires_in":-1}"#), Some(Duration::from_secs(54)));
        assert!(lifetime(r#"{"token":"t","expires_in":1e300}"#) <= Some(MAX_TOKEN_LIFETIME));
    }

    /// An endpoint may hand out a token that it made a while ago.
    #[test]
    fn what_a_token_has_lived_already_counts() {
        let issued = |at: &str| {
            let body = format!(r#"{{"token":"t","expires_in":1000,"issued_at":"{at}"}}"#);
            lifetime(&body).map(|left| left.as_secs())
        };
        // It was answered at 03:46:40.
        assert_eq!(issued("1970-01-02T03:46:40Z"), Some(970));
        assert_eq!(issued("1970-01-02T03:36:40Z"), Some(370));
        assert_eq!(issued("1970-01-02T05:36:40.5+02:00"), Some(370));
        // From the future, from before time, ended, or no date: not believed.
        for at in ["2030-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1970-01-02T03:00:00Z", "now"] {
            assert_eq!(issued(at), Some(970), "{at}");
        }
    }

    #[test]
    fn what_holds_no_token_is_none() {
        for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\r\nX: y"}"#] {
            assert_eq!(lifetime(body), None, "{body}");
        }
        assert!(lifetime(r#"{"token":"","access_token":"t"}"#).is_some());
    }
}
