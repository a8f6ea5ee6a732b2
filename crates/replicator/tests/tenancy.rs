//! Tenants whose credentials are their own pull secrets: the real binary between scripted
//! registries and a scripted Kubernetes API server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::fs;
use std::time::Duration;

use protocol::{Receipt, Refusal, RefusalCode, ReplicaState};
use serde_json::json;
use support::{Home, Process, until};
use testkit::{Image, KubeApi, ScriptedRegistry};

const HOUR: Duration = Duration::from_secs(3_600);

/// A replicator whose rules read everything with the namespaces' own pull secrets.
struct World {
    source: ScriptedRegistry,
    target: ScriptedRegistry,
    api: KubeApi,
    home: Home,
    kubeconfig: String,
    image: String,
}

impl World {
    async fn new() -> Self {
        let source = ScriptedRegistry::builder().accounts(HOUR).start().await;
        let target = ScriptedRegistry::start().await;
        source.push(&Image::new(&[b"layer"]), "vault/app", "v1");
        for user in ["of-shop", "of-team-a"] {
            source.let_read(Some((user, user)), &["vault/app"]);
        }
        source.let_read(Some(("stranger", "stranger")), &["elsewhere"]);
        let (api, home) = (KubeApi::start().await, Home::new(&source, &target, None));
        let rules = "rules:\n- name: all\n  sources: '**'\n";
        let config = fs::read_to_string(home.config()).unwrap();
        assert!(config.contains(rules));
        let own = format!(
            "tenancy:\n  secret_namespaces: [shop, team-a]\n{rules}  namespace_secrets: true\n"
        );
        fs::write(home.config(), config.replace(rules, &own)).unwrap();
        let kubeconfig = home.config().with_file_name("kubeconfig");
        fs::write(&kubeconfig, api.kubeconfig("token")).unwrap();
        let kubeconfig = format!("KUBECONFIG={}", kubeconfig.display());
        let image = source.reference("vault/app:v1").to_string();
        Self { source, target, api, home, kubeconfig, image }
    }

    async fn start(&self) -> Process {
        self.home.start(&["env", &self.kubeconfig]).await
    }

    /// Gives a namespace a pull secret for the source, as a user whose password is the name.
    fn give(&self, namespace: &str, user: &str) {
        let host = self.source.host();
        let entry = format!(r#"{{"username":"{user}","password":"{user}"}}"#);
        let config = format!(r#"{{"auths":{{"{host}":{entry}}}}}"#);
        self.api.put_pull_secret(namespace, "pull", &config);
    }

    async fn ask(&self, namespace: &str, image: &str) -> Result<Receipt, Refusal> {
        self.home.trigger_from(namespace, "replica", image).await
    }

    /// What a command of a person ends with, and says.
    async fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_image-replicator"));
        let kubeconfig = self.kubeconfig.split_once('=').unwrap();
        command.args(args).arg("--config").arg(self.home.config()).env(kubeconfig.0, kubeconfig.1);
        let output = command.output().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    async fn given(&self, namespace: &str, image: &str) -> Receipt {
        let what = format!("{namespace} has {image}");
        let receipt = until(&what, async || self.ask(namespace, image).await.ok()).await;
        assert_eq!(receipt.state, ReplicaState::Present);
        receipt
    }

    async fn denied(&self, namespace: &str, image: &str) {
        let is_denied = async || {
            let refusal = self.ask(namespace, image).await.err()?;
            (refusal.code == RefusalCode::Denied).then_some(())
        };
        until(&format!("{namespace} is denied {image}"), is_denied).await;
        let refusal = self.home.trigger_from(namespace, "start", image).await.unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Denied);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_a_private_image_is_given_by_a_namespaces_own_pull_secret_alone() {
    let world = World::new().await;
    world.give("shop", "of-shop");
    world.give("team-b", "of-team-a");
    let mut process = world.start().await;

    // Before the first copy, and after it; by its source and by where it is.
    world.denied("team-a", &world.image).await;
    assert!(world.target.contents().is_empty());
    let replica = world.given("shop", &world.image).await.target.to_string();
    for namespace in ["team-a", "team-b"] {
        for image in [&world.image, &replica] {
            world.denied(namespace, image).await;
        }
    }

    // With a Secret of its own, until that is another one, or is gone.
    world.give("team-a", "of-team-a");
    world.given("team-a", &world.image).await;
    world.given("team-a", &replica).await;
    world.give("team-a", "stranger");
    world.denied("team-a", &world.image).await;
    world.give("team-a", "of-team-a");
    world.given("team-a", &world.image).await;
    world.api.delete("secrets", "team-a", "pull");
    world.denied("team-a", &world.image).await;
    world.denied("team-a", &replica).await;
    world.given("shop", &world.image).await;

    // What was shown before a restart counts for the Secret of then.
    process.signal("-TERM");
    assert!(process.ended().await.success());
    world.give("shop", "stranger");
    let _process = world.start().await;
    world.denied("shop", &world.image).await;
    world.give("shop", "of-shop");
    world.given("shop", &world.image).await;

    let asked = world.api.requests();
    let is_expected = |path: &String| {
        ["shop", "team-a"].iter().any(|namespace| {
            path.starts_with(&format!("/api/v1/namespaces/{namespace}/secrets?"))
                && path.contains("fieldSelector=type%3Dkubernetes.io%2Fdockerconfigjson")
        })
    };
    assert!(asked.len() >= 8 && asked.iter().all(is_expected), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_is_away_private_images_are_being_checked_and_public_ones_are_copied()
{
    let world = World::new().await;
    world.source.push(&Image::new(&[b"open"]), "open/app", "v1");
    world.source.let_read(None, &["open/app"]);
    world.give("shop", "of-shop");
    world.api.be_away(true);
    let _process = world.start().await;
    let (public, told) = (world.source.reference("open/app:v1").to_string(), "are not watched");
    let is_told = async || world.home.readyz().await.filter(|(_, text)| text.contains(told));
    assert_eq!(until("it is told", is_told).await.0, 200);
    let refusal = world.ask("shop", &world.image).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Pending);
    assert!(refusal.message.contains("is being checked"), "{}", refusal.message);
    world.given("shop", &public).await;
    assert_eq!(world.ask("shop", &world.image).await.unwrap_err().code, RefusalCode::Pending);
    world.api.be_away(false);
    world.given("shop", &world.image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_by_hand_say_that_they_do_not_see_pull_secrets() {
    let world = World::new().await;
    let (code, said) = world.run(&["explain", "shop", &world.image]).await;
    assert!(code == Some(0) && said.contains("which are not seen from here"), "{said}");
    let target = format!("{}/copy:v1", world.target.host());
    let (code, said) = world.run(&["copy", &world.image, &target, "--namespace", "shop"]).await;
    assert!(code == Some(2) && said.contains("which this command cannot see"), "{said}");
    let pod = world.home.config().with_file_name("pod.json");
    let spec = json!({"containers": [{"name": "app", "image": world.image}]});
    let object =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
    fs::write(&pod, object.to_string()).unwrap();
    let plan = ["plan", pod.to_str().unwrap(), "--namespace", "shop"];
    let (code, said) = world.run(&plan).await;
    assert!(code == Some(3) && said.contains("asked without credentials"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_whether_the_api_server_lets_us_read_pull_secrets() {
    let world = World::new().await;
    world.api.refuse("team-a");
    let told_of = |said: &str, namespace: &str| {
        let subject = format!("tenancy.secret_namespaces.{namespace}: ");
        let told = said.lines().skip_while(|line| !line.contains(&subject)).take(2);
        told.collect::<Vec<_>>().join("\n")
    };
    let (code, said) = world.run(&["doctor"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(told_of(&said, "shop").starts_with("ok    cluster "), "{said}");
    let told = told_of(&said, "team-a");
    assert!(told.starts_with("fail  cluster "), "{said}");
    assert!(told.contains("list and watch the Secrets of namespace team-a"), "{said}");
    world.api.allow();
    let (code, said) = world.run(&["doctor"]).await;
    assert_eq!(code, Some(0), "{said}");
    world.api.be_away(true);
    let (code, said) = world.run(&["doctor"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(told_of(&said, "shop").contains("whether the API server can be reached"), "{said}");
}
