//! Docker's `config.json`: the secrets that stand in it, and the helpers that know others.
//! Hosts match exactly or not at all.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use futures::FutureExt;
use futures::future::BoxFuture;
use protocol::{Registry, Repository};
use serde::Deserialize;

use super::helper::{HelperError, HelperName};
use super::helpers::{HelperRules, Helpers};
use super::{Credential, Credentials};
use crate::limits::MAX_DOCKER_CONFIG_BYTES;

/// A docker `config.json`, as `docker login` and Kubernetes' pull secrets have it.
///
/// Who is asked for a registry's credential, as docker's own CLI does it: the helper that
/// `credHelpers` names for this very registry, or else the one of `credsStore`, or else `auths`.
/// Where a helper is to be asked its answer stands: one that knows nothing is not made up for
/// by `auths`. An empty name in `credHelpers` sends its registry to `auths`.
///
/// Keys of `auths` are a registry (`r.example:5000`), one with a path (`r.example/team`, as the
/// kubelet allows), or a URL (`https://index.docker.io/v1/`); those of `credHelpers` have no path.
#[derive(Debug, Default)]
pub struct DockerConfig {
    /// The longest path first.
    entries: HashMap<Registry, Vec<Entry>>,
    /// From `credHelpers`; None where `auths` is to be asked.
    helper_of: HashMap<Registry, Option<HelperName>>,
    /// From `credsStore`: for all others.
    usual_helper: Option<HelperName>,
    helpers: Helpers,
}

#[derive(Clone, Debug)]
struct Entry {
    path: Option<Repository>,
    credential: Credential,
}

impl Entry {
    /// Sorts the longest path first.
    fn by_path(&self) -> Reverse<usize> {
        Reverse(self.path.as_ref().map_or(0, |path| path.as_str().len()))
    }
}

/// Why a docker config cannot be used. Holds nothing of its content but host names and those of
/// helpers.
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
        /// The key under `auths` or `credHelpers`, or `credsStore` itself.
        key: String,
        /// What is wrong.
        reason: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    #[serde(default)]
    auths: HashMap<String, AuthEntry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
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
    /// one where a helper keeps the secret. No helper is looked for before it is needed.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let file = read(text)?;
        Ok(Self {
            entries: parse_auths(file.auths)?,
            helper_of: parse_helpers(&file.cred_helpers)?,
            usual_helper: parse_helper("credsStore", &file.creds_store)?,
            helpers: Helpers::default(),
        })
    }

    /// What stands in `auths` alone, of a config that somebody wrote who must not choose which
    /// programs run here: helpers that it names are none.
    pub fn parse_auths(text: &str) -> Result<Self, CredentialsError> {
        Ok(Self { entries: parse_auths(read(text)?.auths)?, ..Self::default() })
    }

    /// How many entries with a secret it has.
    pub fn entry_count(&self) -> usize {
        self.entries.values().map(Vec::len).sum()
    }

    /// Takes in the entries of `other`. Where both have one for the same registry and path, the one
    /// that is here stays in force; returns for how many registries that is so.
    pub fn add_entries(&mut self, other: &Self) -> usize {
        let mut registries_in_both = 0;
        for (registry, added) in &other.entries {
            let of_registry = self.entries.entry(registry.clone()).or_default();
            let is_known = |entry: &Entry| of_registry.iter().any(|known| known.path == entry.path);
            registries_in_both += usize::from(added.iter().any(is_known));
            of_registry.extend(added.iter().cloned());
            // A stable sort: of one path the earlier ones come first.
            of_registry.sort_by_key(Entry::by_path);
        }
        registries_in_both
    }

    /// The same with its helpers run by these rules.
    #[must_use]
    pub fn with_helper_rules(self, rules: HelperRules) -> Self {
        Self { helpers: Helpers::new(rules), ..self }
    }

    /// Whether it has something to say of this repository: a secret, or a helper that is asked.
    pub fn knows(&self, registry: &Registry, repository: &Repository) -> bool {
        self.helper_of(registry).is_some() || self.entry_of(registry, repository).is_some()
    }

    /// The registries of which it says something of their own, each with one repository that is
    /// meant; None where all are.
    pub fn registries(&self) -> Vec<(&Registry, Option<&Repository>)> {
        let entries = self.entries.iter().filter_map(|(registry, entries)| {
            // The last one has the shortest path.
            Some((registry, entries.last()?.path.as_ref()))
        });
        let has_no_entry = |registry: &&Registry| !self.entries.contains_key(*registry);
        let helped = self.helper_of.iter().filter_map(|(of, helper)| helper.as_ref().map(|_| of));
        let helped = helped.filter(has_no_entry).map(|registry| (registry, None));
        let mut all: Vec<_> = entries.chain(helped).collect();
        all.sort_unstable();
        all
    }

    /// The programs that it has asked, and whether they are on our PATH.
    pub fn helpers(&self) -> Vec<(String, bool)> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let named = self.helper_of.values().flatten().chain(&self.usual_helper);
        let mut all: Vec<_> =
            named.map(|name| (name.to_string(), name.locate(&path).is_some())).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn helper_of(&self, registry: &Registry) -> Option<&HelperName> {
        match self.helper_of.get(registry) {
            Some(named) => named.as_ref(),
            None => self.usual_helper.as_ref(),
        }
    }

    /// What stands in `auths`.
    fn entry_of(&self, registry: &Registry, repository: &Repository) -> Option<&Credential> {
        let covers = |entry: &&Entry| match &entry.path {
            None => true,
            Some(path) => repository
                .as_str()
                .strip_prefix(path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        };
        self.entries.get(registry)?.iter().find(covers).map(|entry| &entry.credential)
    }
}

impl Credentials for DockerConfig {
    fn find<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Result<Option<Credential>, HelperError>> {
        async move {
            match self.helper_of(registry) {
                Some(helper) => self.helpers.answer(helper, registry).await,
                None => Ok(self.entry_of(registry, repository).cloned()),
            }
        }
        .boxed()
    }

    fn refused(&self, registry: &Registry, credential: &Credential) {
        if self.helper_of(registry).is_some() {
            self.helpers.refused(registry, credential);
        }
    }
}

fn read(text: &str) -> Result<ConfigFile, CredentialsError> {
    if text.len() > MAX_DOCKER_CONFIG_BYTES {
        return Err(CredentialsError::TooLarge);
    }
    serde_json::from_str(text)
        .map_err(|error| CredentialsError::Malformed { line: error.line(), column: error.column() })
}

fn parse_auths(
    auths: HashMap<String, AuthEntry>,
) -> Result<HashMap<Registry, Vec<Entry>>, CredentialsError> {
    let mut entries: HashMap<Registry, Vec<Entry>> = HashMap::new();
    for (key, entry) in auths {
        let invalid = |reason| CredentialsError::Entry { key: key.clone(), reason };
        let (registry, path) = parse_key(&key).ok_or_else(|| invalid("not a registry"))?;
        if let Some(credential) = parse_entry(entry).map_err(invalid)? {
            entries.entry(registry).or_default().push(Entry { path, credential });
        }
    }
    for of_registry in entries.values_mut() {
        // Several keys can mean Docker Hub: the order must not be the hash map's whim.
        of_registry.sort_by_key(|entry| (entry.by_path(), entry.credential.user().to_owned()));
    }
    Ok(entries)
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

fn parse_helpers(
    named: &BTreeMap<String, String>,
) -> Result<HashMap<Registry, Option<HelperName>>, CredentialsError> {
    let mut helpers = HashMap::new();
    for (key, name) in named {
        let invalid = |reason| CredentialsError::Entry { key: key.clone(), reason };
        let Some((registry, None)) = parse_key(key) else {
            return Err(invalid("helpers are for a whole registry"));
        };
        let helper = parse_helper(key, name)?;
        if helpers.insert(registry, helper.clone()).is_some_and(|other| other != helper) {
            return Err(invalid("the same registry has another helper under another spelling"));
        }
    }
    Ok(helpers)
}

fn parse_helper(key: &str, name: &str) -> Result<Option<HelperName>, CredentialsError> {
    let invalid = || CredentialsError::Entry {
        key: key.to_owned(),
        reason: "a helper's name has letters, digits, '.', '_' and '-' alone",
    };
    match name {
        "" => Ok(None),
        name => HelperName::parse(name).map(Some).ok_or_else(invalid),
    }
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
    Ok(Some(Credential::new(user, password.into())))
}

fn decode(text: &str) -> Option<String> {
    let bytes =
        STANDARD.decode(text.trim()).or_else(|_| STANDARD_NO_PAD.decode(text.trim())).ok()?;
    // docker pads some with NUL.
    String::from_utf8(bytes).ok().map(|text| text.trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(config: &str, registry: &str, repository: &str) -> Option<String> {
        let config = DockerConfig::parse(config).unwrap();
        let found = config.entry_of(&registry.parse().unwrap(), &repository.parse().unwrap())?;
        Some(found.user().to_owned())
    }

    /// The program that is asked for a registry; None where it is `auths`.
    fn helper(config: &str, registry: &str) -> Option<String> {
        let config = DockerConfig::parse(config).unwrap();
        config.helper_of(&registry.parse().unwrap()).map(ToString::to_string)
    }

    /// Case 6: docker login writes one name, people write three.
    #[test]
    fn docker_hub_has_one_name() {
        for key in
            ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"]
        {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
            assert_eq!(user(&config, "docker.io", "library/nginx").as_deref(), Some("u"), "{key}");
            let config = format!(r#"{{"credHelpers":{{"{key}":"pass"}}}}"#);
            let program = helper(&config, "docker.io");
            assert_eq!(program.as_deref(), Some("docker-credential-pass"), "{key}");
        }
    }

    /// A secret goes to the very host that it is for.
    #[test]
    fn case_21_hosts_match_exactly() {
        let config = r#"{"auths":{"r.example:5000":{"username":"u","password":"p"}},
            "credHelpers":{"h.example:5000":"x"}}"#;
        assert_eq!(user(config, "r.example:5000", "a").as_deref(), Some("u"));
        for other in ["r.example", "evil-r.example:5000", "r.example:5001", "a.r.example:5000"] {
            assert_eq!(user(config, other, "a"), None, "{other}");
        }
        assert_eq!(helper(config, "h.example:5000").as_deref(), Some("docker-credential-x"));
        for other in ["h.example", "evil-h.example:5000", "h.example:5001", "a.h.example:5000"] {
            assert_eq!(helper(config, other), None, "{other}");
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
        assert_eq!(user(config, "a.example", "a").as_deref(), Some("<token>"));
        assert_eq!(user(config, "b.example", "a").as_deref(), Some("<token>"));
    }

    #[test]
    fn a_registrys_own_helper_goes_before_the_usual_one() {
        let config = r#"{"auths":{"a.example":{},"b.example":{"auth":"dTpw"}},
            "credHelpers":{"a.example":"ecr-login","b.example":""},"credsStore":"desktop"}"#;
        assert_eq!(helper(config, "a.example").as_deref(), Some("docker-credential-ecr-login"));
        assert_eq!(helper(config, "b.example"), None);
        assert_eq!(helper(config, "c.example").as_deref(), Some("docker-credential-desktop"));
        assert_eq!(user(config, "a.example", "a"), None);
    }

    #[test]
    fn a_config_of_somebody_else_runs_no_program() {
        let config = r#"{"auths":{"r.example":{"auth":"dTpw"}},"credsStore":"../bin/sh",
            "credHelpers":{"r.example":"canary","h.example":"canary"}}"#;
        let config = DockerConfig::parse_auths(config).unwrap();
        let [registry, helped] = ["r.example", "h.example"].map(|host| host.parse().unwrap());
        let repository = "a".parse().unwrap();
        assert_eq!((config.helper_of(&registry), config.helper_of(&helped)), (None, None));
        assert!(config.knows(&registry, &repository) && !config.knows(&helped, &repository));
        assert_eq!(config.entry_count(), 1);
    }

    #[test]
    fn entries_that_are_added_come_after_those_of_the_same_path() {
        let of = |user: &str, key: &str| {
            let text = format!(r#"{{"auths":{{"{key}":{{"username":"{user}","password":"p"}}}}}}"#);
            DockerConfig::parse_auths(&text).unwrap()
        };
        let mut all = of("z", "r.example/team");
        assert_eq!(all.add_entries(&of("a", "r.example/team")), 1);
        assert_eq!(all.add_entries(&of("b", "https://r.example/v2/")), 0);
        assert_eq!(all.add_entries(&of("c", "r.example/team/app")), 0);
        assert_eq!(all.add_entries(&of("d", "other.example")), 0);
        let user = |registry: &str, repository: &str| {
            let (registry, repository) = (registry.parse().unwrap(), repository.parse().unwrap());
            all.entry_of(&registry, &repository).map(Credential::user)
        };
        assert_eq!(user("r.example", "team/app"), Some("c"));
        assert_eq!(user("r.example", "team/other"), Some("z"));
        assert_eq!(user("r.example", "elsewhere"), Some("b"));
        assert_eq!(user("other.example", "a"), Some("d"));
        assert_eq!(all.entry_count(), 5);
    }

    #[test]
    fn what_could_name_another_program_is_refused() {
        for (config, key) in [
            (r#"{"credsStore":"../../bin/sh"}"#, "credsStore"),
            (r#"{"credsStore":"a b"}"#, "credsStore"),
            (r#"{"credHelpers":{"r.example":"/bin/sh"}}"#, "r.example"),
            (r#"{"credHelpers":{"r.example/team":"x"}}"#, "r.example/team"),
            (r#"{"credHelpers":{"docker.io":"x","index.docker.io":"y"}}"#, "index.docker.io"),
        ] {
            let error = DockerConfig::parse(config).unwrap_err();
            assert!(
                matches!(&error, CredentialsError::Entry { key: named, .. } if named == key),
                "{config}: {error}"
            );
        }
    }

    #[test]
    fn case_24_neither_errors_nor_debug_show_a_secret() {
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
