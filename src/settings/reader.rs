//! Reads a JSON object key by key, and collects everything that is wrong with it.
//!
//! It must not know which keys there are.

use serde_json::{Map, Value};

use crate::wording::clean;

/// How alike (Jaro-Winkler, 0 to 1) two words must be for one to be a slip of the other.
const LIKENESS_OF_A_SLIP: f64 = 0.7;

/// How long a single error may become: it can repeat the operator's own text.
const MAX_ERROR_CHARS: usize = 400;

/// A setting that is one of a few words; the default is what stands for none.
pub(super) trait Choice: Copy + Default + 'static {
    /// The words and what they stand for.
    const CHOICES: &'static [(&'static str, Self)];
}

/// An object under reading.
pub(super) struct Reader<'a> {
    fields: Option<&'a Map<String, Value>>,
    errors: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Begins to read `value`, which may have the keys `known`. Null is an empty object.
    pub(super) fn new(value: &'a Value, known: &[&str]) -> Self {
        let mut reader = Self { fields: value.as_object(), errors: Vec::new() };
        if !value.is_object() && !value.is_null() {
            reader.errors.push(format!("the settings are {}, not an object", kind(value)));
        }
        for key in reader.fields.into_iter().flat_map(Map::keys) {
            if !known.contains(&key.as_str()) {
                reader.errors.push(unknown_key(key, known));
            }
        }
        reader
    }

    /// The text of a key that must be there, parsed; `what` says what belongs there.
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.text(key)? {
            Some(text) => match parse(text) {
                Ok(value) => Some(value),
                Err(error) => {
                    let error = clean(&error, MAX_ERROR_CHARS);
                    self.errors.push(format!("`{key}`: {error}; it is {what}"));
                    None
                }
            },
            None => {
                self.errors.push(format!("`{key}` is missing: {what}"));
                None
            }
        }
    }

    /// The choice of a key, or its default.
    pub(super) fn choice<T: Choice>(&mut self, key: &str) -> T {
        let Some(Some(text)) = self.text(key) else { return T::default() };
        match T::CHOICES.iter().find(|(word, _)| *word == text) {
            Some((_, choice)) => *choice,
            None => {
                let words: Vec<&str> = T::CHOICES.iter().map(|(word, _)| *word).collect();
                let slip = match nearest(text, &words) {
                    Some(word) => format!(" (did you mean `{word}`?)"),
                    None => String::new(),
                };
                let text = clean(text, MAX_ERROR_CHARS);
                let words = words.join("`, `");
                self.errors.push(format!("`{key}` is `{text}`, it must be one of `{words}`{slip}"));
                T::default()
            }
        }
    }

    /// Notes that a key's value, though readable, is wrong.
    pub(super) fn error(&mut self, key: &str, error: &str) {
        self.errors.push(format!("`{key}` {error}"));
    }

    /// All that was wrong.
    pub(super) fn finish(self) -> Vec<String> {
        self.errors
    }

    /// `Some(None)` where the key is missing or null; None, with an error, where it has no text.
    fn text(&mut self, key: &str) -> Option<Option<&'a str>> {
        match self.fields.and_then(|fields| fields.get(key)) {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(text)) => Some(Some(text)),
            Some(other) => {
                self.errors.push(format!("`{key}` is {}, it must be a text", kind(other)));
                None
            }
        }
    }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    let shown = clean(key, MAX_ERROR_CHARS);
    match nearest(key, known) {
        Some(word) => format!("unknown key `{shown}`: did you mean `{word}`?"),
        None => format!("unknown key `{shown}`: there are `{}`", known.join("`, `")),
    }
}

/// The known word that `text` is a slip of, if it looks like one.
fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness =
        |word: &str| strsim::jaro_winkler(&text.to_ascii_lowercase(), &word.to_ascii_lowercase());
    known
        .iter()
        .map(|word| (likeness(word), *word))
        .filter(|(likeness, _)| *likeness >= LIKENESS_OF_A_SLIP)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
