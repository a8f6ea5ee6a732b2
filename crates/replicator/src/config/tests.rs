use std::fs;

use copy::{ForeignLayers, Referrers};
use protocol::{Namespace, Naming};
use tempfile::TempDir;

use super::*;
use crate::credentials::Reader;
use crate::freshness::Check;
use crate::rules::Terms;

const CONFIG: &str = "\
front:
  listen: 127.0.0.1:8443
  certificate: DIR/tls.crt
  key: DIR/tls.key
  callers: DIR/htpasswd
  client_ca: DIR/ca.crt
  rights:
    - caller: policy
      namespaces: [shop, team-*]
      verbs: [plan, replica]
status:
  listen: 127.0.0.1:9090
  token: DIR/token
ledger: sqlite:DIR/ledger.db
queue:
  max_waiting: 500
rights:
  remember: 10m
target:
  root: registry.corp/mirror
  credentials: push
  naming: flat
  create_repository:
    command: [aws, ecr, create-repository, --repository-name, '{repository}']
registries:
  \"localhost:5001\":
    ca: DIR/tls.crt
  \"plain.corp:5000\":
    plain_http: true
    requests_per_second: 20
    requests_at_once: 3
    trusted_hosts: [auth.corp, 'cdn.corp:8443']
credentials:
  push: DIR/config.json
  hub: DIR/helpers.json
tenancy:
  secret_namespaces: [shop, team-a]
  namespace_bytes: 100000000000
inventory:
  watch_pods: true
rules:
  - name: theirs
    sources: vault.corp/**
    namespace_secrets: true
  - name: releases
    sources: registry.corp/releases/**
    check: never
  - name: hub
    sources: [docker.io/**]
    namespaces: [shop, \"team-*\"]
    credentials: hub
    check: 15m
copy:
  workers: 7
  platforms: [linux/amd64, linux/arm64/v8]
  referrers:
    artifact_types: [application/spdx+json]
  foreign_layers: skip
  limits:
    image_bytes: 50000000000
    layers: 200
    manifests: 20
notifications:
  - name: scanner
    url: https://scan.corp/in
    secret: DIR/scanner.secret
    ca: DIR/ca.crt
    events: [copied, refused]
  - name: watch
    url: http://127.0.0.1:8080/
    plain_http: true
drain_ms: 1500
";

/// Loads `config` from a folder that has all the files which it may name.
fn load(config: &str) -> Result<Config, String> {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let certificates = testkit::Certificates::new();
    fs::write(path("tls.crt"), &certificates.cert_pem).unwrap();
    fs::write(path("ca.crt"), &certificates.ca_pem).unwrap();
    fs::write(path("other.crt"), testkit::Certificates::new().cert_pem).unwrap();
    fs::write(path("tls.key"), &certificates.key_pem).unwrap();
    fs::write(path("htpasswd"), format!("policy:{}\n", bcrypt::hash("x", 4).unwrap())).unwrap();
    fs::write(path("config.json"), r#"{"auths":{}}"#).unwrap();
    fs::write(path("helpers.json"), r#"{"credHelpers":{"r.corp":"not-there"}}"#).unwrap();
    fs::write(path("shell.json"), r#"{"credsStore":"../../bin/sh"}"#).unwrap();
    fs::write(path("scanner.secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("token"), "0123456789abcdef\n").unwrap();
    let prefix = directory.path().display().to_string();
    fs::write(path("config.yaml"), config.replace("DIR", &prefix)).unwrap();
    Config::load(&path("config.yaml")).map_err(|error| error.to_string().replace(&prefix, "DIR"))
}

fn terms(config: &Config, namespace: &str, image: &str) -> Terms {
    config.rules.allow(&namespace.parse().unwrap(), &image.parse().unwrap()).unwrap().clone()
}

#[test]
fn a_whole_configuration_is_read() {
    let config = load(CONFIG).unwrap();
    assert_eq!(
        config.target,
        "registry.corp/mirror".parse::<TargetRoot>().unwrap().with_naming(Naming::Flat)
    );
    assert_eq!((config.workers, config.drain), (7, Duration::from_millis(1500)));
    assert_eq!(config.ledger.max_waiting, 500);
    assert!(config.status.token.is_some());
    assert_eq!(config.ledger.remember, Duration::from_secs(600));
    let name_of = |credentials: &Option<Arc<NamedCredentials>>| {
        credentials.as_ref().map(|credentials| credentials.name().to_string())
    };
    let [shop, team_a] = ["shop", "team-a"].map(|name| name.parse::<Namespace>().unwrap());
    let releases = terms(&config, "shop", "registry.corp/releases/app:1");
    assert_eq!(releases.check, Check::Never);
    assert!(matches!(releases.reader, Reader::Nobody));
    let hub = terms(&config, "team-a", "nginx:1.27");
    assert_eq!(hub.check.max_age(), Some(Duration::from_secs(900)));
    assert!(matches!(&hub.reader, Reader::Named(hub) if hub.name().as_str() == "hub"));
    let theirs = terms(&config, "shop", "vault.corp/app:1");
    assert!(matches!(&theirs.reader, Reader::Namespace(tenants) if tenants.have(&shop)));
    assert!(config.watch_pods);
    assert_eq!(config.feeds.into_keys().collect::<Vec<_>>(), [shop, team_a]);
    let target_credentials = &config.registries.target_credentials;
    assert_eq!(name_of(target_credentials), Some("push".to_owned()));
    let platforms = ["linux/amd64", "linux/arm64"].map(|one| one.parse().unwrap());
    assert_eq!(hub.scope.platforms, platforms);
    let types = vec!["application/spdx+json".parse().unwrap()];
    assert_eq!(hub.scope.referrers, Referrers::OfTypes(types));
    assert_eq!(hub.scope.foreign_layers, ForeignLayers::Skip);
    assert!(config.registries.create_repository.is_some());
    let limits = config.registries.limits;
    assert_eq!(config.namespace_bytes.map(u64::from), Some(100_000_000_000));
    assert_eq!((limits.image_bytes, limits.blobs, limits.manifests), (50_000_000_000, 200, 20));
    let named = &config.registries.named;
    // The target's registry is named by its root.
    assert!(named.contains_key(&"registry.corp".parse().unwrap()));
    assert_eq!(named.len(), 3);
    assert!(named[&"localhost:5001".parse().unwrap()].ca_pem.is_some());
    assert!(config.front.htpasswd.is_some() && config.front.tls.client_ca.is_some());
    assert_ne!(config.front.rights, CallerRights::default());
    let plain = &named[&"plain.corp:5000".parse().unwrap()];
    assert!(plain.plain_http);
    assert_eq!(plain.requests_per_second.map(u32::from), Some(20));
    assert_eq!(plain.requests_at_once.map(u16::from), Some(3));
    let trusted = ["auth.corp", "cdn.corp:8443"].map(|host| host.parse().unwrap());
    assert_eq!(plain.trusted_hosts, trusted);
    let [scanner, watch] = &config.receivers[..] else { panic!("{:?}", config.receivers) };
    assert_eq!((scanner.name.as_str(), scanner.events.len()), ("scanner", 2));
    assert_eq!((watch.address.to_string(), watch.events.len()), ("127.0.0.1:8080".to_owned(), 4));
    assert!(scanner.secrets.is_some() && watch.secrets.is_none());
}

#[test]
fn what_is_left_out_has_a_default() {
    let end = CONFIG.find("registries:").unwrap();
    let (queue, target) = (CONFIG.find("queue:").unwrap(), CONFIG.find("target:").unwrap());
    let without = format!("{}{}", &CONFIG[..queue], &CONFIG[target..end]);
    let rules = "rules: [{name: all, sources: '**'}]";
    let config = load(&format!("{}{rules}", without.replace("  credentials: push\n", ""))).unwrap();
    let all = terms(&config, "shop", "nginx:1.27");
    assert_eq!(all.check.max_age(), Some(Duration::from_secs(3_600)));
    assert!(matches!(all.reader, Reader::Nobody));
    assert!(config.registries.target_credentials.is_none() && config.tenants.is_empty());
    assert!(!config.watch_pods && config.namespace_bytes.is_none());
    assert_eq!(config.ledger.max_waiting, 100_000);
    assert_eq!(config.ledger.remember, Duration::from_secs(3_600));
    assert!(config.receivers.is_empty());
    assert_eq!(config.audit, Destination::Stdout);
    assert_eq!((config.workers, config.drain), (4, Duration::from_secs(20)));
    assert_eq!(all.scope.platforms, []);
    assert_eq!(all.scope.referrers, Referrers::All);
    assert_eq!(all.scope.foreign_layers, ForeignLayers::Refuse);
}

#[test]
fn callers_come_by_a_password_or_by_a_certificate() {
    let passwords = CONFIG.replace("  client_ca: DIR/ca.crt\n", "");
    assert!(load(&passwords).unwrap().front.tls.client_ca.is_none());
    let certificates = CONFIG.replace("  callers: DIR/htpasswd\n", "");
    assert!(load(&certificates).unwrap().front.htpasswd.is_none());
}

#[test]
fn referrers_can_be_left_out() {
    let off = CONFIG.replace("    artifact_types: [application/spdx+json]", "    enabled: false");
    let hub = terms(&load(&off).unwrap(), "shop", "nginx:1.27");
    assert_eq!(hub.scope.referrers, Referrers::Nothing);
}

#[test]
fn the_audit_record_can_go_to_a_file() {
    let to = |audit: &str| load(&CONFIG.replace("queue:", &format!("audit: {audit}\nqueue:")));
    assert_eq!(to("/var/log/a").unwrap().audit, Destination::File("/var/log/a".into()));
    let error = to("nowhere").unwrap_err();
    assert!(error.contains("'nowhere' is neither 'stdout' nor"), "{error}");
}

/// A helper is looked for when it is needed; what can be no helper's name is an error at once.
#[test]
fn credentials_can_name_helpers() {
    assert!(load(&CONFIG.replace("config.json", "helpers.json")).is_ok());
    let error = load(&CONFIG.replace("config.json", "shell.json")).unwrap_err();
    assert!(error.starts_with("credentials.push: DIR/shell.json cannot be used: "), "{error}");
    assert!(error.contains("'credsStore'"), "{error}");
}

#[test]
fn an_error_names_the_key_the_file_and_the_reason() {
    let errors = [
        CONFIG.replace("tls.crt", "none.crt"),
        CONFIG.replace("DIR/tls.key", "DIR/empty"),
        CONFIG.replace("DIR/tls.key", "DIR/htpasswd"),
        CONFIG.replace("DIR/htpasswd", "DIR/tls.crt"),
        CONFIG.replace("DIR/tls.crt\n  key", "DIR/other.crt\n  key"),
        CONFIG.replace("DIR/ca.crt", "DIR/htpasswd"),
        CONFIG.replace("  callers: DIR/htpasswd\n  client_ca: DIR/ca.crt\n", ""),
        CONFIG.replace("[plan, replica]", "[plan, copy]"),
        CONFIG.replace("DIR/config.json", "DIR/tls.crt"),
        CONFIG.replace("DIR/token", "DIR/empty"),
        CONFIG.replace("registry.corp/mirror", "mirror"),
        CONFIG.replace("plain.corp:5000", "LocalHost:5001"),
        CONFIG.replace("workers: 7", "workers: 0"),
        CONFIG.replace("sqlite:DIR", "mysql://DIR"),
        CONFIG.replace("sqlite:DIR/ledger.db", "postgres://r:hunter2@db:port/ledger"),
        CONFIG.replace("max_waiting: 500", "max_waiting: 0"),
        CONFIG.replace("remember: 10m", "remember: never"),
        CONFIG.replace("docker.io/**", "nginx"),
        CONFIG.replace("credentials: hub", "credentials: pull"),
        CONFIG.replace("credentials: push", "credentials: pull"),
        CONFIG.replace("  hub: DIR", "  Hub: DIR"),
        CONFIG.replace("[docker.io/**]", "{docker.io: true}"),
        CONFIG.replace("    namespaces: [shop, \"", "    namespace: [shop, \""),
        CONFIG.replace(&CONFIG[CONFIG.find("rules:").unwrap()..CONFIG.find("copy:").unwrap()], ""),
        CONFIG.replace(
            &CONFIG[CONFIG.find("\n  - name: theirs").unwrap()..CONFIG.find("\ncopy:").unwrap()],
            " []",
        ),
        CONFIG.replace("[shop, team-a]", "[shop, 'team-*']"),
        CONFIG.replace("[shop, team-a]", "[shop, shop]"),
        CONFIG.replace("[shop, team-a]", "[]"),
        CONFIG.replace("    namespace_secrets: true\n", ""),
        CONFIG.replace("namespace_secrets: true", "namespace_secrets: true\n    credentials: hub"),
        CONFIG.replace("namespace_secrets: true", "namespace_secrets: true\n    deny: true"),
        CONFIG.replace("check: 15m", "check: 15 minutes"),
        CONFIG.replace("linux/arm64/v8", "arm64"),
        CONFIG.replace("foreign_layers: skip", "foreign_layers: push"),
        CONFIG.replace("artifact_types:", "types:"),
        CONFIG.replace("{repository}", "app"),
        CONFIG.replace("[aws, ecr, create-repository, --repository-name, '{repository}']", "[]"),
        CONFIG.replace("requests_at_once: 3", "requests_at_once: 0"),
        CONFIG.replace("auth.corp", "https://auth.corp"),
        CONFIG.replace("layers: 200", "layers: 0"),
        CONFIG.replace("namespace_bytes: 100000000000", "namespace_bytes: 0"),
        CONFIG.replace("events: [copied, refused]", "events: []"),
        CONFIG.replace("events: [copied, refused]", "events: [present]"),
        CONFIG.replace("    plain_http: true\ndrain", "drain"),
        CONFIG.replace("https://scan.corp", "https://me:hunter2@scan.corp"),
        CONFIG.replace("scanner.secret", "htpasswd"),
        CONFIG.replace("name: watch", "name: scanner"),
        CONFIG.replace("drain_ms", "drain"),
        CONFIG.replace("127.0.0.1:8443", "8443"),
        String::new(),
    ]
    .map(|config| load(&config).unwrap_err());
    insta::assert_snapshot!(errors.join("\n"));
}
