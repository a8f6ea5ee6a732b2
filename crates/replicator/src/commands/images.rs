//! What `list` and `inventory` share: the filters, and all pages of what passes them.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use protocol::Namespace;

use super::server::Api;
use super::{Exit, Failure};
use crate::ledger::record::State;
use crate::status::documents::{Image, Images};

/// Images on a page: the most that the API gives at once.
const PAGE: &str = "1000";

/// The most images that are read. More is no answer for a person, and would not fit into memory:
/// the CSV goes through without being kept.
const MAX_IMAGES: usize = 500_000;

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
        if images.len() > MAX_IMAGES {
            let why = format!("there are more than {MAX_IMAGES} images; ask for fewer by filters");
            return Err(Failure::new(Exit::Refused, why));
        }
        // A page that goes on where it began would go on for ever.
        match page.next {
            Some(next) if after.as_ref() != Some(&next) => after = Some(next),
            _ => return Ok(images),
        }
    }
}
