//! What an evaluation costs: `just bench-policy`.
//!
//! The policy, and in the same loop a guest that reads its payload and accepts, on the engine
//! that Kubewarden's hosts have. Host calls are answered at once, so that what is measured is the
//! guest's. Compiling and instantiating are measured apart, as a host does them at other times.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use wapc::WapcHost;
use wasmtime_provider::wasmtime::{Config, Engine, Module};
use wasmtime_provider::{WasmtimeEngineProviderBuilder, WasmtimeEngineProviderPre};

const REPLICATOR: &str = "replicator.test:8443";
const TARGET: &str = "registry.corp/mirror";

/// A policy that does nothing: takes its payload, and accepts.
const NOTHING: &str = r#"(module
  (import "wapc" "__guest_request" (func $request (param i32 i32)))
  (import "wapc" "__guest_response" (func $response (param i32 i32)))
  (memory (export "memory") 64)
  (data (i32.const 0) "{\"accepted\":true}")
  (func (export "__guest_call") (param $name i32) (param $payload i32) (result i32)
    (call $request (i32.const 64) (i32.const 128))
    (call $response (i32.const 0) (i32.const 17))
    (i32.const 1)))"#;

const COMPILATIONS: usize = 5;
const CALLS: usize = 400;

/// Both policies, ours first.
struct Contest {
    names: [&'static str; 2],
    prepared: [WasmtimeEngineProviderPre; 2],
}

fn main() {
    let path = std::env::args().nth(1).expect("usage: bench_policy PATH-OF-POLICY-WASM");
    let ours = std::fs::read(&path).expect("the module is readable");
    let nothing = wat::parse_str(NOTHING).expect("the guest that does nothing is legal");
    let engine = Engine::new(&Config::new()).expect("there is an engine");
    println!("module: {} bytes ({} KiB)\n", ours.len(), ours.len() / 1024);

    println!("| what, median | policy | does nothing | ratio |\n| --- | --- | --- | --- |");
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..COMPILATIONS {
        for (wasm, times) in [&ours, &nothing].into_iter().zip(&mut times) {
            let started = Instant::now();
            black_box(Module::new(&engine, wasm).expect("the module compiles"));
            times.push(started.elapsed().as_nanos());
        }
    }
    row("compile", times);

    let prepare = |wasm: &[u8]| {
        let module = Module::new(&engine, wasm).expect("the module compiles");
        let builder = WasmtimeEngineProviderBuilder::new().engine(engine.clone()).module(module);
        builder.build_pre().expect("the module links")
    };
    let contest =
        Contest { names: ["policy", "nothing"], prepared: [prepare(&ours), prepare(&nothing)] };
    row("instantiate", contest.measure(None));
    for containers in [1, 10, 50, 100] {
        let asked = payload(containers, "docker.io/library");
        row(&format!("{containers} containers, each asked about"), contest.measure(Some(&asked)));
        let in_target = payload(containers, &format!("{TARGET}/docker.io/library"));
        row(
            &format!("{containers} containers, all in the target (no host call)"),
            contest.measure(Some(&in_target)),
        );
    }
}

impl Contest {
    /// Nanoseconds of instantiating, or of one call of `validate` to a fresh instance.
    fn measure(&self, payload: Option<&[u8]>) -> [Vec<u128>; 2] {
        let mut times = [Vec::with_capacity(CALLS), Vec::with_capacity(CALLS)];
        for _ in 0..CALLS {
            for ((name, prepared), times) in self.names.iter().zip(&self.prepared).zip(&mut times) {
                let started = Instant::now();
                let guest = instantiate(prepared);
                if let Some(payload) = payload {
                    let started = Instant::now();
                    let answer = guest.call("validate", payload).expect("the guest answers");
                    times.push(started.elapsed().as_nanos());
                    let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
                    assert_eq!(answer["accepted"], true, "{name}: {answer}");
                } else {
                    times.push(started.elapsed().as_nanos());
                    drop(guest);
                }
            }
        }
        times
    }
}

fn instantiate(prepared: &WasmtimeEngineProviderPre) -> WapcHost {
    let provider = prepared.rehydrate(None).expect("the module is ready");
    let callback = |_: u64, _: &str, _: &str, operation: &str, payload: &[u8]| match operation {
        "v1/oci_manifest" => Ok(known_receipt(payload)),
        _ => Err(format!("no answer to {operation}").into()),
    };
    WapcHost::new(Box::new(provider), Some(Box::new(callback))).expect("the guest starts")
}

/// The receipt, made once for each image: what is measured is the guest.
fn known_receipt(payload: &[u8]) -> Vec<u8> {
    static KNOWN: Mutex<Option<HashMap<Vec<u8>, Vec<u8>>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    known.entry(payload.to_vec()).or_insert_with(|| receipt(payload)).clone()
}

/// What the replicator answers when the replica is there.
fn receipt(payload: &[u8]) -> Vec<u8> {
    let image: String = serde_json::from_slice(payload).expect("a name is a JSON text");
    let (_, source) = image.split_once("/tag/").expect("the sources are by tag");
    let key = |name: &str| format!("io.image-replicator.{name}");
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "artifactType": "application/vnd.image-replicator.receipt.v1+json",
        "manifests": [],
        "annotations": {
            key("version"): "1", key("state"): "present", key("source"): source,
            key("target"): format!("{TARGET}/{source}"),
            key("digest"): format!("sha256:{}", "a".repeat(64)),
        },
    })
    .to_string()
    .into_bytes()
}

/// The creation of a pod of a usual shape: each container has ports, variables, limits, probes.
fn payload(containers: usize, registry: &str) -> Vec<u8> {
    let container = |n: usize| {
        json!({
            "name": format!("c{n}"), "image": format!("{registry}/image-{n}:1.{n}"),
            "ports": [{"containerPort": 8080, "protocol": "TCP"}],
            "env": [{"name": "A", "value": "b"}, {"name": "C", "value": "d"}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 10},
            "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets", "readOnly": true}],
        })
    };
    let containers: Vec<Value> = (0..containers).map(container).collect();
    json!({
        "settings": {"replicator": REPLICATOR, "target": TARGET},
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "CREATE",
            "kind": {"group": "", "version": "v1", "kind": "Pod"}, "namespace": "shop",
            "object": {"metadata": {"name": "p", "labels": {"app": "p"}},
                "spec": {"containers": containers}},
        },
    })
    .to_string()
    .into_bytes()
}

fn row(what: &str, [mut ours, mut nothing]: [Vec<u128>; 2]) {
    let (ours, nothing) = (median(&mut ours), median(&mut nothing));
    let ratio = ours as f64 / nothing.max(1) as f64;
    println!("| {what} | {} | {} | {ratio:.1} |", text(ours), text(nothing));
}

fn median(times: &mut [u128]) -> u128 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn text(ns: u128) -> String {
    match ns {
        0..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        _ => format!("{:.2} ms", ns as f64 / 1e6),
    }
}
