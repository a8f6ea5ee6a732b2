//! What a source said of who may read a repository of it, and what follows from that: pure, no
//! storage.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ImageReference, Namespace};

use super::record::REFUSED_RETRY;
use crate::clock::Timestamp;
use crate::label::Label;

/// How long a right holds that was shown once, from the last time that its source gave no answer:
/// a source that is down stops nobody, and is asked again soon.
const UNANSWERED_HOLDS: Duration = Duration::from_secs(300);

/// What a namespace's word in the ledger begins with. No name of credentials has a slash.
const OF_NAMESPACE: &str = "namespace/";

/// Who asks a source: nobody in particular, or who credentials say, told by their name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Identity {
    /// Without credentials.
    Anonymous,
    /// With credentials.
    Named(Label),
    /// With the pull secrets of a namespace, as they were in one version: with others it is
    /// somebody else, who has to show a right of their own.
    Namespace(Namespace, Version),
}

/// Tells the pull secrets of a namespace at one time from those at another. Says nothing of what
/// stands in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version([u8; 16]);

impl Version {
    /// One of these bytes.
    pub(crate) const fn of(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    fn parse(text: &str) -> Option<Self> {
        let number = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
        let version = Self(number.to_be_bytes());
        (version.to_string() == text).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Identity {
    /// The word in the ledger: the name, if there is one.
    pub(crate) fn word(&self) -> Cow<'_, str> {
        match self {
            Self::Anonymous => "".into(),
            Self::Named(name) => name.as_str().into(),
            Self::Namespace(namespace, version) => {
                format!("{OF_NAMESPACE}{namespace}/{version}").into()
            }
        }
    }

    /// The inverse of [`Identity::word`].
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(of_namespace) = text.strip_prefix(OF_NAMESPACE) {
            let (namespace, version) = of_namespace.split_once('/')?;
            return Some(Self::Namespace(namespace.parse().ok()?, Version::parse(version)?));
        }
        match text {
            "" => Some(Self::Anonymous),
            name => name.parse().ok().map(Self::Named),
        }
    }
}

/// `without credentials`, `with the credentials 'hub'`, `with the pull secrets of namespace shop`
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("without credentials"),
            Self::Named(name) => write!(f, "with the credentials '{name}'"),
            Self::Namespace(namespace, _) => {
                write!(f, "with the pull secrets of namespace {namespace}")
            }
        }
    }
}

/// What a right is to: a repository of a source registry, all that is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SourceName(Arc<str>);

impl SourceName {
    /// `registry/repository`
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&ImageReference> for SourceName {
    fn from(image: &ImageReference) -> Self {
        Self(image.name().into())
    }
}

/// What a source says to who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Here it is.
    Allowed,
    /// No, and why.
    Denied(String),
    /// Nothing that counts, and why.
    Unanswered(String),
}

/// What a source said to somebody.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// Who asked.
    pub(crate) identity: Identity,
    /// What it said.
    pub(crate) verdict: Verdict,
    /// Since when those of that name are who they are now; None where they always were.
    pub(crate) changed_at: Option<Timestamp>,
}

/// A verdict, and how long it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// What was said.
    pub(crate) verdict: Verdict,
    /// When the source was last asked.
    pub(crate) asked_at: Timestamp,
    /// Until when it counts.
    pub(crate) until: Timestamp,
}

impl Grant {
    /// What is known after `verdict`, which is to be remembered for so long. A right that was
    /// shown stays so until the source says no.
    fn after(before: Option<&Self>, verdict: Verdict, now: Timestamp, remember: Duration) -> Self {
        match (before, &verdict) {
            (Some(Self { verdict: Verdict::Allowed, until, .. }), Verdict::Unanswered(_)) => {
                let until = (*until).max(now + UNANSWERED_HOLDS.min(remember));
                Self { verdict: Verdict::Allowed, asked_at: now, until }
            }
            (Some(before @ Self { verdict: Verdict::Denied(_), .. }), Verdict::Unanswered(_)) => {
                Self { asked_at: now, ..before.clone() }
            }
            _ => Self { verdict, asked_at: now, until: now + remember },
        }
    }

    /// Whether the source is to be asked again: not at once, and of a right that was shown not
    /// before half of its time.
    fn is_due(&self, now: Timestamp, remember: Duration) -> bool {
        let is_fresh = self.verdict == Verdict::Allowed && self.until - now > remember / 2;
        !is_fresh && now - self.asked_at >= REFUSED_RETRY.min(remember / 2)
    }
}

/// What is known of a source's repository, by who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants(pub(super) BTreeMap<Identity, Grant>);

/// Whether somebody may have what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// The source has shown it to them, or shows it to everybody.
    Shown,
    /// The source does not show it to them, and why.
    Denied(String),
    /// The source was not asked yet, or not for long; or could not be, and why.
    Unknown(Option<String>),
}

/// What is known of a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The right.
    pub(crate) right: Right,
    /// Whether the source is to be asked again.
    pub(crate) is_due: bool,
}

impl Grants {
    /// Takes in what the source said.
    pub(crate) fn learn(&mut self, finding: Finding, now: Timestamp, remember: Duration) {
        let Finding { identity, verdict, changed_at } = finding;
        let before = self.of(&identity, changed_at);
        let after = Grant::after(before, verdict, now, remember);
        self.0.insert(identity, after);
    }

    /// Where somebody stands, who is since `changed_at` not who they were. What is public needs
    /// no proof: it counts as such until the source says otherwise, while what was shown to
    /// somebody counts for its time alone.
    pub(crate) fn standing(
        &self,
        identity: &Identity,
        changed_at: Option<Timestamp>,
        now: Timestamp,
        remember: Duration,
    ) -> Standing {
        let is_allowed = |grant: &&Grant| grant.verdict == Verdict::Allowed;
        let public = self.0.get(&Identity::Anonymous).filter(is_allowed);
        let own = self.of(identity, changed_at);
        let counts = own.filter(|own| now < own.until);
        let right = match (public, counts.map(|own| &own.verdict)) {
            (Some(_), _) | (None, Some(Verdict::Allowed)) => Right::Shown,
            (None, Some(Verdict::Denied(reason))) => Right::Denied(reason.clone()),
            (None, Some(Verdict::Unanswered(reason))) => Right::Unknown(Some(reason.clone())),
            (None, None) => Right::Unknown(None),
        };
        let is_due = public.or(own).is_none_or(|grant| grant.is_due(now, remember));
        Standing { right, is_due }
    }

    /// Whether it is not known that the source shows this to nobody in particular, or for long.
    pub(crate) fn may_be_public(&self, now: Timestamp, remember: Duration) -> bool {
        self.0.get(&Identity::Anonymous).is_none_or(|grant| match grant.verdict {
            Verdict::Denied(_) => now >= grant.until,
            Verdict::Allowed | Verdict::Unanswered(_) => grant.is_due(now, remember),
        })
    }

    /// What those of that name were told since they are who they are.
    fn of(&self, identity: &Identity, changed_at: Option<Timestamp>) -> Option<&Grant> {
        let grant = self.0.get(identity)?;
        changed_at.is_none_or(|since| grant.asked_at >= since).then_some(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn hub() -> Identity {
        Identity::Named("hub".parse().unwrap())
    }

    fn shop(version: u8) -> Identity {
        Identity::Namespace("shop".parse().unwrap(), Version::of([version; 16]))
    }

    fn denied() -> Verdict {
        Verdict::Denied("401".to_owned())
    }

    fn down() -> Verdict {
        Verdict::Unanswered("down".to_owned())
    }

    /// What is known after these verdicts, each with the time since the one before.
    fn grants(verdicts: &[(Identity, Verdict, Duration)]) -> (Grants, Timestamp) {
        let mut grants = Grants::default();
        let mut now = NOW;
        for (identity, verdict, later) in verdicts {
            now = now + *later;
            let (identity, verdict) = (identity.clone(), verdict.clone());
            grants.learn(Finding { identity, verdict, changed_at: None }, now, HOUR);
        }
        (grants, now)
    }

    fn standing(
        verdicts: &[(Identity, Verdict, Duration)],
        identity: &Identity,
        later: Duration,
    ) -> (Right, bool) {
        let (grants, now) = grants(verdicts);
        let Standing { right, is_due } = grants.standing(identity, None, now + later, HOUR);
        (right, is_due)
    }

    #[test]
    fn case_22_what_one_has_shown_counts_for_no_other() {
        let shown = [(hub(), Verdict::Allowed, Duration::ZERO)];
        let other = Identity::Named("other".parse().unwrap());
        assert_eq!(standing(&shown, &hub(), Duration::ZERO), (Right::Shown, false));
        for identity in [&other, &Identity::Anonymous] {
            assert_eq!(standing(&shown, identity, Duration::ZERO), (Right::Unknown(None), true));
        }
    }

    #[test]
    fn case_22_what_a_namespace_has_shown_counts_for_its_pull_secrets_of_then_alone() {
        let shown = [(shop(1), Verdict::Allowed, Duration::ZERO)];
        assert_eq!(standing(&shown, &shop(1), Duration::ZERO), (Right::Shown, false));
        // Credentials may be called as a namespace is.
        let same_name = Identity::Named("shop".parse().unwrap());
        let neighbour = Identity::Namespace("shop2".parse().unwrap(), Version::of([1; 16]));
        for identity in [shop(2), same_name, neighbour] {
            assert_eq!(standing(&shown, &identity, Duration::ZERO), (Right::Unknown(None), true));
        }
    }

    #[test]
    fn case_22_what_is_public_needs_no_proof() {
        let public = [(Identity::Anonymous, Verdict::Allowed, Duration::ZERO)];
        for identity in [&hub(), &Identity::Anonymous] {
            assert_eq!(standing(&public, identity, Duration::ZERO), (Right::Shown, false));
            assert_eq!(standing(&public, identity, 9 * HOUR), (Right::Shown, true));
        }
        let closed = [public[0].clone(), (Identity::Anonymous, denied(), HOUR)];
        let (right, _) = standing(&closed, &Identity::Anonymous, Duration::ZERO);
        assert_eq!(right, Right::Denied("401".to_owned()));
    }

    #[test]
    fn a_right_is_shown_anew_before_it_ends() {
        let shown = [(hub(), Verdict::Allowed, Duration::ZERO)];
        let early = HOUR / 2 - Duration::from_secs(1);
        assert_eq!(standing(&shown, &hub(), early), (Right::Shown, false));
        assert_eq!(standing(&shown, &hub(), HOUR / 2), (Right::Shown, true));
        assert_eq!(standing(&shown, &hub(), HOUR), (Right::Unknown(None), true));
    }

    #[test]
    fn a_source_that_is_down_takes_no_right_and_gives_none() {
        let ever = [(hub(), Verdict::Allowed, Duration::ZERO), (hub(), down(), 9 * HOUR)];
        assert_eq!(standing(&ever, &hub(), Duration::ZERO), (Right::Shown, false));
        assert_eq!(standing(&ever, &hub(), REFUSED_RETRY), (Right::Shown, true));
        let never = [(hub(), down(), Duration::ZERO)];
        let reason = Right::Unknown(Some("down".to_owned()));
        assert_eq!(standing(&never, &hub(), Duration::ZERO), (reason.clone(), false));
        assert_eq!(standing(&never, &hub(), REFUSED_RETRY), (reason, true));
        let no = [(hub(), denied(), Duration::ZERO), (hub(), down(), HOUR / 2)];
        assert_eq!(standing(&no, &hub(), Duration::ZERO), (Right::Denied("401".to_owned()), false));
    }

    #[test]
    fn a_no_counts_at_once_and_is_asked_again_after_a_while() {
        let taken = [(hub(), Verdict::Allowed, Duration::ZERO), (hub(), denied(), HOUR / 2)];
        let no = Right::Denied("401".to_owned());
        assert_eq!(standing(&taken, &hub(), Duration::ZERO), (no.clone(), false));
        assert_eq!(standing(&taken, &hub(), REFUSED_RETRY), (no, true));
        let again = [&taken[..], &[(hub(), Verdict::Allowed, REFUSED_RETRY)]].concat();
        assert_eq!(standing(&again, &hub(), Duration::ZERO), (Right::Shown, false));
    }

    #[test]
    fn case_22_what_other_credentials_of_that_name_were_shown_counts_no_more() {
        let (mut grants, now) = grants(&[(hub(), Verdict::Allowed, Duration::ZERO)]);
        let later = now + Duration::from_secs(1);
        let changed_at = Some(later);
        let standing = |grants: &Grants| grants.standing(&hub(), changed_at, later, HOUR);
        let unknown = |reason| Standing { right: Right::Unknown(reason), is_due: true };
        assert_eq!(standing(&grants), unknown(None));
        grants.learn(Finding { identity: hub(), verdict: down(), changed_at }, later, HOUR);
        assert_eq!(standing(&grants).right, Right::Unknown(Some("down".to_owned())));
        let verdict = Verdict::Allowed;
        grants.learn(Finding { identity: hub(), verdict, changed_at }, later, HOUR);
        assert_eq!(standing(&grants).right, Right::Shown);
    }

    #[test]
    fn words_are_readable_back() {
        for identity in [Identity::Anonymous, hub(), shop(0), shop(0xab)] {
            assert_eq!(Identity::parse(&identity.word()), Some(identity));
        }
        let version = "000000000000000000000000000000ab";
        for text in
            ["No name", "namespace/", "namespace/shop", "namespace/shop/", "namespace/shop/ab"]
        {
            assert_eq!(Identity::parse(text), None, "{text}");
        }
        for (namespace, version) in
            [("", version), ("No", version), ("shop", "+".repeat(32).as_str())]
        {
            assert_eq!(Identity::parse(&format!("namespace/{namespace}/{version}")), None);
        }
    }
}
