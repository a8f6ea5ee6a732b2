//! What the verifier finds of a replica, and what it asks for. Case 18.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use copy::{Damage, ErrorKind, Finding, PartKind, Report, Retry};
use http::Method;
use protocol::{Digest, ImageReference, Side};
use testkit::{Content, Fault, Image, Kind, When, media};

use common::World;

/// A replica of two platforms with a common layer, as it was copied.
struct Replica {
    world: World,
    image: Image,
    reference: ImageReference,
    repository: String,
}

impl Replica {
    async fn new() -> Self {
        let world = World::new().await;
        let image = Image::index(&[
            ("linux/amd64", Image::new(&[b"base", b"amd64"])),
            ("linux/arm64", Image::new(&[b"base", b"arm64"])),
        ]);
        world.source.push(&image, "app", "v1");
        world.copy("app:v1").await.unwrap();
        world.target.forget_requests();
        let reference = world.job("app:v1").replica.reference;
        let repository = world.replica("app:v1");
        Self { world, image, reference, repository }
    }

    /// The layer that only arm64 has.
    fn layer(&self) -> &Digest {
        &self.image.children[1].blobs[2].0
    }

    async fn verify(&self) -> Report {
        self.world.verifier().verify(&self.reference).await.unwrap()
    }

    async fn verify_quick(&self) -> Report {
        self.world.verifier().verify_quick(&self.reference).await.unwrap()
    }

    fn script(&self, part: &Digest, kind: Kind, fault: Fault) {
        self.world.target.script(When::each(Method::GET, kind).of(part), fault);
    }
}

fn damages(report: &Report) -> Vec<(&Digest, &Damage)> {
    report.findings.iter().map(|finding| (&finding.part.digest, &finding.damage)).collect()
}

#[tokio::test]
async fn a_right_replica_is_read_once() {
    let replica = Replica::new().await;
    let parts = replica.image.all();
    let layers = [4u64, 5, 5].iter().sum::<u64>();
    let configs = parts.iter().flat_map(|part| part.blobs.first()).map(|(_, blob)| blob.size());
    let manifests = parts.iter().map(|part| part.manifest.len() as u64);
    let report = replica.verify().await;
    assert!(report.is_right());
    assert_eq!(report.digest, replica.image.digest);
    assert_eq!(report.parts, 8);
    assert_eq!(report.size_bytes, layers + configs.sum::<u64>() + manifests.sum::<u64>());
    let target = &replica.world.target;
    assert_eq!(target.count(&Method::GET, Kind::Blob), 5);
    assert_eq!(target.count(&Method::GET, Kind::Manifest), 3);
    assert_eq!(target.requests().len(), 9);
}

#[tokio::test]
async fn a_quick_look_reads_no_blob() {
    let replica = Replica::new().await;
    assert_eq!(replica.verify_quick().await, replica.verify().await);
    replica.world.target.forget_requests();
    replica.verify_quick().await;
    let target = &replica.world.target;
    assert_eq!(target.count(&Method::HEAD, Kind::Blob), 5);
    assert_eq!(target.count(&Method::GET, Kind::Blob), 0);
    assert_eq!(target.requests().len(), 9);
}

#[tokio::test]
async fn each_damage_of_a_blob_has_its_name() {
    for (content, damage, is_seen_at_once) in [
        (None, Damage::Missing, true),
        (Some("arm"), Damage::Short, true),
        (Some(""), Damage::Short, true),
        (Some("arm64 and more"), Damage::Long, true),
        (Some("arm46"), Damage::Wrong, false),
    ] {
        let replica = Replica::new().await;
        let (target, layer) = (&replica.world.target, replica.layer());
        match content {
            None => target.lose_blob(&replica.repository, layer),
            Some(other) => {
                target.damage_blob(&replica.repository, layer, other.as_bytes().into());
            }
        }
        let report = replica.verify().await;
        let [Finding { part, damage: found }] = report.findings.as_slice() else {
            panic!("{content:?}: {report:?}")
        };
        assert_eq!(*found, damage, "{content:?}");
        assert_eq!((&part.digest, part.kind), (layer, PartKind::Layer));
        assert_eq!(part.parent.as_ref(), Some(&replica.image.children[1].digest));
        assert_eq!(part.platform, Some("linux/arm64".parse().unwrap()));
        let quick = replica.verify_quick().await;
        assert_eq!(!quick.is_right(), is_seen_at_once, "{content:?}");
    }
}

/// Case 32: also where the registry says nothing of the length.
#[tokio::test]
async fn damage_on_the_wire_has_a_name_too() {
    for (fault, damage) in [
        (Fault::Short(2), Damage::Short),
        (Fault::Endless, Damage::Long),
        (Fault::Corrupt(1), Damage::Wrong),
        (Fault::ShortLength(3), Damage::Wrong),
    ] {
        let replica = Replica::new().await;
        replica.script(replica.layer(), Kind::Blob, Fault::IgnoreRange);
        replica.script(replica.layer(), Kind::Blob, fault.clone());
        let report = replica.verify().await;
        assert_eq!(damages(&report), [(replica.layer(), &damage)], "{fault:?}");
    }
}

/// Case 31: a cut is no damage.
#[tokio::test]
async fn a_cut_read_goes_on_where_it_broke() {
    let world = World::new().await;
    let image = Image::of(media::MANIFEST, media::LAYER, vec![Content::Made(3_000_000)]);
    world.source.push(&image, "app", "v1");
    let when = When::first(Method::GET, Kind::Blob).of(&image.blobs[1].0);
    world.source.script(when, Fault::Cut(1_000_000));
    let report = world.verifier().verify(&world.source.reference("app:v1")).await.unwrap();
    assert!(report.is_right());
}

#[tokio::test]
async fn a_missing_manifest_hides_only_what_it_names() {
    let replica = Replica::new().await;
    let [amd64, arm64] = replica.image.children.as_slice() else { panic!("two platforms") };
    replica.world.target.lose_manifest(&replica.repository, &amd64.digest);
    replica.world.target.lose_blob(&replica.repository, replica.layer());
    for report in [replica.verify().await, replica.verify_quick().await] {
        let found = [(&amd64.digest, &Damage::Missing), (replica.layer(), &Damage::Missing)];
        assert_eq!(damages(&report), found);
        let part = &report.findings[0].part;
        assert_eq!(
            (part.kind, part.platform.as_ref().map(ToString::to_string).as_deref()),
            (PartKind::Manifest, Some("linux/amd64"))
        );
        assert_eq!(part.parent.as_ref(), Some(&replica.image.digest));
        // The index, its two manifests, and the three blobs of arm64.
        assert_eq!(report.parts, 6);
        assert!(report.findings.iter().all(|finding| finding.part.digest != arm64.digest));
    }
}

#[tokio::test]
async fn a_damaged_manifest_is_wrong_or_unreadable() {
    let replica = Replica::new().await;
    let [amd64, arm64] = replica.image.children.as_slice() else { panic!("two platforms") };
    replica.script(&amd64.digest, Kind::Manifest, Fault::Corrupt(3));
    // What docker-registry says of one that it cannot parse.
    let unknown = r#"{"errors":[{"code":"UNKNOWN","message":"unknown error"}]}"#;
    replica.script(&arm64.digest, Kind::Manifest, Fault::status(500, unknown));
    let report = replica.verify().await;
    assert_eq!(report.parts, 3);
    let [(first, Damage::Wrong), (second, Damage::Unreadable { reason })] = damages(&report)[..]
    else {
        panic!("{report:?}")
    };
    assert_eq!((first, second), (&amd64.digest, &arm64.digest));
    assert!(reason.contains("500 UNKNOWN"), "{reason}");
}

#[tokio::test]
async fn an_index_that_is_wrong_about_a_manifest_is_found_out() {
    let world = World::new().await;
    let child = Image::new(&[b"a"]);
    let index = format!(
        r#"{{"manifests":[{{"mediaType":"{}","digest":"{}","size":7,"platform":{{"os":"\u001b[2J","architecture":"x"}}}}]}}"#,
        media::MANIFEST,
        child.digest
    );
    let index = Image::raw(media::INDEX, index.into_bytes());
    world.target.push(&child, "app", "child");
    world.target.push(&index, "app", "v1");
    let report = world.verifier().verify(&world.target.reference("app:v1")).await.unwrap();
    assert_eq!(damages(&report), [(&child.digest, &Damage::Long)]);
    // What is no word is not shown.
    assert_eq!(report.findings[0].part.platform, None);
    // And what it names was looked at all the same.
    assert_eq!(report.parts, 4);
}

#[tokio::test]
async fn a_root_that_is_gone_is_a_finding_by_digest_and_an_error_by_tag() {
    let replica = Replica::new().await;
    let root = &replica.image.digest;
    replica.world.target.lose_manifest(&replica.repository, root);
    let pinned = replica.reference.clone().pinned(root.clone());
    let report = replica.world.verifier().verify(&pinned).await.unwrap();
    assert_eq!(damages(&report), [(root, &Damage::Missing)]);
    assert_eq!(report.parts, 1);

    let error = replica.world.verifier().verify(&replica.reference).await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::NotFound));
    assert_eq!(error.retry(), Retry::Never);
    assert!(error.to_string().contains("has no image"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_not_called_damaged() {
    let replica = Replica::new().await;
    replica.script(replica.layer(), Kind::Blob, Fault::status(503, ""));
    let error = replica.world.verifier().verify(&replica.reference).await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::Server));
    assert!(matches!(error.retry(), Retry::Later { .. }));
    assert_eq!(error.part(), Some(replica.layer()));
}

/// Case 38.
#[tokio::test]
async fn a_replica_beyond_the_limits_is_refused() {
    let mut nested = Image::new(&[b"x"]);
    for _ in 0..6 {
        nested = Image::index(&[("linux/amd64", nested)]);
    }
    let wide: Vec<_> = (0..9u8).map(|n| ("linux/amd64", Image::new(&[&[n]]))).collect();
    let layers: Vec<_> = (0..9u8).map(|n| [n]).collect();
    let layers: Vec<&[u8]> = layers.iter().map(<[u8; 1]>::as_slice).collect();
    for (name, image) in
        [("nested", nested), ("wide", Image::index(&wide)), ("high", Image::new(&layers))]
    {
        let mut world = World::new().await;
        (world.limits.manifests, world.limits.blobs) = (8, 8);
        world.target.push(&image, "app", "v1");
        let reference = world.target.reference("app:v1");
        let error = world.verifier().verify(&reference).await.unwrap_err();
        assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::TooLarge), "{name}");
        assert_eq!(world.target.count(&Method::GET, Kind::Blob), 0, "{name}");
    }
}
