//! What a registry asks for, out of `WWW-Authenticate` (RFC 9110, section 11.6.1).

use http::{HeaderMap, header};
use http_auth::parse_challenges;

/// A challenge that we can answer. Bearer is taken where both are offered: its tokens are
/// narrow and short-lived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer(Realm),
}

/// Where tokens come from, in the registry's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Realm {
    pub(crate) url: String,
    pub(crate) service: Option<String>,
    /// Whether a neighbour of ours named it.
    pub(crate) named_by_neighbour: bool,
}

impl Challenge {
    pub(crate) fn of(headers: &HeaderMap, from_neighbour: bool) -> Option<Self> {
        let mut found = None;
        for value in headers.get_all(header::WWW_AUTHENTICATE) {
            let text = value.to_str().unwrap_or_default();
            let Ok(challenges) = parse_challenges(text) else {
                // Some write a realm without quotes that needs them; Basic does without it.
                let scheme = text.split_ascii_whitespace().next().unwrap_or_default();
                if scheme.eq_ignore_ascii_case("basic") {
                    found = Some(Self::Basic);
                }
                continue;
            };
            for challenge in challenges {
                let parameter = |name: &str| {
                    let known =
                        challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    known.map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    if let Some(url) = parameter("realm") {
                        let service = parameter("service");
                        let named_by_neighbour = from_neighbour;
                        return Some(Self::Bearer(Realm { url, service, named_by_neighbour }));
                    }
                } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                    found = Some(Self::Basic);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::of(&headers, false)
    }

    #[test]
    fn bearer_is_read_with_commas_in_quotes() {
        let docker = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull,push""#;
        let realm = Realm {
            url: "https://auth.docker.io/token".to_owned(),
            service: Some("registry.docker.io".to_owned()),
            named_by_neighbour: false,
        };
        assert_eq!(challenge(&[docker]), Some(Challenge::Bearer(realm)));
    }

    #[test]
    fn bearer_goes_before_basic_wherever_they_stand() {
        let both = r#"Basic realm="r", bearer realm="https://t""#;
        assert!(matches!(challenge(&[both]), Some(Challenge::Bearer(_))));
        assert!(matches!(
            challenge(&["Basic realm=r", r#"Bearer realm="https://t""#]),
            Some(Challenge::Bearer(_))
        ));
    }

    #[test]
    fn basic_is_basic_whatever_realm_it_names() {
        for value in
            [r#"Basic realm="r""#, "basic realm=/", "Basic", "Negotiate, Basic realm=\"r\""]
        {
            assert_eq!(challenge(&[value]), Some(Challenge::Basic), "{value}");
        }
        assert_eq!(challenge(&["Negotiate", "Basic realm=\"r\""]), Some(Challenge::Basic));
    }

    #[test]
    fn what_we_cannot_answer_is_none() {
        for value in
            ["Negotiate", "Bearer", "Bearer realm=", "\"", "Digest realm=\"r\", nonce=\"n\""]
        {
            assert_eq!(challenge(&[value]), None, "{value}");
        }
    }
}
