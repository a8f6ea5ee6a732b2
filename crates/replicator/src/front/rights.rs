//! What each caller may ask: for which namespaces, and by which verbs.

use std::collections::BTreeMap;
use std::fmt;

use protocol::{Trigger, Verb};
use serde::{Deserialize, Deserializer};

use crate::namespaces::NamespacePattern;

/// The rights of all callers. While the list is empty each caller may do everything; as soon as it
/// has an entry, a caller may do what the entries with its name say, and one without any nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Entry>")]
pub(crate) struct CallerRights(BTreeMap<String, Vec<Right>>);

/// An entry of the list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    caller: String,
    namespaces: Vec<NamespacePattern>,
    #[serde(deserialize_with = "verbs")]
    verbs: Vec<Verb>,
}

/// These verbs for these namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    namespaces: Vec<NamespacePattern>,
    verbs: Vec<Verb>,
}

/// A caller may not ask that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotAllowed<'a> {
    caller: &'a str,
    trigger: &'a Trigger,
}

impl CallerRights {
    /// Whether `caller` may ask `trigger`.
    pub(super) fn check<'a>(
        &self,
        caller: &'a str,
        trigger: &'a Trigger,
    ) -> Result<(), NotAllowed<'a>> {
        let mut rights = self.0.get(caller).into_iter().flatten();
        let is_allowed = self.0.is_empty()
            || rights.any(|right| {
                right.verbs.contains(&trigger.verb)
                    && right.namespaces.iter().any(|one| one.matches(&trigger.namespace))
            });
        is_allowed.then_some(()).ok_or(NotAllowed { caller, trigger })
    }
}

impl From<Vec<Entry>> for CallerRights {
    fn from(entries: Vec<Entry>) -> Self {
        let mut rights: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for Entry { caller, namespaces, verbs } in entries {
            rights.entry(caller).or_default().push(Right { namespaces, verbs });
        }
        Self(rights)
    }
}

fn verbs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Verb>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    words.iter().map(|word| word.parse().map_err(serde::de::Error::custom)).collect()
}

impl fmt::Display for NotAllowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caller, trigger: Trigger { verb, namespace, .. } } = self;
        write!(
            f,
            "the caller '{caller}' has no right to '{}' in the namespace '{namespace}': the \
             replicator's `front.rights` would have to give it",
            verb.as_str()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(yaml: &str) -> Result<CallerRights, String> {
        serde_yaml::from_str(yaml).map_err(|error| error.to_string())
    }

    fn may(rights: &CallerRights, caller: &str, verb: &str, namespace: &str) -> bool {
        let trigger = Trigger {
            verb: verb.parse().unwrap(),
            namespace: namespace.parse().unwrap(),
            source: "nginx:1".parse().unwrap(),
        };
        rights.check(caller, &trigger).is_ok()
    }

    #[test]
    fn without_a_list_everybody_may_and_with_one_nobody_that_is_not_in_it() {
        let everybody = CallerRights::default();
        assert!(may(&everybody, "anybody", "start", "shop"));
        let rights = rights(
            "[{caller: policy, namespaces: ['team-*'], verbs: [plan, start]}, \
              {caller: policy, namespaces: [shop], verbs: [plan]}]",
        )
        .unwrap();
        assert!(
            may(&rights, "policy", "start", "team-a") && may(&rights, "policy", "plan", "shop")
        );
        for (caller, verb, namespace) in [
            ("policy", "replica", "team-a"),
            ("policy", "start", "shop"),
            ("policy", "plan", "other"),
            ("Policy", "plan", "shop"),
            ("other", "plan", "shop"),
        ] {
            assert!(!may(&rights, caller, verb, namespace), "{caller} {verb} {namespace}");
        }
    }

    #[test]
    fn a_right_says_all_of_what_it_is_for() {
        for yaml in [
            "[{caller: policy, namespaces: [shop]}]",
            "[{caller: policy, verbs: [plan]}]",
            "[{caller: policy, namespaces: [shop], verbs: [copy]}]",
            "[{caller: policy, namespaces: [Shop], verbs: [plan]}]",
            "[{caller: policy, namespaces: [shop], verbs: [plan], images: []}]",
        ] {
            assert!(rights(yaml).is_err(), "{yaml}");
        }
    }
}
