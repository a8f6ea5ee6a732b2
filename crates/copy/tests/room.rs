//! A copy takes room before it brings anything, and brings nothing that it gets none for.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use copy::{Copier, ErrorKind, NoRoom, Retry, Room, Tracker};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use http::Method;
use protocol::Side;
use testkit::{Image, Kind, ScriptedRegistry};

use common::World;

/// Gives room for so many bytes, and remembers what it was asked for.
struct Counted {
    most_bytes: u64,
    asked: Mutex<Vec<u64>>,
}

impl Counted {
    fn new(most_bytes: u64) -> Arc<Self> {
        Arc::new(Self { most_bytes, asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().clone()
    }
}

impl Room for Counted {
    fn take(&self, bytes: u64) -> BoxFuture<'_, Result<(), NoRoom>> {
        self.asked.lock().unwrap().push(bytes);
        let is_full = bytes > self.most_bytes;
        ready(if is_full { Err(NoRoom::Full("it is full".into())) } else { Ok(()) }).boxed()
    }
}

/// Cannot say.
struct Silent;

impl Room for Silent {
    fn take(&self, _: u64) -> BoxFuture<'_, Result<(), NoRoom>> {
        ready(Err(NoRoom::Unknown("nobody knows".into()))).boxed()
    }
}

fn copier(world: &World, room: &Arc<Counted>) -> Copier {
    world.copier().with_room(Arc::clone(room) as Arc<dyn Room>)
}

#[tokio::test]
async fn nothing_goes_to_a_target_without_room_for_all_of_it() {
    let world = World::new().await;
    world.source.push(&Image::new(&[b"a layer", b"another"]), "app", "v1");
    let size_bytes = world.copy("app:v1").await.unwrap().size_bytes;
    let world = World::of(world.source, ScriptedRegistry::start().await);
    world.source.forget_requests();
    let copy = async |room: &Arc<Counted>| {
        copier(&world, room).copy(&world.job("app:v1"), &Tracker::default()).await
    };

    let room = Counted::new(size_bytes - 1);
    let error = copy(&room).await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Replicator, ErrorKind::Denied));
    assert_eq!((error.retry(), error.to_string()), (Retry::Never, "it is full".to_owned()));
    let asked = world.target.requests();
    assert!(asked.iter().all(|request| request.method == Method::HEAD), "{asked:?}");
    assert_eq!(world.source.count(&Method::GET, Kind::Blob), 0);

    let room = Counted::new(size_bytes);
    copy(&room).await.unwrap();
    assert_eq!(room.asked(), [size_bytes]);
    // What is current takes no more.
    copy(&room).await.unwrap();
    assert_eq!(room.asked(), [size_bytes]);
}

#[tokio::test]
async fn what_refers_to_an_image_takes_room_as_well() {
    let world = World::new().await;
    let image = Image::new(&[b"a layer"]);
    let sbom = Image::referrer(&image, "application/spdx+json", &[7; 10_000]);
    world.source.push(&image, "app", "v1");
    world.source.push_untagged(&sbom, "app");

    let room = Counted::new(9_999);
    let copied = copier(&world, &room).copy(&world.job("app:v1"), &Tracker::default()).await;
    assert_eq!(copied.unwrap_err().to_string(), "it is full");
    let replica = world.replica("app:v1");
    assert!(world.target.tags(&replica).is_empty());
    let [alone, together] = room.asked()[..] else { panic!("{:?}", room.asked()) };
    assert!(alone < 9_999 && together > alone + 10_000, "{alone} {together}");

    let room = Counted::new(together);
    copier(&world, &room).copy(&world.job("app:v1"), &Tracker::default()).await.unwrap();
    assert!(world.target.holds(&sbom, &replica));
}

#[tokio::test]
async fn where_nobody_knows_of_room_it_is_asked_again_later() {
    let world = World::new().await;
    world.source.push(&Image::new(&[b"a layer"]), "app", "v1");
    let copier = world.copier().with_room(Arc::new(Silent));
    let error = copier.copy(&world.job("app:v1"), &Tracker::default()).await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Replicator, ErrorKind::Server));
    assert_eq!(error.retry(), Retry::Later { after: Duration::ZERO });
    assert_eq!(error.to_string(), "nobody knows");
}
