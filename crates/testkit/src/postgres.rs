//! A real PostgreSQL: Debian's package as a private cluster on loopback, without a password.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where Debian has each version's programs.
const DEBIAN: &str = "/usr/lib/postgresql";

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running cluster. It ends when dropped.
pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    is_durable: bool,
    process: Option<Child>,
}

impl Postgres {
    /// Makes a cluster and starts it. What it writes is not flushed: a test's data need not survive
    /// a power cut. None where PostgreSQL is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::make(false)
    }

    /// The same, but each transaction is on disk when it ends, as it is by default.
    #[must_use]
    pub fn start_durable() -> Option<Self> {
        Self::make(true)
    }

    fn make(is_durable: bool) -> Option<Self> {
        let programs = newest_version()?;
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut cluster = Self { programs, folder, port, is_durable, process: None };
        if cluster.is_root() {
            // Its programs refuse to run as root.
            run(Command::new("chown").arg("nobody").arg(cluster.folder.path()));
        }
        let options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"];
        let data = cluster.data();
        run(cluster.program("initdb").args(options).args(["--no-sync", "--pgdata"]).arg(data));
        cluster.restart();
        Some(cluster)
    }

    /// Makes a database, and returns its URL.
    pub fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs statements in a database.
    pub fn sql(&self, database: &str, statements: &str) {
        let port = self.port.to_string();
        let options = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", "127.0.0.1"];
        run(Command::new(self.programs.join("psql"))
            .args(options)
            .args(["-p", &port, "-d", database, "-c", statements]));
    }

    /// Ends it at once, as a crash does: connections break, what was not committed is gone.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // SIGKILL would leave its children behind for a while.
        let signalled = Command::new("kill").args(["-QUIT", &process.id().to_string()]).status();
        if !signalled.is_ok_and(|status| status.success()) {
            let _ = process.kill();
        }
        let _ = process.wait();
    }

    /// Starts it, again if it was stopped, on the same port.
    pub fn restart(&mut self) {
        self.stop();
        let port = self.port.to_string();
        let process = self
            .program("postgres")
            .args((!self.is_durable).then_some("-F"))
            .args(["-p", &port, "-h", "127.0.0.1", "-c", "max_connections=200", "-k"])
            .arg(self.folder.path())
            .arg("-D")
            .arg(self.data())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap());
        self.wait();
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        let port = self.port.to_string();
        let mut ready = Command::new(self.programs.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port]);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err()
            || !ready.status().unwrap().success()
        {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().unwrap());
            assert!(ended.is_none(), "postgres has ended: {ended:?}");
            assert!(begun.elapsed() < PATIENCE, "postgres does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn is_root(&self) -> bool {
        // Whoever runs the test owns what it makes, before it is given away.
        std::fs::metadata("/proc/self").is_ok_and(|owner| owner.uid() == 0)
    }

    /// A program that refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        if !self.is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program);
        // The folder of whoever runs the test need not be open to it.
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn newest_version() -> Option<PathBuf> {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = std::fs::read_dir(DEBIAN).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = versions.max_by_key(|path| version(path))?.join("bin");
    newest.join("initdb").exists().then_some(newest)
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}
