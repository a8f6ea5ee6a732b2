//! A real registry: Debian's `docker-registry` with TLS and htpasswd, on loopback.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use protocol::Digest;
use tempfile::TempDir;

use crate::certificates::Certificates;

/// The one user at first, `u` with the password `p`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "u:$2y$05$Vmy0r3SJS576Ky9OB8rcnOTtWIaw7GNjQJ5zik/zmvhd6VZNH1QmS";

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running registry. It ends when dropped.
pub struct DockerRegistry {
    process: Child,
    port: u16,
    files: TempDir,
}

impl DockerRegistry {
    /// Starts one that knows the user `u` with the password `p`. None where the program is not
    /// installed.
    #[must_use]
    pub fn start(certificates: &Certificates) -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let at = files.path().display();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for (name, content) in [
            ("cert.pem", certificates.cert_pem.as_str()),
            ("key.pem", certificates.key_pem.as_str()),
            ("htpasswd", HTPASSWD),
        ] {
            std::fs::write(files.path().join(name), content).unwrap();
        }
        let config = [
            "version: 0.1".to_owned(),
            "log: {level: error}".to_owned(),
            format!(
                "storage: {{filesystem: {{rootdirectory: {at}/data}}, delete: {{enabled: true}}}}"
            ),
            format!("auth: {{htpasswd: {{realm: test, path: {at}/htpasswd}}}}"),
            "http:".to_owned(),
            format!("  addr: 127.0.0.1:{port}"),
            "  secret: of-this-test".to_owned(),
            format!("  tls: {{certificate: {at}/cert.pem, key: {at}/key.pem}}"),
        ]
        .join("\n");
        let config_path = files.path().join("config.yml");
        std::fs::write(&config_path, config).unwrap();
        let started = Command::new("docker-registry")
            .arg("serve")
            .arg(&config_path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut registry = Self { process: started.ok()?, port, files };
        registry.wait();
        Some(registry)
    }

    /// From now on it knows these users, as an htpasswd file has them, and no other.
    pub fn change_users(&self, htpasswd: &str) {
        std::fs::write(self.files.path().join("htpasswd"), htpasswd).unwrap();
    }

    /// `127.0.0.1:port`
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs its garbage collection, as its documentation says: nothing may be written meanwhile.
    pub fn collect_garbage(&self) {
        let config = self.files.path().join("config.yml");
        let mut command = Command::new("docker-registry");
        command.arg("garbage-collect").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "garbage-collect failed");
    }

    /// The file in which it keeps a blob or manifest, for all repositories, by sha256.
    #[must_use]
    pub fn file_of(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let blobs = self.files.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Uploads that are open, in all repositories. Of one that was given up it leaves a folder
    /// without the file that says when it began.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        let mut folders = vec![self.files.path().join("data")];
        let mut open = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                open += usize::from(path.ends_with("startedat"));
                folders.extend(path.is_dir().then_some(path));
            }
        }
        open
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        while std::net::TcpStream::connect(self.host()).is_err() {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "docker-registry does not like its configuration: {ended:?}");
            assert!(begun.elapsed() < PATIENCE, "docker-registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
