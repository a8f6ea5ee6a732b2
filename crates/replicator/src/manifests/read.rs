//! Text -> the Kubernetes objects in it: YAML or JSON, many documents, lists taken apart.
//!
//! Objects are read as Kubernetes' own tools read them: of a key that stands twice the last counts,
//! `<<` merges, and documents without content are passed over.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// The key by which YAML takes over the fields of other objects.
const MERGE: &str = "<<";

/// An object, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    /// Which document of the text it is in, from 1. Documents without content count.
    pub(crate) document: usize,
    /// The object.
    pub(crate) value: Value,
}

/// Why the text is not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {document}: {reason}")]
pub(crate) struct ReadError {
    /// Which document, from 1.
    document: usize,
    /// What is wrong, and in which line of the text.
    reason: String,
}

/// The objects of a text, in their order.
pub(crate) fn read(text: &str) -> Result<Vec<Object>, ReadError> {
    // Some of what JSON may have YAML may not, and the other way round. The one by which more of
    // it can be read tells what is wrong.
    let documents = match text.trim_start().starts_with('{') {
        true => read_json(text).or_else(|json| {
            read_yaml(text).map_err(|yaml| if json.document < yaml.document { yaml } else { json })
        }),
        false => read_yaml(text),
    }?;
    let mut objects = Vec::new();
    for (document, value) in documents {
        take_apart(value, &mut |value| objects.push(Object { document, value }));
    }
    Ok(objects)
}

fn read_json(text: &str) -> Result<Vec<(usize, Value)>, ReadError> {
    let documents = serde_json::Deserializer::from_str(text).into_iter::<Document>();
    numbered(documents)
}

fn read_yaml(text: &str) -> Result<Vec<(usize, Value)>, ReadError> {
    numbered(serde_yaml::Deserializer::from_str(text).map(Document::deserialize))
}

fn numbered<E: fmt::Display>(
    documents: impl Iterator<Item = Result<Document, E>>,
) -> Result<Vec<(usize, Value)>, ReadError> {
    let mut read = Vec::new();
    for (document, content) in (1..).zip(documents) {
        let content = content.map_err(|error| ReadError { document, reason: error.to_string() })?;
        if let Document(Some(mut fields)) = content {
            merge(&mut fields);
            read.push((document, Value::Object(fields)));
        }
    }
    Ok(read)
}

/// Calls `each` with the object; with each of its items if it is a list of objects.
fn take_apart(value: Value, each: &mut impl FnMut(Value)) {
    let kind = value.get("kind").and_then(Value::as_str);
    let of = kind.and_then(|kind| kind.strip_suffix("List")).map(str::to_owned);
    let items = value.get("items").and_then(Value::as_array);
    match (of, items) {
        (Some(of), Some(items)) if items.iter().all(Value::is_object) => {
            let api = value.get("apiVersion").cloned();
            for mut item in items.iter().cloned() {
                // A list of one kind, as the API server has it, says it once for all.
                if item.get("kind").is_none() {
                    item["kind"] = Value::from(of.clone());
                    item["apiVersion"] = api.clone().unwrap_or_default();
                }
                take_apart(item, each);
            }
        }
        _ => each(value),
    }
}

/// Puts what `<<` brings into the objects that have it, below what they say themselves.
fn merge(fields: &mut Map<String, Value>) {
    for value in fields.values_mut() {
        merge_below(value);
    }
    let others = match fields.shift_remove(MERGE) {
        None => return,
        Some(Value::Array(others)) => others,
        Some(other) => vec![other],
    };
    for (key, value) in others.into_iter().filter_map(into_fields).flatten() {
        fields.entry(key).or_insert(value);
    }
}

fn merge_below(value: &mut Value) {
    match value {
        Value::Object(fields) => merge(fields),
        Value::Array(items) => items.iter_mut().for_each(merge_below),
        _ => {}
    }
}

fn into_fields(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// A document: an object with a kind, or nothing. Judged while it is read, so that errors say in
/// which line.
struct Document(Option<Map<String, Value>>);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_unit<E: Error>(self) -> Result<Document, E> {
        Ok(Document(None))
    }

    fn visit_none<E: Error>(self) -> Result<Document, E> {
        Ok(Document(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Document, A::Error> {
        let fields = Map::deserialize(MapAccessDeserializer::new(fields))?;
        match fields.get("kind") {
            Some(Value::String(_)) => Ok(Document(Some(fields))),
            _ if fields.is_empty() => Ok(Document(None)),
            _ => Err(A::Error::custom("it has no `kind`, as each Kubernetes object has")),
        }
    }
}

#[cfg(test)]
mod tests;
