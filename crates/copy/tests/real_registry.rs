//! The same engine against registries that nobody scripted: TLS, htpasswd, files on disk.
//! Skipped, with a word, where Debian's `docker-registry` is not installed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use copy::{Copier, Damage, ErrorKind, Job, Limits, Scope, Tracker, Verifier};
use protocol::{Digest, ImageReference, Naming, Registry, TargetRoot};
use registry::{Client, ClientConfig, DockerConfig, ManifestRef, RegistryConfig};
use testkit::{Certificates, Content, DockerRegistry, Image, ScriptedRegistry, media};
use tokio::io::{AsyncReadExt, copy as copy_bytes};
use tokio::net::{TcpListener, TcpStream};

fn job(source: &str, target: &str) -> Job {
    let source: ImageReference = source.parse().unwrap();
    let root = TargetRoot::new(target.parse().unwrap(), None, Naming::Nested);
    Job { replica: root.replica_of(&source).unwrap(), source }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_travel_through_two_docker_registries() {
    let certificates = Certificates::new();
    let (Some(one), Some(two)) =
        (DockerRegistry::start(&certificates), DockerRegistry::start(&certificates))
    else {
        println!("skipped: docker-registry is not installed");
        return;
    };
    let origin = ScriptedRegistry::start().await;
    let large =
        Image::of(media::MANIFEST, media::LAYER, vec![Content::Made(50_000_000), Content::Made(1)]);
    let image =
        Image::index(&[("linux/amd64", large), ("linux/arm64", Image::new(&[b"base", b"arm64"]))]);
    origin.push(&image, "app", "v1");

    let ca_pem = Some(certificates.ca_pem.clone().into_bytes());
    let tls = RegistryConfig { ca_pem, ..RegistryConfig::default() };
    let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
    let registry = |host: String| host.parse::<Registry>().unwrap();
    let registries = HashMap::from([
        (registry(one.host()), tls.clone()),
        (registry(two.host()), tls),
        (registry(origin.host()), plain),
    ]);
    let docker_config = format!(
        r#"{{"auths":{{"{}":{{"auth":"dTpw"}},"https://{}":{{"auth":"dTpw"}}}}}}"#,
        one.host(),
        two.host()
    );
    let credentials = Arc::new(DockerConfig::parse(&docker_config).unwrap());
    let config = ClientConfig { registries, credentials, ..ClientConfig::default() };
    let client = Client::new(config.clone()).unwrap();
    let copier = Copier::new(client.clone(), Limits::default());

    let first = job(&format!("{}/app:v1", origin.host()), &one.host());
    copier.copy(&first, &Tracker::default()).await.unwrap();
    let second = job(&first.replica.reference.to_string(), &two.host());
    let outcome = copier.copy(&second, &Tracker::default()).await.unwrap();
    assert_eq!(outcome.digest, image.digest);
    assert_eq!((outcome.blobs_moved, outcome.blobs_skipped), (6, 0));
    let target = &second.replica.reference;
    for part in image.all() {
        let by_digest = ManifestRef::Digest(part.digest.clone());
        let (_, bytes) =
            client.manifest(target.registry(), target.repository(), &by_digest).await.unwrap();
        assert_eq!(bytes, part.manifest);
    }
    assert_eq!(copier.copy(&second, &Tracker::default()).await.unwrap().bytes_moved, 0);

    // A second repository of the same registry gets its blobs by mounts.
    origin.push(&image, "other", "v1");
    let third = job(&format!("{}/other:v1", origin.host()), &one.host());
    let mounted = copier.copy(&third, &Tracker::default()).await.unwrap();
    assert_eq!((mounted.blobs_moved, mounted.blobs_skipped), (0, 6));

    // It has no referrers API, and takes no index without all of its platforms.
    let signature = Image::referrer(&image, "application/vnd.example.signature", b"signature");
    origin.push_untagged(&signature, "app");
    origin.push(&image, "app", "v2");
    let fourth = job(&format!("{}/app:v2", origin.host()), &one.host());
    copier.copy(&fourth, &Tracker::default()).await.unwrap();
    let target = &fourth.replica.reference;
    let list = ManifestRef::Tag(image.digest_tag("").parse().unwrap());
    let (_, list) = client.manifest(target.registry(), target.repository(), &list).await.unwrap();
    assert!(String::from_utf8_lossy(&list).contains(&signature.digest.to_string()));

    let scope = Scope { platforms: vec!["linux/arm64".parse().unwrap()], ..Scope::default() };
    let fifth = job(&format!("{}/other:v1", origin.host()), &two.host());
    let refused = copier.clone().with_scope(scope).copy(&fifth, &Tracker::default()).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("it wants every platform of an index (400 "), "{error}");

    let anonymous = ClientConfig { credentials: ClientConfig::default().credentials, ..config };
    let copier = Copier::new(Client::new(anonymous).unwrap(), Limits::default());
    let error = copier.copy(&second, &Tracker::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}

/// Case 31. distribution 2 gives an upload up when it is asked how far it is, so it is begun
/// again; distribution 3 tells. Both get the whole blob.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_cut_gets_through() {
    let certificates = Certificates::new();
    let Some(target) = DockerRegistry::start(&certificates) else {
        println!("skipped: docker-registry is not installed");
        return;
    };
    let (proxy, was_cut) = cutting_proxy(target.host(), 6_000_000).await;
    let origin = ScriptedRegistry::start().await;
    let image = Image::of(media::MANIFEST, media::LAYER, vec![Content::Made(20_000_000)]);
    origin.push(&image, "app", "v1");
    let ca_pem = Some(certificates.ca_pem.clone().into_bytes());
    let registries = HashMap::from([
        (proxy.parse().unwrap(), RegistryConfig { ca_pem, ..RegistryConfig::default() }),
        (
            origin.host().parse().unwrap(),
            RegistryConfig { plain_http: true, ..RegistryConfig::default() },
        ),
    ]);
    let docker_config = format!(r#"{{"auths":{{"{proxy}":{{"auth":"dTpw"}}}}}}"#);
    let credentials = Arc::new(DockerConfig::parse(&docker_config).unwrap());
    let config = ClientConfig { registries, credentials, ..ClientConfig::default() };
    let copier = Copier::new(Client::new(config).unwrap(), Limits::default());
    let job = job(&format!("{}/app:v1", origin.host()), &proxy);
    let outcome = copier.copy(&job, &Tracker::default()).await.unwrap();
    assert_eq!(outcome.digest, image.digest);
    assert!(was_cut.load(Ordering::Relaxed));
}

/// Passes connections on, and cuts the first one that carries so many bytes to the other end.
async fn cutting_proxy(to: String, bytes: u64) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let was_cut = Arc::new(AtomicBool::new(false));
    let cut = Arc::clone(&was_cut);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (to, cut) = (to.clone(), Arc::clone(&cut));
            tokio::spawn(async move {
                let far = TcpStream::connect(to).await.unwrap();
                let ((near_out, mut near_in), (mut far_out, mut far_in)) =
                    (near.into_split(), far.into_split());
                let mut first = near_out.take(bytes);
                let up = async {
                    let passed = copy_bytes(&mut first, &mut far_in).await;
                    if passed.is_ok_and(|passed| passed == bytes)
                        && !cut.swap(true, Ordering::Relaxed)
                    {
                        return;
                    }
                    let _ = copy_bytes(first.get_mut(), &mut far_in).await;
                };
                tokio::select! {
                    () = up => {}
                    _ = copy_bytes(&mut far_out, &mut near_in) => {}
                }
            });
        }
    });
    (host, was_cut)
}

/// Files of the registry's storage are lost and damaged. It takes a blob or manifest anew whose
/// file is gone; one whose file is there it takes as well, and keeps the old bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_a_docker_registrys_storage_is_found_and_repaired() {
    let certificates = Certificates::new();
    let Some(target) = DockerRegistry::start(&certificates) else {
        println!("skipped: docker-registry is not installed");
        return;
    };
    let origin = ScriptedRegistry::start().await;
    let child = Image::new(&[b"base", b"arm64"]);
    let image = Image::index(&[
        ("linux/amd64", Image::new(&[b"base", b"amd64"])),
        ("linux/arm64", child.clone()),
    ]);
    origin.push(&image, "app", "v1");
    let ca_pem = Some(certificates.ca_pem.clone().into_bytes());
    let registries = HashMap::from([
        (target.host().parse().unwrap(), RegistryConfig { ca_pem, ..RegistryConfig::default() }),
        (
            origin.host().parse().unwrap(),
            RegistryConfig { plain_http: true, ..RegistryConfig::default() },
        ),
    ]);
    let docker_config = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, target.host());
    let credentials = Arc::new(DockerConfig::parse(&docker_config).unwrap());
    let config = ClientConfig { registries, credentials, ..ClientConfig::default() };
    let client = Client::new(config).unwrap();
    let copier = Copier::new(client.clone(), Limits::default());
    let verifier = Verifier::new(client, Limits::default());
    let job = job(&format!("{}/app:v1", origin.host()), &target.host());
    let replica = &job.replica.reference;
    copier.copy(&job, &Tracker::default()).await.unwrap();
    assert!(verifier.verify(replica).await.unwrap().is_right());

    let (layer, config) = (&child.blobs[2].0, &child.blobs[0].0);
    let lose = |digest: &Digest| std::fs::remove_file(target.file_of(digest)).unwrap();
    let damage = |digest: &Digest, bytes: &str| {
        std::fs::write(target.file_of(digest), bytes).unwrap();
    };
    let found = async || {
        let findings = verifier.verify(replica).await.unwrap().findings;
        findings.into_iter().map(|found| (found.part.digest, found.damage)).collect::<Vec<_>>()
    };
    lose(layer);
    damage(config, "{}");
    assert_eq!(found().await, [(layer.clone(), Damage::Missing), (config.clone(), Damage::Short)]);
    assert_eq!(copier.copy(&job, &Tracker::default()).await.unwrap().bytes_moved, 0);
    let error = copier.repair(&job, &Tracker::default()).await.unwrap_err();
    assert!(error.to_string().contains(&format!("{config} again and still has it short")));
    lose(config);
    let outcome = copier.repair(&job, &Tracker::default()).await.unwrap();
    assert_eq!(outcome.blobs_moved + outcome.blobs_skipped, 5);
    assert_eq!(found().await, []);

    damage(layer, "arm46");
    assert_eq!(found().await, [(layer.clone(), Damage::Wrong)]);
    assert!(verifier.verify_quick(replica).await.unwrap().is_right());
    lose(layer);
    lose(&child.digest);
    assert_eq!(found().await, [(child.digest.clone(), Damage::Missing)]);
    copier.repair(&job, &Tracker::default()).await.unwrap();
    assert_eq!(found().await, []);

    damage(&child.digest, "{");
    let [(digest, Damage::Unreadable { reason })] = &found().await[..] else {
        panic!("a manifest that is no JSON")
    };
    assert_eq!(*digest, child.digest);
    assert!(reason.contains("500"), "{reason}");
}
