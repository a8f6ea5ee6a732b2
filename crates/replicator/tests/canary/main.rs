//! Case 24: marked secrets of every kind go through the real command, logging all that it
//! can, and are looked for in all that it leaves behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod finder;
mod processes;
mod scene;
mod wire;

use std::fs;
use std::process::Command;

use finder::Canary;
use scene::{REPLICATOR, Scene};
use testkit::Postgres;

/// What is put where everybody may see it.
fn leak() -> Canary {
    Canary::new("leak", "fd00:ca11:ab1e::77")
}

fn password_of_ledger() -> Canary {
    Canary::new("ledger password", "cAnArY-of-the-ledger")
}

/// No secret is found, and what is no secret is found by the same search in each place.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_no_secret_is_left_anywhere() {
    let scene = Scene::set(None, &password_of_ledger()).await;
    let evidence = scene.play(&leak()).await;
    for canary in &scene.canaries {
        assert_eq!(evidence.of(canary), [""; 0], "{}", canary.name);
    }
}

/// The search can fail: what was leaked on purpose is found wherever it went.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_leak_is_found_wherever_it_is() {
    let scene = Scene::set(None, &password_of_ledger()).await;
    let evidence = scene.play(&leak()).await;
    let places =
        ["status page and metrics", "replies of the front", "ledger", "log", "environments"];
    assert_eq!(evidence.of(&leak()), places);
    let config = Canary::new("name of the configuration", "config.yaml");
    assert_eq!(evidence.of(&config), ["command lines"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_the_ledgers_password_is_left_nowhere() {
    let postgres = Postgres::start();
    let postgres = postgres.expect("PostgreSQL is not installed: scripts/install-tools.sh does it");
    let password = password_of_ledger();
    let url = postgres.database("ledger");
    let url = url.replace("postgres@", &format!("postgres:{}@", password.secret));
    let scene = Scene::set(Some(url), &password).await;
    let evidence = scene.play(&leak()).await;
    for canary in &scene.canaries {
        assert_eq!(evidence.of(canary), [""; 0], "{}", canary.name);
    }
    assert!(evidence.of(&leak()).contains(&"log"));
}

/// What cannot be used is not shown, either.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_broken_configuration_shows_no_secret() {
    let secret = password_of_ledger();
    let scene = Scene::set(None, &secret).await;
    let at = |name: &str| scene.folder.path().join(name);
    let config = fs::read_to_string(at("config.yaml")).unwrap();
    let ledger = format!("sqlite:{}", at("ledger.db").display());
    let broken = [
        ("config.yaml", config.replace(&ledger, &format!("postgres://u:{}@db:x/l", secret.secret))),
        ("config.yaml", config.replace(&ledger, &format!("postgres://u:{}@[::/l", secret.secret))),
        ("config.yaml", config.replace("\"ledger\":", &format!("\"x\": \"{}\", ", secret.secret))),
        ("config.json", format!(r#"{{"auths":{{"r.example":{{"password":"{}}}}}"#, secret.secret)),
        ("config.json", format!(r#"{{"auths":{{"r.example":{{"auth":"{}"}}}}}}"#, secret.secret)),
        ("config.json", format!(r#"{{"auths":{{"r.example":"{}"}}}}"#, secret.secret)),
        ("htpasswd", secret.secret.clone()),
        ("htpasswd", format!("policy:{}", secret.secret)),
        ("tls.key", format!("-----BEGIN PRIVATE KEY-----\n{}\n", secret.secret)),
    ];
    for (name, text) in broken {
        let whole = fs::read_to_string(at(name)).unwrap();
        fs::write(at(name), &text).unwrap();
        let config = at("config.yaml");
        let command = ["--log", "trace", "serve", "--config"];
        let output = Command::new(REPLICATOR).args(command).arg(config).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {text}");
        let said = [output.stdout, output.stderr].concat();
        assert!(!said.is_empty() && !secret.is_in(&said), "{}", String::from_utf8_lossy(&said));
        fs::write(at(name), whole).unwrap();
    }
}
