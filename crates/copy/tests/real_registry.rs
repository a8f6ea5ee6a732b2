//! The same engine against registries that nobody scripted: TLS, htpasswd, files on disk.
//! Skipped, with a word, where Debian's `docker-registry` is not installed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::sync::Arc;

use copy::{Copier, ErrorKind, Job, Limits, Tracker};
use protocol::{ImageReference, Naming, Registry, TargetRoot};
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

    let anonymous = ClientConfig { credentials: ClientConfig::default().credentials, ..config };
    let copier = Copier::new(Client::new(anonymous).unwrap(), Limits::default());
    let error = copier.copy(&second, &Tracker::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}
