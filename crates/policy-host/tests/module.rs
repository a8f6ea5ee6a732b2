//! The policy as it ships, `policy.wasm`: what it is handed may be anything, and it answers.
//!
//! `MODULE` names another file. waPC gives a trap and an error of the guest's own as the same kind
//! of failure; the policy's functions have no error of their own, so that each failure is a trap.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use policy_host::admission::ValidateRequest;
use policy_host::constraints::Constraints;
use policy_host::evaluate::Policy;
use policy_host::host::HostContext;
use policy_host::host::answers::Answers;
use policy_host::host::capabilities::Capabilities;
use policy_host::host::credentials::Credentials;
use policy_host::host::oci::Registries;
use policy_host::host::queue::HostCalls;
use policy_host::host::sources::Sources;
use policy_host::module::Engine;
use policy_host::server;
use protocol::Refusal;
use serde_json::{Value, json};
use support::Registry;
use support::garbage::garbage;
use support::replicator::{TARGET, receipt};
use wapc::{HostCallback, WapcHost};
use wasmtime_provider::WasmtimeEngineProviderBuilder;

const REPLICATOR: &str = "replicator.test:8443";
const CASES: u64 = 10_000;

/// After so many payloads of garbage one that is good must be answered as it was at first.
const GOOD_EVERY: u64 = 50;

fn module() -> PathBuf {
    let path = std::env::var_os("MODULE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policy.wasm"),
        PathBuf::from,
    );
    assert!(path.exists(), "{} is not there: run `just policy`", path.display());
    path
}

type Answer = Result<Vec<u8>, String>;

/// An instance whose host calls are answered by `host`, which gets the operation and payload.
fn instance(wasm: &[u8], host: impl Fn(&str, &[u8]) -> Answer + Send + Sync + 'static) -> WapcHost {
    let provider = WasmtimeEngineProviderBuilder::new().module_bytes(wasm).build().unwrap();
    let callback: Box<HostCallback> =
        Box::new(move |_, _, _, operation, payload| Ok(host(operation, payload)?));
    WapcHost::new(Box::new(provider), Some(callback)).unwrap()
}

/// What a replicator that has everything says to a host call's payload.
fn receipt_for(payload: &[u8]) -> Vec<u8> {
    let image: String = serde_json::from_slice(payload).unwrap();
    let (repository, tag) = image.split_once('/').unwrap().1.rsplit_once(':').unwrap();
    receipt(repository, tag).to_json().into_bytes()
}

fn settings(more: &Value) -> Value {
    let mut settings = json!({"replicator": REPLICATOR, "target": TARGET});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

/// The creation of a pod of these images.
fn request(images: &[&str]) -> Value {
    let containers: Vec<Value> = (1..)
        .zip(images)
        .map(|(n, image)| json!({"name": format!("c{n}"), "image": image, "args": ["-v", 1, null]}))
        .collect();
    let pod = json!({"metadata": {"name": "p", "annotations": {"a": "b"}},
        "spec": {"containers": containers}});
    json!({
        "uid": "u", "operation": "CREATE", "namespace": "shop", "dryRun": false,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": "me"}, "object": pod, "oldObject": null,
    })
}

/// Hands the instance garbage, and now and then what is good.
fn survives(function: &str, good: &Value, is_answer: fn(&Value) -> bool) {
    // Every fourth answer of the host to garbage is garbage as well.
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let policy = instance(&std::fs::read(module()).unwrap(), move |_, payload| {
        let n = counter.fetch_add(1, Ordering::Relaxed);
        let noise = garbage(&mut Rng::with_seed(n), &json!({"annotations": {}}));
        match n % 8 {
            1 => Ok(noise),
            5 => Err(String::from_utf8_lossy(&noise).into_owned()),
            _ => Ok(receipt_for(payload)),
        }
    });
    let good_answer = || {
        // The host's next answers are receipts.
        asked.store(2, Ordering::Relaxed);
        policy.call(function, good.to_string().as_bytes()).unwrap()
    };
    let expected = good_answer();
    let mut answered = [0; 2];
    for seed in 0..CASES {
        let payload = garbage(&mut Rng::with_seed(seed), good);
        let answer = policy.call(function, &payload);
        let answer = answer.unwrap_or_else(|trap| {
            let payload = String::from_utf8_lossy(&payload[..payload.len().min(2_000)]);
            panic!("{function}, seed {seed}: {trap}\n{payload}")
        });
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answered[usize::from(is_answer(&answer))] += 1;
        if seed % GOOD_EVERY == 0 {
            assert_eq!(good_answer(), expected, "after seed {seed}");
        }
    }
    assert_eq!(good_answer(), expected);
    // Garbage of all kinds: some is refused, and some is good enough.
    assert!(answered.iter().all(|count| *count > CASES / 50), "{answered:?}");
}

#[test]
fn ten_thousand_requests_of_any_bytes_get_an_answer() {
    let rules = json!([
        {"images": "quay.io/a/*", "mode": "wait"}, {"images": "docker.io/**", "pin": true}]);
    let settings = settings(&json!({"rules": rules, "imagePullSecrets": ["pull"]}));
    let request = request(&["nginx:1.27", "quay.io/a/b:v1"]);
    let good = json!({"request": request, "settings": settings});
    survives("validate", &good, |answer| answer["accepted"].as_bool().unwrap());
}

#[test]
fn ten_thousand_settings_of_any_bytes_get_an_answer() {
    let good = settings(&json!({
        "mode": "wait", "budgetMs": 700, "pin": true, "kinds": ["Pod", "Deployment"],
        "ignoreImages": ["quay.io/team/**"], "ignoreNamespaces": ["kube-system"],
        "rules": [{"images": ["quay.io/**"], "verify": {"githubActions": {"owner": "o"}}}],
    }));
    survives("validate_settings", &good, |answer| answer["valid"].as_bool().unwrap());
}

#[test]
fn a_trap_is_a_failure_of_the_call() {
    let guest = wat::parse_str(include_str!("guests/trap.wat")).unwrap();
    let trap = instance(&guest, |_, _| Ok(Vec::new())).call("validate", b"{}").unwrap_err();
    assert!(matches!(&trap, wapc::errors::Error::GuestCallFailure(_)), "{trap}");
}

/// Answers that no replicator gives, or not to this question, and by which words they are refused;
/// whether they count as an answer at all.
fn hostile_answers() -> Vec<(Answer, &'static str, bool)> {
    let right = receipt("v1/start/shop/tag/docker.io/library/nginx", "1");
    let other = receipt("v1/start/shop/tag/docker.io/library/evil", "1");
    let outside = protocol::Receipt {
        target: "evil.example/mirror/docker.io/library/nginx:1".parse().unwrap(),
        ..right.clone()
    };
    let mut huge: Value = serde_json::from_str(&right.to_json()).unwrap();
    huge["annotations"]["more"] = "x".repeat(5 << 20).into();
    let mut many: Value = serde_json::from_str(&right.to_json()).unwrap();
    for n in 0..100_000 {
        many["annotations"][format!("more-{n}")] = "x".repeat(40).into();
    }
    let mark = "{\"imageReplicatorRefusal\":";
    let about_another = Refusal::new(protocol::RefusalCode::Pending, "quay.io/evil:1", "wait");
    let good = |answer: String| Ok(answer.into_bytes());
    vec![
        (good(huge.to_string()), "a receipt has at most 16384", true),
        (good(many.to_string()), "a receipt has at most 16384", true),
        (good(other.to_json()), "about another image", true),
        (good(outside.to_json()), "outside of the policy's `target`", true),
        (good("no JSON".to_owned()), "not the JSON of a receipt", true),
        (good(String::new()), "not the JSON of a receipt", true),
        (good("[".repeat(10_000)), "not the JSON of a receipt", true),
        (Ok(b"{\"schemaVersion\":2,\"a\":\"\xff\xfe\x00\"}".to_vec()), "not the JSON", true),
        (good(r#"{"schemaVersion":2,"manifests":[]}"#.to_owned()), "some other registry", true),
        (Err(format!("Host error: {}", about_another.to_json())), "about another image", true),
        (Err("x".repeat(5 << 20)), "no answer from the replicator", false),
        (Err(mark.repeat(100_000)), "no answer from the replicator", false),
        (Err(format!("{mark}{}", "[".repeat(10_000))), "no answer from the replicator", false),
        (Err(format!("{mark}1,\u{202e}\u{0}")), "no answer from the replicator", false),
    ]
}

#[test]
fn a_hostile_answer_of_the_host_is_refused_with_the_reason() {
    let answers = hostile_answers();
    let next: Arc<AtomicU64> = Arc::default();
    let (host_answers, host_next) = (answers.clone(), Arc::clone(&next));
    let policy = instance(&std::fs::read(module()).unwrap(), move |_, _| {
        host_answers[host_next.load(Ordering::Relaxed) as usize].0.clone()
    });
    for (index, (_, words, is_answer)) in answers.iter().enumerate() {
        next.store(index as u64, Ordering::Relaxed);
        for (mode, on_unavailable) in
            [("rewrite", "deny"), ("wait", "deny"), ("keep", "deny"), ("rewrite", "allow")]
        {
            let more = json!({"mode": mode, "onUnavailable": on_unavailable});
            let payload = json!({"request": request(&["nginx:1"]), "settings": settings(&more)});
            let answer = policy.call("validate", payload.to_string().as_bytes()).unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            // The setting is about no answer at all, never about a bad one.
            let passes = on_unavailable == "allow" && !is_answer;
            assert_eq!(answer["accepted"], passes, "{words}, {mode}: {answer}");
            assert_eq!(answer["mutated_object"], Value::Null);
            let text = if passes { &answer["warnings"][0] } else { &answer["message"] };
            let text = text.as_str().unwrap();
            assert!(text.contains(words) && text.len() < 2_000, "{words}: {text}");
        }
    }
}

/// The policy's answer to a pod of three images, while each question takes longer than all may.
async fn asked_slowly(on_unavailable: &str) -> (Value, Vec<String>) {
    let registry = Registry::slow_replicator(Duration::from_millis(150)).await;
    let sources = Sources::read(&registry.trusting_sources()).unwrap();
    let registries = Registries::new(sources, Credentials::in_folder(None));
    let engine = Engine::interruptible().unwrap();
    let module = engine.compile_file(module().to_str().unwrap()).unwrap();
    tokio::spawn(server::tick(engine));
    let calls = HostCalls::start(Arc::new(Answers::Live(registries)));
    let settings = json!({"replicator": registry.host, "target": TARGET, "budgetMs": 100,
        "onUnavailable": on_unavailable});
    let policy = Policy {
        name: "p".to_owned(),
        module,
        host: Arc::new(HostContext::new("p", Capabilities::all(), calls)),
        settings: settings.as_object().unwrap().clone(),
        constraints: Constraints::of_run(),
        deadline: Some(2),
    };
    let request = ValidateRequest::Admission(Box::new(
        serde_json::from_value(request(&["a:1", "b:1", "c:1"])).unwrap(),
    ));
    let answer = tokio::task::spawn_blocking(move || policy.evaluate(&request)).await.unwrap();
    (serde_json::to_value(answer.unwrap()).unwrap(), registry.requests())
}

#[tokio::test]
async fn a_slow_replicator_is_asked_no_more_once_the_time_is_up_and_the_answer_says_so() {
    let first_alone = ["GET /v2/ -", "GET /v2/v1/start/shop/tag/docker.io/library/a/manifests/1 -"];
    let reason = "not asked: the questions about 1 of 3 images took ";

    let (answer, requests) = asked_slowly("deny").await;
    assert_eq!(requests, first_alone);
    assert_eq!(answer["status"]["code"], 503, "{answer}");
    let message = answer["status"]["message"].as_str().unwrap();
    assert_eq!(message.matches(reason).count(), 2, "{message}");

    let (answer, requests) = asked_slowly("allow").await;
    assert_eq!(requests, first_alone);
    assert_eq!(answer["allowed"], true, "{answer}");
    let warnings: Vec<&str> =
        answer["warnings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().all(|warning| warning.contains(reason)), "{warnings:?}");
}
