//! SIGTERM and SIGINT in the middle of a copy, to the real binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::process::{Command, Stdio};

use http::Method;
use protocol::{RefusalCode, ReplicaState};
use testkit::{Fault, Image, Kind, ScriptedRegistry, When};

use support::{Home, until};

/// A target that takes nothing of the first blob that is sent to it.
async fn stalled_target() -> ScriptedRegistry {
    let target = ScriptedRegistry::start().await;
    target.script(When::first(Method::PUT, Kind::Upload), Fault::StallRequest(1));
    target
}

async fn until_an_upload_stalls(target: &ScriptedRegistry) {
    let is_alone = || !target.met().is_empty() && target.open_uploads() == 1;
    until("an upload stalls", async || is_alone().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sigterm_readiness_falls_first_and_nothing_is_left_behind() {
    let (source, target) = (ScriptedRegistry::start().await, stalled_target().await);
    let image = Image::new(&[&[7; 100_000]]);
    source.push(&image, "app", "v1");
    let name = source.reference("app:v1").to_string();
    let home = Home::new(&source, &target, None);
    let mut process = home.start(&[]).await;
    assert_eq!(home.trigger("start", &name).await.unwrap().state, ReplicaState::Copying);
    until_an_upload_stalls(&target).await;

    process.signal("-TERM");
    home.until_readyz_is(503).await;
    assert_eq!(home.trigger("replica", &name).await.unwrap_err().code, RefusalCode::Pending);
    assert!(process.ended().await.success(), "{}", process.log());
    assert_eq!(target.open_uploads(), 0);
    assert_eq!(target.count(&Method::DELETE, Kind::Upload), 1);
    assert!(process.log().contains("copy handed back"), "{}", process.log());

    // Nobody asks again, and no lease has to run out.
    let _process = home.start(&[]).await;
    until("the copy is done", async || target.holds(&image, &replica(&source)).then_some(())).await;
    let present = async || home.trigger("replica", &name).await.ok();
    assert_eq!(until("it is known", present).await.digest, Some(image.digest.clone()));
}

/// The repository of `app` at the target.
fn replica(source: &ScriptedRegistry) -> String {
    format!("{}/app", source.host().replace(':', "_"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_by_hand_that_is_interrupted_leaves_no_upload_behind() {
    let (source, target) = (ScriptedRegistry::start().await, stalled_target().await);
    source.push(&Image::new(&[&[7; 100_000]]), "app", "v1");
    let home = Home::new(&source, &target, None);
    let mut copy = Command::new(env!("CARGO_BIN_EXE_image-replicator"))
        .args(["copy", &source.reference("app:v1").to_string()])
        .arg(target.reference("app:v1").to_string())
        .arg("--config")
        .arg(home.config())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until_an_upload_stalls(&target).await;
    support::run("kill", &["-INT", &copy.id().to_string()]);
    let ended = until("it has ended", async || copy.try_wait().unwrap()).await;
    assert_eq!((ended.code(), target.open_uploads()), (Some(1), 0));
}
