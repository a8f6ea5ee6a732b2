//! The tables of keys: what may be written, and what it means.
//!
//! The one place: error messages are made of these words, and `README.md` and
//! `questions-ui.yml` are held to them by `tests/package.rs`. Must know no values.

/// One key of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As an operator writes it.
    pub key: &'static str,
    /// What kind of value it has.
    pub form: &'static str,
    /// What stands where it is left out, as YAML; None where it must be there.
    pub default: Option<&'static str>,
    /// What it is, as the rest of a sentence that begins with "it is".
    pub meaning: &'static str,
}

const fn key(
    key: &'static str,
    form: &'static str,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Key {
    Key { key, form, default, meaning }
}

/// The policy's settings.
pub const SETTINGS: [Key; 13] = [
    key(
        "replicator",
        "text",
        None,
        "the replicator's host and port, such as `image-replicator.image-replicator.svc:8443`, \
         spelled as in the policy server's `sourceAuthorities` and pull secret",
    ),
    key(
        "target",
        "text",
        None,
        "the registry that holds the replicas, with a prefix or without, such as \
         `registry.corp/mirror`; the replicator has the same in its configuration",
    ),
    key(
        "mode",
        "`rewrite`, `wait` or `keep`",
        Some("rewrite"),
        "what happens while a replica is missing: `rewrite` starts the copy and rewrites at once, \
         and the kubelet tries until the replica is there; `wait` refuses the pod until then, with \
         how far the copy is; `keep` leaves the source until then",
    ),
    key(
        "onUnavailable",
        "`deny` or `allow`",
        Some("deny"),
        "what happens while the replicator gives no answer: `deny` refuses the pod; `allow` lets \
         it run from its sources, with a warning",
    ),
    key(
        "budgetMs",
        "milliseconds, from 100 to 29000",
        Some("800"),
        "how long the questions about one pod may take, after which no further image is asked \
         about and `onUnavailable` decides; it must be more than a second below \
         `timeoutEvalSeconds` (2 s where nothing is said), past which the policy server refuses \
         the pod without a reason",
    ),
    key(
        "pin",
        "true or false",
        Some("false"),
        "whether a rewritten reference gets the digest that the replicator reports, next to its \
         tag; where no digest is known yet there is a warning",
    ),
    key(
        "kinds",
        "list of kinds",
        Some("[Pod]"),
        "the kinds whose images are rewritten, of `Pod`, `PodTemplate`, `ReplicationController`, \
         `DaemonSet`, `Deployment`, `ReplicaSet`, `StatefulSet`, `Job`, `CronJob`",
    ),
    key(
        "rules",
        "list of rules",
        Some("[]"),
        "what holds for some sources; of several rules that have an image the first one counts",
    ),
    key(
        "ignoreImages",
        "list of patterns",
        Some("[]"),
        "the images that are left alone, whatever the rules say",
    ),
    key(
        "ignoreNamespaces",
        "list of names",
        Some("[image-replicator, kube-system, kubewarden]"),
        "the namespaces that are left alone, since what runs there must start without the \
         replicator",
    ),
    key(
        "imagePullSecrets",
        "list of names",
        Some("[]"),
        "the pull secrets for `target` that a pod gets if it has an image there, next to its own",
    ),
    key(
        "targetReferences",
        "`allow` or `known`",
        Some("allow"),
        "what becomes of references that lead into `target` already: `allow` lets them pass; \
         `known` asks the replicator, and refuses what it does not know",
    ),
    key(
        "optOutAnnotation",
        "text",
        Some("\"\""),
        "the annotation by which a pod opts out, its value being `true`; while it is not set, no \
         pod can",
    ),
];

/// One of `rules`.
pub const RULE: [Key; 6] = [
    key("images", "pattern or list of patterns", None, "the sources that the rule is about"),
    key("mode", "as above", Some("that of the settings"), "the mode for these sources"),
    key("pin", "as above", Some("that of the settings"), "whether these sources are pinned"),
    key("skip", "true or false", Some("false"), "whether these sources are left alone"),
    key("deny", "true or false", Some("false"), "whether pods with these sources are refused"),
    key(
        "verify",
        "one signer",
        Some("none"),
        "who must have signed these sources; the digest that was verified is the one that runs",
    ),
];

/// A rule's `verify`.
pub const VERIFY: [Key; 6] = [
    key(
        "publicKeys",
        "list of PEM texts",
        Some("none"),
        "the public keys that must all have signed",
    ),
    key(
        "keyless",
        "list of `issuer` and `subject`",
        Some("none"),
        "the identities that must all have signed, word for word",
    ),
    key(
        "keylessPrefix",
        "list of `issuer` and `urlPrefix`",
        Some("none"),
        "the identities that must all have signed, by what their URL begins with",
    ),
    key(
        "githubActions",
        "`owner` and, by choice, `repo`",
        Some("none"),
        "the owner (and repository) whose GitHub Actions must have signed",
    ),
    key(
        "certificate",
        "`pem` and, by choice, `chain` (list of PEM texts) and `requireRekorBundle` (default true)",
        Some("none"),
        "the certificate that must have signed",
    ),
    key(
        "annotations",
        "names and values",
        Some("{}"),
        "the annotations that every signature must carry",
    ),
];

/// One of `keyless`.
pub(super) const IDENTITY: [Key; 2] = [
    key("issuer", "text", None, "the issuer of the identity, a URL"),
    key("subject", "text", None, "the subject of the certificate, word for word"),
];

/// One of `keylessPrefix`.
pub(super) const IDENTITY_PREFIX: [Key; 2] = [
    key("issuer", "text", None, "the issuer of the identity, a URL"),
    key("urlPrefix", "text", None, "the URL that the subject must begin with"),
];

/// `githubActions`.
pub(super) const GITHUB_ACTIONS: [Key; 2] = [
    key("owner", "text", None, "the owner of the repository on GitHub"),
    key("repo", "text", Some("any"), "the name of the repository on GitHub, without its owner"),
];

/// `certificate`.
pub(super) const CERTIFICATE: [Key; 3] = [
    key("pem", "text", None, "the certificate, in PEM"),
    key("chain", "list of PEM texts", Some("[]"), "the certificates that vouch for it, in PEM"),
    key(
        "requireRekorBundle",
        "true or false",
        Some("true"),
        "whether the signature must be in the transparency log",
    ),
];
