//! Files that may change while the replicator runs: looked at by content, and used anew.
//!
//! A mounted Secret or ConfigMap changes by a symlink of its folder that is swapped (`..data`), so
//! neither inode nor time of a file says a thing: what counts is what stands in it.
//!
//! - A content is used once two looks in a row have found it: a file that is half written, and a
//!   certificate whose key comes a moment later, are left alone until they are whole.
//! - What is good is in force from then on, for new connections and requests.
//! - What is no good changes nothing. It is told once in the log, and in metrics and `/readyz` for
//!   as long as it lasts. Readiness stays: all replicators read the same file, so falling would
//!   take all of them out of service at once, for a file without which they work.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use protocol::{Registry, Repository};
use registry::{Credential, Credentials, DockerConfig, HelperError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::config::error::ConfigError;
use crate::config::files::{Content, Files, Print};
use crate::metrics::Metrics;

/// How often files are looked at. A password that is taken out ends within two looks, and a look
/// is a few reads from the page cache; a kubelet takes up to a minute to bring a change here.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A value of which there may be another one later. Cheap to clone.
pub(crate) struct Held<T>(watch::Receiver<Arc<T>>);

/// Looks at files, and hands on what has become of them.
#[derive(Default)]
pub(crate) struct Watcher {
    watched: Vec<Watched>,
    troubles: Troubles,
}

struct Watched {
    /// The keys that name the files.
    keys: String,
    paths: String,
    look: Look,
    /// What is used.
    in_force: Print,
    /// What was last tried, for good or bad.
    judged: Print,
    /// What the last look found.
    seen: Print,
}

/// Reads files, and puts what they say into use if that is due.
type Look = Box<dyn FnMut(&dyn Fn(Print) -> bool) -> (Print, Option<Applied>) + Send>;

/// What came of the try to put files into use.
type Applied = Result<(), ConfigError>;

/// What cannot be used at present: shown by `/readyz`. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles(Arc<Mutex<Vec<Trouble>>>);

/// Something that is not as it should be, such as a file that changed into one that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    keys: String,
    since: Timestamp,
    reason: String,
    /// What that means for now.
    holds: &'static str,
}

impl<T> Held<T> {
    /// A value, and where to send others.
    pub(crate) fn channel(value: T) -> (watch::Sender<Arc<T>>, Self) {
        let (sender, receiver) = watch::channel(Arc::new(value));
        (sender, Self(receiver))
    }

    /// The value that holds now.
    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// The same; [`Held::changed`] then waits for another one.
    pub(crate) fn latest(&mut self) -> Arc<T> {
        Arc::clone(&self.0.borrow_and_update())
    }

    /// Ends when there is another value than this clone has seen.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could send one.
            std::future::pending::<()>().await;
        }
    }
}

impl Watcher {
    /// Reads what `files` say, and holds it: it changes with them.
    pub(crate) fn hold<T: Send + Sync + 'static, const N: usize>(
        &mut self,
        files: Files<N>,
        parse: fn(&[Content; N]) -> Result<T, ConfigError>,
    ) -> Result<Held<T>, ConfigError> {
        let (print, contents) = files.read();
        let (sender, held) = Held::channel(parse(&contents?)?);
        self.watch(files, print, move |contents| {
            sender.send_replace(Arc::new(parse(contents)?));
            Ok(())
        });
        Ok(held)
    }

    /// Calls `apply` with each new content of `files`, which had `print` when they were read first.
    pub(crate) fn watch<const N: usize>(
        &mut self,
        files: Files<N>,
        print: Print,
        mut apply: impl FnMut(&[Content; N]) -> Applied + Send + 'static,
    ) {
        let (keys, paths) = (files.keys(), files.paths());
        let look: Look = Box::new(move |is_due| {
            let (print, contents) = files.read();
            (print, is_due(print).then(|| apply(&contents?)))
        });
        self.watched.push(Watched {
            keys,
            paths,
            look,
            in_force: print,
            judged: print,
            seen: print,
        });
    }

    /// What cannot be used, now and later.
    pub(crate) fn troubles(&self) -> Troubles {
        self.troubles.clone()
    }

    /// Looks at all files now and then, until `stop`.
    pub(crate) async fn run(mut self, metrics: Metrics, clock: Clock, stop: CancellationToken) {
        for watched in &self.watched {
            metrics.files().loaded(&watched.keys, clock.now());
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
            // A file system may take its time: nobody else is to wait for it.
            let (metrics, clock) = (metrics.clone(), clock.clone());
            let looked = tokio::task::spawn_blocking(move || {
                self.look(&metrics, &clock);
                self
            });
            match looked.await {
                Ok(watcher) => self = watcher,
                Err(ended) => {
                    tracing::error!(%ended, "files are no longer looked at: restart the replicator");
                    return;
                }
            }
        }
    }

    /// Looks at all files once.
    fn look(&mut self, metrics: &Metrics, clock: &Clock) {
        for Watched { keys, paths, look, in_force, judged, seen } in &mut self.watched {
            let (last, tried, used) = (*seen, *judged, *in_force);
            let is_due = |print| print == last && print != tried && print != used;
            let (print, applied) = look(&is_due);
            *seen = print;
            if print != last || print == tried {
                continue;
            }
            *judged = print;
            self.troubles.clear(keys);
            match applied {
                None => {
                    metrics.files().restored(keys);
                    tracing::info!(keys, paths, "a file is again what is in force");
                }
                Some(Ok(())) => {
                    *in_force = print;
                    metrics.files().used(keys, clock.now());
                    tracing::info!(keys, paths, "a file has changed and is in force");
                }
                Some(Err(error)) => {
                    metrics.files().refused(keys);
                    tracing::error!(keys, paths, %error, "a file has changed and cannot be used; the old one is in force");
                    let (now, reason) = (clock.now(), error.to_string());
                    self.troubles.set(keys, now, &reason, "the old one is in force");
                }
            }
        }
    }
}

impl Troubles {
    /// A line for each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.all().iter().map(ToString::to_string).collect()
    }

    /// There is one of what these keys name; `holds` is what that means for now. Of each there is
    /// one at most, and it is there since the first time.
    pub(crate) fn set(&self, keys: &str, now: Timestamp, reason: &str, holds: &'static str) {
        let mut all = self.all();
        let before = all.iter().position(|trouble| trouble.keys == keys).map(|at| all.remove(at));
        let since = before.map_or(now, |before| before.since);
        all.push(Trouble { keys: keys.to_owned(), since, reason: reason.to_owned(), holds });
    }

    /// There is none of what these keys name.
    pub(crate) fn clear(&self, keys: &str) {
        self.all().retain(|trouble| trouble.keys != keys);
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; since {}, and {}", self.reason, self.since, self.holds)
    }
}

/// A docker config that may change: what it says holds from the next request on.
impl Credentials for Held<DockerConfig> {
    fn find<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Result<Option<Credential>, HelperError>> {
        async move { self.current().find(registry, repository).await }.boxed()
    }

    fn refused(&self, registry: &Registry, credential: &Credential) {
        self.current().refused(registry, credential);
    }
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.watched.iter().map(|watched| &watched.keys)).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current().fmt(f)
    }
}

#[cfg(test)]
mod tests;
