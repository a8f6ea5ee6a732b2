//! Payloads as nobody should send them: noise, and what was a good payload once.

use fastrand::Rng;
use serde_json::{Map, Value};

/// Stands for a value that is not to be written as JSON writes it.
const PLACE: &str = "@raw@";

/// Levels of nesting, far more than any object has.
const DEPTH: usize = 10_000;

/// A payload that is noise, or `good` with something done to it.
pub fn garbage(rng: &mut Rng, good: &Value) -> Vec<u8> {
    let text = || good.to_string().into_bytes();
    match rng.u8(0..12) {
        0 => noise(rng, 2_048),
        1 => any_json(rng, 4).to_string().into_bytes(),
        2 => with_flipped_bits(rng, text()),
        3 => {
            let mut text = text();
            text.truncate(rng.usize(..=text.len()));
            text
        }
        4 => {
            let noise = noise(rng, 16);
            spliced(rng, text(), &noise)
        }
        5 => {
            let strange = strange_text(rng);
            spliced(rng, text(), strange)
        }
        6 => nested(rng),
        7 => {
            let nested = nested(rng);
            with_raw(rng, good, &nested)
        }
        8 => {
            let strange = strange_number(rng);
            with_raw(rng, good, strange)
        }
        9 => {
            let strange = [b"\"".as_slice(), strange_text(rng), b"\""].concat();
            with_raw(rng, good, &strange)
        }
        10 => with_keys_twice(rng, good),
        _ => {
            let other = any_json(rng, 4).to_string();
            with_raw(rng, good, other.as_bytes())
        }
    }
}

fn noise(rng: &mut Rng, most: usize) -> Vec<u8> {
    let length = rng.usize(..=most);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

fn with_flipped_bits(rng: &mut Rng, mut text: Vec<u8>) -> Vec<u8> {
    for _ in 0..rng.usize(1..16) {
        let at = rng.usize(..text.len());
        text[at] ^= 1 << rng.u8(..8);
    }
    text
}

fn spliced(rng: &mut Rng, mut text: Vec<u8>, with: &[u8]) -> Vec<u8> {
    let at = rng.usize(..=text.len());
    text.splice(at..at, with.iter().copied());
    text
}

fn nested(rng: &mut Rng) -> Vec<u8> {
    let (open, close) = if rng.bool() { ("[", "]") } else { ("{\"a\":", "}") };
    let closed = if rng.bool() { close.repeat(DEPTH) } else { String::new() };
    format!("{}1{closed}", open.repeat(DEPTH)).into_bytes()
}

/// Halves of surrogates, and bytes that are not UTF-8 (cut, overlong, beyond Unicode).
fn strange_text(rng: &mut Rng) -> &'static [u8] {
    let texts: [&[u8]; 8] = [
        b"\\ud800",
        b"\\udc00\\ud800",
        b"\\u0000",
        b"\\uZZZZ",
        b"\xff\xfe",
        b"\xe2\x82",
        b"\xc0\xaf",
        b"\xf4\x90\x80\x80",
    ];
    texts[rng.usize(..texts.len())]
}

fn strange_number(rng: &mut Rng) -> &'static [u8] {
    let numbers: [&[u8]; 8] = [
        b"1e999999999",
        b"-1e-999999999",
        b"99999999999999999999999999999999999999999999999999999999999999999999999999999999",
        b"-9223372036854775809",
        b"18446744073709551616",
        b"0.1e+",
        b"-0",
        b"NaN",
    ];
    numbers[rng.usize(..numbers.len())]
}

/// `good`, with `raw` in the place of one of its values.
fn with_raw(rng: &mut Rng, good: &Value, raw: &[u8]) -> Vec<u8> {
    let mut value = good.clone();
    let mut left = rng.usize(..count(good));
    replace(&mut value, &mut left);
    let text = value.to_string();
    let (before, after) = text.split_once(&format!("\"{PLACE}\"")).unwrap();
    [before.as_bytes(), raw, after.as_bytes()].concat()
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Puts the mark in the place of the value of this number, counted from the outside in.
fn replace(value: &mut Value, left: &mut usize) -> bool {
    if *left == 0 {
        *value = PLACE.into();
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| replace(item, left)),
        Value::Object(fields) => fields.values_mut().any(|field| replace(field, left)),
        _ => false,
    }
}

/// `good`, with fields of the outermost object, and of one within it, written again with others.
fn with_keys_twice(rng: &mut Rng, good: &Value) -> Vec<u8> {
    let mut text = good.to_string();
    for (key, value) in good.as_object().into_iter().flatten() {
        if rng.bool() {
            let again = if rng.bool() { value.clone() } else { any_json(rng, 2) };
            text.insert_str(1, &format!("\"{key}\":{again},"));
            let inner = value.as_object().and_then(|fields| fields.keys().next());
            if let Some(inner) = inner {
                let twice = format!("{{\"{inner}\":{},", any_json(rng, 2));
                text = text.replacen(&format!("\"{key}\":{{"), &format!("\"{key}\":{twice}"), 1);
            }
        }
    }
    text.into_bytes()
}

/// JSON of any shape, with keys that mean something here and there.
fn any_json(rng: &mut Rng, depth: usize) -> Value {
    const KEYS: [&str; 14] = [
        "request",
        "settings",
        "object",
        "oldObject",
        "operation",
        "kind",
        "metadata",
        "spec",
        "containers",
        "image",
        "volumes",
        "annotations",
        "rules",
        "replicator",
    ];
    const TEXTS: [&str; 6] = ["", "Pod", "CREATE", "nginx", "r.example:8443", "\u{0}\u{202e}ä☃"];
    let length = rng.usize(..5);
    match rng.u8(..if depth == 0 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => rng.bool().into(),
        2 => rng.i64(..).into(),
        3 => rng.f64().into(),
        4 => TEXTS[rng.usize(..TEXTS.len())].into(),
        5 => (0..length).map(|_| any_json(rng, depth - 1)).collect(),
        _ => {
            let mut fields = Map::new();
            for _ in 0..length {
                let key = KEYS[rng.usize(..KEYS.len())];
                fields.insert(key.to_owned(), any_json(rng, depth - 1));
            }
            Value::Object(fields)
        }
    }
}
