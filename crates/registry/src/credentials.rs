//! Who knows the secrets: the port that the client asks. Docker's `config.json` and the helpers
//! that it names are one implementation of it.

mod docker_config;
mod helper;
mod helpers;

use aws_lc_rs::digest::{Context, SHA256};
use futures::FutureExt;
use futures::future::{self, BoxFuture};
use protocol::{Registry, Repository};
use secrecy::{ExposeSecret, SecretString};

pub use docker_config::{CredentialsError, DockerConfig};
pub use helper::{HelperError, HelperProblem};
pub use helpers::HelperRules;

/// The user name by which docker's files and helpers mark an identity token.
const TOKEN_USER: &str = "<token>";

/// A secret. Its `Debug` shows none of it.
#[derive(Clone, Debug)]
pub enum Credential {
    /// User and password, or a robot's name and key.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// A refresh token, to be changed for access tokens (OAuth 2.0).
    Identity(SecretString),
}

/// Tells credentials apart without keeping them: SHA-256 of kind, user and secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

impl Credential {
    /// As docker's files and helpers have it: the user `<token>` marks an identity token.
    fn new(user: String, secret: SecretString) -> Self {
        if user == TOKEN_USER {
            return Self::Identity(secret);
        }
        Self::Basic { user, password: secret }
    }

    fn user(&self) -> &str {
        match self {
            Self::Basic { user, .. } => user,
            Self::Identity(_) => TOKEN_USER,
        }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let (Self::Basic { password: secret, .. } | Self::Identity(secret)) = self;
        let mut context = Context::new(&SHA256);
        context.update(&(self.user().len() as u64).to_be_bytes());
        context.update(self.user().as_bytes());
        context.update(secret.expose_secret().as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Fingerprint(bytes)
    }
}

/// Who knows the secrets. Asked anew for each request, so that changed ones are seen: what takes
/// time to find has to be kept behind it.
pub trait Credentials: Send + Sync {
    /// The credential for this repository of this very registry; None for none.
    fn find<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Result<Option<Credential>, HelperError>>;

    /// A registry refused this one: if it is a kept one, it is to be found anew.
    fn refused(&self, _registry: &Registry, _credential: &Credential) {}
}

/// Knows no secrets.
pub struct Anonymous;

impl Credentials for Anonymous {
    fn find<'a>(
        &'a self,
        _: &'a Registry,
        _: &'a Repository,
    ) -> BoxFuture<'a, Result<Option<Credential>, HelperError>> {
        future::ready(Ok(None)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_apart_by_each_of_their_parts() {
        let all = [("u", "p"), ("u", "q"), ("up", ""), ("", "up"), (TOKEN_USER, "p")];
        let prints = all
            .map(|(user, secret)| Credential::new(user.to_owned(), secret.into()).fingerprint().0);
        for (index, print) in prints.iter().enumerate() {
            assert!(!prints[index + 1..].contains(print), "{:?}", all[index]);
        }
    }

    #[test]
    fn case_24_debug_shows_no_secret() {
        for user in ["u", TOKEN_USER] {
            let credential = Credential::new(user.to_owned(), "hunter2".into());
            assert!(!format!("{credential:?}").contains("hunter2"));
        }
    }
}
