//! What a call costs with the client that a Kubewarden host uses, and as it behaves there: a new
//! client and TLS connection for each call, `GET /v2/`, then the manifest. It asks the replicator,
//! and in the same loop the server with the fixed answer; the difference is ours.

use std::path::Path;
use std::time::{Duration, Instant};

use oci_distribution::client::{Certificate, CertificateEncoding, ClientConfig};
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Client, Reference};
use tempfile::TempDir;

use crate::replicator::{CALLER, Installation};
use crate::{fixed, ms, percentile};

const CALLS: usize = 300;

/// Makes the calls, one after the other, and prints a table.
pub(crate) async fn run(binary: &Path) {
    let certificates = testkit::Certificates::new();
    let folder = TempDir::new().expect("a temporary folder");
    let ledger_url = format!("sqlite:{}/ledger.db", folder.path().display());
    // The target is a closed port: nothing can be copied, so nothing but triggers is timed.
    let rest = "target:\n  root: localhost:1\nregistries:\n  docker.io:\n    plain_http: true\nrules:\n- name: all\n  sources: '**'\ncopy:\n  workers: 1\n";
    let installation = Installation::new(binary, &certificates, &ledger_url, rest);
    let _replicator = installation.start().await;
    let fixed = fixed::start(&certificates).await;
    let ca_pem = certificates.ca_pem.clone().into_bytes();

    let known = "v1/start/shop/tag/docker.io/library/nginx:1".to_owned();
    ask(installation.port, &known, &ca_pem).await;
    let mut times = [const { Vec::new() }; 4];
    for call in 0..CALLS {
        times[0].push(ask(fixed, &known, &ca_pem).await);
        times[1].push(ask(installation.port, &known, &ca_pem).await);
        let pending = "v1/replica/shop/tag/docker.io/library/nginx:1";
        times[2].push(ask(installation.port, pending, &ca_pem).await);
        let unknown = format!("v1/start/shop/tag/docker.io/library/nginx:new-{call}");
        times[3].push(ask(installation.port, &unknown, &ca_pem).await);
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
    times.iter_mut().for_each(|times| times.sort_unstable());
    let base = percentile(&times[0], 50);
    for (name, times) in names.iter().zip(&times) {
        let (p50, p99) = (percentile(times, 50), percentile(times, 99));
        println!("| {name} | {:.2} | {:.2} | {:+.2} |", ms(p50), ms(p99), ms(p50) - ms(base));
    }
}

/// One call as the host makes it. What it answers does not matter here; that it does, does.
async fn ask(port: u16, path: &str, ca_pem: &[u8]) -> Duration {
    let begin = Instant::now();
    let certificate = Certificate { encoding: CertificateEncoding::Pem, data: ca_pem.to_vec() };
    let config =
        ClientConfig { extra_root_certificates: vec![certificate], ..ClientConfig::default() };
    let reference: Reference =
        format!("localhost:{port}/{path}").parse().expect("a legal reference");
    let auth = RegistryAuth::Basic(CALLER.0.to_owned(), CALLER.1.to_owned());
    match Client::new(config).pull_manifest(&reference, &auth).await {
        Ok(_) => {}
        Err(error) => assert!(error.to_string().contains("imageReplicatorRefusal"), "{error}"),
    }
    begin.elapsed()
}
