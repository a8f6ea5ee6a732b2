//! A large layer passes through, or is verified, and is never held: this process, registries included, stays
//! small. Alone in its file, since the peak is the process's.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use testkit::{Content, Image, ScriptedRegistry, media};

use common::World;

const LAYER: u64 = 2 << 30;
const MOST: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_of_2_gib_takes_less_than_64_mib() {
    let target = ScriptedRegistry::builder().drop_uploads_above(1 << 20).start().await;
    let world = World::of(ScriptedRegistry::start().await, target);
    let image = Image::of(media::MANIFEST, media::LAYER, vec![Content::Made(LAYER)]);
    world.source.push(&image, "app", "v1");
    let outcome = world.copy("app:v1").await.unwrap();
    assert!(outcome.bytes_moved > LAYER);
    let read = Image::of(media::MANIFEST, media::LAYER, vec![Content::Made(LAYER / 4)]);
    world.source.push(&read, "app", "v2");
    let report = world.verifier().verify(&world.source.reference("app:v2")).await.unwrap();
    assert!(report.is_right() && report.size_bytes > LAYER / 4);
    let peak = peak_rss();
    println!("peak {} MiB", peak >> 20);
    assert!(peak < MOST, "{peak} bytes");
}

/// The most memory that this process ever had (`VmHWM`).
fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}
