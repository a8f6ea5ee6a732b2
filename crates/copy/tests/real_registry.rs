//! The same engine against registries that nobody scripted: TLS, htpasswd, files on disk.
//! Skipped, with a word, where Debian's `docker-registry` is not installed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::sync::Arc;

use copy::{Copier, Damage, ErrorKind, Job, Limits, Tracker, Verifier};
use protocol::{Digest, ImageReference, Naming, Registry, TargetRoot};
use registry::{Client, ClientConfig, DockerConfig, ManifestRef, RegistryConfig};
use testkit::{Certificates, Content, DockerRegistry, Image, ScriptedRegistry, media};

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
    let tls = RegistryConfig { ca_pem, plain_http: false };
    let plain = RegistryConfig { ca_pem: None, plain_http: true };
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

    let anonymous = ClientConfig { credentials: ClientConfig::default().credentials, ..config };
    let copier = Copier::new(Client::new(anonymous).unwrap(), Limits::default());
    let error = copier.copy(&second, &Tracker::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
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
        (target.host().parse().unwrap(), RegistryConfig { ca_pem, plain_http: false }),
        (origin.host().parse().unwrap(), RegistryConfig { ca_pem: None, plain_http: true }),
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
