use serde_json::{Value, json};

use super::*;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn pod(name: &str, spec: &Value, status: &Value) -> Pod {
    let metadata = json!({"namespace": "shop", "name": name, "resourceVersion": "1"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
}

/// A pod that runs one image.
fn of(name: &str, image: &str) -> Pod {
    pod(name, &json!({"containers": [{"name": "c", "image": image}]}), &json!({"phase": "Running"}))
}

/// What is told of them: image, digest, number.
fn told(running: &Running) -> Vec<(String, bool, u64)> {
    let one = |(used, pods): (&Use, &u64)| (used.image.to_string(), used.digest.is_some(), *pods);
    running.iter().map(one).collect()
}

#[test]
fn every_place_of_a_pod_that_names_an_image_counts_once_with_the_digest_that_runs() {
    let spec = json!({
        "initContainers": [{"name": "init", "image": "busybox"}],
        "containers": [
            {"name": "app", "image": "r.example/app:1"},
            {"name": "twin", "image": "r.example/app:1"},
            {"name": "waiting", "image": "r.example/waiting:1"},
            {"name": "none", "image": "Not An Image"},
        ],
        "ephemeralContainers": [{"name": "debug", "image": "r.example/debug@".to_owned() + DIGEST}],
        "volumes": [{"name": "v", "image": {"reference": "r.example/model:1"}}, {"name": "w", "emptyDir": {}}],
    });
    let status = json!({
        "phase": "Running",
        "initContainerStatuses": [{"name": "init", "imageID": "docker.io/library/busybox@".to_owned() + DIGEST}],
        "containerStatuses": [
            {"name": "app", "imageID": format!("docker-pullable://r.example/app@{DIGEST}")},
            {"name": "twin", "imageID": format!("r.example/app@{DIGEST}")},
            {"name": "waiting", "imageID": ""},
        ],
        // Of an image that was loaded by hand the node knows its own ID alone.
        "ephemeralContainerStatuses": [{"name": "debug", "imageID": DIGEST}],
    });
    let mut pods = Pods::default();
    pods.put(&pod("a", &spec, &status));
    let found = told(&pods.all());
    let found: Vec<_> =
        found.iter().map(|(image, digest, n)| (image.as_str(), *digest, *n)).collect();
    let debug = format!("r.example/debug@{DIGEST}");
    let mut expected = vec![
        ("docker.io/library/busybox:latest", true, 1),
        ("r.example/app:1", true, 1),
        (debug.as_str(), false, 1),
        ("r.example/model:1", false, 1),
        ("r.example/waiting:1", false, 1),
    ];
    expected.sort_unstable();
    let mut found = found;
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn pods_are_counted_and_what_changes_is_told_once() {
    let mut pods = Pods::default();
    let (app, other) = ("r.example/app:1", "r.example/other:1");
    let one = |image: &str, number| (image.to_owned(), false, number);
    pods.put(&of("a", app));
    pods.put(&of("b", app));
    assert_eq!(told(&pods.take_changes()), [one(app, 2)]);
    pods.put(&of("b", app));
    assert_eq!(told(&pods.take_changes()), []);
    pods.put(&of("b", other));
    assert_eq!(told(&pods.take_changes()), [one(app, 1), one(other, 1)]);
    pods.remove(&of("b", other));
    pods.remove(&of("never", other));
    assert_eq!(told(&pods.take_changes()), [one(other, 0)]);
    let ended = json!({"containers": [{"name": "c", "image": app}]});
    for phase in ["Succeeded", "Failed"] {
        pods.put(&of("a", app));
        assert_eq!(pods.len(), 1);
        pods.put(&pod("a", &ended, &json!({"phase": phase})));
        assert_eq!(told(&pods.take_changes()), [one(app, 0)]);
        assert_eq!((pods.len(), told(&pods.all())), (0, vec![]));
    }
}
