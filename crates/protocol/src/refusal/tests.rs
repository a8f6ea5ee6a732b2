use proptest::prelude::*;

use super::*;

fn sample() -> Refusal {
    Refusal {
        side: Some(Side::Source),
        progress: Some(Progress {
            layers_done: 2,
            layers_total: 5,
            bytes_done: 43,
            bytes_total: 100,
        }),
        retry_after_s: Some(30),
        ..Refusal::new(
            RefusalCode::Pending,
            "docker.io/library/nginx:1.27",
            "copying 43 %, 2 of 5 layers",
        )
    }
}

/// What a guest of Kubewarden 1.36 gets to see of an answer 409 with `body`.
fn wrapped(body: &str) -> String {
    let cause = format!(
        "Server error: url https://localhost:8443/v2/v1/replica/shop/tag/docker.io/library/nginx/manifests/1.27, code: 409, message: {body}"
    );
    format!(
        "Host error: Callback evaluation failure: Fail to interact with OCI registry: {cause}\n\nCaused by:\n    {cause}\n\nStack backtrace:\n   0: anyhow::kind"
    )
}

#[test]
fn the_wire_form_is_what_it_was() {
    insta::assert_snapshot!(sample().to_json());
}

#[test]
fn a_refusal_is_found_in_a_hosts_error() {
    assert_eq!(Refusal::find(&wrapped(&sample().to_json())), Some(sample()));
}

#[test]
fn words_with_quotes_braces_and_lines_do_not_break_it() {
    let odd = Refusal::new(RefusalCode::Failed, "a", "he said: \"{}\"\n\tand left\\");
    let json = odd.to_json();
    assert!(!json.contains('\n'));
    assert_eq!(Refusal::find(&wrapped(&json)), Some(odd));
}

#[test]
fn a_code_of_a_later_release_is_unknown_and_its_message_kept() {
    let json = sample().to_json().replace("pending", "postponed");
    let found = Refusal::find(&json).unwrap();
    assert_eq!(found.code, RefusalCode::Unknown);
    assert_eq!(found.message, sample().message);
}

#[test]
fn other_texts_and_other_versions_hold_no_refusal() {
    let json = sample().to_json();
    assert_eq!(Refusal::find("Server error: code: 500, message: oops"), None);
    assert_eq!(Refusal::find(&json.replace("Refusal\":1", "Refusal\":2")), None);
    assert_eq!(Refusal::find(&json[..json.len() - 1]), None);
    let far = " ".repeat(MAX_SEARCHED_BYTES) + &json;
    assert_eq!(Refusal::find(&far), None);
    let long = Refusal::new(RefusalCode::Failed, "a", "x".repeat(MAX_REFUSAL_BYTES));
    assert_eq!(Refusal::find(&long.to_json()), None);
}

#[test]
fn no_code_uses_a_status_whose_body_the_host_drops() {
    for code in [
        RefusalCode::Pending,
        RefusalCode::NotFound,
        RefusalCode::Denied,
        RefusalCode::Failed,
        RefusalCode::TooMany,
        RefusalCode::Unavailable,
        RefusalCode::Malformed,
        RefusalCode::Unknown,
    ] {
        let status = code.http_status();
        assert!(status >= 400 && status != 401, "{code:?}");
        let json = serde_json::to_string(&code).unwrap();
        assert_eq!(json, format!("\"{}\"", code.as_str()));
        assert_eq!(RefusalCode::parse(code.as_str()), code);
    }
}

proptest! {
    #[test]
    fn any_refusal_survives_the_wire(source in "\\PC{0,40}", message in "\\PC{0,200}") {
        let refusal = Refusal::new(RefusalCode::Failed, source, message);
        prop_assert_eq!(Refusal::find(&wrapped(&refusal.to_json())), Some(refusal));
    }

    #[test]
    fn any_text_is_searched(text in "\\PC{0,200}") {
        let _ = Refusal::find(&format!("{text}{MARK}{text}"));
    }
}
