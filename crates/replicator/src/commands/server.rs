//! The client of the status API: what the commands about a running replicator ask.
//!
//! It speaks plain HTTP, as the status listener does; `kubectl port-forward` is the way to a
//! replicator in a cluster, and keeps what travels to the API server's connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use protocol::RefusalCode;
use registry::presentable;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use url::Url;

use super::{Exit, Failure};
use crate::config::{ForClients, load_bearer};
use crate::status::documents::ErrorBody;

/// Where the status listener of the examples and of the chart is, by way of a port forward.
const DEFAULT_SERVER: &str = "http://127.0.0.1:9090";

/// How long a connection may take. Nobody is waited for who is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take to begin, and each of its pieces to come. The ledger has 5 s for
/// each of its answers, and a thousand images may be asked for at once.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest document that is read: a page of a thousand images has 2 MiB at most.
const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// Which replicator is asked.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Where the replicator's status listener is [default: as the configuration says, or
    /// http://127.0.0.1:9090]
    #[arg(long, value_name = "URL", help_heading = "Server")]
    server: Option<Server>,
    /// The replicator's configuration: where its status listener is, and its token
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    config: Option<PathBuf>,
}

/// Which replicator is asked, by whom.
#[derive(Debug, Args)]
pub(crate) struct KeeperArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The token that the replicator has as `status.token` [default: that of the configuration]
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    token_file: Option<PathBuf>,
}

impl ServerArgs {
    /// A client that only looks.
    pub(crate) fn api(self) -> Result<Api, Failure> {
        let config = self.load()?;
        Ok(Api::new(self.server(config.as_ref()), None))
    }

    fn load(&self) -> Result<Option<ForClients>, Failure> {
        Ok(self.config.as_deref().map(ForClients::load).transpose()?)
    }

    fn server(self, config: Option<&ForClients>) -> Server {
        let usual = || DEFAULT_SERVER.parse().expect("it is a legal URL");
        self.server.or(config.map(|config| config.listen().into())).unwrap_or_else(usual)
    }
}

impl KeeperArgs {
    /// A client that may have something done, where there is a token.
    pub(crate) fn api(self) -> Result<Api, Failure> {
        let Self { server, token_file } = self;
        let config = server.load()?;
        let token = match (token_file, &config) {
            (Some(path), _) => Some(load_bearer("--token-file", &path)?),
            (None, Some(config)) => config.bearer()?,
            (None, None) => None,
        };
        Ok(Api::new(server.server(config.as_ref()), token))
    }
}

/// The address of a status listener: `http://HOST:PORT`, or with a path before `/api`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server(Url);

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let mut url: Url = text.parse().map_err(ServerError::Malformed)?;
        match url.scheme() {
            "http" => {}
            "https" => return Err(ServerError::Tls),
            _ => return Err(ServerError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ServerError::Secret);
        }
        url.set_query(None);
        url.set_fragment(None);
        // What is joined to it goes below it.
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self(url))
    }
}

/// Not the address of a status listener.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// It is no URL.
    #[error("it is no URL such as http://127.0.0.1:9090: {0}")]
    Malformed(url::ParseError),
    /// It is not HTTP.
    #[error("it is no URL such as http://127.0.0.1:9090")]
    Scheme,
    /// The listener has no TLS.
    #[error(
        "the status listener speaks plain HTTP; reach it by `kubectl port-forward`, which is \
         encrypted, and an http:// URL"
    )]
    Tls,
    /// A secret would stand in lists of processes.
    #[error("it has a user or password in it, and the status listener knows none")]
    Secret,
}

/// Where a listener is reached from the same machine: one that listens everywhere is here, too.
impl From<SocketAddr> for Server {
    fn from(listen: SocketAddr) -> Self {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let url = format!("http://{}/", SocketAddr::new(ip, listen.port()));
        Self(url.parse().expect("an address makes a URL"))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// A replicator's status API.
#[derive(Debug)]
pub(crate) struct Api {
    server: Server,
    token: Option<HeaderValue>,
    http: Client<HttpConnector, Full<Bytes>>,
}

impl Api {
    /// That of `server`, for who has this token.
    pub(crate) fn new(server: Server, token: Option<HeaderValue>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self { server, token, http: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Whom it asks.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The document at `path`, which is relative.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, AskError> {
        self.read(self.ask(Method::GET, path, query, Bytes::new()).await?).await
    }

    /// Has something done, and returns what became of it.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        wish: &impl Serialize,
    ) -> Result<T, AskError> {
        let wish = serde_json::to_vec(wish).expect("documents are legal JSON");
        self.read(self.ask(Method::POST, path, &[], wish.into()).await?).await
    }

    /// A text that may be of any length, piece by piece.
    pub(crate) async fn pieces(
        &self,
        path: &str,
        query: &[(&str, &str)],
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut body = self.ask(Method::GET, path, query, Bytes::new()).await?.into_body();
        loop {
            match timeout(IDLE_TIMEOUT, body.frame()).await {
                Err(_) => return Err(self.silent().into()),
                Ok(Some(Err(error))) => return Err(self.cut(&error).into()),
                Ok(Some(Ok(frame))) => frame.data_ref().map_or(Ok(()), |data| take(data))?,
                Ok(None) => return Ok(()),
            }
        }
    }

    /// An answer that is none of the errors.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, AskError> {
        let mut url = self.server.0.join(path).expect("paths of ours are legal");
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = Request::builder().method(method).uri(url.as_str());
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body)).expect("a URL is a legal URI");
        let asked = timeout(IDLE_TIMEOUT, self.http.request(request)).await;
        let response = asked.map_err(|_| self.silent())?.map_err(|error| self.cut(&error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(self.refused(status, response).await),
        }
    }

    async fn read<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, AskError> {
        let body = self.whole(response).await?;
        serde_json::from_slice(&body).map_err(|error| self.strange(&error))
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, AskError> {
        let body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES).collect();
        let body = timeout(IDLE_TIMEOUT, body).await.map_err(|_| self.silent())?;
        Ok(body.map_err(|error| self.cut(error.as_ref()))?.to_bytes())
    }

    /// What an answer says that is an error.
    async fn refused(&self, status: StatusCode, response: Response<Incoming>) -> AskError {
        let body = match self.whole(response).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice(&body) {
            Ok(ErrorBody { message, .. }) if status == StatusCode::UNAUTHORIZED => {
                AskError::WhoAsks { message: presentable(&message) }
            }
            Ok(ErrorBody { code, message }) => {
                AskError::Refused { code, message: presentable(&message) }
            }
            Err(_) => self.strange(&format!("it answers {status}")),
        }
    }

    fn silent(&self) -> AskError {
        AskError::Silent { server: self.server.clone() }
    }

    fn strange(&self, reason: &dyn fmt::Display) -> AskError {
        AskError::Strange { server: self.server.clone(), reason: reason.to_string() }
    }

    fn cut(&self, error: &(dyn std::error::Error + 'static)) -> AskError {
        // The innermost words are what the system says.
        let causes = std::iter::successors(Some(error), |&cause| cause.source());
        let reason = causes.last().map(ToString::to_string).unwrap_or_default();
        AskError::Unreachable { server: self.server.clone(), reason }
    }
}

/// Why a replicator did not tell, or do, what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody is there, or went away.
    #[error(
        "no replicator answers at {server}: {reason}; is it running? To reach one in a cluster: \
         kubectl port-forward --namespace image-replicator deploy/image-replicator 9090, or say \
         where it is with --server"
    )]
    Unreachable {
        /// Who was asked.
        server: Server,
        /// What the system says.
        reason: String,
    },
    /// Somebody is there, and says nothing.
    #[error("the replicator at {server} says nothing for {} s; its log tells why", IDLE_TIMEOUT.as_secs())]
    Silent {
        /// Who was asked.
        server: Server,
    },
    /// It answers otherwise than a replicator does.
    #[error(
        "what answers at {server} is not the status listener of a replicator of this version: \
         {reason}; --server says which to ask"
    )]
    Strange {
        /// Who was asked.
        server: Server,
        /// What is strange about it.
        reason: String,
    },
    /// It does not know who asks.
    #[error("the replicator says: {message}. Its token is given by --token-file FILE")]
    WhoAsks {
        /// Its words.
        message: String,
    },
    /// It says no.
    #[error("the replicator says: {message}")]
    Refused {
        /// The kind.
        code: RefusalCode,
        /// Its words.
        message: String,
    },
}

impl AskError {
    /// What the process ends with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } => Exit::Failed,
            Self::Strange { .. } | Self::WhoAsks { .. } => Exit::Usage,
            Self::Refused { code, .. } => match code {
                RefusalCode::Malformed => Exit::Usage,
                RefusalCode::NotFound | RefusalCode::Denied => Exit::Refused,
                _ => Exit::Failed,
            },
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::new(error.exit(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(address: &str) -> String {
        Server::from(address.parse::<SocketAddr>().unwrap()).to_string()
    }

    #[test]
    fn a_listener_is_reached_from_its_own_machine() {
        assert_eq!(listening("0.0.0.0:9090"), "http://127.0.0.1:9090");
        assert_eq!(listening("[::]:9090"), "http://[::1]:9090");
        assert_eq!(listening("10.1.2.3:80"), "http://10.1.2.3");
    }

    #[test]
    fn a_server_is_a_url_of_plain_http_without_secrets() {
        let parsed = |text: &str| match text.parse::<Server>() {
            Ok(server) => server.0.to_string(),
            Err(error) => error.to_string(),
        };
        let texts = [
            "http://127.0.0.1:9090",
            "http://r.example/replicator?x=1#y",
            "https://r.example",
            "http://user:hunter2@r.example",
            "r.example:9090",
            "9090",
        ];
        insta::assert_snapshot!(texts.map(|text| format!("{text} -> {}", parsed(text))).join("\n"));
    }
}
