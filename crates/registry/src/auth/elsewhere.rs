//! Registries that send their readers on to another one, as a name of somebody's own before GHCR
//! does. The other one may want a token, and gets one that it gives to anybody: no secret of ours
//! is for such a place.

use http::StatusCode;
use protocol::{Registry, Repository};
use url::Url;

use super::challenge::{Challenge, Realm};
use crate::answer::Answer;
use crate::config::Endpoint;
use crate::request::Scope;

/// Another registry, which says where its tokens come from.
pub(super) struct Elsewhere {
    pub(super) registry: Registry,
    pub(super) realm: Realm,
    pub(super) scope: Scope,
}

impl Elsewhere {
    /// The one that gave this answer to what was asked at `home`; None where none wants a token.
    pub(super) fn of(answer: &Answer, home: &Endpoint) -> Option<Self> {
        if answer.status != StatusCode::UNAUTHORIZED || home.is_home_of(&answer.url) {
            return None;
        }
        let challenge = Challenge::of(&answer.headers, answer.from_neighbour)?;
        let Challenge::Bearer(realm) = challenge else { return None };
        let (registry, scope) =
            (registry_at(&answer.url)?, Scope::pull(&repository_at(&answer.url)?));
        Some(Self { registry, realm, scope })
    }
}

fn registry_at(url: &Url) -> Option<Registry> {
    let host = url.host_str()?;
    match url.port() {
        Some(port) => format!("{host}:{port}").parse().ok(),
        None => host.parse().ok(),
    }
}

/// `a/b` of `/v2/a/b/manifests/v1`.
fn repository_at(url: &Url) -> Option<Repository> {
    let (path, _) = url.path().strip_prefix("/v2/")?.rsplit_once('/')?;
    let (name, kind) = path.rsplit_once('/')?;
    matches!(kind, "manifests" | "blobs" | "referrers" | "tags").then(|| name.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_elsewhere_is_told_by_its_address() {
        let at = |url: &str| {
            let url: Url = url.parse().unwrap();
            let (registry, repository) = (registry_at(&url), repository_at(&url)?);
            Some((registry?.to_string(), repository.to_string()))
        };
        let found = |registry: &str, name: &str| Some((registry.to_owned(), name.to_owned()));
        for kind in ["manifests/v1", "blobs/sha256:00", "referrers/sha256:00", "tags/list?n=1"] {
            let url = format!("https://ghcr.io/v2/a/b/{kind}");
            assert_eq!(at(&url), found("ghcr.io", "a/b"), "{url}");
        }
        let by_port = "https://r.example:5000/v2/manifests/manifests/v1";
        assert_eq!(at(by_port), found("r.example:5000", "manifests"));
        for path in ["", "v2/", "v2/manifests/v1", "v2/a/other/v1", "v1/a/manifests/v1", "token"] {
            assert_eq!(at(&format!("https://ghcr.io/{path}")), None, "{path}");
        }
        assert_eq!(at("https://ghcr.io/v2/A/manifests/v1"), None);
    }
}
