//! Every limit of the client, with its reason. What a deployment may want otherwise is in
//! [`crate::ClientConfig`], with these as defaults.

use std::time::Duration;

/// The longest manifest that is read or sent: what the distribution-spec asks registries to
/// take at least ("Pushing Manifests"), and what they refuse to exceed in practice.
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// Headers of one answer. Registries behind several proxies send about forty; together they are
/// held against hyper's own 400 KiB.
pub(crate) const MAX_HEADERS: usize = 100;

/// The longest answer of a token endpoint. Tokens with many groups in them reach 16 KiB.
pub(crate) const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// How much of an error's body is read: an OCI envelope has a few hundred bytes.
pub(crate) const MAX_ERROR_BYTES: usize = 8 * 1024;

/// How much of a registry's own words an error shows: a log line stays a line.
pub(crate) const MAX_MESSAGE_CHARS: usize = 300;

/// How many of a registry's error codes an error keeps; one is usual.
pub(crate) const MAX_ERROR_CODES: usize = 4;

/// The longest media type (RFC 6838, section 4.2: 127 characters each for type and subtype).
pub(crate) const MAX_MEDIA_TYPE_LENGTH: usize = 255;

/// Pages of one list of referrers that are read: a registry fills each up to its own limit, and
/// the usual list has one.
pub(crate) const MAX_REFERRER_PAGES: usize = 50;

/// Pages of one list of tags that are read: at the hundred that some registries have on each,
/// 100,000 tags.
pub(crate) const MAX_TAG_PAGES: usize = 1_000;

/// Tags that are asked for on one page. Registries give fewer where they want.
pub(crate) const TAGS_ON_A_PAGE: usize = 1_000;

/// The longest page of tags: so many of 128 characters each, and what stands around them.
pub(crate) const MAX_TAG_PAGE_BYTES: usize = 1024 * 1024;

/// URLs of one foreign layer that are tried. One is usual.
pub(crate) const MAX_FOREIGN_URLS: usize = 4;

/// Redirects followed for one request: a blob is one hop from its store, two behind a CDN.
pub(crate) const MAX_REDIRECTS: usize = 5;

/// The longest `Retry-After` that is waited out within a request; a longer one goes up to the
/// caller, who has a queue to wait in.
pub(crate) const MAX_WAIT_INLINE: Duration = Duration::from_secs(20);

/// The longest `Retry-After` that is believed: Docker Hub's rate limit counts over six hours.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(6 * 60 * 60);

/// Time to open a connection, TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a registry may be silent in the middle of a request or an answer. There is no
/// limit on the whole: a slow 20 GB layer is not an error.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a registry may think after the last byte of a blob: some copy it within their
/// store before they answer.
pub(crate) const COMMIT_TIMEOUT: Duration = Duration::from_secs(600);

/// Connections kept open to each host, and for how long.
pub(crate) const IDLE_CONNECTIONS_PER_HOST: usize = 16;
pub(crate) const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests at once to one registry, reads and writes each.
pub(crate) const PERMITS: usize = 16;

/// Requests that go well before an overloaded registry gets one more at once: the way back from
/// one to all then takes 150, long enough for it to say no again.
pub(crate) const SUCCESSES_PER_PERMIT: u32 = 10;

/// Failures in a row after which a registry is taken for dead: one more than the tries of one
/// request, so that a single request that is never answered does not speak for all.
pub(crate) const CIRCUIT_FAILURES: u32 = ATTEMPTS as u32 + 1;

/// For how long a dead registry is left alone: at first about as long as a load balancer takes
/// to notice, at last so that one that is back is seen within two minutes.
pub(crate) const MIN_CIRCUIT_OPEN: Duration = Duration::from_secs(5);
pub(crate) const MAX_CIRCUIT_OPEN: Duration = Duration::from_secs(120);

/// How often a request is tried in all.
pub(crate) const ATTEMPTS: usize = 4;

/// The first and the longest pause between two tries, before jitter.
pub(crate) const MIN_BACKOFF: Duration = Duration::from_millis(250);
pub(crate) const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// How long a token lives whose endpoint does not say (distribution's token specification).
pub(crate) const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// The longest lifetime that is believed: what is wrong in a cached token ends within a day.
pub(crate) const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A token is renewed when less than this is left of it, or a tenth of a shorter life.
pub(crate) const TOKEN_MARGIN: Duration = Duration::from_secs(30);

/// Tokens remembered: one for each repository, kind of access and credential in use.
pub(crate) const MAX_TOKENS: usize = 4096;

/// Registries remembered with their lanes and challenges. Pods name any, so it is bounded.
pub(crate) const MAX_REGISTRIES: usize = 1024;

/// The longest docker `config.json` that is parsed.
pub(crate) const MAX_DOCKER_CONFIG_BYTES: usize = 4 * 1024 * 1024;

/// The longest name of a credential helper; those of the clouds have about ten characters.
pub(crate) const MAX_HELPER_NAME_LENGTH: usize = 64;

/// How much a credential helper may write: an ECR password has 2 to 3 KiB.
pub(crate) const MAX_HELPER_OUTPUT_BYTES: u64 = 64 * 1024;

/// How long a credential helper may run. Those of the clouds ask a metadata service and a token
/// service, seconds in all; docker itself waits for ever.
pub(crate) const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a helper's answer is kept. What it says lives for an hour (GAR) to twelve (ECR), and
/// helpers keep it themselves, some until shortly before its end: so not for long.
pub(crate) const HELPER_KEEP: Duration = Duration::from_secs(5 * 60);

/// How long a failed helper is left alone: longer than is waited out within a request, so that
/// the caller's queue decides.
pub(crate) const HELPER_PAUSE: Duration = Duration::from_secs(30);

/// Helpers that run at once, for all registries: each is a process of its own.
pub(crate) const MAX_HELPER_RUNS: usize = 4;

/// A chunk of a blob, where a registry wants chunks: above S3's least part of 5 MiB, below the
/// 100 MB that proxies allow. It is streamed, so it takes no memory.
pub(crate) const CHUNK_BYTES: u64 = 16 * 1024 * 1024;

/// The smallest chunk that is tried where larger ones are refused: what nginx takes by default.
pub(crate) const MIN_CHUNK_BYTES: u64 = 1024 * 1024;
