use serde_json::json;

use super::*;

fn texts(spec: &Value) -> Vec<(String, String)> {
    places(&json!({"spec": spec}), "")
        .into_iter()
        .map(|place| (place.to_string(), place.text))
        .collect()
}

fn pair(place: &str, text: &str) -> (String, String) {
    (place.to_owned(), text.to_owned())
}

#[test]
fn every_list_is_looked_at_and_every_place_leads_to_its_text() {
    let mut object = json!({"a": {"spec": {
        "containers": [{"name": "web", "image": "w"}, {"name": "log", "image": "l"}],
        "initContainers": [{"name": "setup", "image": "s"}],
        "ephemeralContainers": [{"name": "debug", "image": "d"}],
        "volumes": [{"name": "none"}, {"name": "data", "image": {"reference": "v"}}],
    }}});
    let places = places(&object, "/a");
    let found: Vec<_> = places.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "init container setup",
            "container web",
            "container log",
            "ephemeral container debug",
            "volume data"
        ]
    );
    for place in &places {
        assert_eq!(place.text_in(&mut object["a"]), Some(&mut json!(place.text)));
    }
    assert_eq!(places[4].key(), "volume/data");
    assert_eq!(places[0].key(), "setup");
}

#[test]
fn case_08_image_volumes_count_as_images() {
    let volumes = json!({"volumes": [
        {"name": "model", "image": {"reference": "quay.io/models/m:1", "pullPolicy": "Always"}},
        {"name": "disk", "rbd": {"image": "block-device"}},
    ]});
    assert_eq!(texts(&volumes), [pair("volume model", "quay.io/models/m:1")]);
}

#[test]
fn what_is_missing_or_blank_is_kubernetes_own_matter() {
    let spec = json!({"containers": [
        {"name": "a"}, {"name": "b", "image": null}, {"name": "c", "image": ""},
        {"name": "d", "image": " "}, {"name": "e", "image": "nginx"}, "no object", null,
    ]});
    assert_eq!(texts(&spec), [pair("container e", "nginx")]);
    assert_eq!(texts(&json!({"containers": {"image": "x"}, "volumes": 1})), []);
    assert_eq!(places(&Value::Null, ""), []);
}

#[test]
fn what_is_no_text_and_what_has_no_name_is_still_told_apart() {
    let spec = json!({"containers": [{"image": 5}, {"image": {"reference": "nginx"}}]});
    let images = distinct(places(&json!({"spec": spec}), ""));
    assert_eq!(images.len(), 2);
    assert!(images.iter().all(|image| image.reference.is_err()));
    assert_eq!(images[0].places[0].to_string(), "container number 1");
}

#[test]
fn case_06_spellings_of_docker_hub_are_one_image() {
    let spec = json!({"containers": [
        {"name": "a", "image": "nginx"},
        {"name": "b", "image": "docker.io/library/nginx:latest"},
        {"name": "c", "image": "index.docker.io/nginx"},
        {"name": "d", "image": "registry-1.docker.io/library/nginx"},
        {"name": "e", "image": "nginx:1.27"},
    ]});
    let images = distinct(places(&json!({"spec": spec}), ""));
    let names: Vec<_> = images.iter().map(|image| (image.name(), image.places.len())).collect();
    assert_eq!(
        names,
        [
            ("docker.io/library/nginx:latest".to_owned(), 4),
            ("docker.io/library/nginx:1.27".to_owned(), 1)
        ]
    );
}

#[test]
fn on_update_a_place_is_known_by_list_and_name_not_by_its_index() {
    let old = json!({"spec": {"containers": [
        {"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}});
    let new = json!({"spec": {
        "containers": [{"name": "b", "image": "y"}, {"name": "a", "image": "y"}],
        "ephemeralContainers": [{"name": "a2", "image": "x"}],
    }});
    let changed = changed(places(&new, ""), &places(&old, ""));
    let found: Vec<_> = changed.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["container a", "ephemeral container a2"]);
}
