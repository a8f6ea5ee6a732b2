//! Who may: nobody's business, Basic, or Bearer with a token endpoint.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

#[derive(Default)]
pub(super) enum Access {
    #[default]
    Open,
    Basic(String),
    Bearer {
        /// The header that the token endpoint wants; None for anybody's.
        basic: Option<String>,
        lifetime: Duration,
        tokens: Mutex<HashMap<String, Granted>>,
    },
}

pub(super) struct Granted {
    scopes: Vec<String>,
    until: Instant,
}

impl Access {
    pub(super) fn basic(user: &str, password: &str) -> Self {
        Self::Basic(header(user, password))
    }

    pub(super) fn bearer(user: Option<(&str, &str)>, lifetime: Duration) -> Self {
        let basic = user.map(|(user, password)| header(user, password));
        Self::Bearer { basic, lifetime, tokens: Mutex::default() }
    }

    pub(super) fn revoke(&self) {
        // They stay known, so that no later token has the name of one of them.
        if let Self::Bearer { tokens, .. } = self {
            let mut tokens = tokens.lock().unwrap();
            tokens.values_mut().for_each(|granted| granted.until = Instant::now());
        }
    }

    /// The challenge for a request that may not; None for one that may.
    pub(super) fn challenge(&self, url: &str, header: Option<&str>, scope: &str) -> Option<String> {
        match self {
            Self::Open => None,
            Self::Basic(expected) => {
                (header != Some(expected)).then(|| r#"Basic realm="test""#.to_owned())
            }
            Self::Bearer { tokens, .. } => {
                let tokens = tokens.lock().unwrap();
                let token = header.and_then(|header| header.strip_prefix("Bearer "));
                let granted = token.and_then(|token| tokens.get(token));
                let allowed = granted.is_some_and(|granted| {
                    granted.until > Instant::now()
                        && (scope.is_empty() || granted.scopes.iter().any(|has| covers(has, scope)))
                });
                let challenge =
                    format!(r#"Bearer realm="{url}/token",service="test",scope="{scope}""#);
                (!allowed).then_some(challenge)
            }
        }
    }

    /// The token endpoint's answer; None refuses.
    pub(super) fn grant(&self, header: Option<&str>, scopes: Vec<String>) -> Option<String> {
        let Self::Bearer { basic, lifetime, tokens } = self else { return None };
        if basic.as_deref().is_some_and(|basic| header != Some(basic)) {
            return None;
        }
        let mut tokens = tokens.lock().unwrap();
        let token = format!("token-{}", tokens.len() + 1);
        tokens.insert(token.clone(), Granted { scopes, until: Instant::now() + *lifetime });
        Some(json!({"token": token, "expires_in": lifetime.as_secs_f64()}).to_string())
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
