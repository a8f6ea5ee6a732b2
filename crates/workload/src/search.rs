//! An object of any kind -> the pods in it, and what else it names that reads as an image.
//!
//! In a kind that Kubernetes makes pods of there is one pod, where that kind has it: what is found
//! there is what the policy finds. In any other object (a custom resource) a pod is what looks
//! like one, since that is what its operator makes pods of.

use protocol::ImageReference;
use serde_json::{Map, Value};

use crate::images::is_list_of_pods_spec;
use crate::kind::Kind;

/// How deep is looked. Readers of JSON and YAML allow no deeper, and the search takes a frame of
/// the stack a level.
const MAX_DEPTH: usize = 128;

/// What is not wished for but reported, or about the object itself.
const NOT_WISHED: [&str; 2] = ["metadata", "status"];

/// The key under which objects of all kinds name an image.
const IMAGE: &str = "image";

/// A block device of Ceph. Its `image` is one of its own.
const BLOCK_DEVICE: &str = "rbd";

/// What was found in an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Find {
    /// JSON pointers to its pods, to what has `metadata` and `spec`, in the order of the object.
    pub pods: Vec<String>,
    /// What it names outside of its pods. Nobody but its own operator knows what that is for.
    pub mentions: Vec<Mention>,
}

/// A text outside of all pods that reads as an image: `image: quay.io/a/b:1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// JSON pointer to the text.
    pub at: String,
    /// The image.
    pub reference: ImageReference,
}

/// Searches a whole object.
pub fn search(object: &Value) -> Find {
    let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default();
    // The core group has no name: `v1`.
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    let kind = Kind::of(group, text("kind"));
    let pods = kind.map(|kind| kind.pod().to_owned()).into_iter().collect();
    let mut search = Search { kind, at: String::new(), find: Find { pods, mentions: Vec::new() } };
    search.visit(object, |key| !NOT_WISHED.contains(&key), 0);
    search.find
}

struct Search {
    /// What the object is, if Kubernetes makes pods of it.
    kind: Option<Kind>,
    /// JSON pointer to where the search is.
    at: String,
    find: Find,
}

impl Search {
    /// Looks at a value, and at those of its fields that are `wanted`.
    fn visit(&mut self, value: &Value, wanted: fn(&str) -> bool, depth: usize) {
        if depth > MAX_DEPTH || self.kind.is_some_and(|kind| kind.pod() == self.at) {
            return;
        }
        match value {
            Value::Object(fields) => {
                let is_pod = self.kind.is_none() && looks_like_a_pod(fields);
                if is_pod {
                    self.find.pods.push(self.at.clone());
                }
                for (key, field) in fields.iter().filter(|(key, _)| wanted(key)) {
                    let wanted: fn(&str) -> bool = match key.as_str() {
                        // What a pod runs is found with the pod.
                        "spec" if is_pod => |key| !is_list_of_pods_spec(key),
                        BLOCK_DEVICE => |key| key != IMAGE,
                        _ => |_| true,
                    };
                    self.step(&key.replace('~', "~0").replace('/', "~1"), |search| {
                        if key == IMAGE {
                            search.mention(field);
                        }
                        search.visit(field, wanted, depth + 1);
                    });
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.step(&index.to_string(), |search| {
                        search.visit(item, |_| true, depth + 1);
                    });
                }
            }
            _ => {}
        }
    }

    /// Goes a step down, and up again.
    fn step(&mut self, name: &str, then: impl FnOnce(&mut Self)) {
        let before = self.at.len();
        self.at.push('/');
        self.at.push_str(name);
        then(self);
        self.at.truncate(before);
    }

    fn mention(&mut self, field: &Value) {
        // A bare word is more often a name of something else.
        let text = field.as_str().filter(|text| text.contains(['/', ':', '@']));
        if let Some(reference) = text.and_then(|text| text.parse().ok()) {
            self.find.mentions.push(Mention { at: self.at.clone(), reference });
        }
    }
}

/// Whether it has `spec.containers`, and one of these an image.
fn looks_like_a_pod(fields: &Map<String, Value>) -> bool {
    let containers = fields.get("spec").and_then(|spec| spec.get("containers")?.as_array());
    let has_image = |container: &Value| container.get(IMAGE).is_some_and(Value::is_string);
    containers.is_some_and(|containers| containers.iter().any(has_image))
}

#[cfg(test)]
mod tests;
