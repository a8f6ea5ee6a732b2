//! What `list` and `inventory` share: the filters, and all pages of what passes them.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use protocol::Namespace;
use serde::Serialize;

use super::server::Api;
use super::{Exit, Failure};
use crate::ledger::record::State;
use crate::status::documents::{Image, Images};

/// Images on a page: the most that the API gives at once.
const PAGE: &str = "1000";

/// The most images that are read. More is no answer for a person, and would not fit into memory:
/// the CSV goes through without being kept.
const MAX_LISTED: usize = 500_000;

/// Which images.
#[derive(Debug, Args)]
pub(crate) struct Filters {
    /// Only images that pods of this namespace asked for
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<Namespace>,
    /// Only images in this state
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Option<State>,
    /// Only images whose reference has this text in it
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

fn states() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(State::ALL.map(State::as_str))
        .map(|state| State::parse(&state).expect("it is one of them"))
}

impl Filters {
    /// Only those in this state.
    pub(crate) fn in_state(state: State) -> Self {
        Self { namespace: None, state: Some(state), search: None }
    }

    /// As the API is asked.
    pub(crate) fn query(&self) -> Vec<(&'static str, &str)> {
        let namespace = self.namespace.as_ref().map(Namespace::as_str);
        let state = self.state.map(State::as_str);
        [("namespace", namespace), ("state", state), ("search", self.search.as_deref())]
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| (key, value)))
            .collect()
    }
}

/// The images that pass.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    /// In the order of the API: what runs unreplicated first, then by source.
    pub(crate) images: Vec<Image>,
}

/// All images that the query has.
pub(crate) async fn all(api: &Api, query: &[(&str, &str)]) -> Result<Vec<Image>, Failure> {
    let mut images = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut query = query.to_vec();
        query.push(("limit", PAGE));
        query.extend(after.as_deref().map(|after| ("after", after)));
        let page: Images = api.get("api/v1/images", &query).await?;
        images.extend(page.images);
        if images.len() > MAX_LISTED {
            let why = format!("there are more than {MAX_LISTED} images; ask for fewer by filters");
            return Err(Failure::new(Exit::Refused, why));
        }
        // A page that goes on where it began would go on for ever.
        match page.next {
            Some(next) if after.as_ref() != Some(&next) => after = Some(next),
            _ => return Ok(images),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::collections::BTreeMap;

    use super::*;

    /// A day of 2027.
    pub(crate) const NOW_MS: i64 = 1_800_000_000_000;

    /// One that runs unreplicated, one that is present, and one that failed.
    pub(crate) fn images() -> Vec<Image> {
        let hour = 3_600_000;
        let unknown = Image {
            source: "ghcr.io/other/tool:3".parse().unwrap(),
            target: None,
            state: None,
            digest: None,
            size_bytes: None,
            platforms: None,
            referrers: None,
            signed: None,
            namespaces: vec!["team-a".to_owned()],
            first_asked_ms: None,
            last_asked_ms: None,
            checked_at_ms: None,
            in_use: Some(2),
            unreplicated: Some(true),
        };
        let present = Image {
            source: "nginx:1.27".parse().unwrap(),
            target: "registry.corp/mirror/docker.io/library/nginx:1.27".parse().ok(),
            state: Some(State::Present),
            digest: format!("sha256:{}", "5f".repeat(32)).parse().ok(),
            size_bytes: Some(70 << 20),
            platforms: Some(vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()]),
            referrers: Some(BTreeMap::from([("signature".to_owned(), 1), ("sbom".to_owned(), 2)])),
            signed: Some(true),
            namespaces: vec!["shop".to_owned(), "team-a".to_owned()],
            first_asked_ms: Some(NOW_MS - 24 * hour),
            last_asked_ms: Some(NOW_MS - hour),
            checked_at_ms: Some(NOW_MS - hour),
            in_use: Some(1),
            unreplicated: Some(false),
        };
        let failed = Image {
            source: "quay.io/team/app:v1".parse().unwrap(),
            target: "registry.corp/mirror/quay.io/team/app:v1".parse().ok(),
            state: Some(State::Failed),
            namespaces: vec!["shop".to_owned()],
            first_asked_ms: Some(NOW_MS - hour),
            last_asked_ms: Some(NOW_MS - hour / 60),
            in_use: None,
            unreplicated: None,
            ..unknown.clone()
        };
        vec![unknown, present, failed]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_asked_for_as_the_api_has_them() {
        let filters = Filters {
            namespace: "shop".parse().ok(),
            state: Some(State::Stale),
            search: Some("a b".to_owned()),
        };
        assert_eq!(filters.query(), [("namespace", "shop"), ("state", "stale"), ("search", "a b")]);
        assert_eq!(Filters::in_state(State::Failed).query(), [("state", "failed")]);
    }
}
