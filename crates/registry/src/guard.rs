//! Which addresses are dialled at all. Judged when a name is resolved, not as text: a registry
//! that names a realm, a redirect or an upload can name any host, and DNS can answer anything.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// AWS's metadata service over IPv6; its IPv4 address and everybody else's are link-local.
const AWS_METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Alibaba Cloud's metadata service, in the shared address space.
const ALIBABA_METADATA: [u8; 4] = [100, 100, 100, 200];

/// Who named a host, and so how far it is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// A registry, which may be on this machine, with all that it sends us to.
    Registry,
    /// An image, which may have been made by anybody.
    Image,
}

/// Why an address is never dialled; None where it may be.
fn objection(address: IpAddr, named_by: NamedBy) -> Option<&'static str> {
    match address.to_canonical() {
        own if own.is_loopback() && named_by == NamedBy::Image => Some("this machine's own"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V4(v4) if v4.octets() == ALIBABA_METADATA => Some("a metadata service"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6 == AWS_METADATA_V6 => Some("a metadata service"),
        other if other.is_unspecified() || other.is_multicast() => Some("no host's address"),
        _ => None,
    }
}

/// Refuses a URL whose host is written as an address that is never dialled: such a host is not
/// resolved, so that [`GuardedResolver`] does not see it.
pub(crate) fn check(url: &Url, named_by: NamedBy) -> Result<(), String> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err("the URL has no host".to_owned()),
    };
    match objection(address, named_by) {
        Some(reason) => Err(format!("{address} is {reason}, and never asked")),
        None => Ok(()),
    }
}

/// The system's resolver without the addresses that are never dialled.
pub(crate) struct GuardedResolver(pub(crate) NamedBy);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let named_by = self.0;
        Box::pin(async move {
            let objection = |found: &SocketAddr| objection(found.ip(), named_by);
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.iter().copied().filter(|found| objection(found).is_none()).collect();
            if allowed.is_empty()
                && let Some(reason) = found.first().and_then(objection)
            {
                let message = format!("{} is {reason}, and never asked", name.as_str());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_link_local_addresses_are_refused_in_each_spelling() {
        for host in [
            "169.254.169.254",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "2852039166",
            "0.0.0.0",
            "[::]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "224.0.0.1",
        ] {
            let url = format!("http://{host}/latest").parse().unwrap();
            assert!(check(&url, NamedBy::Registry).is_err(), "{host}");
        }
    }

    #[test]
    fn registries_on_loopback_and_in_private_networks_are_fine() {
        for host in ["127.0.0.1", "[::1]", "10.0.0.7", "192.168.1.1", "r.example"] {
            let url = format!("https://{host}:5000/v2/").parse().unwrap();
            assert_eq!(check(&url, NamedBy::Registry), Ok(()), "{host}");
        }
    }

    #[test]
    fn an_image_cannot_send_us_to_ourselves() {
        for host in ["127.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"] {
            let url = format!("https://{host}:5000/layer").parse().unwrap();
            assert!(check(&url, NamedBy::Image).is_err(), "{host}");
        }
    }
}
