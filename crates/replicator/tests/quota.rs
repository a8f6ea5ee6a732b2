//! A limit for each namespace, from the configuration to what pods are told: the real binary,
//! over a restart.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs::OpenOptions;
use std::io::Write;

use protocol::{RefusalCode, ReplicaState};
use testkit::{Image, ScriptedRegistry};

use support::{Home, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_namespace_has_counts_on_after_a_restart() {
    let (source, target) = (ScriptedRegistry::start().await, ScriptedRegistry::start().await);
    let names = [1, 2, 3].map(|number| {
        source.push(&Image::new(&[&[number; 10_000]]), "app", &format!("v{number}"));
        source.reference(&format!("app:v{number}")).to_string()
    });
    let home = Home::new(&source, &target, None);
    let mut config = OpenOptions::new().append(true).open(home.config()).unwrap();
    writeln!(config, "tenancy:\n  namespace_bytes: 16000").unwrap();
    let is_given = async |namespace: &str, name: &str| {
        let ask = async || home.trigger_from(namespace, "replica", name).await.ok();
        let receipt = until(&format!("{namespace} has {name}"), ask).await;
        assert_eq!(receipt.state, ReplicaState::Present);
    };
    let is_denied = async |name: &str| {
        let ask = async || {
            let refusal = home.trigger("replica", name).await.unwrap_err();
            (refusal.code == RefusalCode::Denied).then_some(refusal.message)
        };
        let message = until(&format!("shop is denied {name}"), ask).await;
        assert!(message.contains("(tenancy.namespace_bytes)"), "{message}");
    };

    let mut process = home.start(&[]).await;
    is_given("shop", &names[0]).await;
    is_denied(&names[1]).await;
    process.signal("-TERM");
    assert!(process.ended().await.success(), "{}", process.log());

    let _process = home.start(&[]).await;
    is_given("shop", &names[0]).await;
    is_denied(&names[2]).await;
    is_given("team", &names[2]).await;
}
