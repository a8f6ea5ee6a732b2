//! Who may: nobody's business, Basic, or Bearer with a token endpoint.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;

/// What the challenge calls this registry, and what token requests have to call it.
const SERVICE: &str = "test";

#[derive(Default)]
pub(super) enum Access {
    #[default]
    Open,
    /// The header that each request has to bring.
    Basic(Mutex<String>),
    Bearer(TokenEndpoint),
}

pub(super) struct TokenEndpoint {
    wants: Mutex<Wanted>,
    lifetime: Duration,
    tokens: Mutex<HashMap<String, Granted>>,
    count: AtomicUsize,
}

/// What gets a token.
enum Wanted {
    Nothing,
    /// This header, with a GET.
    Basic(String),
    /// This refresh token, in the form of a POST.
    Refresh(String),
    /// One of these headers, or none, for what it may read, with a GET.
    Account(HashMap<Option<String>, Vec<String>>),
}

struct Granted {
    scopes: Vec<String>,
    until: Instant,
}

/// A request to the token endpoint, with its query or its form.
pub(super) struct TokenRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) authorization: Option<&'a str>,
    pub(super) parameters: Vec<(String, String)>,
}

impl Access {
    pub(super) fn basic(user: &str, password: &str) -> Self {
        Self::Basic(Mutex::new(header(user, password)))
    }

    pub(super) fn bearer(user: Option<(&str, &str)>, lifetime: Duration) -> Self {
        let basic = user.map(|(user, password)| Wanted::Basic(header(user, password)));
        Self::Bearer(TokenEndpoint::new(basic.unwrap_or(Wanted::Nothing), lifetime))
    }

    pub(super) fn identity(token: &str, lifetime: Duration) -> Self {
        Self::Bearer(TokenEndpoint::new(Wanted::Refresh(token.to_owned()), lifetime))
    }

    pub(super) fn accounts(lifetime: Duration) -> Self {
        Self::Bearer(TokenEndpoint::new(Wanted::Account(HashMap::new()), lifetime))
    }

    pub(super) fn let_read(&self, user: Option<(&str, &str)>, repositories: &[&str]) {
        if let Self::Bearer(endpoint) = self
            && let Wanted::Account(accounts) = &mut *endpoint.wants.lock().unwrap()
        {
            let repositories = repositories.iter().map(ToString::to_string).collect();
            accounts.insert(user.map(|(user, password)| header(user, password)), repositories);
        }
        self.revoke();
    }

    pub(super) fn revoke(&self) {
        // They stay known, so that no later token has the name of one of them.
        if let Self::Bearer(endpoint) = self {
            let mut tokens = endpoint.tokens.lock().unwrap();
            tokens.values_mut().for_each(|granted| granted.until = Instant::now());
        }
    }

    /// From now on it is this user with this password alone. Tokens stay.
    pub(super) fn change(&self, user: &str, password: &str) {
        match self {
            Self::Open => {}
            Self::Basic(wanted) => *wanted.lock().unwrap() = header(user, password),
            Self::Bearer(endpoint) => {
                *endpoint.wants.lock().unwrap() = Wanted::Basic(header(user, password));
            }
        }
    }

    /// The challenge for a request that may not; None for one that may.
    pub(super) fn challenge(&self, url: &str, header: Option<&str>, scope: &str) -> Option<String> {
        match self {
            Self::Open => None,
            Self::Basic(wanted) => (header != Some(wanted.lock().unwrap().as_str()))
                .then(|| r#"Basic realm="test""#.to_owned()),
            Self::Bearer(endpoint) => (!endpoint.allows(header, scope)).then(|| {
                format!(r#"Bearer realm="{url}/token",service="{SERVICE}",scope="{scope}""#)
            }),
        }
    }

    /// The token endpoint's answer; None refuses.
    pub(super) fn grant(&self, request: &TokenRequest<'_>) -> Option<String> {
        match self {
            Self::Open | Self::Basic(_) => None,
            Self::Bearer(endpoint) => endpoint.grant(request),
        }
    }
}

impl TokenEndpoint {
    fn new(wants: Wanted, lifetime: Duration) -> Self {
        let (tokens, count) = (Mutex::default(), AtomicUsize::new(0));
        Self { wants: Mutex::new(wants), lifetime, tokens, count }
    }

    fn allows(&self, header: Option<&str>, scope: &str) -> bool {
        let tokens = self.tokens.lock().unwrap();
        let token = header.and_then(|header| header.strip_prefix("Bearer "));
        token.and_then(|token| tokens.get(token)).is_some_and(|granted| {
            granted.until > Instant::now()
                && (scope.is_empty() || granted.scopes.iter().any(|has| covers(has, scope)))
        })
    }

    fn grant(&self, request: &TokenRequest<'_>) -> Option<String> {
        let wants = self.wants.lock().unwrap();
        let expires_in = self.lifetime.as_secs_f64();
        if let Wanted::Refresh(identity) = &*wants {
            let legal = *request.method == Method::POST
                && request.parameter("grant_type") == Some("refresh_token")
                && request.parameter("service") == Some(SERVICE)
                && request.parameter("client_id").is_some_and(|id| !id.is_empty())
                && request.parameter("refresh_token") == Some(identity);
            let scopes = request.parameter("scope").unwrap_or_default().split(' ');
            let token = legal.then(|| self.issue(scopes.map(ToOwned::to_owned).collect()))?;
            // Another one is offered each time, as some endpoints do; the old one stays good.
            let rotated = format!("{identity}-after-{token}");
            let reply = json!({"access_token": token, "expires_in": expires_in,
                "scope": request.parameter("scope"), "refresh_token": rotated});
            return Some(reply.to_string());
        }
        let account = match &*wants {
            Wanted::Account(accounts) => {
                Some(accounts.get(&request.authorization.map(ToOwned::to_owned)))
            }
            _ => None,
        };
        let legal = match &*wants {
            Wanted::Basic(basic) => request.authorization == Some(basic),
            // Who comes without a name gets a token, if one that is good for nothing.
            Wanted::Account(_) => request.authorization.is_none() || account.flatten().is_some(),
            _ => true,
        };
        // A token is good for what its bearer may, as real endpoints do it.
        let may_read = |scope: &str| {
            let Some(account) = account else { return true };
            let repository =
                scope.strip_prefix("repository:").and_then(|s| s.strip_suffix(":pull"));
            account.is_some_and(|all| all.iter().any(|one| Some(one.as_str()) == repository))
        };
        let scopes =
            request.parameters.iter().filter(|(key, scope)| key == "scope" && may_read(scope));
        let token = (legal && *request.method == Method::GET)
            .then(|| self.issue(scopes.map(|(_, scope)| scope.clone()).collect()))?;
        Some(json!({"token": token, "expires_in": expires_in}).to_string())
    }

    fn issue(&self, scopes: Vec<String>) -> String {
        let token = format!("token-{}", self.count.fetch_add(1, Ordering::Relaxed) + 1);
        let granted = Granted { scopes, until: Instant::now() + self.lifetime };
        self.tokens.lock().unwrap().insert(token.clone(), granted);
        token
    }
}

impl TokenRequest<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Whether `repository:a:pull,push` covers `repository:a:pull`.
fn covers(has: &str, wanted: &str) -> bool {
    let split = |scope: &str| scope.rsplit_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let (Some((has, may)), Some((wanted, to))) = (split(has), split(wanted)) else { return false };
    has == wanted && to.split(',').all(|action| may.split(',').any(|allowed| allowed == action))
}

fn header(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
