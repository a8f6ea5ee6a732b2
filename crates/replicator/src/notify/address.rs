//! Where a receiver is: a URL that has no user in it, and that nobody ever reads in a log.

use std::fmt;

use url::Url;

/// A receiver's URL. `Display` and `Debug` show its host and port alone: path and query may be what
/// it knows its senders by.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(Url);

impl Address {
    /// Parses a URL; one without TLS has to be wanted by `plain_http`.
    pub(crate) fn parse(text: &str, plain_http: bool) -> Result<Self, AddressError> {
        let url: Url = text.parse().map_err(|_| AddressError::NoUrl)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::User);
        }
        match (url.scheme(), plain_http) {
            ("https", false) | ("http", true) => Ok(Self(url)),
            ("http", false) => Err(AddressError::Plain),
            ("https", true) => Err(AddressError::NotPlain),
            _ => Err(AddressError::NoUrl),
        }
    }

    /// The URL, to be asked and never to be shown.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.host_str().unwrap_or_default())?;
        self.0.port_or_known_default().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Why a URL is no receiver's. Says nothing of what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// Not a URL that is known.
    #[error("it is no URL that begins with https://")]
    NoUrl,
    /// A name or password in it.
    #[error("it has a user or a password in it, which logs of proxies would show; use `secret`")]
    User,
    /// Not encrypted.
    #[error("it is not encrypted; where that is meant set `plain_http: true`")]
    Plain,
    /// Encrypted after all.
    #[error("it is encrypted: leave `plain_http` out")]
    NotPlain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_asked_over_tls_unless_it_is_said_plainly() {
        let parse = |text, plain_http| Address::parse(text, plain_http).map(|at| at.to_string());
        assert_eq!(parse("https://scan.corp/in?key=k", false).unwrap(), "scan.corp:443");
        assert_eq!(parse("http://scan.corp:8080/", true).unwrap(), "scan.corp:8080");
        assert_eq!(parse("http://scan.corp/", false), Err(AddressError::Plain));
        assert_eq!(parse("http://127.0.0.1/", false), Err(AddressError::Plain));
        assert_eq!(parse("https://scan.corp/", true), Err(AddressError::NotPlain));
        for text in ["scan.corp", "ftp://scan.corp", "https://", "/in"] {
            assert_eq!(parse(text, false), Err(AddressError::NoUrl), "{text}");
        }
    }

    #[test]
    fn case_24_a_receivers_url_shows_no_secret() {
        for url in ["https://me:hunter2@scan.corp/", "https://hunter2@scan.corp/"] {
            let error = Address::parse(url, false).unwrap_err();
            assert_eq!(error, AddressError::User);
            assert!(!error.to_string().contains("hunter2"));
        }
        let address = Address::parse("https://scan.corp/hunter2?key=hunter2", false).unwrap();
        assert_eq!(format!("{address} {address:?}"), "scan.corp:443 Address(scan.corp:443)");
    }
}
