use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::images::places;

/// Each pod of the object, and what it runs.
fn found(object: &Value) -> Vec<(String, Vec<String>)> {
    let texts = |pod: &str| places(object, pod).into_iter().map(|place| place.text).collect();
    search(object).pods.into_iter().map(|pod| (pod.clone(), texts(&pod))).collect()
}

fn mentions(object: &Value) -> Vec<(String, String)> {
    let mentions = search(object).mentions.into_iter();
    mentions.map(|mention| (mention.at, mention.reference.to_string())).collect()
}

fn pair<T: ToOwned<Owned = String> + ?Sized, V>(at: &T, what: V) -> (String, V) {
    (at.to_owned(), what)
}

#[test]
fn a_known_kind_has_one_pod_where_kubernetes_has_it() {
    let pod = json!({"spec": {"containers": [{"image": "a"}]}});
    let odd = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec":
        {"template": pod, "other": {"template": pod}}});
    assert_eq!(found(&odd), [pair("/spec/template", vec!["a".to_owned()])]);
    // Empty ones too: what is there is Kubernetes' own matter.
    assert_eq!(found(&json!({"apiVersion": "v1", "kind": "Pod"})), [pair("", vec![])]);
}

#[test]
fn another_group_s_kind_of_that_name_is_searched_by_shape() {
    let template = json!({"spec": {"containers": [{"image": "a"}]}});
    let old = json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment",
        "spec": {"template": template}});
    assert_eq!(found(&old), [pair("/spec/template", vec!["a".to_owned()])]);
}

#[test]
fn pods_of_custom_resources_are_found_by_shape_at_any_depth_and_within_each_other() {
    let object = json!({"apiVersion": "example.org/v1", "kind": "Cluster", "spec": {
        "containers": [{"name": "sidecar", "image": "s"}],
        "initContainers": [{"name": "setup", "image": "i"}],
        "nodeSets": [
            {"podTemplate": {"spec": {"containers": [{"image": "n"}, {"name": "no image"}],
                "volumes": [{"image": {"reference": "v"}}]}}},
            {"a/b~c": {"spec": {"containers": [{"image": "e"}]}}},
        ],
    }});
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        found(&object),
        [
            pair("", texts(&["i", "s"])),
            pair("/spec/nodeSets/0/podTemplate", texts(&["n", "v"])),
            pair("/spec/nodeSets/1/a~1b~0c", texts(&["e"])),
        ]
    );
    assert_eq!(mentions(&object), []);
}

#[test]
fn what_only_resembles_a_pod_is_none() {
    for spec in [
        json!({"containers": {"image": "a"}}),
        json!({"containers": []}),
        json!({"containers": ["a"]}),
        json!({"containers": [{"name": "a"}]}),
        json!({"containers": [{"image": {"repository": "a"}}]}),
    ] {
        assert_eq!(found(&json!({"kind": "Any", "spec": spec})), [], "{spec}");
    }
}

#[test]
fn an_image_outside_of_pods_is_mentioned_and_no_more() {
    let object = json!({
        "apiVersion": "example.org/v1", "kind": "Database",
        "metadata": {"labels": {"image": "quay.io/label:1"}},
        "spec": {
            "image": "postgres:16",
            "backup": [{"image": "quay.io/team/backup@sha256:nonsense"}, {"image": "a/b"}],
            "image.name": "quay.io/no:1",
            "word": {"image": "plain"},
            "rbd": {"image": "pool/device:1"},
            "pod": {"spec": {"containers": [{"image": "quay.io/run:1"}],
                "volumes": [{"rbd": {"image": "pool/device:1"}}]}},
        },
        "status": {"image": "quay.io/status:1"},
    });
    assert_eq!(
        mentions(&object),
        [
            pair("/spec/image", "docker.io/library/postgres:16".to_owned()),
            pair("/spec/backup/1/image", "docker.io/a/b:latest".to_owned()),
        ]
    );
    assert_eq!(found(&object), [pair("/spec/pod", vec!["quay.io/run:1".to_owned()])]);
}

#[test]
fn of_a_known_kind_what_its_pod_names_is_no_mention() {
    let object = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": {
        "containers": [{"image": "quay.io/a:1"}], "volumes": [{"rbd": {"image": "a/b:1"}}]}}}});
    assert_eq!(mentions(&object), []);
}

#[test]
fn depth_beyond_reason_is_not_looked_at() {
    let pod = json!({"spec": {"containers": [{"image": "a"}]}});
    let nested = |levels| (0..levels).fold(pod.clone(), |inner, _| json!({"x": inner}));
    assert_eq!(search(&nested(MAX_DEPTH)).pods.len(), 1);
    assert_eq!(search(&nested(MAX_DEPTH + 1)), Find::default());
}

/// JSON of any shape, with the words that the search looks for.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "spec",
        "containers",
        "image",
        "template",
        "volumes",
        "reference",
        "rbd",
        "status",
        "a/~b",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        Just(json!("quay.io/a/b:1")),
        Just(json!("word")),
    ];
    leaf.prop_recursive(8, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_found_is_there(
        fields in any_json(),
        name in prop::sample::select(
            Kind::BY_NAME.map(|(name, _)| name).into_iter().chain(["Other"]).collect::<Vec<_>>()),
        group in prop::sample::select(vec!["v1", "apps/v1", "batch/v1", "example.org/v1"]),
    ) {
        let mut object = json!({"apiVersion": group, "kind": name});
        if let Value::Object(fields) = fields {
            object.as_object_mut().unwrap().extend(fields);
        }
        let Find { pods, mentions } = search(&object);
        match Kind::of(group.split_once('/').map_or("", |(group, _)| group), name) {
            // What the policy finds in a kind that it knows is what is found here.
            Some(kind) => prop_assert_eq!(&pods, &[kind.pod()]),
            None => for pod in &pods {
                prop_assert!(!places(&object, pod).is_empty(), "{}", pod);
            },
        }
        for mention in &mentions {
            let text = object.pointer(&mention.at).unwrap().as_str().unwrap();
            prop_assert_eq!(&mention.reference, &text.parse().unwrap());
            // Nothing is told twice.
            let runs = |pod: &String| {
                let within = mention.at.strip_prefix(pod.as_str());
                let within = within.and_then(|rest| rest.strip_prefix("/spec/"));
                within.is_some_and(|rest| is_list_of_pods_spec(rest.split('/').next().unwrap()))
            };
            prop_assert!(!pods.iter().any(runs), "{}", mention.at);
        }
    }
}
