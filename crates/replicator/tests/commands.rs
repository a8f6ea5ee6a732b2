//! The commands of a person, run as the real binary: against a replicator that runs, and without.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{Read, pipe};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use testkit::{Image, ScriptedRegistry};

use support::{Home, Process, until};

const BINARY: &str = env!("CARGO_BIN_EXE_image-replicator");

/// What a terminal is told by.
const ESCAPE: char = '\u{1b}';

fn ran(args: &[&str]) -> Output {
    Command::new(BINARY).args(args).env_remove("NO_COLOR").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A replicator with one image present, and one that its source does not have.
struct Scene {
    home: Home,
    token: PathBuf,
    present: String,
    replica: String,
    absent: String,
    image: Image,
    source: ScriptedRegistry,
    target: ScriptedRegistry,
    _process: Process,
}

impl Scene {
    async fn begin() -> Self {
        let (source, target) = (ScriptedRegistry::start().await, ScriptedRegistry::start().await);
        let image = Image::new(&[b"layer"]);
        source.push(&image, "app", "v1");
        let home = Home::new(&source, &target, None);
        let token = home.add_token("a-token-that-nobody-guesses");
        let process = home.start(&[]).await;
        let [present, absent] =
            ["app:v1", "gone:v1"].map(|image| source.reference(image).to_string());
        for image in [&present, &absent] {
            home.trigger("start", image).await.unwrap();
        }
        let replica = format!("{}/{}", target.host(), present.replacen(':', "_", 1));
        let scene = Self {
            home,
            token,
            present,
            replica,
            absent,
            image,
            source,
            target,
            _process: process,
        };
        let counts = async || {
            let counts = scene.json(&["status"])["counts"].clone();
            (counts["present"] == 1 && counts["refused"] == 1).then_some(())
        };
        until("one is present, and one is refused", counts).await;
        scene
    }

    fn run(&self, args: &[&str]) -> Output {
        let config = self.home.config();
        ran(&[args, &["--config", config.to_str().unwrap()]].concat())
    }

    fn table(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.table(&[args, &["--output", "json"]].concat())).unwrap()
    }
}

/// The images of a document, as their sources.
fn sources(document: &Value) -> Vec<&str> {
    let images = document["images"].as_array().unwrap().iter();
    images.map(|image| image["source"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_replicator_is_asked() {
    let scene = Scene::begin().await;
    let Scene { present, replica, absent, .. } = &scene;

    let status = scene.table(&["status"]);
    assert!(status.contains("1 present") && status.contains("Failed (1)"), "{status}");
    assert!(status.contains(absent) && status.contains("shop"), "{status}");

    let list = scene.json(&["list"]);
    assert_eq!(sources(&list).len(), 2, "{list}");
    assert_eq!(sources(&scene.json(&["list", "--state", "present"])), [present]);
    assert_eq!(sources(&scene.json(&["list", "--search", "gone"])), [absent]);
    assert_eq!(sources(&scene.json(&["list", "--namespace", "elsewhere"])), [""; 0]);
    assert_eq!(sources(&scene.json(&["inventory", "--state", "refused"])), [absent]);

    for image in [present, replica] {
        let details = scene.json(&["inspect", image]);
        assert_eq!(
            (&details["source"], &details["state"]),
            (&present[..].into(), &"present".into())
        );
    }
    let inspected = scene.table(&["inspect", absent]);
    assert!(inspected.contains("failure") && inspected.contains("shop"), "{inspected}");
    let yaml = scene.table(&["inspect", present, "--output", "yaml"]);
    assert!(yaml.contains(&format!("source: {present}")), "{yaml}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_tried_again_by_who_has_the_token() {
    let scene = Scene::begin().await;
    scene.source.push(&Image::new(&[b"late"]), "gone", "v1");
    let is_present = async || {
        let details = scene.json(&["inspect", &scene.absent]);
        (details["state"] == "present").then_some(())
    };

    // Without `--config`, which names the token.
    let server = format!("http://127.0.0.1:{}", scene.home.status_port());
    let nobody = ran(&["retry", &scene.absent, "--server", &server]);
    assert_eq!(nobody.status.code(), Some(2));
    let told = text(&nobody.stdout);
    assert!(told.contains("--token-file"), "{told}");

    let token = scene.token.to_str().unwrap();
    let by_token = ran(&["retry", "--all-failed", "--server", &server, "--token-file", token]);
    assert!(by_token.status.success(), "{}", text(&by_token.stdout));
    assert!(text(&by_token.stdout).contains(&scene.absent), "{}", text(&by_token.stdout));
    until("it is present", is_present).await;
    assert!(scene.table(&["retry", "--all-failed"]).contains("no image has failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals_that_want_them() {
    let scene = Scene::begin().await;
    let config = scene.home.config();
    let on_terminal = |before: &str, command: &str| {
        // A program of util-linux that gives a command a terminal.
        let line = format!("{before} {BINARY} {command} --config {}", config.display());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env_remove("NO_COLOR").env("TERM", "xterm");
        text(&command.stdin(Stdio::null()).output().unwrap().stdout)
    };
    let coloured = on_terminal("", "status");
    assert!(coloured.contains(&scene.absent) && coloured.contains(ESCAPE), "{coloured:?}");
    let plain = on_terminal("NO_COLOR=1", "status");
    assert!(plain.contains(&scene.absent) && !plain.contains(ESCAPE), "{plain:?}");
    let piped = scene.table(&["status"]);
    assert!(piped.contains(&scene.absent) && !piped.contains(ESCAPE), "{piped:?}");
    let errors = text(&ran(&["status", "--server", "http://127.0.0.1:1"]).stderr);
    assert!(!errors.contains(ESCAPE), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_draws_anew_on_its_terminal() {
    let scene = Scene::begin().await;
    let line = format!("{BINARY} status --watch --config {}", scene.home.config().display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("NO_COLOR", "1").env("TERM", "xterm");
    let mut watch = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut drawn, mut piece) = (String::new(), [0; 4_096]);
    let mut stdout = watch.stdout.take().unwrap();
    while drawn.matches("\u{1b}[H\u{1b}[J").count() < 3 {
        let length = stdout.read(&mut piece).unwrap();
        assert_ne!(length, 0, "it ended: {drawn:?}");
        drawn += &text(&piece[..length]);
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(drawn.matches(&scene.absent).count() >= 2, "{drawn:?}");
    assert!(!drawn.contains("\u{1b}[1m"), "NO_COLOR: {drawn:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_as_documented() {
    let scene = Scene::begin().await;
    let Scene { present, replica, absent, .. } = &scene;
    let config = scene.home.config();
    let config = config.to_str().unwrap();
    let no_replicator = format!("http://{}", scene.source.host());
    let rows: [(&[&str], i32); 17] = [
        (&["--version"], 0),
        (&["man"], 0),
        (&["explain", "--config", config, "shop", present], 0),
        (&["status", "--config", config], 0),
        (&["verify", "--config", config, replica], 0),
        (&["status", "--server", "http://127.0.0.1:1"], 1),
        (&[], 2),
        (&["status", "--nonsense"], 2),
        (&["status", "--log", "=="], 2),
        (&["status", "--config", "/nowhere"], 2),
        (&["status", "--server", "https://r.example"], 2),
        (&["status", "--server", &no_replicator], 2),
        (&["status", "--watch", "--config", config], 2),
        (&["retry", present, "--token-file", "/nowhere"], 2),
        (&["inspect", "--config", config, "nobody/asked:v1"], 3),
        (&["copy", "--config", config, absent, replica], 3),
        (&["verify", "--config", config, &replica.replace(":v1", ":v2")], 3),
    ];
    for (args, code) in rows {
        let output = ran(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert_eq!(said.is_empty(), code == 0, "{args:?}: {said}");
    }
    let (_, repository) = replica.trim_end_matches(":v1").split_once('/').unwrap();
    scene.target.lose_blob(repository, &scene.image.blobs[1].0);
    let damaged = ran(&["verify", "--config", config, replica]);
    assert_eq!(damaged.status.code(), Some(4), "{}", text(&damaged.stdout));
}

#[test]
fn who_has_read_enough_breaks_nothing() {
    for args in [&["man"][..], &["completions", "bash"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = Command::new(BINARY);
        let command = command.args(args).stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    }
}
