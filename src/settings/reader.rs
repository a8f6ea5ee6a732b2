//! Reads a JSON object key by key, and collects everything that is wrong with it.
//!
//! It must not know which keys there are: those come as a table.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::keys::Key;
use crate::wording::clean;

/// How alike (Jaro-Winkler, 0 to 1) two words must be for one to be a slip of the other.
const LIKENESS_OF_A_SLIP: f64 = 0.7;

/// The longest text that can be a slip of a word; all words are shorter.
const MAX_SLIP_LENGTH: usize = 64;

/// How long a single error may become: it can repeat the operator's own text.
const MAX_ERROR_CHARS: usize = 400;

/// How many errors are told in full: a list can have as many as it has items.
const MAX_ERRORS: usize = 20;

/// A setting that is one of a few words.
pub(super) trait Choice: Copy + 'static {
    /// The words and what they stand for.
    const CHOICES: &'static [(&'static str, Self)];
}

/// An object under reading.
pub(super) struct Reader<'a> {
    fields: Option<&'a Map<String, Value>>,
    known: &'static [Key],
    /// What stands before each error: where in the settings the object is.
    place: String,
    errors: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Begins to read `value`, which may have the keys `known`; `subject` is what people call the
    /// object, with its verb, and `place` stands before its errors. Null is an empty object.
    pub(super) fn new(
        value: &'a Value,
        known: &'static [Key],
        subject: &str,
        place: impl Into<String>,
    ) -> Self {
        let fields = value.as_object();
        let mut reader = Self { fields, known, place: place.into(), errors: Vec::new() };
        if !value.is_object() && !value.is_null() {
            reader.errors.push(format!("{subject} {}, not an object", kind(value)));
        }
        for key in fields.into_iter().flat_map(Map::keys) {
            if !known.iter().any(|known| known.key == key) {
                reader.push(&unknown_key(key, known));
            }
        }
        reader
    }

    /// Where the value of `key` is, for the objects within it.
    pub(super) fn place_of(&self, key: impl Display) -> String {
        format!("{}{key}: ", self.place)
    }

    /// The value of a key; None where it is missing or null.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.fields.and_then(|fields| fields.get(key)).filter(|value| !value.is_null())
    }

    /// The text of a key that must be there, parsed.
    pub(super) fn required<T, E: Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if self.value(key).is_none() {
            self.missing(key);
        }
        self.optional(key, parse)
    }

    /// The text of a key, parsed; None where it is missing or wrong.
    pub(super) fn optional<T, E: Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(key, &error, "it is");
                None
            }
        }
    }

    /// The choice of a key; None where there is none.
    pub(super) fn choice<T: Choice>(&mut self, key: &str) -> Option<T> {
        let text = self.text(key)?;
        let choice = choose(text);
        if let Err(error) = &choice {
            self.error(key, error);
        }
        choice.ok()
    }

    /// Whether a key is true or false; None where it says neither.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.error(key, &format!("is {}, it must be true or false", kind(value)));
        }
        flag
    }

    /// The number of a key, which must be a whole one within `range`; None where it is not.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(key)?;
        let number = value.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            let is = if value.is_number() { value.to_string() } else { kind(value).to_owned() };
            let (least, most) = range.into_inner();
            self.error(key, &format!("is {is}, it must be a whole number from {least} to {most}"));
        }
        number
    }

    /// The items of a list of texts, each parsed; None where there is no list.
    pub(super) fn texts<T, E: Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let mut parsed = Vec::new();
        for item in self.items(key)? {
            match item.as_str().map(&parse) {
                Some(Ok(value)) => parsed.push(value),
                Some(Err(error)) => self.wrong(key, &error, "they are"),
                None => self.error(key, &format!("has an item that is {}, not a text", kind(item))),
            }
        }
        Some(parsed)
    }

    /// The items of a list of choices; None where there is no list.
    pub(super) fn choices<T: Choice>(&mut self, key: &str) -> Option<Vec<T>> {
        let mut chosen = Vec::new();
        for item in self.items(key)? {
            match item.as_str().map(choose) {
                Some(Ok(choice)) => chosen.push(choice),
                Some(Err(error)) => self.error(key, &format!("has an item that {error}")),
                None => self.error(key, &format!("has an item that is {}, not a text", kind(item))),
            }
        }
        Some(chosen)
    }

    /// The items of a list; None where there is no list.
    pub(super) fn items(&mut self, key: &str) -> Option<&'a [Value]> {
        let value = self.value(key)?;
        let items = value.as_array().map(Vec::as_slice);
        if items.is_none() {
            self.error(key, &format!("is {}, it must be a list", kind(value)));
        }
        items
    }

    /// Notes that a key must be there.
    pub(super) fn missing(&mut self, key: &str) {
        self.push(&format!("`{key}` is missing: {}", self.meaning(key)));
    }

    /// Notes that a key's value, or an item of it, is not what belongs there.
    fn wrong(&mut self, key: &str, error: &impl Display, is: &str) {
        let error = clean(&error.to_string(), MAX_ERROR_CHARS);
        self.push(&format!("`{key}`: {error}; {is} {}", self.meaning(key)));
    }

    /// Notes that a key's value, though readable, is wrong.
    pub(super) fn error(&mut self, key: &str, error: &str) {
        self.push(&format!("`{key}` {}", clean(error, MAX_ERROR_CHARS)));
    }

    /// Takes over what was wrong with an object within this one.
    pub(super) fn take_over(&mut self, inner: Reader<'_>) {
        self.errors.extend(inner.errors);
    }

    /// All that was wrong.
    pub(super) fn finish(mut self) -> Result<(), String> {
        if self.errors.len() > MAX_ERRORS {
            let more = self.errors.len() - MAX_ERRORS;
            self.errors.truncate(MAX_ERRORS);
            self.errors.push(format!("and {more} more"));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors.join("; ")) }
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_good(&self) -> bool {
        self.errors.is_empty()
    }

    /// The text of a key; None where it is missing or, with an error, something else.
    fn text(&mut self, key: &str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.error(key, &format!("is {}, it must be a text", kind(value)));
        }
        text
    }

    fn meaning(&self, key: &str) -> &'static str {
        self.known.iter().find(|known| known.key == key).map_or("", |known| known.meaning)
    }

    fn push(&mut self, error: &str) {
        self.errors.push(format!("{}{error}", self.place));
    }
}

fn choose<T: Choice>(text: &str) -> Result<T, String> {
    if let Some((_, choice)) = T::CHOICES.iter().find(|(word, _)| *word == text) {
        return Ok(*choice);
    }
    let words: Vec<&str> = T::CHOICES.iter().map(|(word, _)| *word).collect();
    let slip = match nearest(text, &words) {
        Some(word) => format!(" (did you mean `{word}`?)"),
        None => String::new(),
    };
    let text = clean(text, MAX_ERROR_CHARS / 2);
    Err(format!("is `{text}`, it must be one of `{}`{slip}", words.join("`, `")))
}

fn unknown_key(key: &str, known: &[Key]) -> String {
    let known: Vec<&str> = known.iter().map(|known| known.key).collect();
    let shown = clean(key, MAX_ERROR_CHARS);
    match nearest(key, &known) {
        Some(word) => format!("unknown key `{shown}`: did you mean `{word}`?"),
        None => format!("unknown key `{shown}`: there are `{}`", known.join("`, `")),
    }
}

/// The known word that `text` is a slip of, if it looks like one.
fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    if text.len() > MAX_SLIP_LENGTH {
        return None;
    }
    // Settings of other policies are in snake case.
    let plain = |word: &str| word.to_ascii_lowercase().replace(['_', '-'], "");
    known
        .iter()
        .map(|word| (strsim::jaro_winkler(&plain(text), &plain(word)), *word))
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
