use proptest::prelude::*;
use serde_json::json;

use super::*;

fn values(text: &str) -> Vec<(usize, Value)> {
    let objects = read(text).unwrap().into_iter();
    objects.map(|object| (object.document, object.value)).collect()
}

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn documents_are_counted_and_those_without_content_passed_over() {
    let text = "---\n# Source: a.yaml\n---\nkind: A\n---\n\n---\n{kind: B} # comment\n...\n---\nnull\n---\nkind: C\n";
    assert_eq!(
        values(text),
        [(2, json!({"kind": "A"})), (4, json!({"kind": "B"})), (6, json!({"kind": "C"}))]
    );
    assert_eq!(values(""), []);
    assert_eq!(values("# nothing\n---\n"), []);
}

#[test]
fn json_is_read_one_or_many_and_yaml_that_begins_like_it() {
    let whole = "\t{\"kind\": \"A\", \"text\": \"\\ud83d\\ude00\\/\"}\n{\"kind\": \"B\"}";
    assert_eq!(
        values(whole),
        [(1, json!({"kind": "A", "text": "😀/"})), (2, json!({"kind": "B"}))]
    );
    assert_eq!(
        values("{kind: A}\n---\nkind: B"),
        [(1, json!({"kind": "A"})), (2, json!({"kind": "B"}))]
    );
}

#[test]
fn lists_are_taken_apart_however_deep_and_give_their_items_a_kind() {
    let text = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, n: 1}
- kind: List
  items: [{apiVersion: v1, kind: Pod, n: 2}]
---
{apiVersion: apps/v1, kind: DeploymentList, items: [{n: 3}]}
---
{apiVersion: v1, kind: List, items: []}
---
{apiVersion: e.org/v1, kind: AllowList, items: [a, b]}
";
    assert_eq!(
        values(text),
        [
            (1, json!({"apiVersion": "v1", "kind": "Pod", "n": 1})),
            (1, json!({"apiVersion": "v1", "kind": "Pod", "n": 2})),
            (2, json!({"apiVersion": "apps/v1", "kind": "Deployment", "n": 3})),
            (4, json!({"apiVersion": "e.org/v1", "kind": "AllowList", "items": ["a", "b"]})),
        ]
    );
}

#[test]
fn yaml_is_read_as_kubernetes_tools_read_it() {
    let text = "
kind: A
twice: 1
twice: 2
1: number
base: &base {image: a, name: b}
merged: {<<: *base, name: c}
both: {<<: [{x: 1}, {x: 2, y: 3}]}
";
    assert_eq!(
        values(text),
        [(
            1,
            json!({"kind": "A", "twice": 2, "1": "number", "base": {"image": "a", "name": "b"},
            "merged": {"name": "c", "image": "a"}, "both": {"x": 1, "y": 3}})
        )]
    );
}

#[test]
fn an_error_says_which_document_and_which_line() {
    let good = "kind: A\n---\n";
    let texts = [
        format!("{good}kind: B\n  spec: [\n"),
        format!("{good}just words\n"),
        format!("{good}- kind: A\n"),
        format!("{good}metadata: {{}}\n"),
        format!("{good}kind: [A]\n"),
        format!("{good}kind: {{{{ .Values.kind }}}}\n"),
        "{\"kind\": \"A\"}\n{\"kind\": \"B\",\n}}\n".to_owned(),
        "{\"kind\": \"A\"}\n{\"name\": \"b\"}\n".to_owned(),
    ];
    insta::assert_snapshot!(texts.map(|text| error(&text)).join("\n"));
}

#[test]
fn depth_and_repetition_beyond_reason_are_errors() {
    error(&format!("kind: A\na: {}{}", "[".repeat(10_000), "]".repeat(10_000)));
    error(&format!("{{\"kind\": \"A\", \"a\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000)));
    let laughs: String =
        (1..20).map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9))).collect();
    error(&format!("kind: A\na0: &a0 [lol]\n{laughs}"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_an_error(text in "[-{}\\[\\]:&*<!#,'\"\\\\ \\na-c0-9|>?%@]{0,80}") {
        let _ = read(&text);
        let _ = read(&format!("kind: A\n{text}"));
    }
}
