//! How a receiver knows that a notification is from us and new: the signature of Standard Webhooks
//! 1.0, an HMAC-SHA256 over its id, the time of this try, and its bytes.

use std::fmt;
use std::ops::RangeInclusive;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// How long a key may be, as the specification has it.
const KEY_BYTES: RangeInclusive<usize> = 24..=64;

/// Secrets in one file: the one in use, and for a while the one before or after it.
const MAX_SECRETS: usize = 2;

/// The keys that notifications are signed with, all of them each time: while a secret is changed,
/// a receiver that has the old one and one that has the new one both find theirs.
pub(crate) struct Secrets(Vec<hmac::Key>);

impl Secrets {
    /// Reads one secret a line, `whsec_` and base64. Empty lines are let be.
    pub(crate) fn parse(text: &str) -> Result<Self, SecretsError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys = lines.map(parse_key).collect::<Result<Vec<_>, _>>()?;
        match keys.len() {
            0 => Err(SecretsError::None),
            1..=MAX_SECRETS => Ok(Self(keys)),
            more => Err(SecretsError::TooMany(more)),
        }
    }

    /// The value of `webhook-signature`, for a try at `time_s` (seconds since 1970).
    pub(super) fn sign(&self, id: &str, time_s: i64, body: &[u8]) -> String {
        let sign = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{time_s}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

fn parse_key(line: &str) -> Result<hmac::Key, SecretsError> {
    let encoded = line.strip_prefix(PREFIX).ok_or(SecretsError::NoSecret)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| SecretsError::NoSecret)?;
    if !KEY_BYTES.contains(&bytes.len()) {
        return Err(SecretsError::Length(bytes.len()));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// Why a file holds no secrets. Says nothing of what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretsError {
    /// It is empty.
    #[error("there is no secret in it")]
    None,
    /// A line is none.
    #[error(
        "a line is no secret of Standard Webhooks; make one with: \
         echo \"whsec_$(openssl rand -base64 32)\""
    )]
    NoSecret,
    /// A key is too short or too long.
    #[error("a secret has {0} bytes, and is to have 24 to 64")]
    Length(usize),
    /// There are more than one in use and one that takes its place.
    #[error("there are {0} secrets in it, at most {MAX_SECRETS} are read")]
    TooMany(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Standard Webhooks' own libraries have it in their tests.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn sign(secrets: &str) -> String {
        let secrets = Secrets::parse(secrets).unwrap();
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        secrets.sign(id, 1_614_265_330, body)
    }

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        assert_eq!(sign(SECRET), SIGNED);
    }

    #[test]
    fn while_a_secret_is_changed_both_sign() {
        let new = format!("whsec_{}", STANDARD.encode([7; 32]));
        let both = sign(&format!("{new}\n{SECRET}\n"));
        assert_eq!(both, format!("{} {SIGNED}", sign(&new)));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_a_word_of_it() {
        let key = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![0; bytes]));
        let error = |text: &str| Secrets::parse(text).err().unwrap();
        assert_eq!(error(" \n"), SecretsError::None);
        assert_eq!(error("hunter2"), SecretsError::NoSecret);
        assert_eq!(error("whsec_hunter2!"), SecretsError::NoSecret);
        assert_eq!(error(&key(23)), SecretsError::Length(23));
        assert_eq!(error(&key(65)), SecretsError::Length(65));
        assert_eq!(error(&format!("{SECRET}\n").repeat(3)), SecretsError::TooMany(3));
        assert!(Secrets::parse(&key(24)).is_ok() && Secrets::parse(&key(64)).is_ok());
    }
}
