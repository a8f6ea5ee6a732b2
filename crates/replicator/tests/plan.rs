//! `plan`, the real binary: it names what the policy rewrites, says what registries say, and
//! changes nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../../tests/common/mod.rs"]
#[allow(dead_code, reason = "the tests of the policy use more of it")]
mod policy;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use http::Method;
use image_replicator_policy::SOURCE_IMAGES;
use protocol::ImageReference;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Fault, Image, Kind, ScriptedRegistry, When};

/// What `plan` ends with and tells about the manifests in `file`.
async fn plan(config: &Path, file: &Path, more: &[&str]) -> (i32, Value) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_image-replicator"));
    command.args(["--log", "error", "plan", "--output", "json", "--config"]);
    let output = command.arg(config).arg(file).args(more).output().await.unwrap();
    let document = serde_json::from_slice(&output.stdout);
    let document = document.unwrap_or_else(|_| String::from_utf8_lossy(&output.stderr).into());
    (output.status.code().unwrap(), document)
}

/// The images of each object, by kind, namespace and name.
type ByObject = BTreeMap<(String, String, String), Vec<String>>;

/// What the policy finds in each object of the kinds that it knows.
fn rewritten(text: &str) -> ByObject {
    let mut found = ByObject::new();
    let mut objects: Vec<Value> = serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect();
    while let Some(object) = objects.pop() {
        if let Some(items) = object["items"].as_array() {
            objects.extend(items.iter().cloned());
            continue;
        }
        let group = object["apiVersion"].as_str().unwrap_or_default();
        let group = group.split_once('/').map_or("", |(group, _)| group);
        let kind = json!({"group": group, "version": "v1", "kind": object["kind"]});
        let answer = policy::create(&kind, &object);
        assert_eq!(answer["accepted"], true, "{answer}");
        let known = policy::KINDS
            .iter()
            .find(|known| (known.0, json!(known.1)) == (group, object["kind"].clone()));
        let Some((_, _, pod)) = known else {
            assert_eq!(answer["mutated_object"], Value::Null);
            continue;
        };
        let annotations =
            &answer["mutated_object"].pointer(pod).unwrap()["metadata"]["annotations"];
        let originals: BTreeMap<String, ImageReference> =
            serde_json::from_str::<BTreeMap<String, String>>(
                annotations[SOURCE_IMAGES].as_str().unwrap(),
            )
            .unwrap()
            .into_iter()
            .map(|(place, text)| (place, text.parse().unwrap()))
            .collect();
        let mut images: Vec<_> = originals.values().map(ToString::to_string).collect();
        images.sort();
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().map(str::to_owned);
        let name =
            name.unwrap_or_else(|| format!("{}*", metadata["generateName"].as_str().unwrap()));
        let namespace = metadata["namespace"].as_str().unwrap_or("default");
        found.insert(
            (object["kind"].as_str().unwrap().to_owned(), namespace.to_owned(), name),
            images,
        );
    }
    found
}

/// What a plan has for each object.
fn planned(plan: &Value) -> ByObject {
    let mut found = ByObject::new();
    for image in plan["images"].as_array().unwrap() {
        for by in image["named_by"].as_array().unwrap() {
            let text = |key: &str| by[key].as_str().unwrap().to_owned();
            let images = found.entry((text("kind"), text("namespace"), text("name"))).or_default();
            images.push(image["image"].as_str().unwrap().to_owned());
        }
    }
    found.values_mut().for_each(|images| images.sort());
    found
}

fn config(folder: &TempDir, target: &str, more: &str) -> PathBuf {
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, format!("target: {{root: {target}/mirror}}\n{more}")).unwrap();
    path
}

#[tokio::test]
async fn a_plan_names_what_the_policy_rewrites_object_by_object() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder, "registry.corp", "rules: [{name: all, sources: '**'}]\n");
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let mut images = 0;
    for entry in std::fs::read_dir(manifests).unwrap() {
        let file = entry.unwrap().path();
        let (exit, plan) = plan(&config, &file, &["--offline"]).await;
        assert_eq!(exit, 0, "{plan}");
        let by_policy = rewritten(&std::fs::read_to_string(&file).unwrap());
        let mut by_plan = planned(&plan);
        // The policy sees the pods that an operator makes of its resource, not the resource.
        by_plan.retain(|(kind, _, _), _| kind != "Cluster");
        assert_eq!(by_plan, by_policy, "{}", file.display());
        images += plan["images"].as_array().unwrap().len();
    }
    assert_eq!(images, 17);
}

#[tokio::test]
async fn what_an_operator_makes_pods_of_is_planned_and_what_else_it_names_is_told_apart() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder, "registry.corp", "rules: [{name: all, sources: '**'}]\n");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/operator.yaml");
    let (_, plan) = plan(&config, &file, &["--offline"]).await;
    let key = |kind: &str, namespace: &str, name: &str| {
        (kind.to_owned(), namespace.to_owned(), name.to_owned())
    };
    let cluster = &planned(&plan)[&key("Cluster", "data", "big")];
    assert_eq!(
        *cluster,
        ["docker.io/library/busybox:1.37", "ghcr.io/example/engine:8", "ghcr.io/example/engine:9"]
    );
    let mentions = plan["mentions"].as_array().unwrap();
    let mentions: Vec<_> =
        mentions.iter().map(|one| (&one["image"], &one["named_by"]["place"])).collect();
    assert_eq!(mentions, [(&json!("ghcr.io/example/engine:9"), &json!("/spec/image"))]);
}

/// Two registries, and pods with an image for each state.
struct Scene {
    source: ScriptedRegistry,
    target: ScriptedRegistry,
    folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (source, target) = (ScriptedRegistry::start().await, ScriptedRegistry::start().await);
        let scene = Self { source, target, folder: TempDir::new().unwrap() };
        for name in ["there", "old", "new", "more", "denied"] {
            scene.source.push(&Image::new(&[b"base", name.as_bytes()]), name, "v1");
        }
        scene.target.push(&Image::new(&[b"base", b"there"]), &scene.replica("there"), "v1");
        scene.target.push(&Image::new(&[b"base", b"before"]), &scene.replica("old"), "v1");
        scene
    }

    fn replica(&self, name: &str) -> String {
        format!("mirror/{}/{name}", self.source.host().replace(':', "_"))
    }

    fn replica_of(&self, name: &str) -> String {
        format!("{}/{}:v1", self.target.host(), self.replica(name))
    }

    fn name(&self, image: &str) -> String {
        self.source.reference(&format!("{image}:v1")).to_string()
    }

    fn config(&self) -> PathBuf {
        let (source, target) = (self.source.host(), self.target.host());
        let more = format!(
            "registries:\n  {source}: {{plain_http: true}}\n  {target}: {{plain_http: true}}\n\
             rules:\n- {{name: no, sources: '*/denied', deny: true}}\n\
             - {{name: some, sources: '{source}/**', namespaces: [shop]}}\n"
        );
        config(&self.folder, &target, &more)
    }

    /// Pods in a namespace, one for each image.
    fn pods(&self, namespace: &str, images: &[&str]) -> PathBuf {
        let pods = images.iter().enumerate().map(|(number, image)| {
            json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("pod-{number}"), "namespace": namespace},
                "spec": {"containers": [{"name": "c", "image": image}]}})
            .to_string()
        });
        let path = self.folder.path().join("pods.yaml");
        std::fs::write(&path, pods.collect::<Vec<_>>().join("\n---\n")).unwrap();
        path
    }

    async fn plan(&self, namespace: &str, images: &[&str], more: &[&str]) -> (i32, Value) {
        plan(&self.config(), &self.pods(namespace, images), more).await
    }

    /// The methods of all requests to both.
    fn methods(&self) -> Vec<Method> {
        let requests = [self.source.requests(), self.target.requests()].concat();
        requests.into_iter().map(|request| request.method).collect()
    }
}

/// Of each image of a plan: its state, the bytes to copy, and its rule.
fn told(plan: &Value) -> Vec<(&str, Option<u64>, Option<&str>)> {
    let images = plan["images"].as_array().unwrap().iter();
    images
        .map(|image| {
            let state = image["state"].as_str().unwrap();
            (state, image["to_copy_bytes"].as_u64(), image["rule"].as_str())
        })
        .collect()
}

/// Bytes of what an image has beside the layer `base`: its other layer, and its config.
fn own_bytes(layer: &[u8]) -> u64 {
    let image = Image::new(&[b"base", layer]);
    layer.len() as u64 + image.blobs[0].1.size()
}

#[tokio::test]
async fn each_image_is_told_as_the_registries_have_it_and_nothing_is_changed() {
    let scene = Scene::new().await;
    let names = ["there", "old", "new", "more", "gone"].map(|name| scene.name(name));
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    let denied = scene.name("denied");
    names.extend([denied.as_str(), "no image", "elsewhere.example/a:1"]);
    let (exit, plan) = scene.plan("shop", &names, &[]).await;
    assert_eq!(exit, 3, "{plan}");
    let all = |name: &[u8]| Some(own_bytes(name) + b"base".len() as u64);
    assert_eq!(
        told(&plan),
        [
            ("present", Some(0), Some("some")),
            ("outdated", Some(own_bytes(b"old")), Some("some")),
            ("missing", all(b"new"), Some("some")),
            ("missing", all(b"more"), Some("some")),
            ("missing", None, Some("some")),
            ("refused", None, Some("no")),
            ("refused", None, None),
            ("refused", None, None),
        ]
    );
    let reason = |at: usize| plan["images"][at]["reason"].as_str().unwrap();
    assert!(reason(4).contains("has no image gone:v1"), "{}", reason(4));
    assert!(reason(5).contains("rule 'no' denies"), "{}", reason(5));
    assert!(reason(7).contains("no rule allows"), "{}", reason(7));
    assert_eq!(plan["images"][2]["target"], scene.replica_of("new"));
    // The common layer of two images is copied once.
    let bytes = own_bytes(b"old") + own_bytes(b"new") + own_bytes(b"more") + b"base".len() as u64;
    let total = json!({"images": 8, "present": 1, "to_copy": 3, "refused": 3, "unknown": 1,
        "not_asked": 0,
        "to_copy_bytes": bytes});
    assert_eq!(plan["total"], total);

    let methods = scene.methods();
    assert!(!methods.is_empty());
    assert!(methods.iter().all(|method| [Method::GET, Method::HEAD].contains(method)));
}

#[tokio::test]
async fn people_are_told_the_same_in_lines() {
    let scene = Scene::new().await;
    let names = ["there", "old", "new", "gone", "denied"].map(|name| scene.name(name));
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    let replica = scene.replica_of("there");
    names.extend([replica.as_str(), "no\u{1b}[2Jimage"]);
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_image-replicator"));
    command.args(["--log", "error", "plan", "--config"]).arg(scene.config());
    let output = command.arg(scene.pods("shop", &names)).output().await.unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let told = told.replace(&scene.source.host().replace(':', "_"), "SOURCE_PORT");
    let told = told.replace(&scene.source.host(), "SOURCE").replace(&scene.target.host(), "TARGET");
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn a_reference_into_the_target_is_told_as_what_it_is_a_replica_of() {
    let scene = Scene::new().await;
    let replica = scene.replica_of("there");
    let (exit, plan) = scene.plan("shop", &[&replica], &[]).await;
    assert_eq!((exit, told(&plan)), (0, vec![("present", Some(0), Some("some"))]));
    let image = &plan["images"][0];
    assert_eq!((&image["image"], &image["target"]), (&json!(replica), &json!(replica)));
    assert_eq!(image["source"], scene.name("there"));
}

#[tokio::test]
async fn the_exit_tells_what_will_not_pass_from_what_may() {
    let scene = Scene::new().await;
    let (there, new) = (scene.name("there"), scene.name("new"));
    assert_eq!(scene.plan("shop", &[&there, &new], &[]).await.0, 0);
    assert_eq!(scene.plan("other", &[&new], &[]).await.0, 3);
    scene.target.script(When::each(Method::HEAD, Kind::Manifest), Fault::status(403, ""));
    let (exit, plan) = scene.plan("shop", &[&there], &[]).await;
    assert_eq!((exit, told(&plan)), (3, vec![("unknown", None, Some("some"))]));
    scene.target.behave();
    scene.source.script(When::each(Method::HEAD, Kind::Manifest), Fault::status(503, ""));
    let (exit, plan) = scene.plan("shop", &[&there], &[]).await;
    assert_eq!((exit, told(&plan)), (1, vec![("present", None, Some("some"))]));
}

#[tokio::test]
async fn offline_asks_nobody() {
    let scene = Scene::new().await;
    let (exit, plan) = scene.plan("shop", &[&scene.name("new")], &["--offline"]).await;
    assert_eq!((exit, told(&plan)), (0, vec![("not_asked", None, Some("some"))]));
    assert_eq!(plan["total"]["not_asked"], 1);
    assert_eq!(scene.methods(), [] as [Method; 0]);
}

#[test]
fn what_cannot_be_read_says_where() {
    let scene = TempDir::new().unwrap();
    let (config, file) = (config(&scene, "registry.corp", ""), scene.path().join("bad.yaml"));
    std::fs::write(&file, "kind: A\n---\nkind: B\n  spec: [\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-replicator"));
    let output = command.args(["plan", "--config"]).arg(config).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("bad.yaml: document 2: ") && error.contains("line 4"), "{error}");
}
