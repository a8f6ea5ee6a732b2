//! Signatures, attestations and SBOMs arrive with the image, can be found there, and cost no
//! request too many. Case 28.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use copy::{ErrorKind, ReferrerKind, Referrers, Tracker};
use http::Method;
use protocol::Side;
use serde_json::{Value, json};
use testkit::{Fault, Image, Kind, ScriptedRegistry, When, media};

use common::World;

const SIGNATURE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SBOM: &str = "application/spdx+json";

/// Two platforms, with all that can refer to them.
struct Signed {
    image: Image,
    /// A signature of the index, an SBOM of a platform, and a signature of that.
    referrers: [Image; 3],
    /// What cosign hangs on the tags of the index and of a platform.
    tagged: Vec<(String, Image)>,
}

fn signed() -> Signed {
    let amd64 = Image::new(&[b"amd64"]);
    let arm64 = Image::new(&[b"arm64"]);
    let image = Image::index(&[("linux/amd64", amd64.clone()), ("linux/arm64", arm64)]);
    let signature = Image::referrer(&image, SIGNATURE, b"of the index");
    let sbom = Image::referrer(&amd64, SBOM, b"of amd64");
    let of_sbom = Image::referrer(&sbom, SIGNATURE, b"of the sbom");
    let cosign =
        |layer_type: &str, layer: &[u8]| Image::of(media::MANIFEST, layer_type, vec![layer.into()]);
    let simple = "application/vnd.dev.cosign.simplesigning.v1+json";
    let tagged = vec![
        (image.digest_tag(".sig"), cosign(simple, b"sig")),
        (amd64.digest_tag(".att"), cosign("application/vnd.dsse.envelope.v1+json", b"att")),
        (amd64.digest_tag(".sbom"), cosign("text/spdx", b"sbom")),
    ];
    Signed { image, referrers: [signature, sbom, of_sbom], tagged }
}

impl Signed {
    /// Keeps it all; without the API, in the indexes that stand in for it.
    fn push(&self, to: &ScriptedRegistry, has_api: bool) {
        to.push(&self.image, "app", "v1");
        for (tag, image) in &self.tagged {
            to.push(image, "app", tag);
        }
        for referrer in &self.referrers {
            to.push_untagged(referrer, "app");
            if !has_api {
                to.push_untagged(&list(&[referrer]), "app");
                to.push(&list(&[referrer]), "app", &fallback_tag(referrer));
            }
        }
    }

    fn arrived(&self, world: &World) -> bool {
        let replica = world.replica("app:v1");
        let is_tagged = |(tag, image): &(String, Image)| {
            world.target.manifest(&replica, tag) == Some(image.manifest.clone())
                && world.target.holds(image, &replica)
        };
        world.replicated(&self.image, "app:v1")
            && self.referrers.iter().all(|referrer| world.target.holds(referrer, &replica))
            && self.tagged.iter().all(is_tagged)
    }
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The tag of the list that a referrer belongs in.
fn fallback_tag(referrer: &Image) -> String {
    let subject = json_of(&referrer.manifest)["subject"]["digest"].clone();
    subject.as_str().unwrap().replace(':', "-")
}

/// A list of referrers as clients keep it where there is no API.
fn list(referrers: &[&Image]) -> Image {
    let entries: Vec<Value> = referrers
        .iter()
        .map(|referrer| {
            let manifest = json_of(&referrer.manifest);
            json!({
                "mediaType": referrer.media_type,
                "digest": referrer.digest.to_string(),
                "size": referrer.manifest.len(),
                "artifactType": manifest["artifactType"],
                "annotations": manifest["annotations"],
            })
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": entries});
    Image::raw(media::INDEX, serde_json::to_vec(&index).unwrap())
}

async fn without_api() -> ScriptedRegistry {
    ScriptedRegistry::builder().without_referrers().start().await
}

#[tokio::test]
async fn what_refers_to_an_image_and_its_platforms_travels_before_its_tag() {
    let world = World::new().await;
    let signed = signed();
    signed.push(&world.source, true);
    let tracker = Tracker::default();
    let outcome = world.copier().copy(&world.job("app:v1"), &tracker).await.unwrap();
    assert!(signed.arrived(&world));
    assert_eq!(outcome.digest, signed.image.digest);
    let contents = outcome.contents.unwrap();
    let platforms: Vec<_> = contents.platforms.iter().map(ToString::to_string).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    let kinds =
        [(ReferrerKind::Signature, 3), (ReferrerKind::Attestation, 1), (ReferrerKind::Sbom, 2)];
    assert_eq!(contents.referrers, Some(kinds.into()));
    let progress = tracker.progress();
    assert_eq!(
        (progress.bytes_done, progress.layers_done),
        (progress.bytes_total, progress.layers_total)
    );
    let written = world.target.requests();
    let written: Vec<_> = written.iter().filter(|request| request.method == Method::PUT).collect();
    assert!(written.last().unwrap().path.ends_with("/manifests/v1"));
    // Each manifest is asked once for what refers to it: the image's 3, and what was found, 5,
    // and the SBOM's signature no more.
    assert_eq!(world.source.count(&Method::GET, Kind::Referrers), 3 + 5);
    // The target keeps its lists itself.
    assert_eq!(world.target.count(&Method::GET, Kind::Manifest), 0);
    // The next copy takes it all for there.
    world.source.forget_requests();
    world.target.forget_requests();
    world.copy("app:v1").await.unwrap();
    assert_eq!(world.source.requests().len() + world.target.requests().len(), 2);
}

/// GitLab's registry answers a referrer whose subject is still to come with "blob unknown"
/// (moby/buildkit 7007), against the specification.
#[tokio::test]
async fn a_target_that_wants_subjects_first_gets_them_first() {
    let target = ScriptedRegistry::builder().wanting_subjects().start().await;
    let world = World::of(ScriptedRegistry::start().await, target);
    let amd64 = Image::new(&[b"amd64"]);
    // As BuildKit does it, but with the attestation before what it is about.
    let provenance = Image::referrer(&amd64, "application/vnd.in-toto+json", b"provenance");
    let of_that = Image::referrer(&provenance, SIGNATURE, b"of the provenance");
    let image = Image::index(&[
        ("unknown/unknown", of_that.clone()),
        ("unknown/unknown", provenance.clone()),
        ("linux/amd64", amd64.clone()),
    ]);
    let signature = Image::referrer(&image, SIGNATURE, b"of the index");
    let of_signature = Image::referrer(&signature, SBOM, b"of the signature");
    world.source.push(&image, "app", "v1");
    world.source.push_untagged(&signature, "app");
    world.source.push_untagged(&of_signature, "app");
    world.copy("app:v1").await.unwrap();
    let replica = world.replica("app:v1");
    assert!(world.replicated(&image, "app:v1"));
    assert!([&signature, &of_signature].iter().all(|one| world.target.holds(one, &replica)));
    // Five below the tag, the index by its digest, and the tag: nothing was sent in vain.
    assert_eq!(world.target.count(&Method::PUT, Kind::Manifest), 7);
}

#[tokio::test]
async fn a_source_without_the_api_is_asked_for_it_once() {
    let mut world = World::of(without_api().await, ScriptedRegistry::start().await);
    world.limits.manifests_at_once = 1;
    let signed = signed();
    signed.push(&world.source, false);
    world.copy("app:v1").await.unwrap();
    assert!(signed.arrived(&world));
    assert_eq!(world.source.count(&Method::GET, Kind::Referrers), 1);
    let tags = world.target.tags(&world.replica("app:v1"));
    assert_eq!(tags.len(), 1 + signed.tagged.len(), "{tags:?}");
}

#[tokio::test]
async fn what_knows_no_such_path_has_no_api() {
    let html = |status| {
        let headers = vec![("content-type".to_owned(), "text/html".to_owned())];
        Fault::Answer(status, headers, "<html>".to_owned())
    };
    for fault in [html(200), html(400), html(401), html(403), html(405), html(406), html(501)] {
        let world = World::new().await;
        let signed = signed();
        signed.push(&world.source, false);
        world.source.script(When::each(Method::GET, Kind::Referrers), fault.clone());
        world.copy("app:v1").await.unwrap();
        assert!(signed.arrived(&world), "{fault:?}");
        assert_eq!(world.source.count(&Method::GET, Kind::Referrers), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_target_without_the_api_keeps_its_lists_by_our_hand() {
    let world = World::of(ScriptedRegistry::start().await, without_api().await);
    let signed = signed();
    signed.push(&world.source, true);
    let replica = world.replica("app:v1");
    // Somebody else's referrer is in the list already, and one of ours.
    let [signature, sbom, of_sbom] = &signed.referrers;
    let foreign = Image::referrer(&signed.image, "text/foreign", b"theirs");
    let tag = fallback_tag(signature);
    let theirs = list(&[&foreign]).edited(|index| index["annotations"] = json!({"a": "b"}));
    world.target.push_untagged(&foreign, &replica);
    world.target.push(&theirs, &replica, &tag);
    world.copy("app:v1").await.unwrap();
    assert!(signed.arrived(&world));
    let listed = |tag: &str| json_of(&world.target.manifest(&replica, tag).unwrap());
    let both =
        list(&[&foreign, signature]).edited(|index| index["annotations"] = json!({"a": "b"}));
    assert_eq!(listed(&tag), json_of(&both.manifest));
    assert_eq!(listed(&fallback_tag(sbom)), json_of(&list(&[sbom]).manifest));
    assert_eq!(listed(&fallback_tag(of_sbom)), json_of(&list(&[of_sbom]).manifest));

    // Another tag of the same image changes none of the lists.
    world.source.push(&signed.image, "app", "v2");
    world.target.forget_requests();
    world.copy("app:v2").await.unwrap();
    let requests = world.target.requests();
    let of_list = |method: Method| {
        let is = |tag: &String| {
            requests.iter().any(|request| request.method == method && request.path.ends_with(tag))
        };
        signed.referrers.iter().filter(|referrer| is(&fallback_tag(referrer))).count()
    };
    assert_eq!((of_list(Method::GET), of_list(Method::PUT)), (3, 0));
}

#[tokio::test]
async fn a_tag_that_is_no_list_is_let_be() {
    let world = World::of(ScriptedRegistry::start().await, without_api().await);
    let signed = signed();
    signed.push(&world.source, true);
    let (replica, tag) = (world.replica("app:v1"), fallback_tag(&signed.referrers[0]));
    let other = Image::new(&[b"not a list"]);
    world.target.push(&other, &replica, &tag);
    world.copy("app:v1").await.unwrap();
    assert!(signed.arrived(&world));
    assert_eq!(world.target.manifest(&replica, &tag), Some(other.manifest));
}

/// GitLab's registry takes the tag of a list for the digest that it is made of.
#[tokio::test]
async fn a_source_that_shows_the_image_in_the_place_of_its_list_lists_nothing() {
    let sparse = ScriptedRegistry::builder().accept_sparse().start().await;
    let mut world = World::of(without_api().await, sparse);
    world.scope.platforms = vec!["linux/amd64".parse().unwrap()];
    let (amd64, arm64) = (Image::new(&[b"amd64"]), Image::new(&[b"arm64"]));
    let image = Image::index(&[("linux/amd64", amd64.clone()), ("linux/arm64", arm64.clone())]);
    for tag in ["v1", &image.digest_tag("")] {
        world.source.push(&image, "app", tag);
    }
    let copied = world.copy("app:v1").await.unwrap().contents.unwrap();
    assert_eq!(copied.referrers, Some([].into()));
    let replica = world.replica("app:v1");
    assert!(world.target.holds(&amd64, &replica) && !world.target.holds(&arm64, &replica));
}

/// The same of a target; and there are people who tag images by their own digests.
#[tokio::test]
async fn an_image_in_the_place_of_its_list_is_let_be() {
    let world = World::of(ScriptedRegistry::start().await, without_api().await);
    let signed = signed();
    signed.push(&world.source, true);
    let (replica, own) = (world.replica("app:v1"), signed.image.digest_tag(""));
    world.target.push(&signed.image, &replica, &own);
    world.copy("app:v1").await.unwrap();
    assert!(signed.arrived(&world));
    assert_eq!(world.target.manifest(&replica, &own), Some(signed.image.manifest));
}

#[tokio::test]
async fn an_index_that_refers_to_its_own_child_travels_by_either_name() {
    for has_api in [true, false] {
        let world = match has_api {
            true => World::new().await,
            false => World::of(without_api().await, without_api().await),
        };
        let child = Image::new(&[b"layer"]);
        let index = Image::index(&[("linux/amd64", child.clone())]).edited(|index| {
            index["subject"] = index["manifests"][0].clone();
        });
        world.source.push(&child, "app", "child");
        world.source.push(&index, "app", "index");
        if !has_api {
            world.source.push(&list(&[&index]), "app", &fallback_tag(&index));
        }
        for (image, tag) in [(&child, "app:child"), (&index, "app:index")] {
            world.copy(tag).await.unwrap();
            assert!(world.replicated(image, tag), "{tag}");
        }
        assert!(world.target.holds(&index, &world.replica("app:child")));
    }
}

/// The image itself refers to another one.
#[tokio::test]
async fn an_artifact_copied_by_its_own_name_is_listed_as_well() {
    let world = World::of(ScriptedRegistry::start().await, without_api().await);
    let artifact = Image::referrer(&Image::new(&[b"elsewhere"]), SBOM, b"sbom");
    world.source.push(&artifact, "app", "v1");
    world.copy("app:v1").await.unwrap();
    let listed = world.target.manifest(&world.replica("app:v1"), &fallback_tag(&artifact)).unwrap();
    assert_eq!(json_of(&listed), json_of(&list(&[&artifact]).manifest));
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page() {
    let source = ScriptedRegistry::builder().referrers_page(2).start().await;
    let world = World::of(source, ScriptedRegistry::start().await);
    let image = Image::new(&[b"layer"]);
    world.source.push(&image, "app", "v1");
    let referrers: Vec<_> = (0..5u8).map(|n| Image::referrer(&image, SBOM, &[n])).collect();
    referrers.iter().for_each(|referrer| world.source.push_untagged(referrer, "app"));
    world.copy("app:v1").await.unwrap();
    let replica = world.replica("app:v1");
    assert!(referrers.iter().all(|referrer| world.target.holds(referrer, &replica)));
    let pages = world.source.requests().into_iter().filter(|request| {
        request.kind == Kind::Referrers && request.path.contains(&image.digest.to_string())
    });
    assert_eq!(pages.count(), 3);
}

#[tokio::test]
async fn a_list_that_goes_on_elsewhere_or_for_ever_is_refused() {
    let link = |target: &str| Fault::With("link", format!("<{target}>; rel=\"next\""));
    for (target, kind) in [
        ("https://elsewhere.example/v2/app/referrers/x", ErrorKind::Denied),
        ("/v2/app/referrers/again", ErrorKind::TooLarge),
    ] {
        let world = World::new().await;
        world.source.push(&Image::new(&[b"layer"]), "app", "v1");
        world.source.script(When::each(Method::GET, Kind::Referrers), link(target));
        let error = world.copy("app:v1").await.unwrap_err();
        assert_eq!((error.side, error.kind()), (Side::Source, kind), "{error}");
        assert!(world.source.count(&Method::GET, Kind::Referrers) <= 50);
        assert!(world.target.tags(&world.replica("app:v1")).is_empty());
    }
}

#[tokio::test]
async fn only_wanted_types_travel() {
    let mut world = World::new().await;
    let types = vec![SBOM.parse().unwrap(), "text/spdx".parse().unwrap()];
    world.scope.referrers = Referrers::OfTypes(types);
    let signed = signed();
    signed.push(&world.source, true);
    world.copy("app:v1").await.unwrap();
    let replica = world.replica("app:v1");
    let arrived = |images: &[&Image]| {
        images.iter().map(|image| world.target.holds(image, &replica)).collect::<Vec<_>>()
    };
    let [signature, sbom, of_sbom] = &signed.referrers;
    assert_eq!(arrived(&[signature, sbom, of_sbom]), [false, true, false]);
    let tagged: Vec<_> = signed.tagged.iter().map(|(_, image)| image).collect();
    assert_eq!(arrived(&tagged), [false, false, true]);
}

#[tokio::test]
async fn without_referrers_nobody_is_asked() {
    let world = World::new().await.without_referrers();
    let signed = signed();
    signed.push(&world.source, true);
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&signed.image, "app:v1"));
    assert_eq!(world.source.count(&Method::GET, Kind::Referrers), 0);
    assert_eq!(world.source.count(&Method::HEAD, Kind::Manifest), 1);
    assert_eq!(world.target.tags(&world.replica("app:v1")), ["v1"]);
}

/// An image must not wait for ever for a signature that nobody can read.
#[tokio::test]
async fn a_referrer_that_is_gone_or_broken_is_left_out() {
    let world = World::of(without_api().await, without_api().await);
    let signed = signed();
    signed.push(&world.source, false);
    let [signature, sbom, _] = &signed.referrers;
    world.source.lose_manifest("app", &signature.digest);
    world.source.lose_blob("app", &sbom.blobs[1].0);
    world.copy("app:v1").await.unwrap();
    let replica = world.replica("app:v1");
    assert!(world.replicated(&signed.image, "app:v1"));
    let missing =
        [signature, sbom].map(|one| world.target.manifest(&replica, &one.digest.to_string()));
    assert_eq!(missing, [None, None]);
    let is_listed = |referrer: &Image| world.target.manifest(&replica, &fallback_tag(referrer));
    assert_eq!((is_listed(signature), is_listed(sbom)), (None, None));
}

#[tokio::test]
async fn a_referrer_that_cannot_be_read_for_now_holds_the_tag_up() {
    let world = World::new().await;
    let signed = signed();
    signed.push(&world.source, true);
    let sbom = &signed.referrers[1].digest;
    let when = When::each(Method::GET, Kind::Manifest).of(sbom);
    world.source.script(when, Fault::status(500, ""));
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::Server));
    assert_eq!(error.part(), Some(sbom));
    assert!(world.target.tags(&world.replica("app:v1")).iter().all(|tag| tag != "v1"));
}

#[tokio::test]
async fn there_is_an_end_to_what_refers_to_an_image() {
    let image = Image::new(&[b"layer"]);
    let referrers: Vec<_> = (0..4u8).map(|n| Image::referrer(&image, SBOM, &[n; 100])).collect();
    let copy = async |limit: &dyn Fn(&mut copy::Limits)| {
        let mut world = World::new().await;
        limit(&mut world.limits);
        world.source.push(&image, "app", "v1");
        referrers.iter().for_each(|referrer| world.source.push_untagged(referrer, "app"));
        world.copy("app:v1").await
    };
    copy(&|limits| limits.referrers = 4).await.unwrap();
    for error in [
        copy(&|limits| limits.referrers = 3).await.unwrap_err(),
        copy(&|limits| limits.referrer_bytes = 1000).await.unwrap_err(),
    ] {
        assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::TooLarge), "{error}");
    }
}

/// BuildKit's attestations can be children of the index and referrers at once.
#[tokio::test]
async fn a_child_that_refers_to_its_sister_is_written_once() {
    let world = World::new().await;
    let amd64 = Image::new(&[b"amd64"]);
    let attestation = Image::referrer(&amd64, "application/vnd.in-toto+json", b"provenance");
    let image = Image::index(&[("linux/amd64", amd64), ("unknown/unknown", attestation.clone())]);
    world.source.push(&image, "app", "v1");
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image, "app:v1"));
    let digest = attestation.digest.to_string();
    let written = world.target.requests().into_iter();
    let written = written.filter(|r| r.method == Method::PUT && r.path.ends_with(&digest));
    assert_eq!(written.count(), 1);
}
