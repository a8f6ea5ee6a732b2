//! A pod's spec, as raw JSON -> the images that it runs, and where each of them is written.
//!
//! It must not know the replicator, nor what becomes of an image.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocol::ImageReference;
use serde_json::Value;

/// What an image is written in: which list of the spec, and the words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// `containers`
    Container,
    /// `initContainers`
    Init,
    /// `ephemeralContainers`
    Ephemeral,
    /// `volumes`, of the kind `image`
    Volume,
}

impl Owner {
    const ALL: [Self; 4] = [Self::Init, Self::Container, Self::Ephemeral, Self::Volume];

    /// The list in the pod's spec, and the way to the image in one of its items. Not `rbd.image`:
    /// that is a block device's name.
    fn path(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Container => ("containers", &["image"]),
            Self::Init => ("initContainers", &["image"]),
            Self::Ephemeral => ("ephemeralContainers", &["image"]),
            Self::Volume => ("volumes", &["image", "reference"]),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Init => "init container",
            Self::Ephemeral => "ephemeral container",
            Self::Volume => "volume",
        }
    }
}

/// One place where a pod names an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    owner: Owner,
    /// Which item of its list it is.
    index: usize,
    /// The container's or volume's name; its place in the list where it has none.
    name: String,
    /// What is written there.
    pub text: String,
}

impl Place {
    /// The key under which the annotation keeps the original. Names are unique over all kinds
    /// of containers of a pod, and over its volumes.
    pub fn key(&self) -> String {
        match self.owner {
            Owner::Volume => format!("volume/{}", self.name),
            Owner::Container | Owner::Init | Owner::Ephemeral => self.name.clone(),
        }
    }

    /// What is written there, in the pod that it is a place of.
    pub fn text_in<'a>(&self, pod: &'a mut Value) -> Option<&'a mut Value> {
        let (list, image) = self.owner.path();
        let item = pod.get_mut("spec")?.get_mut(list)?.get_mut(self.index)?;
        image.iter().try_fold(item, |value, key| value.get_mut(key))
    }

    /// What makes it the same place with the same image, wherever it stands in its list.
    fn content(&self) -> (Owner, &str, &str) {
        (self.owner, &self.name, &self.text)
    }
}

/// `init container setup`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.owner.word(), self.name)
    }
}

/// One image and all places of a pod that name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Which image; or why the text names none.
    pub reference: Result<ImageReference, String>,
    /// The places, never none.
    pub places: Vec<Place>,
}

impl Image {
    /// The image as people should see it: in canonical form where it has one.
    pub fn name(&self) -> String {
        match &self.reference {
            Ok(reference) => reference.to_string(),
            Err(_) => self.places.first().map(|place| place.text.clone()).unwrap_or_default(),
        }
    }
}

/// The places of the pod at JSON pointer `pod` of `object` that name an image, in the order in
/// which a kubelet needs them. A missing or empty image is Kubernetes' own matter, and so is the
/// blank in whose place OpenShift's image triggers put one.
pub fn places(object: &Value, pod: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let spec = object.pointer(pod).and_then(|pod| pod.get("spec"));
    for owner in Owner::ALL {
        let (list, image) = owner.path();
        let items = spec.and_then(|spec| spec.get(list)).and_then(Value::as_array);
        for (index, item) in items.into_iter().flatten().enumerate() {
            let text = match image.iter().try_fold(item, |value, key| value.get(key)) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) if text.trim().is_empty() => continue,
                Some(Value::String(text)) => text.clone(),
                // No text: as JSON in quotes it is no reference either, and is refused as one.
                Some(other) => format!("\"{other}\""),
            };
            let name = item.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
            places.push(Place {
                owner,
                index,
                name: name.map_or_else(|| format!("number {}", index + 1), str::to_owned),
                text,
            });
        }
    }
    places
}

/// Whether it is the name of a list in a pod's spec that has images.
pub(crate) fn is_list_of_pods_spec(key: &str) -> bool {
    Owner::ALL.iter().any(|owner| owner.path().0 == key)
}

/// The places that say something else than they did, or are new.
pub fn changed(places: Vec<Place>, old: &[Place]) -> Vec<Place> {
    let old: BTreeSet<_> = old.iter().map(Place::content).collect();
    places.into_iter().filter(|place| !old.contains(&place.content())).collect()
}

/// The places by image, in order of first appearance: two spellings of one image are one.
pub fn distinct(places: Vec<Place>) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    let mut known: BTreeMap<Result<ImageReference, String>, usize> = BTreeMap::new();
    for place in places {
        let reference: Result<ImageReference, _> = place.text.parse();
        let key = reference.as_ref().cloned().map_err(|_| place.text.clone());
        let index = *known.entry(key).or_insert(images.len());
        match images.get_mut(index) {
            Some(image) => image.places.push(place),
            None => images.push(Image {
                reference: reference.map_err(|error| error.to_string()),
                places: vec![place],
            }),
        }
    }
    images
}

#[cfg(test)]
mod tests;
