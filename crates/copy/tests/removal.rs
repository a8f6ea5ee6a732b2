//! What is deleted at a target, and what is not.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use common::World;
use copy::{HeldBack, Survey, Tracker, Unwanted};
use http::Method;
use protocol::{ImageReference, ReplicaRepository, TargetRoot};
use registry::{Client, ClientConfig, DockerConfig, RegistryConfig};
use testkit::{Certificates, DockerRegistry, Fault, Image, Kind, ScriptedRegistry, When};

fn repository(world: &World, image: &str) -> ReplicaRepository {
    let root: TargetRoot = world.target.host().parse().unwrap();
    root.repository_of(&world.job(image).replica.reference).unwrap()
}

fn unwanted(images: &[(&Image, &[&str])]) -> Unwanted {
    let tags = |tags: &[&str]| tags.iter().map(|tag| tag.parse().unwrap()).collect();
    let roots = images.iter().map(|(image, names)| (image.digest.clone(), tags(names)));
    Unwanted { roots: roots.collect(), in_use: BTreeSet::new() }
}

/// Two images with a platform in common, each signed, at both registries.
async fn two_images(world: &World) -> [Image; 2] {
    let leaf = |layer: &[u8]| Image::new(&[b"base", layer]);
    let shared = leaf(b"shared");
    let one = Image::index(&[("linux/amd64", leaf(b"one")), ("linux/arm64", shared.clone())]);
    let two = Image::index(&[("linux/amd64", leaf(b"two")), ("linux/arm64", shared)]);
    for (image, tag) in [(&one, "v1"), (&two, "v2")] {
        world.source.push(image, "app", tag);
        let signature = Image::referrer(image, "application/vnd.example.signature", tag.as_bytes());
        world.source.push_untagged(&signature, "app");
        world.source.push(&Image::new(&[tag.as_bytes()]), "app", &image.digest_tag(".sig"));
        world.copy(&format!("app:{tag}")).await.unwrap();
    }
    [one, two]
}

async fn remove(world: &World, at: &ReplicaRepository, unwanted: &Unwanted) -> Survey {
    let remover = world.copier().remover();
    let survey = remover.survey(at, unwanted).await.unwrap();
    for digest in &survey.delete {
        assert!(remover.delete(at, digest).await.unwrap());
    }
    survey
}

#[tokio::test]
async fn an_image_goes_with_its_signatures_and_the_other_is_whole() {
    for has_api in [true, false] {
        let target = ScriptedRegistry::builder();
        let target = if has_api { target } else { target.without_referrers() };
        let world = World::of(ScriptedRegistry::start().await, target.start().await);
        let [one, two] = two_images(&world).await;
        let at = repository(&world, "app:v1");
        let name = at.repository().as_str();
        let before = world.target.contents()[name].manifests.len();
        let survey = remove(&world, &at, &unwanted(&[(&one, &["v1"])])).await;
        assert_eq!(survey.delete[0], one.digest);
        assert!(world.replicated(&two, "app:v2"));
        let left = &world.target.contents()[name];
        assert!(!left.tags.values().any(|digest| survey.delete.contains(digest)));
        // The index, one platform, a signature, cosign's; and the list of these without the API.
        assert_eq!(before - left.manifests.len(), if has_api { 4 } else { 5 });
        let later = remove(&world, &at, &unwanted(&[(&two, &["v2"])])).await;
        assert!(later.held_back.is_empty());
        assert!(world.target.contents()[name].manifests.is_empty(), "has_api: {has_api}");
    }
}

#[tokio::test]
async fn what_has_a_tag_that_nobody_knows_or_runs_in_part_stays() {
    let world = World::new().await;
    let [one, two] = two_images(&world).await;
    let at = repository(&world, "app:v1");
    world.target.push(&one, at.repository().as_str(), "by-hand");
    let mut all = unwanted(&[(&one, &["v1"]), (&two, &["v2"])]);
    all.in_use.insert(two.children[0].digest.clone());
    let survey = remove(&world, &at, &all).await;
    assert!(survey.delete.is_empty());
    let held = BTreeMap::from([
        (one.digest.clone(), HeldBack::Tagged("by-hand".parse().unwrap())),
        (two.digest.clone(), HeldBack::Runs(two.children[0].digest.clone())),
    ]);
    assert_eq!(survey.held_back, held);
}

#[tokio::test]
async fn a_registry_that_deletes_nothing_says_what_to_change() {
    let world = World::new().await;
    let [one, _] = two_images(&world).await;
    let at = repository(&world, "app:v1");
    for (status, advice) in
        [(405, "REGISTRY_STORAGE_DELETE_ENABLED=true"), (403, "the right to delete")]
    {
        let when = When::each(Method::DELETE, Kind::Manifest);
        world.target.script(when, Fault::status(status, ""));
        let error = world.copier().remover().delete(&at, &one.digest).await.unwrap_err();
        assert!(error.is_refusal());
        assert!(error.to_string().contains(advice), "{error}");
        assert!(error.to_string().contains(&world.target.host()), "{error}");
        world.target.behave();
    }
    assert!(world.replicated(&one, "app:v1"));
}

#[tokio::test]
async fn where_anything_cannot_be_looked_at_nothing_goes() {
    let world = World::new().await;
    let [one, two] = two_images(&world).await;
    let at = repository(&world, "app:v1");
    let when = When::each(Method::HEAD, Kind::Manifest).of("v2");
    world.target.script(when, Fault::status(403, ""));
    let survey = world.copier().remover().survey(&at, &unwanted(&[(&one, &["v1"])])).await;
    assert!(survey.is_err());
    world.target.behave();
    assert!(world.replicated(&one, "app:v1") && world.replicated(&two, "app:v2"));
}

#[tokio::test]
async fn what_is_gone_already_is_no_error() {
    let world = World::new().await;
    let [one, _] = two_images(&world).await;
    let at = repository(&world, "app:v1");
    let all = unwanted(&[(&one, &["v1"])]);
    remove(&world, &at, &all).await;
    let survey = world.copier().remover().survey(&at, &all).await.unwrap();
    assert_eq!(survey.delete, std::slice::from_ref(&one.digest));
    assert!(!world.copier().remover().delete(&at, &one.digest).await.unwrap());
}

/// Debian's registry, its own garbage collection, and skopeo as the kubelet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_garbage_collection_the_other_image_can_be_pulled() {
    let certificates = Certificates::new();
    let Some(target) = DockerRegistry::start(&certificates) else {
        println!("skipped: docker-registry is not installed");
        return;
    };
    let mut world = World::new().await;
    let host = target.host();
    let tls = RegistryConfig {
        ca_pem: Some(certificates.ca_pem.clone().into_bytes()),
        ..RegistryConfig::default()
    };
    world.config.registries.insert(host.parse().unwrap(), tls);
    let docker_config = format!(r#"{{"auths":{{"{host}":{{"auth":"dTpw"}}}}}}"#);
    let credentials = std::sync::Arc::new(DockerConfig::parse(&docker_config).unwrap());
    let config = ClientConfig { credentials, ..world.config.clone() };
    let copier = copy::Copier::new(Client::new(config).unwrap(), world.limits);
    let [one, two] = two_images(&world).await;
    let root: TargetRoot = format!("{host}/mirror").parse().unwrap();
    let mut at = None;
    for tag in ["v1", "v2"] {
        let source: ImageReference = world.source.reference(&format!("app:{tag}"));
        let replica = root.replica_of(&source).unwrap();
        at = root.repository_of(&replica.reference);
        copier.copy(&copy::Job { source, replica }, &Tracker::default()).await.unwrap();
    }
    let at = at.unwrap();
    let pull = |tag: &str| {
        let into = tempfile::tempdir().unwrap();
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--all", "--quiet"]);
        command.args(["--src-tls-verify=false", "--src-creds", "u:p"]);
        command.arg(format!("docker://{at}:{tag}"));
        command.arg(format!("dir:{}", into.path().display()));
        command.output().is_ok_and(|output| output.status.success())
    };
    assert!(pull("v1") && pull("v2"), "skopeo pulls both");
    let own = one.children[0].blobs.last().unwrap();
    assert!(target.file_of(&own.0).exists());

    let remover = copier.remover();
    let survey = remover.survey(&at, &unwanted(&[(&one, &["v1"])])).await.unwrap();
    assert!(survey.held_back.is_empty());
    for digest in &survey.delete {
        assert!(remover.delete(&at, digest).await.unwrap());
    }
    target.collect_garbage();
    assert!(pull("v2"), "what stays is whole");
    assert!(!pull("v1"), "what went is gone");
    assert!(two.all().iter().all(|part| target.file_of(&part.digest).exists()));
    assert!(!target.file_of(&own.0).exists(), "its own layer takes no space any more");
}
