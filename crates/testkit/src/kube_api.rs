//! A Kubernetes API server on loopback that lists and watches objects from memory, as the real one
//! does it: pages, versions, bookmarks, 410 and 403; and that can be away. It records each request.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Reply = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// How long a watch lasts for which nobody says it: the real one takes 30 min to 60 min.
const MAX_WATCH_S: u64 = 1_800;

/// A running API server. It ends with the runtime.
#[derive(Clone)]
pub struct KubeApi {
    shared: Arc<Shared>,
}

struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
    /// Wakes the watches whenever the state changes.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<Key, Value>,
    history: Vec<Change>,
    /// What happened before is forgotten.
    oldest: u64,
    refused: HashSet<String>,
    is_away: bool,
    /// How often all watches were broken off.
    cuts: u64,
    requests: Vec<String>,
    authorizations: HashSet<String>,
}

/// `secrets`, namespace, name.
type Key = (String, String, String);

#[derive(Clone)]
struct Change {
    version: u64,
    /// None of a bookmark.
    key: Option<Key>,
    event: Value,
}

/// What a request asks for.
#[derive(Clone)]
struct Query {
    /// `secrets`, `pods`.
    plural: String,
    namespace: Option<String>,
    parameters: BTreeMap<String, String>,
}

impl KubeApi {
    /// One without objects, on plain HTTP.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Mutex::new(State { version: 1, ..State::default() });
        let shared = Arc::new(Shared { address, state, changes: watch::channel(()).0 });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let shared = Arc::clone(&accepting);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(Arc::clone(&shared), request));
                    // One that is cut ends in an error: nothing to report.
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { shared }
    }

    /// `http://127.0.0.1:port`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// A kubeconfig whose user has this token.
    #[must_use]
    pub fn kubeconfig(&self, token: &str) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url()}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        })
        .to_string()
    }

    /// Creates or replaces an object: `plural` as in a path, and what it is made of.
    pub fn put(&self, plural: &str, namespace: &str, name: &str, mut object: Value) {
        self.change(|state| {
            state.version += 1;
            let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
            let before = state.objects.get(&key);
            let uid = before.map_or(json!(format!("uid-{}", state.version)), |before| {
                before["metadata"]["uid"].clone()
            });
            let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
            let metadata = object["metadata"].take();
            object["metadata"] = json!({"name": name, "namespace": namespace, "uid": uid});
            if let Value::Object(more) = metadata {
                object["metadata"].as_object_mut().unwrap().extend(more);
            }
            object["metadata"]["resourceVersion"] = json!(state.version.to_string());
            state.objects.insert(key.clone(), object.clone());
            state.remember(Some(key), json!({"type": kind, "object": object}));
        });
    }

    /// Deletes an object that is there.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) {
        self.change(|state| {
            state.version += 1;
            let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
            let mut object = state.objects.remove(&key).unwrap();
            object["metadata"]["resourceVersion"] = json!(state.version.to_string());
            state.remember(Some(key), json!({"type": "DELETED", "object": object}));
        });
    }

    /// Creates or replaces a Secret of the type `kubernetes.io/dockerconfigjson`.
    pub fn put_pull_secret(&self, namespace: &str, name: &str, config: &str) {
        use base64::Engine;
        let config = base64::engine::general_purpose::STANDARD.encode(config);
        let data = json!({".dockerconfigjson": config});
        let object = json!({"type": "kubernetes.io/dockerconfigjson", "data": data});
        self.put("secrets", namespace, name, object);
    }

    /// Tells the watches how far they are.
    pub fn bookmark(&self) {
        self.change(|state| {
            state.version += 1;
            let metadata = json!({"resourceVersion": state.version.to_string()});
            let object = json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata});
            state.remember(None, json!({"type": "BOOKMARK", "object": object}));
        });
    }

    /// Forgets what happened up to now: watches get a 410, those that run and those that begin
    /// with an older version.
    pub fn forget_history(&self) {
        self.change(|state| {
            state.version += 1;
            state.oldest = state.version;
            state.history.clear();
        });
    }

    /// Breaks off all watches, in the middle of the connection.
    pub fn cut_watches(&self) {
        self.change(|state| state.cuts += 1);
    }

    /// From now on answers 403 to what is asked about a namespace.
    pub fn refuse(&self, namespace: &str) {
        self.change(|state| {
            state.refused.insert(namespace.to_owned());
        });
    }

    /// Refuses nobody any more.
    pub fn allow(&self) {
        self.change(|state| state.refused.clear());
    }

    /// Answers nobody from now on, and breaks off the watches; or answers again.
    pub fn be_away(&self, is_away: bool) {
        self.change(|state| {
            state.is_away = is_away;
            state.cuts += 1;
        });
    }

    /// Paths and queries up to now.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }

    /// Forgets the requests up to now.
    pub fn forget_requests(&self) {
        self.shared.state().requests.clear();
    }

    /// How many requests up to now have these words in their path or query.
    #[must_use]
    pub fn count(&self, words: &[&str]) -> usize {
        let has_all = |path: &&String| words.iter().all(|word| path.contains(word));
        self.shared.state().requests.iter().filter(has_all).count()
    }

    /// The `Authorization` headers up to now.
    #[must_use]
    pub fn authorizations(&self) -> HashSet<String> {
        self.shared.state().authorizations.clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state());
        self.shared.changes.send_replace(());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn remember(&mut self, key: Option<Key>, event: Value) {
        self.history.push(Change { version: self.version, key, event });
    }
}

impl Query {
    fn parse(path: &str, query: &str) -> Option<Self> {
        let segments: Vec<_> = path.strip_prefix("/api/v1/")?.split('/').collect();
        let (namespace, plural) = match segments[..] {
            ["namespaces", namespace, plural] => (Some(namespace.to_owned()), plural.to_owned()),
            [plural] => (None, plural.to_owned()),
            _ => return None,
        };
        let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Some(Self { plural, namespace, parameters })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn is_about(&self, (plural, namespace, _): &Key) -> bool {
        self.plural == *plural && self.namespace.as_ref().is_none_or(|own| own == namespace)
    }

    fn has(&self, key: &Key, object: &Value) -> bool {
        let selects = |term: &str| {
            let (path, value) = term.split_once('=').unwrap();
            let (path, is_wanted) = match path.strip_suffix('!') {
                Some(path) => (path, false),
                None => (path, true),
            };
            let found = path.split('.').fold(object, |at, key| &at[key]);
            (found.as_str().unwrap_or_default() == value) == is_wanted
        };
        self.is_about(key)
            && self.parameter("fieldSelector").is_none_or(|all| all.split(',').all(selects))
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Reply, BoxError> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let query = Query::parse(path, query);
    {
        let mut state = shared.state();
        state.requests.extend(request.uri().path_and_query().map(ToString::to_string));
        let authorization = request.headers().get(header::AUTHORIZATION);
        state.authorizations.extend(authorization.map(|value| value.to_str().unwrap().to_owned()));
        if state.is_away {
            return Err("scripted: away".into());
        }
    }
    let Some(query) = query else {
        return Ok(status(404, "NotFound", "no such thing here"));
    };
    if let Some(namespace) = &query.namespace
        && shared.state().refused.contains(namespace)
    {
        let what = format!("{} is forbidden: in the namespace \"{namespace}\"", query.plural);
        return Ok(status(403, "Forbidden", &what));
    }
    match query.parameter("watch") {
        Some("true" | "1") => Ok(watch_from(shared, query)),
        _ => Ok(list(&shared.state(), &query)),
    }
}

fn list(state: &State, query: &Query) -> Reply {
    let limit = query.parameter("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
    let place = |(_, namespace, name): &Key| format!("{namespace}/{name}");
    let after = query.parameter("continue").unwrap_or_default();
    let all = state.objects.iter().filter(|(key, object)| query.has(key, object));
    let rest: Vec<_> = all.filter(|(key, _)| place(key).as_str() > after).collect();
    let page = &rest[..limit.min(rest.len())];
    let next = page.last().filter(|_| page.len() < rest.len()).map(|(key, _)| place(key));
    let items: Vec<_> = page.iter().map(|(_, object)| object).collect();
    let metadata = json!({"resourceVersion": state.version.to_string(), "continue": next});
    let list = json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items});
    json_reply(200, &list)
}

fn watch_from(shared: Arc<Shared>, query: Query) -> Reply {
    let from = query.parameter("resourceVersion").map_or(0, |version| version.parse().unwrap());
    let (cuts, changes) = {
        let state = shared.state();
        if from < state.oldest {
            return status(410, "Expired", "too old resource version");
        }
        (state.cuts, shared.changes.subscribe())
    };
    let limit_s = query.parameter("timeoutSeconds").map_or(MAX_WATCH_S, |s| s.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(limit_s);
    let events = stream::unfold((from, changes), move |(from, mut changes)| {
        let (shared, query) = (Arc::clone(&shared), query.clone());
        async move {
            loop {
                changes.borrow_and_update();
                let next = next_event(&shared.state(), &query, from, cuts);
                match next {
                    Next::Event(version, line) => return Some((Ok(line), (version, changes))),
                    Next::Cut => return Some((Err("scripted: cut".into()), (from, changes))),
                    Next::End => return None,
                    Next::Nothing => timeout_at(end, changes.changed()).await.ok()?.ok()?,
                }
            }
        }
    });
    let frames = events.map(|line: Result<Bytes, BoxError>| line.map(Frame::data));
    let mut reply = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    let json = header::HeaderValue::from_static("application/json");
    reply.headers_mut().insert(header::CONTENT_TYPE, json);
    reply
}

enum Next {
    Event(u64, Bytes),
    Cut,
    End,
    Nothing,
}

fn next_event(state: &State, query: &Query, from: u64, cuts: u64) -> Next {
    let line = |event: &Value| Bytes::from(format!("{event}\n"));
    if state.cuts != cuts {
        return Next::Cut;
    }
    if from == u64::MAX {
        return Next::End;
    }
    if from < state.oldest {
        let gone = json!({"type": "ERROR", "object": failure(410, "Expired", "too old")});
        return Next::Event(u64::MAX, line(&gone));
    }
    let wants_bookmarks = query.parameter("allowWatchBookmarks") == Some("true");
    let as_seen = |change: &Change| match &change.key {
        None => wants_bookmarks.then(|| line(&change.event)),
        Some(key) if query.has(key, &change.event["object"]) => Some(line(&change.event)),
        // What is selected no more is gone for who asks.
        Some(key) if query.is_about(key) && change.event["type"] == "MODIFIED" => {
            Some(line(&json!({"type": "DELETED", "object": change.event["object"]})))
        }
        Some(_) => None,
    };
    let mut later = state.history.iter().filter(|change| change.version > from);
    let next = later.find_map(|change| Some(Next::Event(change.version, as_seen(change)?)));
    next.unwrap_or(Next::Nothing)
}

fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    })
}

fn status(code: u16, reason: &str, message: &str) -> Reply {
    json_reply(code, &failure(code, reason, message))
}

fn json_reply(code: u16, body: &Value) -> Reply {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never: Infallible| match never {});
    let mut reply = Response::new(BodyExt::boxed_unsync(body));
    *reply.status_mut() = StatusCode::from_u16(code).unwrap();
    let json = header::HeaderValue::from_static("application/json");
    reply.headers_mut().insert(header::CONTENT_TYPE, json);
    reply
}
