//! `explain`: what the rules say of an image in a namespace, as lines for people. Asks nobody.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use copy::Referrers;
use protocol::{ImageReference, Namespace, TargetRoot};
use serde::Serialize;

use super::{Exit, Failure, output::Output};
use crate::config::ByHand;
use crate::credentials::Reader;
use crate::rules::{Fit, Rules, Terms};

/// What `explain` is told.
#[derive(Debug, Args)]
#[command(after_help = EXITS)]
pub(crate) struct Explain {
    /// The configuration, a YAML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The namespace
    namespace: Namespace,
    /// The image, as a pod has it
    image: ImageReference,
    #[command(flatten)]
    output: Output,
}

const EXITS: &str = "\
Ends with 0 when the image is allowed, 3 when it is not. No registry is asked.";

impl Explain {
    /// Reads the rules, and asks nobody.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let ByHand { rules, target, .. } = ByHand::load(&self.config)?;
        let target = target.ok_or_else(|| {
            let why = "--config: it has no `target`, so nothing can be said of it";
            Failure::new(Exit::Usage, why)
        })?;
        let explanation = explain(&rules, &target, &self.namespace, &self.image);
        self.output.print(&explanation, &explanation)?;
        Ok(if explanation.is_allowed { Exit::Done } else { Exit::Refused })
    }
}

/// What is told.
#[derive(Debug, Serialize)]
struct Explanation {
    image: String,
    namespace: String,
    /// The source of `image`, where that leads into the target.
    replica_of: Option<String>,
    is_allowed: bool,
    /// The rule that decides; None where none has the image.
    rule: Option<Deciding>,
    /// How the image is copied; None where it is not.
    terms: Option<Told>,
}

/// The rule that decides, and what of it fits.
#[derive(Debug, Serialize)]
struct Deciding {
    name: String,
    source: String,
    /// None where it holds for all.
    namespace: Option<String>,
}

/// How an image is copied.
#[derive(Debug, Serialize)]
struct Told {
    registry: String,
    credentials: Option<Chosen>,
    /// Whether the namespace is one whose own pull secrets are its credentials; what these are is
    /// not seen from here. None where the rule does not ask for them.
    namespace_secrets: Option<bool>,
    /// None where it can have none.
    target: Option<String>,
    /// Why it can have none.
    target_error: Option<String>,
    check: String,
    /// Empty is all.
    platforms: Vec<String>,
    copies_referrers: bool,
    /// Empty is all.
    referrer_types: Vec<String>,
}

/// Who reads it, by the rule's choice.
#[derive(Debug, Serialize)]
struct Chosen {
    name: String,
    /// Whether they know the source's registry; it is asked without any where not.
    have_entry: bool,
}

/// Explains what becomes of `image` in `namespace`.
fn explain(
    rules: &Rules,
    target: &TargetRoot,
    namespace: &Namespace,
    image: &ImageReference,
) -> Explanation {
    // Of what leads into the target, that which it is a replica of counts.
    let replica_of = target.source_of(image).filter(|_| target.contains(image));
    let source = replica_of.as_ref().unwrap_or(image);
    let fit = rules.find(namespace, source);
    let terms = fit.and_then(|fit| fit.rule.terms());
    Explanation {
        image: image.to_string(),
        namespace: namespace.to_string(),
        replica_of: replica_of.as_ref().map(ToString::to_string),
        is_allowed: terms.is_some(),
        rule: fit.map(|Fit { rule, source, namespace }| Deciding {
            name: rule.name.to_string(),
            source: source.to_string(),
            namespace: namespace.map(ToString::to_string),
        }),
        terms: terms.map(|terms| tell(terms, target, source, namespace)),
    }
}

fn tell(
    terms: &Terms,
    target: &TargetRoot,
    source: &ImageReference,
    namespace: &Namespace,
) -> Told {
    let (credentials, namespace_secrets) = match &terms.reader {
        Reader::Nobody => (None, None),
        Reader::Named(credentials) => {
            let name = credentials.name().to_string();
            (Some(Chosen { name, have_entry: credentials.know(source) }), None)
        }
        Reader::Namespace(tenants) => (None, Some(tenants.have(namespace))),
    };
    let (target, target_error) = match target.replica_of(source) {
        Ok(replica) => (Some(replica.reference.to_string()), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let (copies_referrers, referrer_types) = match &terms.scope.referrers {
        Referrers::All => (true, Vec::new()),
        Referrers::Nothing => (false, Vec::new()),
        Referrers::OfTypes(types) => (true, texts(types)),
    };
    Told {
        registry: source.registry().to_string(),
        credentials,
        namespace_secrets,
        target,
        target_error,
        check: terms.check.to_string(),
        platforms: texts(&terms.scope.platforms),
        copies_referrers,
        referrer_types,
    }
}

fn texts(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "image        {}\nnamespace    {}", self.image, self.namespace)?;
        if let Some(source) = &self.replica_of {
            writeln!(f, "replica of   {source}, whose rule counts")?;
        }
        let Some(Deciding { name, source, namespace }) = &self.rule else {
            return writeln!(
                f,
                "decision     refused: no rule has this image in this namespace, and what no rule \
                 allows is refused"
            );
        };
        let decision = if self.is_allowed { "allowed" } else { "refused" };
        writeln!(f, "decision     {decision} by rule '{name}', the first that has both")?;
        write!(f, "why          its source {source} has the image; ")?;
        match namespace {
            Some(pattern) => writeln!(f, "its namespace {pattern} has the namespace")?,
            None => writeln!(f, "it holds for all namespaces")?,
        }
        self.terms.as_ref().map_or(Ok(()), |terms| terms.fmt(f))
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.registry;
        f.write_str("credentials  ")?;
        match (&self.credentials, self.namespace_secrets) {
            (Some(Chosen { name, have_entry: true }), _) => {
                writeln!(f, "{name}, which have an entry for {host}")?;
            }
            (Some(Chosen { name, have_entry: false }), _) => {
                writeln!(f, "{name}, which have no entry for {host}: it is asked without any")?;
            }
            (None, Some(true)) => writeln!(
                f,
                "the pull secrets of the namespace, which are not seen from here: without an entry \
                 for {host} it is asked without any"
            )?,
            (None, Some(false)) => {
                writeln!(f, "none: the namespace is not among tenancy.secret_namespaces")?;
            }
            (None, None) => writeln!(f, "none")?,
        }
        match (&self.target, &self.target_error) {
            (Some(target), _) => writeln!(f, "target       {target}")?,
            (None, error) => {
                writeln!(f, "target       none: {}", error.as_deref().unwrap_or_default())?;
            }
        }
        writeln!(f, "check        {}", self.check)?;
        writeln!(f, "platforms    {}", list(&self.platforms))?;
        match self.copies_referrers {
            true => writeln!(f, "referrers    {}", list(&self.referrer_types)),
            false => writeln!(f, "referrers    none"),
        }
    }
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "all".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use copy::Scope;
    use registry::DockerConfig;

    use super::*;
    use crate::credentials::{Keyring, NamedCredentials};
    use crate::tenants::Tenants;
    use crate::watch::Held;

    const RULES: &str = "
- name: hub
  sources: [docker.io/library/*, docker.io/bitnami/**]
  namespaces: [shop, team-*]
  credentials: hub
  check: 15m
  platforms: [linux/amd64, linux/arm64]
  referrers: {artifact_types: [application/spdx+json]}
- name: corp
  sources: git.corp/**
  credentials: hub
- name: bad
  sources: docker.io/library/bad
  deny: true
- name: theirs
  sources: vault.corp/**
  namespace_secrets: true
";

    fn explained(namespace: &str, image: &str) -> Explanation {
        let name: crate::label::Label = "hub".parse().unwrap();
        let hub = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpodW50ZXIy"}}}"#;
        let (_, hub) = Held::channel(DockerConfig::parse(hub).unwrap());
        let hub = NamedCredentials::new(name.clone(), hub);
        let keyring = Keyring::from([(name, Arc::new(hub))]);
        let files = serde_yaml::from_str(RULES).unwrap();
        let (tenants, _) = Tenants::new(vec!["shop".parse().unwrap()]).unwrap();
        let rules = Rules::read(files, &keyring, &tenants, &Scope::default()).unwrap();
        let target = "registry.corp/mirror".parse().unwrap();
        let (namespace, image) = (namespace.parse().unwrap(), image.parse().unwrap());
        explain(&rules, &target, &namespace, &image)
    }

    #[test]
    fn a_decision_is_told_with_its_reason() {
        let told = [
            ("team-a", "nginx:1.27"),
            ("default", "git.corp/a/b:1"),
            ("default", "docker.io/library/bad:1"),
            ("default", "nginx:1.27"),
            ("shop", "registry.corp/mirror/docker.io/library/nginx:1.27"),
            ("shop", "vault.corp/app:1"),
            ("team-a", "vault.corp/app:1"),
        ]
        .map(|(namespace, image)| explained(namespace, image));
        insta::assert_snapshot!(told.map(|told| told.to_string()).join("\n"));
    }

    #[test]
    fn a_decision_as_a_document() {
        let told = [("team-a", "nginx:1.27"), ("default", "nginx:1.27")];
        insta::assert_json_snapshot!(told.map(|(namespace, image)| explained(namespace, image)));
    }
}
