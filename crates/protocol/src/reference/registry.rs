//! Registries: one canonical spelling for each host, and its form as a path component.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::ReferenceError;

/// Docker Hub's canonical name, as it stands in image references.
pub const DOCKER_HUB: &str = "docker.io";

/// Other names of Docker Hub that people and tools write.
const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// The longest host name that DNS allows (RFC 1035, section 2.3.4).
const MAX_HOST_LENGTH: usize = 253;

/// What marks an IPv6 address in a path: no host name has an underscore.
const IPV6_MARK: &str = "ip6__";

/// A registry's host and optional port, in canonical spelling.
///
/// Host names are folded to lower case, since DNS does not tell cases apart (RFC 4343). The one
/// exception is a host of one label without port, such as `MYREG`: only its upper case tells it
/// from a repository, so it is folded to upper case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registry(String);

impl Registry {
    /// Docker Hub.
    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.to_owned())
    }

    /// Whether this is Docker Hub, however it was written.
    pub fn is_docker_hub(&self) -> bool {
        self.0 == DOCKER_HUB
    }

    /// `host[:port]`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without port; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        split_port(&self.0).0
    }

    /// The port, where one is given.
    pub fn port(&self) -> Option<u16> {
        split_port(&self.0).1.and_then(|port| port.parse().ok())
    }

    /// The registry as one legal component of a repository path: the port's colon becomes `_`
    /// (which no host name has), an IPv6 address is written out after a mark, and a host of one
    /// label loses its upper case (it needs none where the host is always written).
    pub fn path_component(&self) -> String {
        let (host, port) = split_port(&self.0);
        let host = match parse_ipv6(host) {
            Some(address) => {
                let groups: Vec<String> =
                    address.segments().iter().map(|group| format!("{group:x}")).collect();
                format!("{IPV6_MARK}{}", groups.join("-"))
            }
            None => host.to_ascii_lowercase(),
        };
        match port {
            Some(port) => format!("{host}_{port}"),
            None => host,
        }
    }

    /// The inverse of [`Registry::path_component`].
    pub fn from_path_component(component: &str) -> Result<Self, ReferenceError> {
        let illegal = || ReferenceError::Registry(component.to_owned());
        let (mark, rest) = match component.strip_prefix(IPV6_MARK) {
            Some(rest) => (true, rest),
            None => (false, component),
        };
        let (host, port) = match rest.split_once('_') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        let host = match (mark, port) {
            (true, _) => format!("[{}]", host.replace('-', ":")),
            (false, None) if !looks_like_host(host) => host.to_ascii_uppercase(),
            (false, _) => host.to_owned(),
        };
        let text = match port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        };
        let registry: Self = text.parse().map_err(|_| illegal())?;
        // Other spellings of the same host are refused: the mapping must be one to one.
        if registry.path_component() == component { Ok(registry) } else { Err(illegal()) }
    }
}

impl FromStr for Registry {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let illegal = || ReferenceError::Registry(text.to_owned());
        if !looks_like_host(text) {
            return Err(illegal());
        }
        let (host, port) = split_port(text);
        let port = match port {
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(illegal)?)
            }
            Some(_) => return Err(illegal()),
            None => None,
        };
        let host = match parse_ipv6(host) {
            Some(address) => spell_ipv6(address),
            None if is_host_name(host) => fold_case(host, port.is_some()),
            None => return Err(illegal()),
        };
        Ok(match port {
            Some(port) => Self(format!("{host}:{port}")),
            None if DOCKER_HUB_ALIASES.contains(&host.as_str()) => Self::docker_hub(),
            None => Self(host),
        })
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the first component of a reference is a host, by `distribution/reference`'s rule.
pub(super) fn looks_like_host(text: &str) -> bool {
    text == "localhost"
        || text.contains(['.', ':'])
        || text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Splits `host:port`; the colons within an IPv6 address are not the port's.
fn split_port(text: &str) -> (&str, Option<&str>) {
    let port_at = match text.rfind(']') {
        Some(bracket) => text[bracket..].find(':').map(|colon| bracket + colon),
        None => text.find(':'),
    };
    match port_at {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    }
}

fn parse_ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// RFC 5952, but an IPv4-mapped address in hexadecimal: references allow no dot in brackets.
fn spell_ipv6(address: Ipv6Addr) -> String {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => format!("[::ffff:{high:x}:{low:x}]"),
        _ => format!("[{address}]"),
    }
}

fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        !label.is_empty()
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
    };
    host.len() <= MAX_HOST_LENGTH && host.split('.').all(is_label)
}

fn fold_case(host: &str, has_port: bool) -> String {
    let lower = host.to_ascii_lowercase();
    if has_port || looks_like_host(&lower) { lower } else { host.to_ascii_uppercase() }
}
