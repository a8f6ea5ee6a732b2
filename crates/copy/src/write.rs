//! One manifest to the target; and what follows where the target turns out to have less than it
//! said.

use registry::{ManifestRef, Retry};

use crate::error::CopyError;
use crate::graph::Manifest;
use crate::inspect::Proof;
use crate::listing::Unlisted;
use crate::manifest;
use crate::report::Damage;
use crate::transfer::Transfer;

impl Transfer<'_> {
    /// Writes a manifest whose parts are at the target. Tells subject and entry where it has a
    /// subject and the target does not list it there by itself.
    pub(crate) async fn write(
        &self,
        manifest: &Manifest,
        at: ManifestRef,
    ) -> Result<Option<Unlisted>, CopyError> {
        if self.proof == Proof::Word {
            return self.put_or_mend(manifest, &at).await;
        }
        let digest = &manifest.descriptor.digest;
        if let Some(damage) = self.damage_of(manifest, &at).await? {
            tracing::info!(target = %self.target, %digest, %damage, "a manifest is written again");
            let unlisted = self.put_or_mend(manifest, &at).await?;
            if let Some(damage) = self.damage_of(manifest, &at).await? {
                return Err(self.kept(digest, &damage));
            }
            return Ok(unlisted);
        }
        Ok(None)
    }

    /// A target that refuses a manifest for want of a blob gets those that were left out on its
    /// word, and then the manifest once more.
    async fn put_or_mend(
        &self,
        manifest: &Manifest,
        at: &ManifestRef,
    ) -> Result<Option<Unlisted>, CopyError> {
        let refusal = match self.put(manifest, at).await {
            Err(refusal) if refusal.misses_a_part() => refusal,
            put => return put,
        };
        // It was read once already, so there is something in it.
        let named = manifest::read(&manifest.descriptor.media_type, &manifest.bytes);
        let mut believed = named.map(|named| named.blobs).unwrap_or_default();
        believed.retain(|blob| self.was_believed(&blob.descriptor.digest));
        if believed.is_empty() {
            return Err(refusal);
        }
        tracing::warn!(error = %refusal, "the target has not what it said it had, it is sent");
        for blob in &believed {
            self.send_after_all(blob).await?;
        }
        self.put(manifest, at).await
    }

    async fn put(
        &self,
        manifest: &Manifest,
        at: &ManifestRef,
    ) -> Result<Option<Unlisted>, CopyError> {
        let Manifest { descriptor, bytes, subject, left_out, .. } = manifest;
        let (registry, repository) = (self.target.registry(), self.target.repository());
        let put = self.client.put_manifest(registry, repository, at, &descriptor.media_type, bytes);
        match put.await {
            Ok(Some(_)) => return Ok(None),
            Ok(None) => {}
            Err(error) if self.is_there_all_the_same(manifest, at, &error).await => {
                tracing::info!(%error, "the tag names this image already");
            }
            Err(error) => {
                let objection = left_out.and_then(|what| self.scope.objection(what, &error));
                let error = match objection {
                    Some(objection) => CopyError::not_taken(self.target, objection),
                    None => CopyError::target(self.target, error),
                };
                return Err(error.with_part(&descriptor.digest));
            }
        }
        // Most have no subject, which is known, and need not be read for it once more.
        Ok(subject.as_ref().and_then(|_| manifest::as_referrer(descriptor, bytes)))
    }

    /// Whether a tag that may not be written names the manifest. Where tags are immutable, somebody
    /// else was faster, or the answer to our own first try was lost.
    async fn is_there_all_the_same(
        &self,
        manifest: &Manifest,
        at: &ManifestRef,
        error: &registry::Error,
    ) -> bool {
        let is_refusal = error.status().is_some() && error.retry() == Retry::Never;
        if !is_refusal || !matches!(at, ManifestRef::Tag(_)) {
            return false;
        }
        let (registry, repository) = (self.target.registry(), self.target.repository());
        let found = self.client.head_manifest(registry, repository, at).await;
        found.is_ok_and(|found| {
            found.is_some_and(|found| found.digest == manifest.descriptor.digest)
        })
    }

    async fn damage_of(
        &self,
        manifest: &Manifest,
        at: &ManifestRef,
    ) -> Result<Option<Damage>, CopyError> {
        Ok(match self.inspector().manifest(at).await? {
            Ok((found, _)) if found == manifest.descriptor => None,
            Ok(_) => Some(Damage::Wrong),
            Err(damage) => Some(damage),
        })
    }
}
