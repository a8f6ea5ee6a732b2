use std::fs;

use tempfile::TempDir;

use super::*;

const CONFIG: &str = "\
front:
  listen: 127.0.0.1:8443
  certificate: DIR/tls.crt
  key: DIR/tls.key
  callers: DIR/htpasswd
status:
  listen: 127.0.0.1:9090
ledger: sqlite:DIR/ledger.db
queue:
  max_waiting: 500
freshness:
  - source: registry.corp/releases/**
    check: never
  - source: docker.io/**
    check: 15m
target:
  root: registry.corp/mirror
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
credentials: DIR/config.json
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
drain_ms: 1500
";

/// Loads `config` from a folder that has all the files which it may name.
fn load(config: &str) -> Result<Config, String> {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let certificates = testkit::Certificates::new();
    fs::write(path("tls.crt"), &certificates.cert_pem).unwrap();
    fs::write(path("tls.key"), &certificates.key_pem).unwrap();
    fs::write(path("htpasswd"), format!("policy:{}\n", bcrypt::hash("x", 4).unwrap())).unwrap();
    fs::write(path("config.json"), r#"{"auths":{}}"#).unwrap();
    fs::write(path("helpers.json"), r#"{"credHelpers":{"r.corp":"not-there"}}"#).unwrap();
    fs::write(path("shell.json"), r#"{"credsStore":"../../bin/sh"}"#).unwrap();
    fs::write(path("empty"), "").unwrap();
    let prefix = directory.path().display().to_string();
    fs::write(path("config.yaml"), config.replace("DIR", &prefix)).unwrap();
    Config::load(&path("config.yaml")).map_err(|error| error.to_string().replace(&prefix, "DIR"))
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
    let max_age = |image: &str| config.freshness.max_age(&image.parse().unwrap());
    assert_eq!(max_age("registry.corp/releases/app:1"), None);
    assert_eq!(max_age("nginx:1.27"), Some(Duration::from_secs(900)));
    let platforms = ["linux/amd64", "linux/arm64"].map(|one| one.parse().unwrap());
    assert_eq!(config.scope.platforms, platforms);
    let types = vec!["application/spdx+json".parse().unwrap()];
    assert_eq!(config.scope.referrers, Referrers::OfTypes(types));
    assert_eq!(config.scope.foreign_layers, ForeignLayers::Skip);
    assert!(config.registries.create_repository.is_some());
    let limits = config.registries.limits;
    assert_eq!((limits.image_bytes, limits.blobs, limits.manifests), (50_000_000_000, 200, 20));
    let named = &config.registries.named;
    // The target's registry is named by its root.
    assert!(named.contains_key(&"registry.corp".parse().unwrap()));
    assert_eq!(named.len(), 3);
    assert!(named[&"localhost:5001".parse().unwrap()].ca_pem.is_some());
    let plain = &named[&"plain.corp:5000".parse().unwrap()];
    assert!(plain.plain_http);
    assert_eq!(plain.requests_per_second.map(u32::from), Some(20));
    assert_eq!(plain.requests_at_once.map(u16::from), Some(3));
    let trusted = ["auth.corp", "cdn.corp:8443"].map(|host| host.parse().unwrap());
    assert_eq!(plain.trusted_hosts, trusted);
}

#[test]
fn what_is_left_out_has_a_default() {
    let end = CONFIG.find("registries:").unwrap();
    let (queue, target) = (CONFIG.find("queue:").unwrap(), CONFIG.find("target:").unwrap());
    let config = load(&format!("{}{}", &CONFIG[..queue], &CONFIG[target..end])).unwrap();
    assert_eq!(config.freshness, Freshness::default());
    assert_eq!(config.ledger.max_waiting, 100_000);
    assert_eq!(config.audit, Destination::Stdout);
    assert_eq!((config.workers, config.drain), (4, Duration::from_secs(20)));
    assert_eq!(config.scope.platforms, []);
    assert_eq!(config.scope.referrers, Referrers::All);
    assert_eq!(config.scope.foreign_layers, ForeignLayers::Refuse);
}

#[test]
fn referrers_can_be_left_out() {
    let off = CONFIG.replace("    artifact_types: [application/spdx+json]", "    enabled: false");
    assert_eq!(load(&off).unwrap().scope.referrers, Referrers::Nothing);
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
    assert!(error.starts_with("credentials: DIR/shell.json cannot be used: "), "{error}");
    assert!(error.contains("'credsStore'"), "{error}");
}

#[test]
fn an_error_names_the_key_the_file_and_the_reason() {
    let errors = [
        CONFIG.replace("tls.crt", "none.crt"),
        CONFIG.replace("DIR/tls.key", "DIR/empty"),
        CONFIG.replace("DIR/tls.key", "DIR/htpasswd"),
        CONFIG.replace("DIR/htpasswd", "DIR/tls.crt"),
        CONFIG.replace("DIR/config.json", "DIR/tls.crt"),
        CONFIG.replace("registry.corp/mirror", "mirror"),
        CONFIG.replace("plain.corp:5000", "LocalHost:5001"),
        CONFIG.replace("workers: 7", "workers: 0"),
        CONFIG.replace("sqlite:DIR", "mysql://DIR"),
        CONFIG.replace("sqlite:DIR/ledger.db", "postgres://r:hunter2@db:port/ledger"),
        CONFIG.replace("max_waiting: 500", "max_waiting: 0"),
        CONFIG.replace("docker.io/**", "nginx"),
        CONFIG.replace("check: 15m", "check: 15 minutes"),
        CONFIG.replace("linux/arm64/v8", "arm64"),
        CONFIG.replace("foreign_layers: skip", "foreign_layers: push"),
        CONFIG.replace("artifact_types:", "types:"),
        CONFIG.replace("{repository}", "app"),
        CONFIG.replace("[aws, ecr, create-repository, --repository-name, '{repository}']", "[]"),
        CONFIG.replace("requests_at_once: 3", "requests_at_once: 0"),
        CONFIG.replace("auth.corp", "https://auth.corp"),
        CONFIG.replace("layers: 200", "layers: 0"),
        CONFIG.replace("drain_ms", "drain"),
        CONFIG.replace("127.0.0.1:8443", "8443"),
        String::new(),
    ]
    .map(|config| load(&config).unwrap_err());
    insta::assert_snapshot!(errors.join("\n"));
}
