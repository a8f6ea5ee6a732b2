//! One request as the layers hand it down: what, where, with which body, on whose behalf.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, HeaderValue, Method, header};
use protocol::{Registry, Repository};
use url::Url;

use crate::error::{Error, ErrorKind, Operation};
use crate::upload::BodyError;

/// A body that is made while it is sent.
pub(crate) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// What is sent.
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    /// Can be sent once: no layer below the caller can try again.
    Stream {
        length: u64,
        stream: BodyStream,
    },
}

/// One request.
pub(crate) struct Request {
    pub(crate) operation: Operation,
    pub(crate) registry: Registry,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// Whether a neighbour of ours named the URL: it may then lead to others.
    pub(crate) named_by_neighbour: bool,
}

impl Request {
    pub(crate) fn new(operation: Operation, registry: &Registry, method: Method, url: Url) -> Self {
        Self {
            operation,
            registry: registry.clone(),
            method,
            url,
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            named_by_neighbour: false,
        }
    }

    #[must_use]
    pub(crate) fn named_by_neighbour(mut self, named: bool) -> Self {
        self.named_by_neighbour = named;
        self
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    #[must_use]
    pub(crate) fn with_payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// The same request with another secret, or with none.
    #[must_use]
    pub(crate) fn authorized(mut self, authorization: Option<HeaderValue>) -> Self {
        self.headers.remove(header::AUTHORIZATION);
        if let Some(value) = authorization {
            self.headers.insert(header::AUTHORIZATION, value);
        }
        self
    }

    /// The same request once more; None where the body can be sent only once.
    pub(crate) fn again(&self) -> Option<Self> {
        let payload = match &self.payload {
            Payload::Empty => Payload::Empty,
            Payload::Bytes(bytes) => Payload::Bytes(bytes.clone()),
            Payload::Stream { .. } => return None,
        };
        Some(Self {
            operation: self.operation,
            registry: self.registry.clone(),
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            payload,
            named_by_neighbour: self.named_by_neighbour,
        })
    }

    /// An error of this request.
    pub(crate) fn error(&self, kind: ErrorKind, message: impl AsRef<str>) -> Error {
        Error::new(kind, self.operation, &self.registry, message).at(&self.url)
    }
}

/// What a request needs to be allowed to do: the scope of its token (distribution's token
/// specification, "Requesting a Token").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    pub(crate) repository: Repository,
    pub(crate) rights: Rights,
    pub(crate) mount_from: Option<Repository>,
}

/// What is done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rights {
    Pull,
    Push,
    Delete,
}

impl Scope {
    pub(crate) fn pull(repository: &Repository) -> Self {
        Self { repository: repository.clone(), rights: Rights::Pull, mount_from: None }
    }

    pub(crate) fn push(repository: &Repository) -> Self {
        Self { rights: Rights::Push, ..Self::pull(repository) }
    }

    pub(crate) fn delete(repository: &Repository) -> Self {
        Self { rights: Rights::Delete, ..Self::pull(repository) }
    }

    pub(crate) fn mount(repository: &Repository, from: &Repository) -> Self {
        Self { mount_from: Some(from.clone()), ..Self::push(repository) }
    }

    /// The values of the `scope` parameters.
    pub(crate) fn values(&self) -> Vec<String> {
        let actions = match self.rights {
            Rights::Pull => "pull",
            Rights::Push => "pull,push",
            Rights::Delete => "pull,delete",
        };
        let mut values = vec![format!("repository:{}:{actions}", self.repository)];
        values.extend(self.mount_from.iter().map(|from| format!("repository:{from}:pull")));
        values
    }
}
