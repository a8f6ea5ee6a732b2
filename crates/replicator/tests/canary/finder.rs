//! Looks for marked secrets in whatever the replicator leaves behind, in each form that a program
//! may have put them into.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// A marked secret.
#[derive(Clone, Debug)]
pub(crate) struct Canary {
    /// What it is, for whoever reads a failure.
    pub(crate) name: &'static str,
    pub(crate) secret: String,
}

impl Canary {
    pub(crate) fn new(name: &'static str, secret: impl Into<String>) -> Self {
        Self { name, secret: secret.into() }
    }

    /// The secret as it may stand in a text: as it is, in a URL, in JSON, in base64.
    fn forms(&self) -> Vec<Vec<u8>> {
        let bytes = self.secret.as_bytes();
        let url: String = url::form_urlencoded::byte_serialize(bytes).collect();
        let json = serde_json::to_string(&self.secret).unwrap();
        let mut forms = vec![bytes.to_vec(), url.into_bytes()];
        forms.push(json.trim_matches('"').as_bytes().to_vec());
        for alphabet in [&STANDARD, &URL_SAFE] {
            // What stands before it shifts it by up to two bytes (`user:` before a password), and
            // the first and the last letters then depend on its neighbours.
            for shift in 0..3 {
                let shifted = [vec![0; shift], bytes.to_vec()].concat();
                let encoded = GeneralPurpose::new(alphabet, NO_PAD).encode(shifted);
                let own = (shift * 8).div_ceil(6)..(shift + bytes.len()) * 8 / 6;
                forms.push(encoded.as_bytes()[own].to_vec());
            }
        }
        forms
    }

    /// Whether a text has the secret in some form.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        self.forms().iter().any(|form| text.windows(form.len()).any(|window| window == form))
    }
}

/// Everything that the replicator left behind, by place.
#[derive(Default)]
pub(crate) struct Evidence {
    pub(crate) places: Vec<(&'static str, Vec<u8>)>,
}

impl Evidence {
    pub(crate) fn add(&mut self, place: &'static str, bytes: Vec<u8>) {
        assert!(!bytes.is_empty(), "{place} is empty: nothing was looked at");
        self.places.push((place, bytes));
    }

    /// The places where a secret is.
    pub(crate) fn of(&self, canary: &Canary) -> Vec<&'static str> {
        let found = self.places.iter().filter(|(_, bytes)| canary.is_in(bytes));
        found.map(|(place, _)| *place).collect()
    }
}

#[test]
fn a_secret_is_found_in_each_form() {
    let canary = Canary::new("test", "s3cret/with+odd=letters&more");
    let base64 = |text: &str| GeneralPurpose::new(&STANDARD, NO_PAD).encode(text);
    for text in [
        "password=s3cret/with+odd=letters&more.".to_owned(),
        "https://r.example/?x=s3cret%2Fwith%2Bodd%3Dletters%26more&y".to_owned(),
        format!("Basic {}", base64("u:s3cret/with+odd=letters&more")),
        format!("Basic {}", base64("us:s3cret/with+odd=letters&more")),
        format!("Basic {}", base64("use:s3cret/with+odd=letters&more!")),
    ] {
        assert!(canary.is_in(text.as_bytes()), "{text}");
    }
    assert!(!canary.is_in(b"s3cret/with+odd=letters"));
    assert!(!canary.is_in(base64("u:s3cret/with+other").as_bytes()));
}
