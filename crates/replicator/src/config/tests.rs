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
credentials: DIR/config.json
copy:
  workers: 7
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
    assert!(config.registries.create_repository.is_some());
    let special = &config.registries.special;
    assert!(special[&"localhost:5001".parse().unwrap()].ca_pem.is_some());
    assert!(special[&"plain.corp:5000".parse().unwrap()].plain_http);
}

#[test]
fn what_is_left_out_has_a_default() {
    let start = CONFIG.find("registries:").unwrap();
    let config = load(&CONFIG[..start]).unwrap();
    assert_eq!((config.workers, config.drain), (4, Duration::from_secs(20)));
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
        CONFIG.replace("{repository}", "app"),
        CONFIG.replace("[aws, ecr, create-repository, --repository-name, '{repository}']", "[]"),
        CONFIG.replace("drain_ms", "drain"),
        CONFIG.replace("127.0.0.1:8443", "8443"),
        String::new(),
    ]
    .map(|config| load(&config).unwrap_err());
    insta::assert_snapshot!(errors.join("\n"));
}
