//! `prewarm`: the images in manifests are copied before pods ask for them.
//!
//! A running replicator is asked once for each namespace, and goes by its own rules.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use protocol::{ImageReference, Namespace};
use serde::Serialize;

use super::manifests::ManifestArgs;
use super::output::Output;
use super::server::{Api, AskError, KeeperArgs};
use super::table::{Cell, Table};
use super::words::{BAD, state};
use super::{Exit, Failure};
use crate::freshness::Period;
use crate::ledger::record::State;
use crate::manifests::Manifests;
use crate::status::documents::{self, ErrorBody, ImageDetails, PrewarmedImage, Work};

/// The most images that the replicator takes by one request.
const MAX_IMAGES_AT_ONCE: usize = 1_000;

/// How often it is looked how far the copies are: a small one takes a second.
const LOOK: Duration = Duration::from_secs(1);

/// Images that are looked at at once. The ledger answers each by a read.
const LOOKS_AT_ONCE: usize = 8;

/// What `prewarm` is told.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Prewarm {
    #[command(flatten)]
    manifests: ManifestArgs,
    /// Wait until all images are there, or have failed
    #[arg(long)]
    wait: bool,
    /// With --wait: how long at most, as in 10m; what is not there by then counts as failed, and
    /// its copy goes on [default: as long as it takes]
    #[arg(long, value_name = "TIME", requires = "wait")]
    timeout: Option<Period>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: KeeperArgs,
}

const NOTES: &str = "\
Needs the token that the replicator has as `status.token`. Ends with 0 when all images are there or
will be copied (with --wait: are there), 3 when one is refused, 1 when one failed and trying again
may help. Interrupted, it leaves the copies to go on.

Example:
  helm template shop ./shop --namespace shop |
    image-replicator prewarm - --namespace shop --wait --token-file token";

/// What became of the images.
#[derive(Debug, Serialize)]
struct Prewarmed {
    images: Vec<Image>,
}

/// What became of an image, in one namespace.
#[derive(Debug, Serialize)]
struct Image {
    namespace: String,
    /// In canonical form where it has one.
    source: String,
    target: Option<ImageReference>,
    /// How the replica stands; None where there will be none.
    state: Option<State>,
    /// Why there is none.
    error: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

impl Prewarm {
    /// Asks for all, and waits where that is wanted.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let manifests = self.manifests.read()?;
        let api = self.server.api()?;
        let (wishes, mut images) = wishes(&manifests);
        for (namespace, sources) in wishes {
            for sources in sources.chunks(MAX_IMAGES_AT_ONCE) {
                images.extend(ask(&api, &namespace, sources).await?);
            }
        }
        if self.wait {
            images = wait(&api, images, self.timeout).await?;
        }
        let exit = Exit::of_all(images.iter().map(|image| image.exit));
        let document = Prewarmed { images };
        self.output.print(&document, &document)?;
        Ok(exit)
    }
}

/// Which images are wanted for which namespace; and those that are none, as they will be told.
fn wishes(manifests: &Manifests) -> (BTreeMap<Namespace, Vec<ImageReference>>, Vec<Image>) {
    let (mut wishes, mut none) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
    for named in &manifests.images {
        let mut namespaces: Vec<_> = named.by.iter().map(|by| &by.namespace).collect();
        namespaces.sort();
        namespaces.dedup();
        for namespace in namespaces {
            match &named.reference {
                Ok(image) => wishes.entry(namespace.clone()).or_default().push(image.clone()),
                Err(why) => none.push(Image {
                    namespace: namespace.to_string(),
                    source: named.name.clone(),
                    target: None,
                    state: None,
                    error: Some(why.clone()),
                    exit: Exit::Refused,
                }),
            }
        }
    }
    (wishes, none)
}

async fn ask(
    api: &Api,
    namespace: &Namespace,
    sources: &[ImageReference],
) -> Result<Vec<Image>, Failure> {
    let wish = documents::Prewarm { namespace: namespace.to_string(), sources: sources.to_vec() };
    let prewarmed: documents::Prewarmed = api.post("api/v1/prewarm", &wish).await?;
    let image = |PrewarmedImage { source, target, state, error }| {
        let refused = error.map(|ErrorBody { code, message }| AskError::Refused { code, message });
        Image {
            namespace: namespace.to_string(),
            source: source.to_string(),
            target,
            state: state.as_deref().and_then(State::parse),
            exit: refused.as_ref().map_or(Exit::Done, AskError::exit),
            error: refused.map(|refused| refused.to_string()),
        }
    };
    Ok(prewarmed.images.into_iter().map(image).collect())
}

/// Waits until each image is there, or has failed, or the time is up.
async fn wait(
    api: &Api,
    images: Vec<Image>,
    timeout: Option<Period>,
) -> Result<Vec<Image>, Failure> {
    let begin = Instant::now();
    // Drawn on a terminal only; indicatif hides it elsewhere.
    let bar = ProgressBar::new(images.len() as u64).with_style(style());
    let waited = images.into_iter().map(|mut image| {
        let bar = &bar;
        async move {
            while !image.is_settled() {
                match timeout {
                    Some(limit) if begin.elapsed() >= limit.0 => image.give_up(limit),
                    _ => {
                        tokio::time::sleep(LOOK).await;
                        image.look(api).await?;
                    }
                }
            }
            bar.inc(1);
            Ok::<_, Failure>(image)
        }
    });
    // Whoever waits in turn sees in time what came to its end before.
    let waited = stream::iter(waited).buffered(LOOKS_AT_ONCE).try_collect().await;
    bar.finish_and_clear();
    waited
}

impl Image {
    fn is_settled(&self) -> bool {
        self.error.is_some() || self.state.is_some_and(State::is_there)
    }

    /// It is not waited for any longer.
    fn give_up(&mut self, limit: Period) {
        self.exit = Exit::Failed;
        self.error = Some(format!("it is not there after {limit}; its copy goes on"));
    }

    /// Finds out how it stands now. That it failed counts once nobody tries again.
    async fn look(&mut self, api: &Api) -> Result<(), Failure> {
        let details: ImageDetails = api.get("api/v1/image", &[("source", &self.source)]).await?;
        self.state = details.image.state;
        let is_over = matches!(details.work, Work::Idle | Work::Later { .. });
        if let Some(failure) = details.failure.filter(|_| is_over && !self.is_settled()) {
            self.exit = if failure.is_lasting { Exit::Refused } else { Exit::Failed };
            self.error = Some(failure.message);
        }
        Ok(())
    }
}

fn style() -> ProgressStyle {
    let template = "{bar:30} {pos} of {len} images settled";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl fmt::Display for Prewarmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["NAMESPACE", "SOURCE", "NOW"]);
        for image in &self.images {
            let now = match (&image.error, image.state) {
                (Some(error), _) => Cell::from(error).styled(BAD),
                (None, Some(now)) => state(now),
                (None, None) => "".into(),
            };
            table.push([(&image.namespace).into(), (&image.source).into(), now]);
        }
        table.fmt(f)
    }
}
