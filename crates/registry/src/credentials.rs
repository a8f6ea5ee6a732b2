//! Who knows the secrets: the port that the client asks, and docker's `config.json` as one
//! implementation of it. Hosts match exactly or not at all.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use protocol::{Registry, Repository};
use secrecy::SecretString;
use serde::Deserialize;

use crate::limits::MAX_DOCKER_CONFIG_BYTES;

/// The user name by which docker's files and helpers mark an identity token.
const TOKEN_USER: &str = "<token>";

/// A secret. Its `Debug` shows none of it.
#[derive(Clone, Debug)]
pub enum Credential {
    /// User and password, or a robot's name and key.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// A refresh token, to be changed for access tokens (OAuth 2.0).
    Identity(SecretString),
}

/// Who knows the secrets. Asked anew for each token, so that changed ones are seen.
pub trait Credentials: Send + Sync {
    /// The credential for this repository of this very registry; None for none.
    fn find(&self, registry: &Registry, repository: &Repository) -> Option<Credential>;
}

/// Knows no secrets.
pub struct Anonymous;

impl Credentials for Anonymous {
    fn find(&self, _: &Registry, _: &Repository) -> Option<Credential> {
        None
    }
}

/// The `auths` of a docker `config.json`, as `docker login` and Kubernetes' pull secrets have
/// them. Keys are a registry (`r.example:5000`), one with a path (`r.example/team`, as the
/// kubelet allows), or a URL (`https://index.docker.io/v1/`).
#[derive(Clone, Debug, Default)]
pub struct DockerConfig {
    /// The longest path first.
    entries: HashMap<Registry, Vec<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    path: Option<Repository>,
    credential: Credential,
}

/// Why a docker config cannot be used. Holds nothing of its content but host names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// It is longer than any that is meant seriously.
    #[error("the docker config is longer than {MAX_DOCKER_CONFIG_BYTES} bytes")]
    TooLarge,
    /// It is no JSON object of the right form. The position says where; the text is secret.
    #[error("the docker config is not valid: line {line}, column {column}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// One entry cannot be used.
    #[error("the docker config's entry for '{key}' is not valid: {reason}")]
    Entry {
        /// The key under `auths`.
        key: String,
        /// What is wrong.
        reason: &'static str,
    },
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    auths: HashMap<String, AuthEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
struct AuthEntry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
}

impl DockerConfig {
    /// The entries of a config file. An entry without a secret is none: `docker login` leaves
    /// one where a helper keeps the secret.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        if text.len() > MAX_DOCKER_CONFIG_BYTES {
            return Err(CredentialsError::TooLarge);
        }
        let file: ConfigFile = serde_json::from_str(text).map_err(|error| {
            CredentialsError::Malformed { line: error.line(), column: error.column() }
        })?;
        let mut entries: HashMap<Registry, Vec<Entry>> = HashMap::new();
        for (key, entry) in file.auths {
            let invalid = |reason| CredentialsError::Entry { key: key.clone(), reason };
            let (registry, path) = parse_key(&key).ok_or_else(|| invalid("not a registry"))?;
            if let Some(credential) = parse_entry(entry).map_err(invalid)? {
                entries.entry(registry).or_default().push(Entry { path, credential });
            }
        }
        for of_registry in entries.values_mut() {
            // Several keys can mean Docker Hub: the order must not be the hash map's whim.
            of_registry.sort_by_key(|entry| {
                let length = entry.path.as_ref().map_or(0, |path| path.as_str().len());
                (std::cmp::Reverse(length), user_of(&entry.credential).to_owned())
            });
        }
        Ok(Self { entries })
    }
}

impl Credentials for DockerConfig {
    fn find(&self, registry: &Registry, repository: &Repository) -> Option<Credential> {
        let covers = |entry: &&Entry| match &entry.path {
            None => true,
            Some(path) => repository
                .as_str()
                .strip_prefix(path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        };
        self.entries.get(registry)?.iter().find(covers).map(|entry| entry.credential.clone())
    }
}

/// `[scheme://]host[:port][/path]`; the paths of docker's own URLs (`/v1/`, `/v2/`) are none.
fn parse_key(key: &str) -> Option<(Registry, Option<Repository>)> {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = match path.trim_end_matches('/') {
        "" | "v1" | "v2" => None,
        path => Some(path.parse().ok()?),
    };
    Some((host.parse().ok()?, path))
}

fn parse_entry(entry: AuthEntry) -> Result<Option<Credential>, &'static str> {
    let present = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if let Some(token) = entry.identitytoken.filter(|token| !token.is_empty()) {
        return Ok(Some(Credential::Identity(token.into())));
    }
    let (user, password) = if present(&entry.auth) {
        let decoded = decode(&entry.auth.unwrap_or_default())
            .ok_or("'auth' is not base64 of user:password")?;
        decoded
            .split_once(':')
            .map(|(user, password)| (user.to_owned(), password.to_owned()))
            .ok_or("'auth' is not base64 of user:password")?
    } else if present(&entry.username) || present(&entry.password) {
        (entry.username.unwrap_or_default(), entry.password.unwrap_or_default())
    } else {
        return Ok(None);
    };
    if user == TOKEN_USER {
        return Ok(Some(Credential::Identity(password.into())));
    }
    Ok(Some(Credential::Basic { user, password: password.into() }))
}

fn decode(text: &str) -> Option<String> {
    let bytes =
        STANDARD.decode(text.trim()).or_else(|_| STANDARD_NO_PAD.decode(text.trim())).ok()?;
    // docker pads some with NUL.
    String::from_utf8(bytes).ok().map(|text| text.trim_end_matches('\0').to_owned())
}

fn user_of(credential: &Credential) -> &str {
    match credential {
        Credential::Basic { user, .. } => user,
        Credential::Identity(_) => TOKEN_USER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(config: &str, registry: &str, repository: &str) -> Option<String> {
        let config = DockerConfig::parse(config).unwrap();
        let found = config.find(&registry.parse().unwrap(), &repository.parse().unwrap())?;
        Some(user_of(&found).to_owned())
    }

    /// Case 6: docker login writes one name, people write three.
    #[test]
    fn docker_hub_has_one_name() {
        for key in
            ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"]
        {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
            assert_eq!(user(&config, "docker.io", "library/nginx").as_deref(), Some("u"), "{key}");
        }
    }

    /// Case 21: a secret goes to the very host that it is for.
    #[test]
    fn hosts_match_exactly() {
        let config = r#"{"auths":{"r.example:5000":{"username":"u","password":"p"}}}"#;
        assert_eq!(user(config, "r.example:5000", "a").as_deref(), Some("u"));
        for other in ["r.example", "evil-r.example:5000", "r.example:5001", "a.r.example:5000"] {
            assert_eq!(user(config, other, "a"), None, "{other}");
        }
    }

    #[test]
    fn the_longest_path_of_whole_segments_wins() {
        let config = r#"{"auths":{
            "r.example":{"username":"all","password":"p"},
            "https://r.example/team":{"username":"team","password":"p"}}}"#;
        assert_eq!(user(config, "r.example", "team/app").as_deref(), Some("team"));
        assert_eq!(user(config, "r.example", "teams/app").as_deref(), Some("all"));
    }

    #[test]
    fn identity_tokens_come_in_two_forms() {
        let config = r#"{"auths":{
            "a.example":{"auth":"dTpw","identitytoken":"t"},
            "b.example":{"username":"<token>","password":"t"}}}"#;
        assert_eq!(user(config, "a.example", "a").as_deref(), Some(TOKEN_USER));
        assert_eq!(user(config, "b.example", "a").as_deref(), Some(TOKEN_USER));
    }

    #[test]
    fn helpers_and_empty_entries_are_let_be() {
        let config = r#"{"auths":{"a.example":{}},"credHelpers":{"b.example":"ecr-login"},"credsStore":"x"}"#;
        assert_eq!(user(config, "a.example", "a"), None);
    }

    /// Case 24.
    #[test]
    fn neither_errors_nor_debug_show_a_secret() {
        let config = r#"{"auths":{"r.example":{"username":"u","password":"hunter2"}}}"#;
        assert!(!format!("{:?}", DockerConfig::parse(config).unwrap()).contains("hunter2"));
        for broken in [
            r#"{"auths":{"r.example":{"password":"hunter2}}}"#,
            r#"{"auths":{"r.example":{"auth":"hunter2"}}}"#,
        ] {
            let error = DockerConfig::parse(broken).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
