//! `explain`: what the rules say of an image in a namespace, as lines for people. Asks nobody.

use std::fmt::{self, Write};

use copy::{MediaType, Platform, Referrers};
use protocol::{ImageReference, Namespace, TargetRoot};

use crate::credentials::Reader;
use crate::rules::{Fit, Rules, Terms};

/// What is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// The lines.
    pub(crate) text: String,
    /// Whether the namespace gets the image.
    pub(crate) is_allowed: bool,
}

/// Explains what becomes of `image` in `namespace`.
pub(crate) fn explain(
    rules: &Rules,
    target: &TargetRoot,
    namespace: &Namespace,
    image: &ImageReference,
) -> Explanation {
    // Of what leads into the target, that which it is a replica of counts.
    let source = target.source_of(image);
    let (source, is_replica) = match &source {
        Some(source) if target.contains(image) => (source, true),
        _ => (image, false),
    };
    let fit = rules.find(namespace, source);
    let terms = fit.and_then(|fit| fit.rule.terms());
    let mut text = format!("image        {image}\nnamespace    {namespace}\n");
    if is_replica {
        text += &format!("replica of   {source}, whose rule counts\n");
    }
    // Writing to a text cannot fail.
    let _ = write_rule(&mut text, fit, terms).and_then(|()| match terms {
        Some(terms) => write_terms(&mut text, terms, target, source, namespace),
        None => Ok(()),
    });
    Explanation { text, is_allowed: terms.is_some() }
}

fn write_rule(text: &mut String, fit: Option<Fit<'_>>, terms: Option<&Terms>) -> fmt::Result {
    let Some(Fit { rule, source, namespace }) = fit else {
        return writeln!(
            text,
            "decision     refused: no rule has this image in this namespace, and what no rule \
             allows is refused"
        );
    };
    let decision = if terms.is_some() { "allowed" } else { "refused" };
    writeln!(text, "decision     {decision} by rule '{}', the first that has both", rule.name)?;
    write!(text, "why          its source {source} has the image; ")?;
    match namespace {
        Some(pattern) => writeln!(text, "its namespace {pattern} has the namespace"),
        None => writeln!(text, "it holds for all namespaces"),
    }
}

fn write_terms(
    text: &mut String,
    terms: &Terms,
    target: &TargetRoot,
    source: &ImageReference,
    namespace: &Namespace,
) -> fmt::Result {
    let host = source.registry();
    match &terms.reader {
        Reader::Nobody => writeln!(text, "credentials  none")?,
        Reader::Named(credentials) => {
            let name = credentials.name();
            match credentials.know(source) {
                true => writeln!(text, "credentials  {name}, which have an entry for {host}")?,
                false => writeln!(
                    text,
                    "credentials  {name}, which have no entry for {host}: it is asked without any"
                )?,
            }
        }
        Reader::Namespace(tenants) => match tenants.have(namespace) {
            true => writeln!(
                text,
                "credentials  the pull secrets of the namespace, which are not seen from here: \
                 without an entry for {host} it is asked without any"
            )?,
            false => writeln!(
                text,
                "credentials  none: the namespace is not among tenancy.secret_namespaces"
            )?,
        },
    }
    match target.replica_of(source) {
        Ok(replica) => writeln!(text, "target       {}", replica.reference)?,
        Err(error) => writeln!(text, "target       none: {error}")?,
    }
    writeln!(text, "check        {}", terms.check)?;
    writeln!(text, "platforms    {}", list(terms.scope.platforms.iter().map(Platform::to_string)))?;
    match &terms.scope.referrers {
        Referrers::All => writeln!(text, "referrers    all"),
        Referrers::Nothing => writeln!(text, "referrers    none"),
        Referrers::OfTypes(types) => {
            writeln!(text, "referrers    {}", list(types.iter().map(MediaType::to_string)))
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
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

    fn explained(namespace: &str, image: &str) -> String {
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
        let Explanation { text, is_allowed } = explain(&rules, &target, &namespace, &image);
        format!("{text}(allowed: {is_allowed})\n")
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
        insta::assert_snapshot!(told.join("\n"));
    }
}
