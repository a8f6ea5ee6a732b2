//! What registries say of the images that are allowed.

use copy::{Copier, CopyError, Estimate};
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

use super::decide::{Allowed, Decided};

/// Images that are asked about at once. Each may have several requests under way; how many a
/// registry gets at once is its lane's matter.
const IMAGES_AT_ONCE: usize = 8;

/// What registries said of each image, in their order; None where the rules refuse it.
pub(crate) async fn estimate(
    copier: &Copier,
    decided: &[Decided],
) -> Vec<Option<Result<Estimate, CopyError>>> {
    // Drawn on a terminal only; indicatif hides it elsewhere.
    let bar = ProgressBar::new(decided.len() as u64).with_style(style());
    let asked = decided.iter().map(|decided| {
        let bar = &bar;
        async move {
            let estimate = match &decided.outcome {
                Ok(allowed) => Some(estimate_one(copier, allowed).await),
                Err(_) => None,
            };
            bar.inc(1);
            estimate
        }
    });
    let estimates = stream::iter(asked).buffered(IMAGES_AT_ONCE).collect().await;
    bar.finish_and_clear();
    estimates
}

/// Reads the source as who the rule says, and of it what the rule has copied.
async fn estimate_one(copier: &Copier, allowed: &Allowed) -> Result<Estimate, CopyError> {
    let Allowed { job, terms, who } = allowed;
    let reader = copier.client().with_credentials(who.port());
    let copier = copier.clone().with_scope(terms.scope.clone()).reading_with(reader);
    copier.estimate(job).await
}

fn style() -> ProgressStyle {
    let template = "{bar:30} {pos} of {len} images asked about";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
