//! The status listener on the wire, with a real ledger.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::feed::MAX_LISTENERS;
use super::testing::{Listener, TOKEN, status};
use super::token::{Keeper, Token};
use crate::ledger::Ledger;
use crate::ledger::testing::{Fixture, ask, copied, failed, refused, source, work_once};
use crate::ledger::uses::{Sighting, Use};
use crate::rules::Rules;
use crate::rules::tests::rules;

/// Whatever is not there by then has hung.
const HANGS: Duration = Duration::from_secs(20);

/// One image of each kind: present, stale is left out, failed, refused, waiting.
async fn filled(ledger: &Ledger) {
    for (tag, settlement) in [
        ("present", copied()),
        ("failed", failed("<b>the source is down</b>", Duration::ZERO)),
        ("refused", refused()),
    ] {
        ledger.want(ask(tag)).await.unwrap();
        work_once(ledger, settlement).await;
    }
    ledger.want(ask("waiting")).await.unwrap();
}

fn sources(reply: &Value) -> Vec<&str> {
    reply.as_array().unwrap().iter().map(|one| one["source"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_fails_takes_its_own_figures_away_alone() {
    let store = Fixture::sqlite().await;
    let ledger = store.open().await;
    let listener = Listener::start(&ledger, Rules::default()).await;
    store.run("DROP TABLE replicas").await;
    ledger.want(ask("1")).await.unwrap_err();
    let reply = listener.get("/metrics").await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("image_replicator_ledger_writable 0\n"), "{reply:?}");
    assert!(!reply.body.contains("image_replicator_queue_length"), "{reply:?}");
    // Who looks is told so, too.
    assert_eq!(listener.get("/api/v1/overview").await.status, 503);
}

#[tokio::test]
async fn the_overview_is_what_the_ledger_holds() {
    let store = Fixture::sqlite().await;
    let ledger = store.open().await;
    filled(&ledger).await;
    let listener = Listener::start(&ledger, Rules::default()).await;
    let overview = listener.get("/api/v1/overview").await.json();
    assert_eq!(
        overview["counts"],
        json!({"wanted": 1, "copying": 0, "present": 1, "stale": 0, "failed": 1, "refused": 1})
    );
    assert_eq!(overview["totals"], json!({"copying": 0, "waiting": 1, "failed": 2, "stale": 0}));
    assert_eq!(overview["queue"], json!({"waiting": 1, "oldest_ms": overview["now_ms"]}));
    assert_eq!(sources(&overview["waiting"]), [source("waiting").to_string()]);
    assert_eq!(overview["waiting"][0]["namespaces"], json!(["shop"]));
    assert_eq!(overview["waiting"][0]["priority"], "now");
    let mut failed = sources(&overview["failed"]);
    failed.sort_unstable();
    assert_eq!(failed, [source("failed").to_string(), source("refused").to_string()]);
    let claimed = ledger.claim(usize::MAX).await.unwrap().unwrap();
    let overview = listener.get("/api/v1/overview").await.json();
    assert_eq!(sources(&overview["copying"]), [claimed.source.to_string()]);
    assert_eq!(overview["copying"][0]["replicator"], overview["replicator"]);
    assert_eq!(overview["ledger"], json!({"writable": true}));
}

#[tokio::test]
async fn one_image_is_told_with_its_failure_who_asked_and_its_copies() {
    let store = Fixture::sqlite().await;
    let ledger = store.open().await;
    filled(&ledger).await;
    let listener = Listener::start(&ledger, Rules::default()).await;
    let reply = listener.get("/api/v1/image?source=nginx:failed").await;
    let text = serde_json::to_string_pretty(&reply.json()).unwrap();
    let me = ledger.owner().to_string();
    insta::assert_snapshot!(text.replace(&me, "ME"));
    assert_eq!(listener.get("/api/v1/image?source=nginx:none").await.status, 404);
    assert_eq!(listener.get("/api/v1/image?source=a%20b").await.status, 400);
    assert_eq!(listener.get("/api/v1/image").await.status, 400);
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_told_what_would() {
    let store = Fixture::sqlite().await;
    let listener = Listener::start(&store.open().await, Rules::default()).await;
    let mut told = String::new();
    for query in
        ["limit=0", "limit=1001", "limit=x", "state=gone", "namespace=A", "in_use=1", "after=x"]
    {
        let reply = listener.get(&format!("/api/v1/images?{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
        told += &format!("{query}: {}\n", reply.json()["message"].as_str().unwrap());
    }
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn what_runs_unreplicated_comes_first_and_pages_are_whole() {
    let store = Fixture::sqlite().await;
    let ledger = store.open().await;
    filled(&ledger).await;
    let used = |image: &str, namespace: &str, pods: u64| {
        let image = image.parse().unwrap();
        (Use { image, namespace: namespace.parse().unwrap(), digest: None }, pods)
    };
    let running = [
        used("registry.corp/docker.io/library/nginx:present", "shop", 2),
        used("nginx:refused", "cart", 1),
        used("quay.io/else/where:1", "cart", 4),
    ];
    ledger.see(Sighting::Cluster(running.into()), ledger.now()).await.unwrap();
    let listener = Listener::start(&ledger, Rules::default()).await;
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/images?limit=1&after={}", after.replace(' ', "%20"));
        let page = listener.get(&path).await.json();
        for image in page["images"].as_array().unwrap() {
            let text = |key: &str| image[key].to_string();
            all.push(
                [text("source"), text("state"), text("in_use"), text("unreplicated")].join(" "),
            );
        }
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    insta::assert_snapshot!(all.join("\n"));
    let found = async |query: &str| {
        let reply = listener.get(&format!("/api/v1/images?{query}")).await.json();
        sources(&reply["images"]).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(found("unreplicated=true").await.len(), 2);
    assert_eq!(found("unreplicated=false").await.len(), 3);
    assert_eq!(found("in_use=true&unreplicated=false").await, [source("present").to_string()]);
    assert_eq!(found("in_use=false").await.len(), 2);
    assert_eq!(found("namespace=cart").await.len(), 2);
    assert_eq!(found("search=ELSE").await, ["quay.io/else/where:1"]);
    // A part of LIKE's language is text like any other.
    assert_eq!(found("search=%25").await, Vec::<String>::new());
    assert_eq!(found("state=refused").await, [source("refused").to_string()]);
    let csv = listener.get("/api/v1/images.csv?search=present").await;
    assert!(csv.head.contains("attachment"), "{csv:?}");
    assert_eq!(csv.body.lines().count(), 2, "{csv:?}");
}

#[tokio::test]
async fn without_a_token_nobody_changes_anything() {
    let store = Fixture::sqlite().await;
    let ledger = store.open().await;
    filled(&ledger).await;
    let listener = Listener::start(&ledger, Rules::default()).await;
    let body = json!({"source": "nginx:refused"});
    for (headers, code) in [
        ("", 401),
        ("Authorization: Basic dGVzdA==\r\n", 401),
        ("Authorization: Bearer wrong-token-01234567\r\n", 401),
        ("Authorization: Bearer \r\n", 401),
    ] {
        let reply = listener.post("/api/v1/retry", headers, &body).await;
        assert_eq!(reply.status, code, "{headers} {reply:?}");
        assert!(reply.head.to_lowercase().contains("www-authenticate: bearer"), "{reply:?}");
    }
    let is_waiting =
        async || ledger.find(&source("refused")).await.unwrap().unwrap().work.is_ahead();
    assert!(!is_waiting().await);
    let retried = listener.post_with(TOKEN, "/api/v1/retry", &body).await;
    assert_eq!((retried.status, retried.json()["work"]["is"].clone()), (200, json!("waiting")));
    assert!(is_waiting().await);
    // Once more is no more.
    let retried = listener.post_with(TOKEN, "/api/v1/retry", &body).await;
    assert_eq!(retried.json()["work"]["is"], "waiting");
    let unknown = json!({"source": "nginx:unknown"});
    assert_eq!(listener.post_with(TOKEN, "/api/v1/retry", &unknown).await.status, 404);
    assert_eq!(listener.post_with(TOKEN, "/api/v1/retry", &json!({"from": 1})).await.status, 422);
}

#[tokio::test]
async fn a_new_token_ends_the_old_one() {
    let store = Fixture::sqlite().await;
    let listener = Listener::start(&store.open().await, Rules::default()).await;
    let ask = async |token: &str| {
        listener.post_with(token, "/api/v1/retry", &json!({"source": "nginx:1"})).await.status
    };
    let new = "another-token-0123456789";
    assert_eq!((ask(TOKEN).await, ask(new).await), (404, 401));
    listener.token.send_replace(std::sync::Arc::new(Token::parse(new).unwrap()));
    assert_eq!((ask(TOKEN).await, ask(new).await), (401, 404));
}

#[tokio::test]
async fn who_guesses_tokens_has_to_wait() {
    let store = Fixture::sqlite().await;
    let listener = Listener::start(&store.open().await, Rules::default()).await;
    let mut last = 0;
    for guess in 0..12 {
        let token = format!("guess-{guess:020}");
        last = listener.post_with(&token, "/api/v1/retry", &json!({"source": "a/b"})).await.status;
    }
    assert_eq!(last, 429);
    // Nor is the right one listened to.
    let reply = listener.post_with(TOKEN, "/api/v1/retry", &json!({"source": "a/b"})).await;
    assert_eq!(reply.status, 429);
    assert!(reply.head.to_lowercase().contains("retry-after: "), "{reply:?}");
    assert_eq!(listener.get("/api/v1/overview").await.status, 200);
}

#[tokio::test]
async fn what_is_prewarmed_goes_by_the_rules_of_its_namespace() {
    let store = Fixture::sqlite().await;
    let ledger = store.open().await;
    let rules = rules("- {name: hub, sources: docker.io/**, namespaces: shop}");
    let listener = Listener::start(&ledger, rules).await;
    let prewarm = async |namespace: &str| {
        let body = json!({"namespace": namespace, "sources": ["nginx:1", "quay.io/a/b:1"]});
        listener.post_with(TOKEN, "/api/v1/prewarm", &body).await.json()
    };
    let denied = prewarm("cart").await;
    assert_eq!(denied["images"][0]["error"]["code"], "denied");
    let images = prewarm("shop").await;
    assert_eq!(images["images"][0]["state"], "copying");
    assert_eq!(images["images"][0]["target"], "registry.corp/docker.io/library/nginx:1");
    assert_eq!(images["images"][1]["error"]["code"], "denied");
    let record = ledger.find(&source("1")).await.unwrap().unwrap();
    assert_eq!((record.work.is_ahead(), record.namespace.as_str()), (true, "shop"));
    let malformed = json!({"namespace": "A", "sources": []});
    assert_eq!(listener.post_with(TOKEN, "/api/v1/prewarm", &malformed).await.status, 400);
    let many = json!({"namespace": "shop", "sources": vec!["nginx:1"; 1_001]});
    assert_eq!(listener.post_with(TOKEN, "/api/v1/prewarm", &many).await.status, 400);
}

#[tokio::test]
async fn a_replicator_without_a_token_says_so() {
    let store = Fixture::sqlite().await;
    let ledger = store.open().await;
    let stop = CancellationToken::new();
    let status = status(&ledger, Rules::default(), Keeper::new(None), &stop);
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = Listener {
        address: tcp.local_addr().unwrap(),
        status: status.clone(),
        token: tokio::sync::watch::Sender::new(std::sync::Arc::new(Token::parse(TOKEN).unwrap())),
        serving: tokio::spawn(status.serve(tcp, stop.clone())),
        stop,
    };
    filled(&ledger).await;
    let reply = listener.post_with(TOKEN, "/api/v1/retry", &json!({"source": "a/b"})).await;
    assert_eq!(reply.status, 403);
    assert!(reply.json()["message"].as_str().unwrap().contains("status.token"), "{reply:?}");
    assert!(!listener.get("/").await.body.contains("data-retry"));
}

/// Lines of server-sent events.
async fn listen(listener: &Listener, path: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(listener.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

async fn data(events: &mut BufReader<TcpStream>) -> Option<Value> {
    let mut line = String::new();
    while events.read_line(&mut line).await.unwrap() > 0 {
        if let Some(data) = line.strip_prefix("data: ") {
            return Some(serde_json::from_str(data).unwrap());
        }
        line.clear();
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_hears_what_changes_until_the_replicator_ends() {
    let store = Fixture::sqlite().await;
    let ledger = store.open().await;
    let listener = Listener::start(&ledger, Rules::default()).await;
    let told = async {
        let mut overviews = listen(&listener, "/api/v1/events").await;
        let mut sections = listen(&listener, "/live").await;
        assert_eq!(data(&mut overviews).await.unwrap()["queue"]["waiting"], 0);
        assert_eq!(data(&mut sections).await.unwrap().as_object().unwrap().len(), 7);
        ledger.want(ask("1")).await.unwrap();
        while data(&mut overviews).await.unwrap()["queue"]["waiting"] != 1 {}
        let news = data(&mut sections).await.unwrap();
        // What has not changed is not sent again.
        assert!(news.get("registries").is_none(), "{news}");
        assert!(news["waiting"].as_str().unwrap().contains("nginx:1"), "{news}");
        listener.stop.cancel();
        while data(&mut overviews).await.is_some() {}
        while data(&mut sections).await.is_some() {}
    };
    tokio::time::timeout(HANGS, told).await.unwrap();
    tokio::time::timeout(HANGS, listener.serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_listen_and_who_leaves_makes_room() {
    let store = Fixture::sqlite().await;
    let listener = Listener::start(&store.open().await, Rules::default()).await;
    let status_line = async |stream: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        line
    };
    let scene = async {
        let mut listening = Vec::new();
        loop {
            let mut stream = listen(&listener, "/live").await;
            let line = status_line(&mut stream).await;
            if line.contains(" 429 ") {
                break;
            }
            assert!(line.contains(" 200 "), "{line}");
            listening.push(stream);
        }
        assert_eq!(listening.len(), MAX_LISTENERS);
        drop(listening);
        while !status_line(&mut listen(&listener, "/live").await).await.contains(" 200 ") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(HANGS, scene).await.unwrap();
}

#[tokio::test]
async fn the_page_shows_what_the_api_tells_and_runs_nothing_of_strangers() {
    let store = Fixture::sqlite().await;
    let ledger = store.open().await;
    filled(&ledger).await;
    let listener = Listener::start(&ledger, Rules::default()).await;
    let page = listener.get("/?search=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("<b>the source") && !page.body.contains("<script>alert"));
    assert!(page.body.contains("&lt;b&gt;the source is down&lt;/b&gt;"));
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
    ] {
        assert!(page.head.to_lowercase().contains(header), "{header}: {}", page.head);
    }
    assert!(page.body.contains(r#"<dd id="count-waiting">1</dd>"#), "{}", page.body);
    for path in ["/page.css", "/page.js", "/icon.svg"] {
        let asset = listener.get(path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert!(page.body.contains(&format!("\"{}\"", &path[1..])), "{path}");
    }
    // Nothing of it is in the document itself, where the policy would forbid it.
    assert!(!page.body.contains("style=") && !page.body.contains(" onclick"));
    assert_eq!(listener.get("/?state=none").await.status, 200);
    listener.stop.cancel();
    assert!(listener.status.troubles.lines().is_empty());
}
