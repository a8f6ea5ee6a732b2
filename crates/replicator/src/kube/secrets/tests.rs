//! The watch against a scripted API server.

use std::time::Duration;

use ::kube::Config as ClientConfig;
use protocol::ImageReference;
use testkit::KubeApi;

use super::*;
use crate::clock::Clock;
use crate::credentials::Who;
use crate::tenants::Tenants;
use crate::watch::Troubles;

/// Longer than any wait here takes.
const HANGS: Duration = Duration::from_secs(60);

/// A watch on the pull secrets of `shop` and `team-a`.
struct World {
    api: KubeApi,
    tenants: Tenants,
    metrics: Metrics,
    troubles: Troubles,
    stop: CancellationToken,
}

impl World {
    fn begin(api: &KubeApi) -> Self {
        let config = ClientConfig::new(api.url().parse().unwrap());
        let namespaces = ["shop", "team-a"].map(|name| name.parse().unwrap());
        let (tenants, feeds) = Tenants::new(namespaces.to_vec()).unwrap();
        let (metrics, troubles) = (Metrics::default(), Troubles::default());
        let cluster = Cluster::new(config, metrics.clone(), troubles.clone(), Clock::system());
        let stop = CancellationToken::new();
        tokio::spawn(cluster.unwrap().watch_secrets(feeds, stop.clone()));
        Self { api: api.clone(), tenants, metrics, troubles, stop }
    }

    /// Who a namespace is at `r.example`.
    fn who(&self, namespace: &str) -> Who {
        let image: ImageReference = "r.example/app:1".parse().unwrap();
        self.tenants.who(&image, &namespace.parse().unwrap())
    }

    fn is_somebody(&self, namespace: &str) -> bool {
        let who = self.who(namespace);
        !who.is_unread() && !matches!(who, Who::Nobody)
    }

    fn is_nobody(&self, namespace: &str) -> bool {
        matches!(self.who(namespace), Who::Nobody)
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let looked = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let looked = tokio::time::timeout(HANGS, looked).await;
        looked.unwrap_or_else(|_| panic!("never: {what}; {:?}", self.troubles.lines()));
    }

    /// How often all pull secrets of a namespace were listed.
    fn lists(&self, namespace: &str) -> usize {
        let path = format!("/namespaces/{namespace}/secrets?");
        self.api.count(&[&path]) - self.watches(namespace)
    }

    fn watches(&self, namespace: &str) -> usize {
        self.api.count(&[&format!("/namespaces/{namespace}/secrets?"), "watch=true"])
    }

    fn has_metric(&self, line: &str) -> bool {
        self.metrics.counted().contains(&format!("image_replicator_{line}\n"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn entry(host: &str) -> String {
    format!(r#"{{"auths":{{"{host}":{{"username":"u","password":"hunter2"}}}}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_the_pull_secrets_of_listed_namespaces_are_asked_for_and_nothing_else() {
    let api = KubeApi::start().await;
    for namespace in ["shop", "team-b"] {
        api.put_pull_secret(namespace, "pull", &entry("r.example"));
    }
    let other = serde_json::json!({"type": "Opaque", "data": {".dockerconfigjson": "e30="}});
    api.put("secrets", "team-a", "opaque", other);
    let world = World::begin(&api);
    assert!(world.who("shop").is_unread() && world.is_nobody("team-b"));
    tokio::time::timeout(HANGS, world.tenants.are_read()).await.unwrap();
    world
        .until("both are watched", || ["shop", "team-a"].iter().all(|n| world.watches(n) == 1))
        .await;
    assert!(world.is_somebody("shop") && world.is_nobody("team-a") && world.is_nobody("team-b"));
    let asked = api.requests();
    assert_eq!(asked.len(), 4, "{asked:?}");
    for path in asked {
        let path = path.strip_prefix("/api/v1/namespaces/").unwrap();
        assert!(path.starts_with("shop/secrets?") || path.starts_with("team-a/secrets?"), "{path}");
        assert!(path.contains("fieldSelector=type%3Dkubernetes.io%2Fdockerconfigjson"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_changes_and_goes_is_known_at_once() {
    let api = KubeApi::start().await;
    let world = World::begin(&api);
    tokio::time::timeout(HANGS, world.tenants.are_read()).await.unwrap();
    assert!(world.is_nobody("shop"));
    api.put_pull_secret("shop", "pull", &entry("r.example"));
    world.until("shop is somebody", || world.is_somebody("shop")).await;
    let before = world.who("shop").identity();
    api.put_pull_secret("shop", "pull", &entry("r.example"));
    world.until("it is somebody else", || world.who("shop").identity() != before).await;
    assert!(world.is_somebody("shop"));
    api.delete("secrets", "shop", "pull");
    world.until("shop is nobody", || world.is_nobody("shop")).await;
    assert_eq!(world.lists("shop"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_breaks_off_goes_on_where_it_was() {
    let api = KubeApi::start().await;
    let world = World::begin(&api);
    world.until("it is watched", || world.watches("shop") == 1).await;
    api.bookmark();
    api.cut_watches();
    api.put_pull_secret("shop", "pull", &entry("r.example"));
    world.until("shop is somebody", || world.is_somebody("shop")).await;
    assert_eq!(world.lists("shop"), 1);
    assert!(world.watches("shop") >= 2 && world.troubles.lines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_while_nobody_looked_is_gone_after_a_new_list() {
    let api = KubeApi::start().await;
    api.put_pull_secret("shop", "pull", &entry("r.example"));
    let world = World::begin(&api);
    world.until("it is watched", || world.watches("shop") == 1 && world.is_somebody("shop")).await;
    // The API server forgets where the watches were: those that run, and those that begin.
    for number in 0..2 {
        if number == 0 {
            api.be_away(true);
            api.delete("secrets", "shop", "pull");
            api.forget_history();
            api.be_away(false);
        } else {
            api.forget_history();
        }
        world.until("it is listed again", || world.lists("shop") > number + 1).await;
        world.until("shop is nobody", || world.is_nobody("shop")).await;
    }
    world.until("it is watched again", || world.troubles.lines().is_empty()).await;
    api.put_pull_secret("shop", "pull", &entry("r.example"));
    world.until("shop is somebody", || world.is_somebody("shop")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_refuses_the_old_ones_hold_and_it_is_told() {
    let api = KubeApi::start().await;
    api.put_pull_secret("shop", "pull", &entry("r.example"));
    let world = World::begin(&api);
    world.until("it is watched", || world.watches("shop") == 1).await;
    assert!(world.has_metric(r#"pull_secrets_watched{namespace="shop"} 1"#));

    api.refuse("shop");
    api.delete("secrets", "shop", "pull");
    world.until("shop is nobody", || world.is_nobody("shop")).await;
    api.put_pull_secret("shop", "pull", &entry("r.example"));
    world.until("shop is somebody", || world.is_somebody("shop")).await;
    api.forget_history();
    api.cut_watches();
    world.until("it is told", || !world.troubles.lines().is_empty()).await;
    world.until("it is tried again", || world.lists("shop") > 2).await;
    let [line] = &world.troubles.lines()[..] else { panic!("{:?}", world.troubles.lines()) };
    let beginning =
        "the pull secrets of namespace shop are not watched: the API server answers 403: ";
    assert!(line.starts_with(beginning), "{line}");
    assert!(line.ends_with(", and what was read before is in force"), "{line}");
    assert!(world.is_somebody("shop") && world.is_nobody("team-a"));
    assert!(world.has_metric(r#"pull_secrets_watched{namespace="shop"} 0"#));
    assert!(world.has_metric(r#"pull_secrets_watched{namespace="team-a"} 1"#));

    api.delete("secrets", "shop", "pull");
    api.allow();
    world.until("it is over", || world.troubles.lines().is_empty()).await;
    assert!(world.is_nobody("shop"));
    assert!(world.has_metric(r#"pull_secrets_watched{namespace="shop"} 1"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_is_told_and_asked_again() {
    let api = KubeApi::start().await;
    api.put_pull_secret("shop", "pull", &entry("r.example"));
    api.be_away(true);
    let world = World::begin(&api);
    world.until("it is told", || world.troubles.lines().len() == 2).await;
    let lines = world.troubles.lines();
    let is_told = |line: &String| {
        line.contains("the API server gives no answer: ")
            && line.ends_with(", and its private images wait")
    };
    assert!(lines.iter().all(is_told), "{lines:?}");
    assert!(world.who("shop").is_unread());
    api.be_away(false);
    world.until("it is over", || world.troubles.lines().is_empty()).await;
    assert!(world.is_somebody("shop"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_had_no_room_are_used_once_there_is_some() {
    let api = KubeApi::start().await;
    for number in 0..32 {
        api.put_pull_secret("shop", &format!("a{number:02}"), &entry("other.example"));
    }
    api.put_pull_secret("shop", "b", &entry("r.example"));
    let world = World::begin(&api);
    world.until("it is watched", || world.watches("shop") == 1).await;
    assert!(world.is_nobody("shop"));
    assert!(world.has_metric(r#"pull_secrets_unusable{namespace="shop"} 1"#));
    api.delete("secrets", "shop", "a07");
    world.until("the last one is used", || world.is_somebody("shop")).await;
    assert!(world.has_metric(r#"pull_secrets_unusable{namespace="shop"} 0"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_read_is_told_without_a_word_of_it() {
    let api = KubeApi::start().await;
    api.put_pull_secret("shop", "pull", &entry("r.example"));
    let world = World::begin(&api);
    world.until("it is watched", || world.watches("shop") == 1).await;
    let data = serde_json::json!({".dockerconfigjson": ["hunter2"]});
    let odd = serde_json::json!({"type": "kubernetes.io/dockerconfigjson", "data": data});
    api.put("secrets", "shop", "odd", odd);
    world.until("it is told", || !world.troubles.lines().is_empty()).await;
    let line = world.troubles.lines().concat();
    assert!(line.contains("the API server's answer cannot be read"), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
    assert!(world.is_somebody("shop"));
    api.delete("secrets", "shop", "odd");
    world.until("it is over", || world.troubles.lines().is_empty()).await;
}
