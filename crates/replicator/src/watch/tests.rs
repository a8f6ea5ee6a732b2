use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config::files::Named;
use crate::ledger::Latency;
use crate::metrics::Moment;

/// A folder as the kubelet mounts a Secret: what is in it leads over a symlink, which is swapped.
struct Mount {
    folder: TempDir,
    version: u32,
}

impl Mount {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut mount = Self { folder: TempDir::new().unwrap(), version: 0 };
        mount.swap(files);
        for (name, _) in files {
            symlink(format!("..data/{name}"), mount.path(name)).unwrap();
        }
        mount
    }

    fn swap(&mut self, files: &[(&str, &str)]) {
        self.version += 1;
        let version = format!("..version-{}", self.version);
        fs::create_dir(self.path(&version)).unwrap();
        for (name, text) in files {
            fs::write(self.path(&version).join(name), text).unwrap();
        }
        symlink(&version, self.path("..new")).unwrap();
        fs::rename(self.path("..new"), self.path("..data")).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

struct World {
    watcher: Watcher,
    metrics: Metrics,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        let clock = Clock::of(|| Timestamp::from_ms(1_700_000_000_000));
        Self { watcher: Watcher::default(), metrics: Metrics::default(), clock }
    }

    fn look(&mut self) {
        self.watcher.look(&self.metrics, &self.clock);
    }

    fn count(&self, result: &str) -> String {
        self.shown("file_reloads_total", &format!("result=\"{result}\""))
    }

    fn unusable(&self) -> String {
        self.shown("file_unusable", "file=")
    }

    /// The figure of the one file's metric with this label.
    fn shown(&self, metric: &str, label: &str) -> String {
        let text = self.metrics.render(&Moment {
            now: self.clock.now(),
            figures: None,
            is_writable: true,
            latency: &Latency::default(),
            registries: &[],
        });
        let line = text.lines().find(|line| line.contains(metric) && line.contains(label));
        line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0").to_owned()
    }
}

fn number([file]: &[Content; 1]) -> Result<u32, ConfigError> {
    file.text()?.trim().parse().map_err(|error| file.unusable(&error))
}

/// Two numbers that have to be the same.
fn pair([first, second]: &[Content; 2]) -> Result<u32, ConfigError> {
    let same = first.bytes() == second.bytes();
    let parsed = first.text()?.parse().map_err(|error| first.unusable(&error))?;
    same.then_some(parsed).ok_or_else(|| first.unusable(&"it is not the second one's"))
}

fn files(folder: &Path) -> Files<1> {
    Files::one("some.key", folder.join("file"))
}

#[test]
fn a_swapped_mount_is_in_force_after_two_looks() {
    let mut mount = Mount::new(&[("file", "1")]);
    let mut world = World::new();
    let mut held = world.watcher.hold(files(mount.folder.path()), number).unwrap();
    world.look();
    assert_eq!(*held.latest(), 1);
    mount.swap(&[("file", "2")]);
    world.look();
    assert_eq!(*held.current(), 1);
    world.look();
    assert_eq!(*held.current(), 2);
    assert!(held.changed().now_or_never().is_some());
    // The same content in another place is no change.
    mount.swap(&[("file", "2")]);
    held.latest();
    world.look();
    world.look();
    assert!(held.changed().now_or_never().is_none());
    assert_eq!((world.count("used").as_str(), world.count("refused").as_str()), ("1", "0"));
}

#[test]
fn a_broken_file_leaves_the_old_one_in_force_and_is_told_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "1").unwrap();
    let mut world = World::new();
    let held = world.watcher.hold(files(folder.path()), number).unwrap();
    let troubles = world.watcher.troubles();
    fs::write(&path, "one").unwrap();
    for _ in 0..5 {
        world.look();
    }
    assert_eq!((*held.current(), world.count("refused").as_str()), (1, "1"));
    assert_eq!(world.unusable(), "1");
    let expected = format!(
        "some.key: {} cannot be used: invalid digit found in string; since 2023-11-14T22:13:20Z, \
         and the old one is in force",
        path.display()
    );
    assert_eq!(troubles.lines(), [expected]);

    // Another broken content is told anew, in place of the first.
    fs::remove_file(&path).unwrap();
    world.look();
    world.look();
    assert_eq!((*held.current(), world.count("refused").as_str()), (1, "2"));
    let lines = troubles.lines();
    assert!(lines.len() == 1 && lines[0].contains("cannot be read"), "{lines:?}");

    // What is in force comes back: that ends it.
    fs::write(&path, "1").unwrap();
    world.look();
    world.look();
    assert_eq!((troubles.lines().len(), world.count("used").as_str()), (0, "0"));
    assert_eq!(world.unusable(), "0");
    // So does a good one.
    fs::write(&path, "!").unwrap();
    world.look();
    world.look();
    assert_eq!(world.unusable(), "1");
    fs::write(&path, "3").unwrap();
    world.look();
    world.look();
    assert_eq!((*held.current(), troubles.lines().len()), (3, 0));
    assert_eq!(world.unusable(), "0");
}

/// As a certificate and its key come: one after the other.
#[test]
fn a_pair_that_is_seen_in_mid_swap_is_no_trouble() {
    let folder = TempDir::new().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
    write(&first, "1");
    write(&second, "1");
    let mut world = World::new();
    let names = [Named::new("some.first", &first), Named::new("some.second", &second)];
    let held = world.watcher.hold(Files::pair(names), pair).unwrap();
    write(&first, "2");
    world.look();
    write(&second, "2");
    world.look();
    assert_eq!((*held.current(), world.count("refused").as_str()), (1, "0"));
    world.look();
    assert_eq!((*held.current(), world.count("used").as_str()), (2, "1"));

    // What stays a half is told, and mended by the other half.
    write(&first, "3");
    world.look();
    world.look();
    assert_eq!((*held.current(), world.watcher.troubles().lines().len()), (2, 1));
    write(&second, "3");
    world.look();
    world.look();
    assert_eq!((*held.current(), world.watcher.troubles().lines().len()), (3, 0));
}

#[test]
fn a_file_that_is_too_large_is_an_error_that_says_so() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::File::create(&path).unwrap().set_len(4 * 1024 * 1024 + 1).unwrap();
    let error = World::new().watcher.hold(files(folder.path()), number).unwrap_err();
    assert!(error.to_string().ends_with("it has more than 4194304 bytes"), "{error}");
}

#[tokio::test]
async fn a_changed_docker_config_is_asked_from_the_next_request_on() {
    let config = |password: &str| {
        let auth =
            format!(r#"{{"auths":{{"r.corp":{{"username":"u","password":"{password}"}}}}}}"#);
        DockerConfig::parse(&auth).unwrap()
    };
    let (sender, held) = Held::channel(config("old"));
    let (registry, repository) = ("r.corp".parse().unwrap(), "app".parse().unwrap());
    let password = async || match held.find(&registry, &repository).await.unwrap() {
        Some(Credential::Basic { password, .. }) => password,
        other => panic!("{other:?}"),
    };
    let old = password().await;
    sender.send_replace(Arc::new(config("new")));
    let new = password().await;
    use secrecy::ExposeSecret;
    assert_eq!((old.expose_secret(), new.expose_secret()), ("old", "new"));
}
