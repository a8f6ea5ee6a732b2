//! Remembers successful answers for a while, and lets one call at a time ask for a new one.
//!
//! The lock is held *while* an answer is fetched, and hits wait for it too: that is how the host
//! behaved up to (at least) 1.36, and what makes slow answers add up. One cache per operation,
//! shared by all policies of a process. It knows no registry.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long the real host keeps an answer. Hits do not prolong it.
pub const TIME_TO_LIVE: Duration = Duration::from_secs(60);

/// Answers of one operation, by the exact text that was asked.
#[derive(Debug, Default)]
pub struct Cache {
    entries: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    payload: Vec<u8>,
    stored: Instant,
}

impl Entry {
    fn is_fresh(&self) -> bool {
        self.stored.elapsed() < TIME_TO_LIVE
    }
}

impl Cache {
    /// The kept answer for `key`, or the one that `fetch` brings; a failure is not kept.
    pub async fn answer<E>(
        &self,
        key: &str,
        fetch: impl Future<Output = Result<Vec<u8>, E>>,
    ) -> Result<Vec<u8>, E> {
        let mut entries = self.entries.lock().await;
        if let Some(entry) = entries.get(key).filter(|entry| entry.is_fresh()) {
            return Ok(entry.payload.clone());
        }
        let payload = fetch.await?;
        // What is no longer fresh goes when something comes: so an idle key costs one TTL of memory.
        entries.retain(|_, entry| entry.is_fresh());
        entries.insert(key.to_owned(), Entry { payload: payload.clone(), stored: Instant::now() });
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    async fn ask(
        cache: &Cache,
        key: &str,
        calls: &Cell<u32>,
        answer: Result<&str, &str>,
    ) -> Result<String, String> {
        let fetch = async {
            calls.set(calls.get() + 1);
            answer.map(|text| text.as_bytes().to_vec()).map_err(str::to_owned)
        };
        cache.answer(key, fetch).await.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_is_kept_for_its_time_and_no_longer() {
        let (cache, calls) = (Cache::default(), Cell::new(0));
        assert_eq!(ask(&cache, "a:1", &calls, Ok("first")).await.unwrap(), "first");
        tokio::time::advance(TIME_TO_LIVE - Duration::from_millis(1)).await;
        assert_eq!(ask(&cache, "a:1", &calls, Ok("second")).await.unwrap(), "first");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(ask(&cache, "a:1", &calls, Ok("second")).await.unwrap(), "second");
        assert_eq!(calls.get(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_asked_anew() {
        let (cache, calls) = (Cache::default(), Cell::new(0));
        assert!(ask(&cache, "a:1", &calls, Err("not yet")).await.is_err());
        assert_eq!(ask(&cache, "a:1", &calls, Ok("there")).await.unwrap(), "there");
        assert_eq!(calls.get(), 2);
    }

    #[tokio::test]
    async fn names_of_one_image_written_differently_are_kept_apart() {
        let (cache, calls) = (Cache::default(), Cell::new(0));
        for name in ["busybox", "docker.io/library/busybox", "docker.io/library/busybox:latest"] {
            ask(&cache, name, &calls, Ok("m")).await.unwrap();
        }
        assert_eq!(calls.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn two_slow_answers_come_one_after_the_other() {
        let cache = Cache::default();
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok::<_, ()>(Vec::new())
        };
        let start = Instant::now();
        let (first, second) = tokio::join!(cache.answer("a", slow()), cache.answer("b", slow()));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(start.elapsed(), Duration::from_secs(6));
    }
}
