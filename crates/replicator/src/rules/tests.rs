use super::file::{RuleFile, RulesError};
use super::*;

/// Rules of a configuration without credentials.
pub(crate) fn rules(yaml: &str) -> Rules {
    read(yaml).unwrap()
}

/// A rule that lets every namespace have every image.
pub(crate) fn open_to_all() -> Rules {
    rules("[{name: all, sources: '**'}]")
}

fn read(yaml: &str) -> Result<Rules, RulesError> {
    let files: Vec<RuleFile> = serde_yaml::from_str(yaml).unwrap();
    Rules::read(files, &Default::default(), &Default::default(), &Scope::default())
}

const RULES: &str = "
- name: hub
  sources: [docker.io/library/*, quay.io/team/**:v1.*]
  namespaces: [shop, team-*]
  check: 15m
- name: bad
  sources: docker.io/library/bad
  deny: true
- name: inside
  sources: registry.corp/**
";

fn decide(namespace: &str, image: &str) -> Result<String, String> {
    let rules = rules(RULES);
    let (namespace, image) = (namespace.parse().unwrap(), image.parse().unwrap());
    let allowed = rules.allow(&namespace, &image).map_err(|error| error.to_string());
    allowed.map(|_| rules.find(&namespace, &image).unwrap().rule.name.to_string())
}

#[test]
fn case_21_nothing_is_allowed_that_no_rule_allows() {
    assert_eq!(decide("shop", "nginx:1"), Ok("hub".to_owned()));
    assert_eq!(decide("team-a", "quay.io/team/app/web:v1.2"), Ok("hub".to_owned()));
    assert_eq!(decide("any", "registry.corp/a/b:1"), Ok("inside".to_owned()));
    for (namespace, image) in [
        ("shop", "quay.io/team/app:v2"),
        ("shop", "evil-docker.io/library/nginx:1"),
        ("shop", "docker.io.evil.example/library/nginx:1"),
        ("shop", "registry.corp:5000/a:1"),
        ("shop-2", "nginx:1"),
        ("team", "nginx:1"),
    ] {
        let error = decide(namespace, image).unwrap_err();
        assert!(error.starts_with("no rule allows "), "{error}");
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    assert_eq!(decide("shop", "docker.io/library/bad:1"), Ok("hub".to_owned()));
    let denied = decide("other", "docker.io/library/bad:1").unwrap_err();
    let nothing = decide("other", "nginx:1").unwrap_err();
    insta::assert_snapshot!([denied, nothing].join("\n"));
}

#[test]
fn what_a_rule_does_not_say_is_as_everywhere() {
    let scope = Scope { platforms: vec!["linux/amd64".parse().unwrap()], ..Scope::default() };
    let yaml = "[{name: own, sources: docker.io/**, platforms: [linux/arm64], check: never},
        {name: usual, sources: '**', referrers: {enabled: false}}]";
    let rules = Rules::read(
        serde_yaml::from_str(yaml).unwrap(),
        &Default::default(),
        &Default::default(),
        &scope,
    );
    let rules = rules.unwrap();
    let terms = |image: &str| {
        rules.allow(&"shop".parse().unwrap(), &image.parse().unwrap()).unwrap().clone()
    };
    let (own, usual) = (terms("nginx:1"), terms("quay.io/a/b:1"));
    assert_eq!(own.scope.platforms, ["linux/arm64".parse().unwrap()]);
    assert_eq!((own.check, own.scope.referrers), (Check::Never, copy::Referrers::All));
    assert_eq!(usual.scope.platforms, scope.platforms);
    assert_eq!((usual.check, usual.scope.referrers), (Check::default(), copy::Referrers::Nothing));
}

#[test]
fn each_wrong_rule_is_named_with_what_is_right() {
    let errors = [
        "[{name: a, sources: '**'}, {name: a, sources: '**'}]",
        "[{name: a, sources: []}]",
        "[{name: a, sources: nginx}]",
        "[{name: a, sources: '**', namespaces: [Shop]}]",
        "[{name: a, sources: '**', namespaces: []}]",
        "[{name: a, sources: '**', credentials: hub}]",
        "[{name: a, sources: '**', deny: true, check: never}]",
    ]
    .map(|yaml| read(yaml).unwrap_err().to_string());
    insta::assert_snapshot!(errors.join("\n"));
}
