//! `prewarm`, the real binary, asks a replicator that runs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};
use testkit::{Fault, Image, Kind, ScriptedRegistry, When};

use support::{Home, Process};

/// A replicator that takes wishes from whom has the token, and what it copies from and to.
struct Scene {
    source: ScriptedRegistry,
    target: ScriptedRegistry,
    home: Home,
    token: PathBuf,
    _process: Process,
}

impl Scene {
    async fn new() -> Self {
        let (source, target) = (ScriptedRegistry::start().await, ScriptedRegistry::start().await);
        for name in ["one", "two", "denied"] {
            source.push(&Image::new(&[name.as_bytes()]), name, "v1");
        }
        let home = Home::new(&source, &target, None);
        let token = home.add_token("a-token-that-nobody-guesses");
        let config = std::fs::read_to_string(home.config()).unwrap();
        let deny = "rules:\n- name: no\n  sources: '*/denied'\n  deny: true\n";
        std::fs::write(home.config(), config.replace("rules:\n", deny)).unwrap();
        let process = home.start(&[]).await;
        Self { source, target, home, token, _process: process }
    }

    fn name(&self, image: &str) -> String {
        self.source.reference(&format!("{image}:v1")).to_string()
    }

    /// Pods, each with its namespace and its image.
    fn pods(&self, pods: &[(&str, &str)]) -> PathBuf {
        let pods = pods.iter().map(|(namespace, image)| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace},
                "spec": {"containers": [{"name": "c", "image": image}]}})
            .to_string()
        });
        let path = self.home.config().with_file_name("pods.json");
        std::fs::write(&path, pods.collect::<String>()).unwrap();
        path
    }

    /// What `prewarm` ends with, and tells; its error where it tells nothing.
    async fn prewarm(&self, pods: &[(&str, &str)], more: &[&str]) -> (i32, Value) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_image-replicator"));
        command.args(["prewarm", "--output", "json"]).arg(self.pods(pods)).args(more);
        let output = command.output().await.unwrap();
        let told = serde_json::from_slice(&output.stdout);
        let told = told.unwrap_or_else(|_| String::from_utf8_lossy(&output.stderr).into());
        (output.status.code().unwrap(), told)
    }

    fn is_there(&self, image: &str) -> bool {
        let replica = format!("{}/{image}", self.source.host().replace(':', "_"));
        self.target.tags(&replica) == ["v1"]
    }
}

#[tokio::test]
async fn each_namespace_s_images_are_copied_and_waited_for() {
    let scene = Scene::new().await;
    let [one, two, gone, denied] = ["one", "two", "gone", "denied"].map(|name| scene.name(name));
    let config = scene.home.config();
    let wait = ["--config", config.to_str().unwrap(), "--wait"];
    let pods = [("shop", one.as_str()), ("team", one.as_str()), ("team", two.as_str())];
    let (exit, told) = scene.prewarm(&pods, &wait).await;
    assert_eq!(exit, 0, "{told}");
    let told: Vec<_> = told["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| (&image["namespace"], &image["source"], &image["state"], &image["error"]))
        .collect();
    let text = |text: &str| json!(text);
    let (shop, team, one, two) = (text("shop"), text("team"), text(&one), text(&two));
    let (present, null) = (text("present"), Value::Null);
    assert_eq!(
        told,
        [
            (&shop, &one, &present, &null),
            (&team, &one, &present, &null),
            (&team, &two, &present, &null)
        ]
    );
    assert!(scene.is_there("one") && scene.is_there("two"));

    let pods = [("shop", gone.as_str()), ("shop", denied.as_str()), ("shop", "no image")];
    let (exit, told) = scene.prewarm(&pods, &wait).await;
    assert_eq!(exit, 3, "{told}");
    let error = |at: usize| told["images"][at]["error"].as_str().unwrap();
    assert_eq!(
        (&told["images"][0]["source"], &told["images"][0]["state"]),
        (&text("no image"), &null)
    );
    assert!(error(1).contains("has no image gone:v1"), "{}", error(1));
    assert!(error(2).contains("rule 'no' denies"), "{}", error(2));
    assert!(!scene.is_there("denied"));
}

#[tokio::test]
async fn what_takes_longer_than_one_waits_counts_as_failed() {
    let scene = Scene::new().await;
    scene.source.script(When::each(Method::GET, Kind::Blob), Fault::Silence);
    let (config, one) = (scene.home.config(), scene.name("one"));
    let more = ["--config", config.to_str().unwrap(), "--wait", "--timeout", "1s"];
    let (exit, told) = scene.prewarm(&[("shop", &one)], &more).await;
    assert_eq!(exit, 1, "{told}");
    assert_eq!(told["images"][0]["error"], "it is not there after 1s; its copy goes on", "{told}");
}

#[tokio::test]
async fn without_waiting_the_images_are_queued_and_without_the_token_nothing_is() {
    let scene = Scene::new().await;
    let one = scene.name("one");
    let server = format!("http://127.0.0.1:{}", scene.home.status_port());
    let (exit, told) = scene.prewarm(&[("shop", &one)], &["--server", &server]).await;
    assert_eq!(exit, 2, "{told}");
    assert!(told.as_str().unwrap().contains("--token-file"), "{told}");
    assert!(!scene.is_there("one"));

    let more = ["--server", &server, "--token-file", scene.token.to_str().unwrap()];
    let (exit, told) = scene.prewarm(&[("shop", &one)], &more).await;
    assert_eq!((exit, &told["images"][0]["state"]), (0, &json!("copying")), "{told}");
    let there = async || scene.is_there("one").then_some(());
    support::until("what was queued is copied", there).await;
}
