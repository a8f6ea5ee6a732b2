//! What people apply to a cluster -> the images in it, each with who names it.
//!
//! [`read`] makes objects of text, the crate `workload` finds images in an object by the code by
//! which the policy rewrites them; here they are put together over all objects.

mod read;

use std::collections::BTreeMap;

use protocol::{ImageReference, Namespace};
use serde::Serialize;
use serde_json::Value;
use workload::{Find, Image, distinct, places, search};

pub(crate) use read::ReadError;
use read::{Object, read};

/// What manifests name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifests {
    /// The images of pods, each once, in the order in which they are named first.
    pub(crate) images: Vec<Named>,
    /// What reads as an image outside of all pods.
    pub(crate) mentions: Vec<Mentioned>,
}

/// An image of pods.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Which image; or why the text names none, whatever else is said.
    pub(crate) reference: Result<ImageReference, String>,
    /// The image as people should see it: in canonical form where it has one.
    pub(crate) name: String,
    /// Who names it, never nobody.
    pub(crate) by: Vec<NamedBy>,
}

/// Where an image is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NamedBy {
    /// Which document of the text it is in, from 1.
    pub(crate) document: usize,
    /// The object's kind.
    pub(crate) kind: String,
    /// The object's namespace, or that which it will be put into.
    #[serde(serialize_with = "as_text")]
    pub(crate) namespace: Namespace,
    /// The object's name; what Kubernetes makes it of where it has none yet.
    pub(crate) name: String,
    /// Where in the object: `init container setup`, or a JSON pointer outside of pods.
    pub(crate) place: String,
}

/// What reads as an image outside of all pods.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mentioned {
    /// The image.
    pub(crate) reference: ImageReference,
    /// Where.
    pub(crate) by: NamedBy,
}

/// Why manifests are not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestsError {
    /// It is not what Kubernetes reads.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An object is in what cannot be a namespace.
    #[error("document {document}: {kind} {name} is in a namespace that cannot be: {reason}")]
    Namespace {
        /// Which document, from 1.
        document: usize,
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Manifests {
    /// What a text names. Objects that say no namespace go into `namespace`.
    pub(crate) fn parse(text: &str, namespace: &Namespace) -> Result<Self, ManifestsError> {
        let mut collecting = Collecting::default();
        for Object { document, value } in read(text)? {
            collecting.add(document, &value, namespace)?;
        }
        Ok(collecting.manifests)
    }
}

#[derive(Default)]
struct Collecting {
    manifests: Manifests,
    /// Where each image stands in the list; by its text what is none.
    known: BTreeMap<Result<ImageReference, String>, usize>,
}

impl Collecting {
    fn add(
        &mut self,
        document: usize,
        object: &Value,
        namespace: &Namespace,
    ) -> Result<(), ManifestsError> {
        let by = NamedBy::object(document, object, namespace)?;
        let Find { pods, mentions } = search(object);
        for pod in &pods {
            for image in distinct(places(object, pod)) {
                self.take_in(image, &by);
            }
        }
        self.manifests.mentions.extend(mentions.into_iter().map(|mention| Mentioned {
            reference: mention.reference,
            by: NamedBy { place: mention.at, ..by.clone() },
        }));
        Ok(())
    }

    fn take_in(&mut self, image: Image, by: &NamedBy) {
        let name = image.name();
        let by =
            image.places.iter().map(|place| NamedBy { place: place.to_string(), ..by.clone() });
        let key = image.reference.as_ref().cloned().map_err(|_| name.clone());
        let index = *self.known.entry(key).or_insert(self.manifests.images.len());
        match self.manifests.images.get_mut(index) {
            Some(known) => known.by.extend(by),
            None => {
                let by = by.collect();
                self.manifests.images.push(Named { reference: image.reference, name, by });
            }
        }
    }
}

impl NamedBy {
    /// The object as such.
    fn object(
        document: usize,
        object: &Value,
        namespace: &Namespace,
    ) -> Result<Self, ManifestsError> {
        let text = |pointer| {
            object.pointer(pointer).and_then(Value::as_str).filter(|text: &&str| !text.is_empty())
        };
        let kind = text("/kind").unwrap_or_default().to_owned();
        let made_of = || text("/metadata/generateName").map(|prefix| format!("{prefix}*"));
        let name = text("/metadata/name").map(str::to_owned).or_else(made_of).unwrap_or_default();
        let namespace = match text("/metadata/namespace").map(str::parse) {
            None => namespace.clone(),
            Some(Ok(own)) => own,
            Some(Err(error)) => {
                let reason = format!("{error}");
                return Err(ManifestsError::Namespace { document, kind, name, reason });
            }
        };
        Ok(Self { document, kind, namespace, name, place: String::new() })
    }
}

fn as_text<S: serde::Serializer>(namespace: &Namespace, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(namespace.as_str())
}

#[cfg(test)]
mod tests;
