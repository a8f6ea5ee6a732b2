//! Carries a verdict out: the same JSON, with references replaced and the originals on record.
//!
//! The object is edited in place, so that fields which nobody here knows stay as they are. It
//! must not know why an image is replaced.

use serde_json::{Map, Value, json};
use workload::Image;

use crate::subject::Workload;

/// The annotation of a pod that keeps the references as they were written: a JSON object from
/// container name (or `volume/` and the volume's name) to reference.
///
/// The API server drops it from what comes in through `pods/ephemeralcontainers`, as it drops
/// any change there but the containers.
pub const SOURCE_IMAGES: &str = "image-replicator.io/source-images";

/// One image's new reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rewrite<'a> {
    /// The image and the places that name it.
    pub(crate) image: &'a Image,
    /// What is to stand there.
    pub(crate) reference: String,
}

/// The object with all rewrites made and all pull secrets there; None if that changes nothing.
/// The error is an object in which nothing can be put where it belongs.
pub(crate) fn apply(
    mut object: Value,
    workload: Workload,
    rewrites: &[Rewrite<'_>],
    pull_secrets: &[String],
) -> Result<Option<Value>, String> {
    let mut originals = Map::new();
    for rewrite in rewrites {
        for place in rewrite.image.places.iter().filter(|place| place.text != rewrite.reference) {
            let pod = object.pointer_mut(workload.pod);
            let Some(text) = pod.and_then(|pod| place.text_in(pod)) else { continue };
            *text = Value::String(rewrite.reference.clone());
            originals.insert(place.key(), Value::String(place.text.clone()));
        }
    }
    let is_rewritten = !originals.is_empty();
    if is_rewritten {
        record(&mut object, workload, originals)?;
    }
    let has_more_secrets = add_pull_secrets(&mut object, workload, pull_secrets)?;
    Ok((is_rewritten || has_more_secrets).then_some(object))
}

/// Adds those pull secrets that the pod does not have; whether there were any.
fn add_pull_secrets(
    object: &mut Value,
    workload: Workload,
    names: &[String],
) -> Result<bool, String> {
    if names.is_empty() {
        return Ok(false);
    }
    let list = object
        .pointer_mut(workload.pod)
        .and_then(|pod| object_at(pod, "spec"))
        .and_then(Value::as_object_mut)
        .map(|spec| spec.entry("imagePullSecrets").or_insert(Value::Null))
        .ok_or("its spec is not an object")?;
    if list.is_null() {
        *list = Value::Array(Vec::new());
    }
    let list = list.as_array_mut().ok_or("its imagePullSecrets are not a list")?;
    let before = list.len();
    for name in names {
        if !list.iter().any(|secret| secret.get("name").is_some_and(|known| known == name)) {
            list.push(json!({"name": name}));
        }
    }
    Ok(list.len() > before)
}

/// Merges the originals into the annotation, so that those of earlier rewrites stay.
fn record(
    object: &mut Value,
    workload: Workload,
    originals: Map<String, Value>,
) -> Result<(), String> {
    let annotations = object
        .pointer_mut(workload.pod)
        .and_then(|pod| object_at(pod, "metadata"))
        .and_then(|metadata| object_at(metadata, "annotations"))
        .and_then(Value::as_object_mut)
        .ok_or("its metadata or annotations are not an object")?;
    let earlier = annotations.get(SOURCE_IMAGES).and_then(Value::as_str);
    let mut record: Map<String, Value> =
        earlier.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    record.extend(originals);
    annotations.insert(SOURCE_IMAGES.to_owned(), Value::String(Value::Object(record).to_string()));
    Ok(())
}

/// The object at `key`, made if it is missing; None where something else is there.
fn object_at<'a>(parent: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let child = parent.as_object_mut()?.entry(key).or_insert(Value::Null);
    if child.is_null() {
        *child = Value::Object(Map::new());
    }
    child.is_object().then_some(child)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use workload::{distinct, places};

    use super::*;

    const POD: Workload = Workload { pod: "", takes_pull_secrets: true };

    /// The object with every image moved to `t.example/`.
    fn moved(object: &Value) -> Result<Option<Value>, String> {
        let images = distinct(places(object, ""));
        let rewrites: Vec<_> = images
            .iter()
            .map(|image| Rewrite { image, reference: format!("t.example/{}", image.name()) })
            .collect();
        apply(object.clone(), POD, &rewrites, &[])
    }

    fn source_images(object: &Value) -> Value {
        let text = object["metadata"]["annotations"][SOURCE_IMAGES].as_str().unwrap();
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn references_are_replaced_in_place_and_the_originals_recorded_as_written() {
        let object = json!({
            "metadata": {"name": "p", "annotations": {"a": "b"}},
            "spec": {
                "containers": [{"name": "web", "image": "nginx", "unknown": [1, {"x": null}]}],
                "volumes": [{"name": "data", "image": {"reference": "quay.io/d:1", "new": 1}}],
            },
        });
        let mut expected = object.clone();
        expected["spec"]["containers"][0]["image"] =
            json!("t.example/docker.io/library/nginx:latest");
        expected["spec"]["volumes"][0]["image"]["reference"] = json!("t.example/quay.io/d:1");
        let result = moved(&object).unwrap().unwrap();
        expected["metadata"]["annotations"][SOURCE_IMAGES] =
            result["metadata"]["annotations"][SOURCE_IMAGES].clone();
        assert_eq!(result, expected);
        assert_eq!(source_images(&result), json!({"web": "nginx", "volume/data": "quay.io/d:1"}));
    }

    #[test]
    fn the_record_of_earlier_rewrites_is_kept_and_anything_else_replaced() {
        for (earlier, expected) in [
            (r#"{"old":"busybox","web":"nginx:1"}"#, json!({"old": "busybox", "web": "nginx:2"})),
            ("[1]", json!({"web": "nginx:2"})),
            ("no JSON", json!({"web": "nginx:2"})),
        ] {
            let object = json!({
                "metadata": {"annotations": {SOURCE_IMAGES: earlier}},
                "spec": {"containers": [{"name": "web", "image": "nginx:2"}]},
            });
            assert_eq!(source_images(&moved(&object).unwrap().unwrap()), expected);
        }
    }

    #[test]
    fn missing_and_null_metadata_are_made() {
        let spec = json!({"containers": [{"name": "web", "image": "nginx"}]});
        for object in [
            json!({"spec": spec}),
            json!({"spec": spec, "metadata": null}),
            json!({"spec": spec, "metadata": {"annotations": null}}),
        ] {
            assert_eq!(source_images(&moved(&object).unwrap().unwrap()), json!({"web": "nginx"}));
        }
        moved(&json!({"spec": spec, "metadata": 5})).unwrap_err();
        moved(&json!({"spec": spec, "metadata": {"annotations": "x"}})).unwrap_err();
    }

    #[test]
    fn what_changes_nothing_is_no_patch() {
        let object = json!({"spec": {"containers": [{"name": "web", "image": "x"}]}});
        let images = distinct(places(&object, ""));
        let same = [Rewrite { image: &images[0], reference: "x".to_owned() }];
        assert_eq!(apply(object.clone(), POD, &same, &[]), Ok(None));
        assert_eq!(apply(object, POD, &[], &[]), Ok(None));
    }

    #[test]
    fn pull_secrets_are_added_once_and_the_pods_own_stay() {
        let names = ["pull".to_owned(), "more".to_owned(), "pull".to_owned()];
        let with_secrets = |secrets: &Value| {
            let object = json!({"spec": {"containers": [], "imagePullSecrets": secrets}});
            let object = apply(object, POD, &[], &names)?;
            Ok::<_, String>(object.map(|object| object["spec"]["imagePullSecrets"].clone()))
        };
        let both = json!([{"name": "pull"}, {"name": "more"}]);
        assert_eq!(with_secrets(&Value::Null), Ok(Some(both.clone())));
        assert_eq!(with_secrets(&json!([])), Ok(Some(both.clone())));
        let own = json!([{"name": "more", "x": 1}, {"name": "own"}]);
        let all = json!([{"name": "more", "x": 1}, {"name": "own"}, {"name": "pull"}]);
        assert_eq!(with_secrets(&own), Ok(Some(all)));
        assert_eq!(with_secrets(&both), Ok(None));
        with_secrets(&json!("pull")).unwrap_err();
    }
}
