//! Repositories that a target wants created before it takes anything into them: the port, and
//! one creation at a time for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use protocol::{Registry, Repository};
use tokio::time::Instant;

use crate::limits::CREATIONS;

/// Creates repositories at targets that do not do so by themselves. It is asked when a target
/// says that it knows no such repository (`NAME_UNKNOWN`), never twice at once for the same one.
pub trait Repositories: Send + Sync {
    /// Creates it. An error is one line for people; the copy that needs it fails with it.
    fn create<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Result<(), String>>;
}

type Key = (Registry, Repository);

/// When a creation was done, and what came of it.
type Last = Arc<tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>>;

/// The creations of one engine.
#[derive(Default)]
pub(crate) struct Creations {
    port: Option<Arc<dyn Repositories>>,
    last: Mutex<HashMap<Key, Last>>,
}

impl Creations {
    pub(crate) fn by(port: Arc<dyn Repositories>) -> Self {
        Self { port: Some(port), last: Mutex::default() }
    }

    /// Creates a repository that a target did not know when it was asked at `asked`. Whatever a
    /// creation that was done since then led to is the answer. None where there is no port.
    pub(crate) async fn create(
        &self,
        registry: &Registry,
        repository: &Repository,
        asked: Instant,
    ) -> Option<Result<(), String>> {
        let port = self.port.as_ref()?;
        let last = {
            let mut known = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= CREATIONS {
                known.retain(|_, last| Arc::strong_count(last) > 1);
            }
            Arc::clone(known.entry((registry.clone(), repository.clone())).or_default())
        };
        let mut last = last.lock().await;
        if let Some((done, result)) = &*last
            && *done >= asked
        {
            return Some(result.clone());
        }
        tracing::info!(%registry, %repository, "the target does not know the repository; it is created");
        let result = port.create(registry, repository).await;
        *last = Some((Instant::now(), result.clone()));
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    /// Counts, and fails from the second time on.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Repositories for Counted {
        fn create<'a>(
            &'a self,
            _: &'a Registry,
            repository: &'a Repository,
        ) -> BoxFuture<'a, Result<(), String>> {
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                match self.0.fetch_add(1, Ordering::Relaxed) {
                    0 => Ok(()),
                    _ => Err(format!("{repository} exists")),
                }
            }
            .boxed()
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn one_creation_answers_all_who_asked_before_it_was_done() {
        runtime().block_on(async {
            let creations = Creations::by(Arc::new(Counted::default()));
            let (registry, repository) = ("r.example".parse().unwrap(), "a".parse().unwrap());
            let ask = |asked| creations.create(&registry, &repository, asked);
            let asked = Instant::now();
            let answers = futures::future::join_all((0..6).map(|_| ask(asked))).await;
            assert!(answers.iter().all(|answer| *answer == Some(Ok(()))));
            assert_eq!(ask(asked).await, Some(Ok(())));
            // Gone since then.
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert_eq!(ask(Instant::now()).await, Some(Err("a exists".to_owned())));
        });
    }

    #[test]
    fn without_a_port_nothing_is_created() {
        let (registry, repository) = ("r.example".parse().unwrap(), "a".parse().unwrap());
        let creations = Creations::default();
        let created = creations.create(&registry, &repository, Instant::now());
        assert_eq!(created.now_or_never(), Some(None));
    }
}
