//! Repositories that a target wants created before anything is written into them. Case 35.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use copy::{ErrorKind, Repositories, Retry, Tracker};
use futures::FutureExt;
use futures::future::BoxFuture;
use protocol::{Registry, Repository, Side};
use testkit::{Image, ScriptedRegistry};

use common::World;

async fn world() -> World {
    let target = ScriptedRegistry::builder().with_repositories_created_first();
    World::of(ScriptedRegistry::start().await, target.start().await)
}

/// Creates them, or says why not.
struct Created {
    at: Option<ScriptedRegistry>,
    asked: Mutex<Vec<String>>,
}

impl Repositories for Created {
    fn create<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Result<(), String>> {
        async move {
            self.asked.lock().unwrap().push(format!("{registry} {repository}"));
            let at = self.at.as_ref().ok_or("no credentials for AWS")?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            at.create_repository(repository.as_str());
            Ok(())
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_repository_is_created_once_where_the_target_wants_it() {
    let world = world().await;
    let base = Image::new(&[b"base", b"1", b"2", b"3"]);
    let other = Image::new(&[b"base", b"4"]);
    world.source.push(&base, "app", "v1");
    world.source.push(&base, "app", "v2");
    world.source.push(&other, "other", "v1");
    let port = Arc::new(Created { at: Some(world.target.clone()), asked: Mutex::default() });
    let copier = world.copier().with_repositories(port.clone());
    let (first, second) = (world.job("app:v1"), world.job("app:v2"));
    let (one, two) = (Tracker::default(), Tracker::default());
    let (one, two) = tokio::join!(copier.copy(&first, &one), copier.copy(&second, &two));
    one.unwrap();
    two.unwrap();
    assert!(world.replicated(&base, "app:v1") && world.replicated(&base, "app:v2"));
    let app = format!("{} {}", world.target.host(), world.replica("app:v1"));
    assert_eq!(*port.asked.lock().unwrap(), [app]);

    // A mount is the first to find the next one missing, and is tried again.
    let outcome = copier.copy(&world.job("other:v1"), &Tracker::default()).await.unwrap();
    assert_eq!((outcome.blobs_moved, outcome.blobs_skipped), (2, 1));
    assert_eq!(port.asked.lock().unwrap().len(), 2);
    world.no_upload_is_open().await;
}

#[tokio::test]
async fn a_missing_repository_is_told_with_the_way_out() {
    let world = world().await;
    world.source.push(&Image::new(&[b"a"]), "app", "v1");
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::NotFound));
    assert_eq!(error.retry(), Retry::Never);
    let text = error.to_string();
    for word in ["knows no repository", "404 NAME_UNKNOWN", "ECR", "target.create_repository"] {
        assert!(text.contains(word), "{text}");
    }

    let port = Arc::new(Created { at: None, asked: Mutex::default() });
    let copier = world.copier().with_repositories(port.clone());
    let error = copier.copy(&world.job("app:v1"), &Tracker::default()).await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::NotFound));
    assert_eq!(error.retry(), Retry::Later { after: Duration::ZERO });
    assert!(error.to_string().contains("could not be created: no credentials for AWS"), "{error}");
    assert_eq!(port.asked.lock().unwrap().len(), 1);
}
