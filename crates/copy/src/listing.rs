//! Lists of referrers at a target that keeps none by itself: an index under a tag made of the
//! subject's digest (distribution-spec, "Pushing Manifests with Subject").

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use protocol::{Digest, ImageReference};
use registry::{Client, ErrorKind, ManifestRef};
use serde_json::{Value, json};

use crate::error::CopyError;
use crate::flights::Flights;
use crate::limits::Limits;

/// The media type of a list.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest that a target took without listing it under its subject: the subject, and the
/// entry for the list.
pub(crate) type Unlisted = (Digest, Value);

/// Lists manifests under their subjects. Within this process no list is changed by two at once.
pub(crate) async fn list_at_target(
    client: &Client,
    flights: &Flights,
    limits: &Limits,
    target: &ImageReference,
    unlisted: Vec<Unlisted>,
) -> Result<(), CopyError> {
    let mut by_subject: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (subject, entry) in unlisted {
        by_subject.entry(subject).or_default().push(entry);
    }
    let listed = by_subject.into_iter().map(|(subject, entries)| {
        let listed = async move {
            let _turn = flights.turn(target.registry(), &subject).await;
            list_under(client, target, &subject, &entries).await
        };
        listed.boxed()
    });
    let listed: Vec<_> = listed.collect();
    let listed = stream::iter(listed).buffer_unordered(limits.manifests_at_once);
    listed.try_collect::<()>().await
}

/// Lists manifests under one subject.
async fn list_under(
    client: &Client,
    target: &ImageReference,
    subject: &Digest,
    entries: &[Value],
) -> Result<(), CopyError> {
    let (registry, repository) = (target.registry(), target.repository());
    let failed = |error| CopyError::target(target, error).with_part(subject);
    let at = ManifestRef::Tag(registry::Referrer::fallback_tag(subject));
    let known = match client.manifest(registry, repository, &at).await {
        // The subject itself is there under that tag, or the registry takes the tag for its digest.
        Ok((descriptor, _)) if descriptor.digest == *subject => Err(NoIndex),
        Ok((descriptor, bytes)) if descriptor.media_type.is_index() => Ok(Some(bytes)),
        Ok(_) => Err(NoIndex),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match known.and_then(|known| merged(known.as_deref(), entries)) {
        Ok(None) => Ok(()),
        Ok(Some(index)) => {
            let media_type = INDEX.parse().expect("the type of an index is a media type");
            let put = client.put_manifest(registry, repository, &at, &media_type, &index).await;
            put.map(|_| ()).map_err(failed)
        }
        Err(NoIndex) => {
            tracing::warn!(%target, tag = %at, "the tag is no list of referrers, and is let be");
            Ok(())
        }
    }
}

/// The index `known` with what is missing of `entries`; None where it has them all. What others
/// put there stays as it is.
fn merged(known: Option<&[u8]>, entries: &[Value]) -> Result<Option<Bytes>, NoIndex> {
    let mut index = match known {
        Some(bytes) => serde_json::from_slice(bytes).map_err(|_| NoIndex)?,
        None => json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}),
    };
    let list = index.get_mut("manifests").and_then(Value::as_array_mut).ok_or(NoIndex)?;
    let before = list.len();
    for entry in entries {
        if !list.iter().any(|known| known["digest"] == entry["digest"]) {
            list.push(entry.clone());
        }
    }
    let is_changed = list.len() > before;
    Ok(is_changed.then(|| Bytes::from(index.to_string())))
}

/// The tag that should name an index names something else.
#[derive(Debug, PartialEq, Eq)]
struct NoIndex;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_what_others_put_there_and_grows_by_what_is_new() {
        let known =
            br#"{"manifests":[{"digest":"sha256:a","foreign":true}],"annotations":{"x":"y"}}"#;
        let entry = |digest: &str| json!({"digest": digest});
        assert_eq!(merged(Some(known), &[entry("sha256:a")]), Ok(None));
        let grown = merged(Some(known), &[entry("sha256:b"), entry("sha256:b")]).unwrap().unwrap();
        let grown: Value = serde_json::from_slice(&grown).unwrap();
        let whole = json!({
            "manifests": [{"digest": "sha256:a", "foreign": true}, {"digest": "sha256:b"}],
            "annotations": {"x": "y"},
        });
        assert_eq!(grown, whole);
    }

    #[test]
    fn what_is_no_list_is_not_touched() {
        for known in ["[]", "{", r#"{"manifests":{}}"#, r#"{"layers":[]}"#] {
            assert_eq!(merged(Some(known.as_bytes()), &[json!({})]), Err(NoIndex), "{known}");
        }
    }
}
