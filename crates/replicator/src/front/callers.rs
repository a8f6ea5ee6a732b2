//! Who asks: the name in a client certificate, or Basic credentials.
//!
//! bcrypt is slow on purpose, and a trigger must be answered in milliseconds. So credentials
//! that were found right once are known again by a SHA-256 of the header, keyed with a secret
//! of this process, for as long as the hash that they were held against is the caller's. Wrong
//! ones are checked anew each time, a few at a time, and not at all for a peer that guesses.
//! What is known is known for that peer, too: who guesses from a policy server's node cannot
//! lock the policy out.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::failures::Failures;
use super::htpasswd::Htpasswd;
use crate::watch::Held;

/// Credentials that are known to be right. More than there are callers; when full it starts
/// again, since old passwords of callers would otherwise stay.
const MAX_KNOWN: usize = 1_024;

/// bcrypt checks at once, each on a thread of its own: guessing must not take all cores.
const MAX_CHECKS: usize = 2;

/// The longest `Authorization` header that is looked at.
const MAX_HEADER_BYTES: usize = 1_024;

/// Those who may ask. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    shared: Arc<Shared>,
}

struct Shared {
    /// None where certificates alone say who asks.
    htpasswd: Option<Held<Htpasswd>>,
    key: [u8; 32],
    /// By the fingerprint of a header, which nobody can aim at without the key.
    known: Mutex<HashMap<[u8; 32], Known>>,
    checks: Arc<Semaphore>,
    failures: Failures,
}

/// Credentials that were right.
struct Known {
    name: Arc<str>,
    /// What they were held against.
    hash: Arc<str>,
}

/// Whom a connection is with.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The address.
    pub(crate) address: IpAddr,
    /// The name in its certificate, which was verified.
    pub(crate) name: Option<Arc<str>>,
}

/// It is not known who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// No credentials, or wrong ones.
    Nobody,
    /// The peer guesses.
    Guesses {
        /// How long it is not listened to.
        wait: Duration,
    },
}

/// The system has no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub(crate) struct NoRandom;

impl Callers {
    /// Callers by password, where there is a file of them, and by certificate.
    pub(crate) fn new(htpasswd: Option<Held<Htpasswd>>) -> Result<Self, NoRandom> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| NoRandom)?;
        let (known, checks) = (Mutex::default(), Arc::new(Semaphore::new(MAX_CHECKS)));
        let shared = Shared { htpasswd, key, known, checks, failures: Failures::new() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The caller's name: that of its certificate, or else that of the `Authorization` header.
    pub(crate) async fn identify(
        &self,
        peer: &Peer,
        header: Option<&[u8]>,
    ) -> Result<Arc<str>, Unknown> {
        if let Some(name) = &peer.name {
            return Ok(Arc::clone(name));
        }
        let (Some(header), Some(htpasswd)) = (header, &self.shared.htpasswd) else {
            return Err(Unknown::Nobody);
        };
        self.by_password(peer.address, header, htpasswd).await
    }

    async fn by_password(
        &self,
        peer: IpAddr,
        header: &[u8],
        htpasswd: &Held<Htpasswd>,
    ) -> Result<Arc<str>, Unknown> {
        if header.len() > MAX_HEADER_BYTES {
            return Err(Unknown::Nobody);
        }
        let fingerprint = self.fingerprint(header);
        let at_once = || match self.known_name(&fingerprint, &htpasswd.current()) {
            Some(name) => Some(Ok(name)),
            None => {
                let wait = self.shared.failures.wait(peer, Instant::now())?;
                Some(Err(Unknown::Guesses { wait }))
            }
        };
        if let Some(answer) = at_once() {
            return answer;
        }
        let (name, password) = decode_basic(header).ok_or(Unknown::Nobody)?;
        let permit = Arc::clone(&self.shared.checks).acquire_owned().await;
        let permit = permit.map_err(|_| Unknown::Nobody)?;
        // Many who come together bring the same: one check says it for all.
        if let Some(answer) = at_once() {
            return answer;
        }
        let entry = htpasswd.current().entry(&name);
        let callers = self.clone();
        // Seen through whoever waits: a peer that goes away early has guessed all the same.
        let check = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            if !entry.allows(&password) {
                callers.shared.failures.note(peer, Instant::now());
                // No name: people type passwords into its field.
                tracing::warn!(%peer, "a caller's name or password is wrong");
                return None;
            }
            let name: Arc<str> = name.into();
            callers.learn(fingerprint, Known { name: Arc::clone(&name), hash: entry.hash });
            Some(name)
        });
        check.await.ok().flatten().ok_or(Unknown::Nobody)
    }

    fn learn(&self, fingerprint: [u8; 32], credentials: Known) {
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(fingerprint, credentials);
    }

    /// The name of credentials that were right, and are so by the present file.
    fn known_name(&self, fingerprint: &[u8; 32], htpasswd: &Htpasswd) -> Option<Arc<str>> {
        let known = self.known();
        let known = known.get(fingerprint)?;
        let is_right = htpasswd.hash_of(&known.name) == Some(&known.hash);
        is_right.then(|| Arc::clone(&known.name))
    }

    fn fingerprint(&self, header: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.shared.key).chain_update(header).finalize().into()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("htpasswd", &self.htpasswd).finish_non_exhaustive()
    }
}

/// RFC 7617: `Basic base64(name:password)`.
fn decode_basic(header: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PEER: Peer = Peer { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)), name: None };

    fn hash(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    fn htpasswd(lines: &[(&str, &str)]) -> Htpasswd {
        let text: Vec<_> = lines.iter().map(|(name, hash)| format!("{name}:{hash}")).collect();
        Htpasswd::parse(&text.join("\n")).unwrap()
    }

    fn callers(htpasswd: Htpasswd) -> Callers {
        Callers::new(Some(Held::channel(htpasswd).1)).unwrap()
    }

    fn basic(credentials: &str) -> Vec<u8> {
        format!("Basic {}", BASE64.encode(credentials)).into_bytes()
    }

    async fn ask(callers: &Callers, peer: &Peer, credentials: &str) -> Result<String, Unknown> {
        let name = callers.identify(peer, Some(&basic(credentials))).await;
        name.map(|name| name.as_ref().to_owned())
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_name_passes() {
        let right = hash("right");
        let callers = callers(htpasswd(&[("policy", &right)]));
        for _ in 0..2 {
            assert_eq!(ask(&callers, &PEER, "policy:right").await.as_deref(), Ok("policy"));
            for wrong in ["policy:wrong", "other:right", "policy"] {
                assert_eq!(ask(&callers, &PEER, wrong).await, Err(Unknown::Nobody), "{wrong}");
            }
        }
        let too_long = vec![b'a'; MAX_HEADER_BYTES + 1];
        for header in [b"Bearer cG9saWN5OnJpZ2h0".as_slice(), b"Basic ???", &too_long] {
            let unknown = callers.identify(&PEER, Some(header)).await;
            assert_eq!(unknown, Err(Unknown::Nobody));
        }
    }

    #[tokio::test]
    async fn who_guesses_has_to_wait_and_locks_nobody_out() {
        let (right, other) = (hash("right"), hash("other"));
        let callers = callers(htpasswd(&[("policy", &right), ("other", &other)]));
        assert_eq!(ask(&callers, &PEER, "policy:right").await.as_deref(), Ok("policy"));
        // The host's client comes without credentials first: that is no guess.
        for _ in 0..100 {
            assert_eq!(callers.identify(&PEER, None).await, Err(Unknown::Nobody));
        }
        // Nor is what cannot be right by its form.
        for _ in 0..100 {
            assert_eq!(callers.identify(&PEER, Some(b"Basic ???")).await, Err(Unknown::Nobody));
        }
        let mut guesses = 0;
        let wait = loop {
            match ask(&callers, &PEER, &format!("policy:guess-{guesses}")).await {
                Err(Unknown::Guesses { wait }) => break wait,
                answer => assert_eq!(answer, Err(Unknown::Nobody)),
            }
            guesses += 1;
            assert!(guesses <= 11, "nothing ends the guessing");
        };
        assert!(guesses >= 10 && wait <= Duration::from_secs(6), "{guesses} {wait:?}");
        // From there nobody is looked at any more, right or wrong, but those who are known.
        let refused = ask(&callers, &PEER, "other:other").await;
        assert!(matches!(refused, Err(Unknown::Guesses { .. })), "{refused:?}");
        assert_eq!(ask(&callers, &PEER, "policy:right").await.as_deref(), Ok("policy"));
        let elsewhere = Peer { address: Ipv4Addr::new(10, 0, 0, 8).into(), name: None };
        assert_eq!(ask(&callers, &elsewhere, "other:other").await.as_deref(), Ok("other"));
    }

    /// Else guessing would be free, and as many threads as there are connections would hash.
    #[tokio::test]
    async fn a_guess_counts_though_nobody_waits_for_the_answer() {
        let callers = callers(htpasswd(&[("policy", &hash("right"))]));
        let limited = async {
            for guess in 0.. {
                let guess = format!("policy:guess-{guess}");
                let ask = ask(&callers, &PEER, &guess);
                let answer = tokio::time::timeout(Duration::ZERO, ask).await;
                if matches!(answer, Ok(Err(Unknown::Guesses { .. }))) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), limited).await.unwrap();
    }

    /// Those who are not touched by it are known as before: no burst of bcrypt, no wait.
    #[tokio::test]
    async fn a_new_file_ends_the_passwords_that_it_changed_and_no_other() {
        let (old, new, same) = (hash("old"), hash("new"), hash("same"));
        let (sender, held) = Held::channel(htpasswd(&[("policy", &old), ("same", &same)]));
        let callers = Callers::new(Some(held)).unwrap();
        assert_eq!(ask(&callers, &PEER, "policy:old").await.as_deref(), Ok("policy"));
        assert_eq!(ask(&callers, &PEER, "same:same").await.as_deref(), Ok("same"));
        sender.send_replace(Arc::new(htpasswd(&[("policy", &new), ("same", &same)])));
        let fingerprint = |credentials| callers.fingerprint(&basic(credentials));
        let current = callers.shared.htpasswd.as_ref().unwrap().current();
        assert!(callers.known_name(&fingerprint("same:same"), &current).is_some());
        assert_eq!(callers.known_name(&fingerprint("policy:old"), &current), None);
        assert_eq!(ask(&callers, &PEER, "policy:old").await, Err(Unknown::Nobody));
        assert_eq!(ask(&callers, &PEER, "policy:new").await.as_deref(), Ok("policy"));
        sender.send_replace(Arc::new(htpasswd(&[("same", &same)])));
        assert_eq!(ask(&callers, &PEER, "policy:new").await, Err(Unknown::Nobody));
    }

    #[tokio::test]
    async fn a_certificate_names_the_caller_whatever_the_header_says() {
        let callers = callers(htpasswd(&[("policy", &hash("right"))]));
        let peer = Peer { name: Some("spiffe://corp/policy".into()), ..PEER };
        for header in [None, Some(basic("policy:wrong"))] {
            let name = callers.identify(&peer, header.as_deref()).await.unwrap();
            assert_eq!(&*name, "spiffe://corp/policy");
        }
        let by_certificate_alone = Callers::new(None).unwrap();
        let nobody = by_certificate_alone.identify(&PEER, Some(&basic("policy:right"))).await;
        assert_eq!(nobody, Err(Unknown::Nobody));
    }

    #[test]
    fn callers_do_not_print_hashes() {
        let printed = format!("{:?}", callers(htpasswd(&[("policy", &hash("right"))])));
        assert!(printed.contains("count: 1") && !printed.contains("$2"), "{printed}");
    }
}
