//! The real binary as tests run it: its files, its process, and who asks it.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::{Receipt, Refusal};
use tempfile::TempDir;
use testkit::{Certificates, Host, ScriptedRegistry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything takes that a test waits for.
const HANGS: Duration = Duration::from_secs(60);

/// Waits until `look` finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looked = async {
        loop {
            match look().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(HANGS, looked).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// What a replicator is configured by, and its ledger where that is a file.
pub(crate) struct Home {
    folder: TempDir,
    status_port: u16,
    host: Host,
}

impl Home {
    /// One that copies from `source` to `target`. Without a ledger's URL that is a file.
    pub(crate) fn new(
        source: &ScriptedRegistry,
        target: &ScriptedRegistry,
        ledger: Option<&str>,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let certificates = Certificates::new();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let certificate = write("tls.crt", &certificates.cert_pem);
        let key = write("tls.key", &certificates.key_pem);
        let callers =
            write("htpasswd", &format!("policy:{}\n", bcrypt::hash("secret", 4).unwrap()));
        let (port, status_port) = (free_port(), free_port());
        std::fs::create_dir(folder.path().join("ledger")).unwrap();
        let file = format!("sqlite:{}", folder.path().join("ledger/ledger.db").display());
        let (ledger, source, target) = (ledger.unwrap_or(&file), source.host(), target.host());
        let config = format!(
            "front:\n  listen: 127.0.0.1:{port}\n  certificate: {certificate}\n  key: {key}\n  \
             callers: {callers}\nstatus:\n  listen: 127.0.0.1:{status_port}\nledger: {ledger}\n\
             target:\n  root: {target}\nregistries:\n  {source}:\n    plain_http: true\n  \
             {target}:\n    plain_http: true\nrules:\n- name: all\n  sources: '**'\ndrain_ms: 3000\n"
        );
        write("config.yaml", &config);
        Self { status_port, host: Host::new(port, &certificates.ca_pem), folder }
    }

    /// Gives the status listener a token, and returns its file. For before the start.
    pub(crate) fn add_token(&self, token: &str) -> PathBuf {
        let path = self.folder.path().join("token");
        std::fs::write(&path, token).unwrap();
        let config = std::fs::read_to_string(self.config()).unwrap();
        let with_token = format!("\n  token: {}\nledger:", path.display());
        std::fs::write(self.config(), config.replacen("\nledger:", &with_token, 1)).unwrap();
        path
    }

    /// The status listener's port.
    pub(crate) fn status_port(&self) -> u16 {
        self.status_port
    }

    /// The configuration's file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    /// The folder of the ledger's file.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    /// Starts the replicator, by way of `wrapper` where that names a program and its arguments,
    /// and returns at once.
    pub(crate) fn launch(&self, wrapper: &[&str]) -> Process {
        let binary = env!("CARGO_BIN_EXE_image-replicator");
        let mut words = wrapper.iter().copied().chain([binary, "serve", "--config"]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(self.config()).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut piece = [0; 4_096];
            while let Ok(length @ 1..) = stderr.read(&mut piece) {
                kept.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        Process { child, log }
    }

    /// Starts the replicator, and waits until it is ready.
    pub(crate) async fn start(&self, wrapper: &[&str]) -> Process {
        let mut process = self.launch(wrapper);
        let look = async || {
            let ended = process.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {}", process.log());
            self.readyz().await.filter(|(status, _)| *status == 200)
        };
        until("the replicator is ready", look).await;
        process
    }

    /// The answer to a trigger from the namespace `shop`.
    pub(crate) async fn trigger(&self, verb: &str, source: &str) -> Result<Receipt, Refusal> {
        self.trigger_from("shop", verb, source).await
    }

    /// The answer to a trigger.
    pub(crate) async fn trigger_from(
        &self,
        namespace: &str,
        verb: &str,
        source: &str,
    ) -> Result<Receipt, Refusal> {
        self.host.trigger(verb, namespace, source).await
    }

    /// The status and text of `/readyz`; None where nobody answers.
    pub(crate) async fn readyz(&self) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.status_port)).await.ok()?;
        let head = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(head).await.ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.ok()?;
        let status = reply.get("HTTP/1.1 ".len()..)?.get(..3)?.parse().ok()?;
        Some((status, reply))
    }

    pub(crate) async fn until_readyz_is(&self, status: u16) {
        let look = async || self.readyz().await.filter(|(found, _)| *found == status);
        until(&format!("/readyz is {status}"), look).await;
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A process that is killed where a test ends before it.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        run("kill", &[name, &self.id().to_string()]);
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        until("the replicator has ended", async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program of the system.
pub(crate) fn run(program: &str, args: &[&str]) {
    assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
}
