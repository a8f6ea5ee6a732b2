//! What the commands of a person ask registries with.

use std::path::Path;
use std::sync::Arc;

use copy::Copier;
use protocol::ImageReference;

use super::{Exit, Failure};
use crate::config::ByHand;
use crate::credentials::{NamedCredentials, or_nobody};
use crate::watch::Watcher;

/// A copier by the configuration at `config`, where there is one; `reads_as` says who reads
/// sources. Where a person says to go, as with these images, we may go.
pub(crate) fn copier<E: Into<Failure>>(
    config: Option<&Path>,
    images: &[&ImageReference],
    reads_as: impl FnOnce(&ByHand) -> Result<Option<Arc<NamedCredentials>>, E>,
) -> Result<Copier, Failure> {
    let mut by_hand = config.map(ByHand::load).transpose()?.unwrap_or_default();
    images.iter().for_each(|image| by_hand.registries.name(image.registry()));
    let reader = reads_as(&by_hand).map_err(Into::into)?;
    let copier = by_hand.registries.copier(&mut Watcher::default());
    let copier = copier.map_err(|error| Failure::new(Exit::Failed, error))?;
    let reader = copier.client().with_credentials(or_nobody(reader));
    Ok(copier.reading_with(reader))
}
