//! The verb on referrers: what refers to a manifest (distribution-spec, "Listing Referrers").

use http::{HeaderValue, Method, header};
use protocol::reference::Algorithm;
use protocol::{Digest, Registry, Repository, Tag};
use serde::Deserialize;
use url::Url;

use crate::answer::Answer;
use crate::client::Client;
use crate::descriptor::{Descriptor, OCI_INDEX};
use crate::error::{Error, ErrorKind, Operation};
use crate::limits::{MAX_MANIFEST_BYTES, MAX_REFERRER_PAGES};
use crate::request::Request;

/// A manifest that refers to another one, as an index lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Referrer {
    /// The manifest.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// What it is; None where the list does not say.
    #[serde(rename = "artifactType")]
    pub artifact_type: Option<String>,
}

/// The part of an index that lists referrers.
#[derive(Deserialize)]
struct List {
    manifests: Vec<Referrer>,
}

impl Referrer {
    /// The referrers that an index lists; None where the bytes are no index of such.
    pub fn read_list(index: &[u8]) -> Option<Vec<Self>> {
        serde_json::from_slice::<List>(index).ok().map(|list| list.manifests)
    }

    /// The tag of the index that lists the referrers of `subject` where a registry has no API
    /// for it (distribution-spec, "Referrers Tag Schema").
    pub fn fallback_tag(subject: &Digest) -> Tag {
        let algorithm = match subject.algorithm() {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        };
        let hex: String = subject.hex().chars().take(64).collect();
        format!("{algorithm}-{hex}").parse().expect("letters, digits and a dash make a tag")
    }
}

impl Client {
    /// What refers to the manifest `subject`, at most `at_most` of them; None where the registry
    /// has no referrers API.
    pub async fn referrers(
        &self,
        registry: &Registry,
        repository: &Repository,
        subject: &Digest,
        at_most: usize,
    ) -> Result<Option<Vec<Referrer>>, Error> {
        let site = self.site(Operation::ListReferrers, registry)?;
        let mut next = Some(site.home.url(&format!("{repository}/referrers/{subject}")));
        let mut found = Vec::new();
        let mut pages = 0;
        while let Some(url) = next {
            let request = Request::new(Operation::ListReferrers, registry, Method::GET, url)
                .with_header(header::ACCEPT, HeaderValue::from_static(OCI_INDEX));
            let answer = match self.request(&site, request, Some(&self.reading(repository))).await {
                Ok(answer) if pages > 0 || is_index(&answer) => answer,
                // What some registries and proxies have for each path that they do not know.
                Ok(_) => return Ok(None),
                Err(error) if pages == 0 && lacks_api(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            pages += 1;
            next = next_page(&answer)?;
            if next.as_ref().is_some_and(|next| !site.home.is_home_of(next)) {
                let message = "it has the rest of the referrers at another host";
                return Err(answer.error(ErrorKind::Denied, message));
            }
            let malformed = answer.error(ErrorKind::Malformed, "it lists no referrers");
            let too_many = answer.error(
                ErrorKind::TooLarge,
                format!("it lists more than {at_most}, or on too many pages"),
            );
            let page = answer.bytes(MAX_MANIFEST_BYTES).await?;
            found.extend(Referrer::read_list(&page).ok_or(malformed)?);
            if found.len() > at_most || (pages >= MAX_REFERRER_PAGES && next.is_some()) {
                return Err(too_many);
            }
        }
        Ok(Some(found))
    }
}

fn is_index(answer: &Answer) -> bool {
    let media_type = answer.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
    media_type.split(';').next().is_some_and(|bare| bare.trim() == OCI_INDEX)
}

/// Whether an answer to the first request means that there is no such API: 404 by the spec; 400,
/// 405, 406 and refusals by registries that know no such path. The repository itself is readable
/// with the same credentials, since the subject came from it.
fn lacks_api(error: &Error) -> bool {
    let lacks = error.status().is_some()
        && matches!(
            error.kind(),
            ErrorKind::NotFound
                | ErrorKind::Unsupported
                | ErrorKind::Malformed
                | ErrorKind::Denied
                | ErrorKind::Unauthorized
        );
    if lacks && error.kind() != ErrorKind::NotFound {
        tracing::warn!(%error, "taken for a registry without a referrers API");
    }
    lacks
}

/// Where the list goes on.
pub(crate) fn next_page(answer: &Answer) -> Result<Option<Url>, Error> {
    let links = answer.headers.get_all(header::LINK).iter();
    let mut links = links.filter_map(|link| link.to_str().ok());
    let Some(target) = links.find_map(parse_next) else { return Ok(None) };
    let illegal = |_| answer.error(ErrorKind::Malformed, "its link to the next page is no URL");
    answer.url.join(target).map(Some).map_err(illegal)
}

/// The target of the first of some links that leads to the next page (RFC 8288, section 3):
/// `<URL>; rel="next", <URL>; rel="last"`.
pub(crate) fn parse_next(links: &str) -> Option<&str> {
    let mut rest = links;
    loop {
        let link = rest.trim_start_matches([',', ' ', '\t']);
        let (target, behind) = link.strip_prefix('<')?.split_once('>')?;
        let (parameters, others) = split_unquoted(behind, ',');
        if leads_to_next(parameters) {
            return Some(target);
        }
        rest = others;
    }
}

fn leads_to_next(mut parameters: &str) -> bool {
    while !parameters.is_empty() {
        let (parameter, others) = split_unquoted(parameters, ';');
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        if name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        {
            return true;
        }
        parameters = others;
    }
    false
}

/// What stands before and behind the first separator that is in no quotes.
fn split_unquoted(text: &str, separator: char) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    let at = text.find(|c| {
        let ends = c == separator && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
        ends
    });
    at.map_or((text, ""), |at| (&text[..at], &text[at + separator.len_utf8()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fallback_tag_is_cut_as_the_spec_says() {
        let sha256 = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let sha512 = format!("sha512:{}", "b".repeat(128)).parse().unwrap();
        let cut = |letter: &str| letter.repeat(64);
        assert_eq!(Referrer::fallback_tag(&sha256).as_str(), format!("sha256-{}", cut("a")));
        assert_eq!(Referrer::fallback_tag(&sha512).as_str(), format!("sha512-{}", cut("b")));
    }

    #[test]
    fn only_a_link_to_the_next_page_is_followed() {
        assert_eq!(parse_next(r#"</v2/a?n=1>; rel="next""#), Some("/v2/a?n=1"));
        assert_eq!(parse_next("<x>; title=a; rel=next"), Some("x"));
        for link in [
            "",
            "/v2/a",
            "<x>",
            r#"<x>; rel="prev""#,
            "x>; rel=next",
            r#"<x>; title="; rel=next; \", <y>; rel=next""#,
        ] {
            assert_eq!(parse_next(link), None, "{link}");
        }
    }

    #[test]
    fn of_several_links_the_next_one_counts() {
        let first =
            r#"<a>; rel="prev"; title="x, <y>; rel=next", <b>; rel="next", <c>; rel="last""#;
        assert_eq!(parse_next(first), Some("b"));
        assert_eq!(parse_next(r#"<b>; rel="item next",<c>; rel="last""#), Some("b"));
    }

    #[test]
    fn a_list_is_an_index_with_types() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let list = format!(
            r#"{{"manifests":[{{"mediaType":"a/b","digest":"{digest}","size":3,"artifactType":"x/y"}},
                              {{"mediaType":"a/b","digest":"{digest}","size":3,"annotations":null}}]}}"#
        );
        let read = Referrer::read_list(list.as_bytes()).unwrap();
        let types: Vec<_> = read.iter().map(|found| found.artifact_type.as_deref()).collect();
        assert_eq!(types, [Some("x/y"), None]);
        assert_eq!(Referrer::read_list(b"{}"), None);
    }
}
