//! What a trigger costs beyond the client's own set-up: `just bench-front`.
//!
//! The client is the one that a Kubewarden host uses, and behaves as there: a new client and TLS
//! connection for each call, `GET /v2/`, then the manifest. It asks the real binary, and in the
//! same loop a server that answers everything with one fixed manifest; the difference is ours.

#![allow(clippy::panic, reason = "a benchmark fails by panicking")]

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use oci_distribution::client::{Certificate, CertificateEncoding, ClientConfig};
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Client, Reference};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

const CALLS: usize = 300;
const FIXED: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

#[tokio::main]
async fn main() {
    let binary = std::env::args().nth(1).expect("usage: bench_front PATH-OF-IMAGE-REPLICATOR");
    let certificates = testkit::Certificates::new();
    let replicator = Replicator::start(Path::new(&binary), &certificates).await;
    let fixed = start_fixed_server(&certificates).await;
    let ca_pem = certificates.ca_pem.clone().into_bytes();

    let known = "v1/start/shop/tag/docker.io/library/nginx:1".to_owned();
    ask(replicator.port, &known, &ca_pem).await;
    let mut times = [const { Vec::new() }; 4];
    for call in 0..CALLS {
        times[0].push(ask(fixed, &known, &ca_pem).await);
        times[1].push(ask(replicator.port, &known, &ca_pem).await);
        let pending = "v1/replica/shop/tag/docker.io/library/nginx:1";
        times[2].push(ask(replicator.port, pending, &ca_pem).await);
        let unknown = format!("v1/start/shop/tag/docker.io/library/nginx:new-{call}");
        times[3].push(ask(replicator.port, &unknown, &ca_pem).await);
    }
    println!(
        "| what, {CALLS} calls each, one after the other | p50 ms | p99 ms | p50 beyond the fixed answer |"
    );
    println!("| --- | --- | --- | --- |");
    let names = [
        "a fixed answer",
        "start, known",
        "replica, pending (a refusal)",
        "start, never seen (one fsync)",
    ];
    let base = percentile(&mut times[0], 50);
    for (name, times) in names.iter().zip(&mut times) {
        let (p50, p99) = (percentile(times, 50), percentile(times, 99));
        println!("| {name} | {:.2} | {:.2} | {:+.2} |", ms(p50), ms(p99), ms(p50) - ms(base));
    }
}

fn percentile(times: &mut [Duration], part: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * part / 100]
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// One call as the host makes it. What it answers does not matter here; that it does, does.
async fn ask(port: u16, path: &str, ca_pem: &[u8]) -> Duration {
    let begin = Instant::now();
    let certificate = Certificate { encoding: CertificateEncoding::Pem, data: ca_pem.to_vec() };
    let config =
        ClientConfig { extra_root_certificates: vec![certificate], ..ClientConfig::default() };
    let reference: Reference =
        format!("localhost:{port}/{path}").parse().expect("a legal reference");
    let auth = RegistryAuth::Basic("policy".to_owned(), "secret".to_owned());
    match Client::new(config).pull_manifest(&reference, &auth).await {
        Ok(_) => {}
        Err(error) => assert!(error.to_string().contains("imageReplicatorRefusal"), "{error}"),
    }
    begin.elapsed()
}

struct Replicator {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl Drop for Replicator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Replicator {
    async fn start(binary: &Path, certificates: &testkit::Certificates) -> Self {
        let directory = TempDir::new().expect("a temporary folder");
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("a file in a temporary folder");
            path.display().to_string()
        };
        let certificate = write("tls.crt", &certificates.cert_pem);
        let key = write("tls.key", &certificates.key_pem);
        let hash = bcrypt::hash("secret", 5).expect("a bcrypt hash");
        let callers = write("htpasswd", &format!("policy:{hash}\n"));
        let (port, status) = (free_port(), free_port());
        let ledger = directory.path().join("ledger.db");
        // The target is a closed port: nothing can be copied, so nothing but triggers is timed.
        let config = format!(
            "front:\n  listen: 127.0.0.1:{port}\n  certificate: {certificate}\n  key: {key}\n  callers: {callers}\n\
             status:\n  listen: 127.0.0.1:{status}\nledger: sqlite:{}\ntarget:\n  root: localhost:1\n\
             registries:\n  docker.io:\n    plain_http: true\ncopy:\n  workers: 1\n",
            ledger.display()
        );
        let config = write("config.yaml", &config);
        let process = Command::new(binary)
            .args(["--log", "error", "serve", "--config", &config])
            // The audit record, of which each answer is a line.
            .stdout(Stdio::null())
            .spawn()
            .expect("the replicator starts");
        let replicator = Self { process, port, _directory: directory };
        for _ in 0..200 {
            if tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
                return replicator;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the replicator does not listen");
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

async fn start_fixed_server(certificates: &testkit::Certificates) -> u16 {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = tokio::net::TcpListener::bind(any_port).await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let acceptor = TlsAcceptor::from(certificates.server_config());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).expect("a socket option");
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|_| async {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
                        FIXED.as_bytes(),
                    ))))
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    port
}
