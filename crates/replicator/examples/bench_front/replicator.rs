//! The real binary, with a configuration for one benchmark.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Who asks; `secret` as the front's file of callers has it.
pub(crate) const CALLER: (&str, &str) = ("policy", "secret");

/// All that a replicator needs, while it runs or not.
pub(crate) struct Installation {
    binary: PathBuf,
    folder: TempDir,
    /// Where its front listens, on loopback.
    pub(crate) port: u16,
}

/// A running replicator. It is killed when dropped.
pub(crate) struct Replicator {
    process: Child,
}

impl Installation {
    /// With a ledger, and the rest of the configuration as YAML: `target` and what may follow.
    /// `CA` in it stands for a file with the authority that signed `certificates`.
    pub(crate) fn new(
        binary: &Path,
        certificates: &testkit::Certificates,
        ledger_url: &str,
        rest: &str,
    ) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file in a temporary folder");
            path.display().to_string()
        };
        let certificate = write("tls.crt", &certificates.cert_pem);
        let key = write("tls.key", &certificates.key_pem);
        let ca = write("ca.crt", &certificates.ca_pem);
        let hash = bcrypt::hash(CALLER.1, 5).expect("a bcrypt hash");
        let callers = write("htpasswd", &format!("{}:{hash}\n", CALLER.0));
        let (port, status) = (free_port(), free_port());
        let rest = rest.replace("CA", &ca);
        let config = format!(
            "front:\n  listen: 127.0.0.1:{port}\n  certificate: {certificate}\n  key: {key}\n  callers: {callers}\n\
             status:\n  listen: 127.0.0.1:{status}\nledger: {ledger_url}\n{rest}"
        );
        write("config.yaml", &config);
        Self { binary: binary.to_owned(), folder, port }
    }

    /// Starts it, and waits until it listens.
    pub(crate) async fn start(&self) -> Replicator {
        let process = Command::new(&self.binary)
            .args(["--log", "error", "serve", "--config"])
            .arg(self.folder.path().join("config.yaml"))
            // The audit record, of which each answer is a line.
            .stdout(Stdio::null())
            .spawn()
            .expect("the replicator starts");
        let replicator = Replicator { process };
        for _ in 0..400 {
            if tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok() {
                return replicator;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the replicator does not listen");
    }
}

impl Replicator {
    /// Processor time up to now, of all its threads.
    pub(crate) fn cpu(&self) -> Duration {
        // Linux counts it in hundredths of a second for whoever reads it here.
        const TICKS_PER_SECOND: u32 = 100;
        let path = format!("/proc/{}/stat", self.process.id());
        let stat = std::fs::read_to_string(path).expect("the replicator runs");
        // After the name in parentheses come the fields from the third on.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok());
        Duration::from_secs(ticks.sum::<u32>().into()) / TICKS_PER_SECOND
    }
}

impl Drop for Replicator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
