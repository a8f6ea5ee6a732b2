//! Each registry that the configuration speaks of: its name, our login, its clock; and of the
//! target, whether we may pull and push.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures::FutureExt;
use protocol::{Registry, Repository};
use registry::{Client, Error, ErrorKind, Greeting, LookUpError, PushTrial, Retry};

use super::{Check, Finding, Patient, clock, list};
use crate::clock::Timestamp;
use crate::credentials::{NamedCredentials, or_nobody};
use crate::label::Label;

/// One registry, and who we are there.
struct Site<'a> {
    patient: &'a Patient,
    registry: Registry,
    logins: Vec<Login>,
}

/// Who we are.
struct Login {
    credentials: Option<Arc<NamedCredentials>>,
    /// What they are asked about: an entry may be for some repositories alone.
    repository: Repository,
}

impl Login {
    /// Whether its credentials say something of this registry.
    fn has_entry(&self, registry: &Registry) -> bool {
        let credentials = self.credentials.as_ref();
        credentials.is_some_and(|of| of.config().knows(registry, &self.repository))
    }
}

pub(super) fn checks(patient: &Patient) -> impl Iterator<Item = Check<'_>> {
    sites(patient).into_iter().map(|site| Check {
        name: "registry",
        subject: site.registry.to_string(),
        look: async move { site.look().await }.boxed_local(),
    })
}

/// All registries, by name, the target's first.
fn sites(patient: &Patient) -> Vec<Site<'_>> {
    let config = &patient.config;
    let (target, trial) = (config.target.registry(), patient.trial.repository());
    let mut logins: BTreeMap<Registry, Vec<Login>> = BTreeMap::new();
    let pushing = config.registries.target_credentials.as_ref();
    let of_target = Login { credentials: pushing.cloned(), repository: trial.clone() };
    logins.entry(target.clone()).or_default().push(of_target);
    for credentials in config.keyring.values() {
        for (registry, path) in credentials.config().registries() {
            let pushes = pushing.is_some_and(|pushing| Arc::ptr_eq(pushing, credentials));
            if registry == target && pushes {
                continue;
            }
            let repository = path.cloned().unwrap_or_else(|| trial.clone());
            let login = Login { credentials: Some(Arc::clone(credentials)), repository };
            logins.entry(registry.clone()).or_default().push(login);
        }
    }
    let named: BTreeSet<_> =
        config.registries.named.keys().cloned().chain(config.rules.registries()).collect();
    for registry in named {
        let nobody = || vec![Login { credentials: None, repository: trial.clone() }];
        logins.entry(registry).or_insert_with(nobody);
    }
    let first = logins.remove_entry(target);
    let all = first.into_iter().chain(logins);
    all.map(|(registry, logins)| Site { patient, registry, logins }).collect()
}

impl Site<'_> {
    async fn look(self) -> Vec<Finding> {
        let registry = &self.registry;
        let mut findings = Vec::new();
        match self.patient.client.look_up(registry).await {
            Ok(addresses) => {
                findings.push(Finding::ok("name", registry, list(&addresses)));
            }
            // Where a proxy dials for us, it alone has to know the name.
            Err(LookUpError::Unknown(_)) if has_proxy() => {}
            Err(error) => return vec![self.unknown(&error)],
        }
        let mut greeting = None;
        for login in &self.logins {
            let (finding, greeted) = self.log_in(login).await;
            findings.push(finding);
            greeting = greeting.or(greeted);
        }
        if let Some(date) = greeting.and_then(|greeting| greeting.date) {
            let since = date.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let theirs = Timestamp::from_ms(0) + since;
            findings.push(clock(registry.as_str(), theirs, self.patient.clock.now()));
        }
        if registry == self.patient.config.target.registry() && greeting.is_some() {
            findings.extend(self.use_as_target().await);
        }
        findings
    }

    fn unknown(&self, error: &LookUpError) -> Finding {
        let registry = &self.registry;
        match error {
            LookUpError::OutOfReach(_) => {
                let next =
                    format!("name it if it is meant: `registries: {{\"{registry}\": {{}}}}`");
                Finding::fail("name", registry, error, next)
            }
            LookUpError::Unknown(_) => {
                let next = "mend its name in the configuration, or the name service (DNS)";
                Finding::away("name", registry, error, next)
            }
        }
    }

    fn client(&self, login: &Login) -> Client {
        self.patient.client.with_credentials(or_nobody(login.credentials.clone()))
    }

    async fn log_in(&self, login: &Login) -> (Finding, Option<Greeting>) {
        let registry = &self.registry;
        let greeted = self.client(login).log_in(registry, &login.repository).await;
        let who = login.credentials.as_ref().map(|credentials| credentials.name());
        let subject = match who {
            Some(name) => format!("{registry} as {name}"),
            None => format!("{registry} without credentials"),
        };
        match (greeted, who) {
            (greeted, Some(name)) if !login.has_entry(registry) => {
                without_entry(registry, name, greeted)
            }
            (Ok(greeting), Some(_)) => {
                (Finding::ok("login", subject, "it takes them"), Some(greeting))
            }
            (Ok(greeting), None) => (Finding::ok("login", subject, "it answers"), Some(greeting)),
            // Who has none is asked for some: then it is there.
            (Err(error), None) if is_refusal(&error) && error.status().is_some() => {
                let found = "it answers, and wants to know who asks";
                (Finding::ok("login", subject, found), Some(Greeting { date: None }))
            }
            (Err(error), Some(name)) if is_refusal(&error) => {
                let next = format!("mend user and password for {registry} in credentials.{name}");
                (Finding::fail("login", subject, error, next), None)
            }
            (Err(error), _) => (unanswered("login", &subject, &error, registry), None),
        }
    }

    /// The right to pull from the target, and to push there.
    async fn use_as_target(&self) -> Vec<Finding> {
        let Some(login) = self.logins.first() else { return Vec::new() };
        let (client, repository) = (self.client(login).for_targets(), &login.repository);
        let subject = format!("{}/{repository}", self.registry);
        let next = match &login.credentials {
            Some(credentials) => format!(
                "give the user in credentials.{} the right to pull and push below {}",
                credentials.name(),
                self.patient.config.target
            ),
            None => "name who pushes there in `target.credentials`".to_owned(),
        };
        let refused = |check, error: &Error| match error.kind() {
            ErrorKind::Unauthorized | ErrorKind::Denied => {
                Finding::fail(check, &subject, error, &next)
            }
            _ => unanswered(check, &subject, error, &self.registry),
        };
        let tags = client.shows_repository(&self.registry, repository).await;
        let pull = match tags {
            Ok(_) => Finding::ok("pull", &subject, "we may"),
            Err(error) => refused("pull", &error),
        };
        let push = match client.try_push(&self.registry, repository).await {
            Ok(PushTrial { kept: None }) => Finding::ok("push", &subject, "we may"),
            Ok(PushTrial { kept: Some(error) }) => Finding::warn(
                "push",
                &subject,
                format!("we may; but an upload cannot be given up there: {error}"),
                "let the registry purge uploads: what is broken off lies there until it does",
            ),
            Err(error) if error.kind() == ErrorKind::NotFound => self.not_created(&subject, &error),
            Err(error) => refused("push", &error),
        };
        let mut findings = vec![pull, push];
        // Without retention the right is one too many.
        if self.patient.config.retention.every.is_some() {
            findings.push(match client.try_delete(&self.registry, repository).await {
                Ok(()) => Finding::ok("delete", &subject, "we may"),
                Err(error) => self.keeps_all(&subject, &error, &next),
            });
        }
        findings
    }

    /// Retention takes replicas away by itself, and cannot.
    fn keeps_all(&self, subject: &str, error: &Error, rights: &str) -> Finding {
        match error.kind() {
            ErrorKind::Unauthorized | ErrorKind::Denied => Finding::fail(
                "delete",
                subject,
                error,
                format!("{rights}, and to delete; or leave `retention.every` out"),
            ),
            ErrorKind::Unsupported => Finding::fail(
                "delete",
                subject,
                error,
                "let the registry take deletions (distribution: \
                 REGISTRY_STORAGE_DELETE_ENABLED=true), or leave `retention.every` out",
            ),
            _ => unanswered("delete", subject, error, &self.registry),
        }
    }

    /// Some registries want a repository created before anything is pushed into it.
    fn not_created(&self, subject: &str, error: &Error) -> Finding {
        let creates = self.patient.config.registries.create_repository.is_some();
        match creates {
            true => Finding::warn(
                "push",
                subject,
                "there is no such repository, and none was created to try",
                "nothing, if a first copy succeeds: `target.create_repository` creates what is missing",
            ),
            false => Finding::fail(
                "push",
                subject,
                error,
                "create the target's project there, or set `target.create_repository`",
            ),
        }
    }
}

/// Credentials that say nothing of a registry: it is asked without any.
fn without_entry(
    registry: &Registry,
    name: &Label,
    greeted: Result<Greeting, Error>,
) -> (Finding, Option<Greeting>) {
    let subject = format!("{registry} as {name}");
    let next = format!("add an entry for {registry} to credentials.{name}");
    match greeted {
        Ok(greeting) => {
            let found = "they have no entry for it, and it lets in who has none";
            (Finding::warn("login", subject, found, next), Some(greeting))
        }
        Err(error) if is_refusal(&error) => {
            let found = "they have no entry for it, and it wants to know who asks";
            (Finding::fail("login", subject, found, next), None)
        }
        Err(error) => (unanswered("login", &subject, &error, registry), None),
    }
}

/// No answer, or none that makes sense.
fn unanswered(check: &'static str, subject: &str, error: &Error, registry: &Registry) -> Finding {
    let text = error.to_string();
    if error.kind() == ErrorKind::NoCredentials {
        return Finding::fail(check, subject, text, "mend what its credential helper needs");
    }
    if text.contains("certificate") {
        let next = format!("name its authority: `registries: {{\"{registry}\": {{ca: FILE}}}}`");
        return Finding::fail(check, subject, text, next);
    }
    let next =
        "look whether it runs, and whether the way there is open (port, network policy, proxy)";
    match error.retry() {
        Retry::Later { .. } => Finding::away(check, subject, text, next),
        Retry::Never => Finding::fail(check, subject, text, next),
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Denied)
}

fn has_proxy() -> bool {
    let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    names.iter().any(|name| std::env::var_os(name).is_some_and(|proxy| !proxy.is_empty()))
}
