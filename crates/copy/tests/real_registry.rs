//! The same engine against registries that nobody scripted: TLS, htpasswd, files on disk.
//! Skipped, with a word, where Debian's `docker-registry` is not installed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use copy::{Copier, ErrorKind, Job, Limits, Tracker};
use protocol::{ImageReference, Naming, Registry, TargetRoot};
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
        (proxy.parse().unwrap(), RegistryConfig { ca_pem, plain_http: false }),
        (origin.host().parse().unwrap(), RegistryConfig { ca_pem: None, plain_http: true }),
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
