//! One manifest to the target; and what follows where the target turns out to have less than it
//! said.

use registry::ManifestRef;

use crate::error::CopyError;
use crate::graph::Manifest;
use crate::inspect::Proof;
use crate::manifest;
use crate::report::Damage;
use crate::transfer::Transfer;

impl Transfer<'_> {
    /// Writes a manifest whose parts are at the target.
    pub(crate) async fn write(
        &self,
        manifest: &Manifest,
        at: ManifestRef,
    ) -> Result<(), CopyError> {
        if self.proof == Proof::Word {
            return self.put_or_mend(manifest, &at).await;
        }
        let digest = &manifest.descriptor.digest;
        if let Some(damage) = self.damage_of(manifest, &at).await? {
            tracing::info!(target = %self.target, %digest, %damage, "a manifest is written again");
            self.put_or_mend(manifest, &at).await?;
            if let Some(damage) = self.damage_of(manifest, &at).await? {
                return Err(self.kept(digest, &damage));
            }
        }
        Ok(())
    }

    /// A target that refuses a manifest for want of a blob gets those that were left out on its
    /// word, and then the manifest once more.
    async fn put_or_mend(&self, manifest: &Manifest, at: &ManifestRef) -> Result<(), CopyError> {
        let Err(refusal) = self.put(manifest, at).await else { return Ok(()) };
        if !refusal.misses_a_part() {
            return Err(refusal);
        }
        // It was read once already, so there is something in it.
        let named = manifest::read(&manifest.descriptor.media_type, &manifest.bytes);
        let mut believed = named.map(|named| named.blobs).unwrap_or_default();
        believed.retain(|blob| !self.was_sent(&blob.descriptor.digest));
        if believed.is_empty() {
            return Err(refusal);
        }
        tracing::warn!(error = %refusal, "the target has not what it said it had, it is sent");
        for blob in &believed {
            self.send_after_all(blob).await?;
        }
        self.put(manifest, at).await
    }

    async fn put(&self, manifest: &Manifest, at: &ManifestRef) -> Result<(), CopyError> {
        let (registry, repository) = (self.target.registry(), self.target.repository());
        let media_type = &manifest.descriptor.media_type;
        let put = self.client.put_manifest(registry, repository, at, media_type, &manifest.bytes);
        put.await.map_err(|error| {
            CopyError::target(self.target, error).with_part(&manifest.descriptor.digest)
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
