//! The verb on tags: all that a repository has (distribution-spec, "Listing Tags").

use http::Method;
use protocol::{Registry, Repository, Tag};
use serde::Deserialize;

use crate::client::Client;
use crate::error::{Error, ErrorKind, Operation};
use crate::limits::{MAX_TAG_PAGE_BYTES, MAX_TAG_PAGES, TAGS_ON_A_PAGE};
use crate::referrers::next_page;
use crate::request::Request;

/// A page. A repository without tags has `null` in some registries.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Client {
    /// The tags of a repository; none where there is no such repository. An error where they
    /// cannot all be read: who asks wants to know of each.
    pub async fn tags(
        &self,
        registry: &Registry,
        repository: &Repository,
    ) -> Result<Vec<Tag>, Error> {
        let site = self.site(Operation::ListTags, registry)?;
        let mut first = site.home.url(&format!("{repository}/tags/list"));
        first.set_query(Some(&format!("n={TAGS_ON_A_PAGE}")));
        let (mut next, mut found, mut pages) = (Some(first), Vec::new(), 0);
        while let Some(url) = next {
            let request = Request::new(Operation::ListTags, registry, Method::GET, url);
            let answer = match self.request(&site, request, Some(&self.reading(repository))).await {
                Ok(answer) => answer,
                Err(error) if pages == 0 && error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            pages += 1;
            next = next_page(&answer)?;
            if next.as_ref().is_some_and(|next| !site.home.is_home_of(next)) {
                let message = "it has the rest of the tags at another host";
                return Err(answer.error(ErrorKind::Denied, message));
            }
            if pages >= MAX_TAG_PAGES && next.is_some() {
                return Err(answer.error(ErrorKind::TooLarge, "it has its tags on too many pages"));
            }
            let malformed = answer.error(ErrorKind::Malformed, "it lists no tags");
            let page = answer.bytes(MAX_TAG_PAGE_BYTES).await?;
            let page: Page = serde_json::from_slice(&page).map_err(|_| malformed.clone())?;
            for tag in page.tags.unwrap_or_default() {
                found.push(tag.parse().map_err(|_| malformed.clone())?);
            }
        }
        Ok(found)
    }
}
