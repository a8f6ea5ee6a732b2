//! Which addresses are dialled at all. Judged when a name is resolved, not as text: a registry
//! that names a realm, a redirect or an upload can name any host, and DNS can answer anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// AWS's metadata service over IPv6; its IPv4 address and everybody else's are link-local.
const AWS_METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Alibaba Cloud's metadata service, in the shared address space.
const ALIBABA_METADATA: [u8; 4] = [100, 100, 100, 200];

/// How far into our own surroundings a request may lead. Each is a set of connections of its own,
/// so that one which was opened by leave is not used without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Addresses of the internet.
    Public,
    /// Those of private networks as well.
    Private,
    /// This machine's own as well.
    Local,
}

impl Reach {
    /// All, from the narrowest.
    pub(crate) const ALL: [Self; 3] = [Self::Public, Self::Private, Self::Local];

    /// The narrowest that has this address; an error says why none has it.
    fn of(address: IpAddr) -> Result<Self, &'static str> {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => match embedded(v6) {
                Some(v4) => Self::of_v4(v4),
                None => Self::of_v6(v6),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Result<Self, &'static str> {
        match address.octets() {
            ALIBABA_METADATA => Err("a metadata service"),
            // This network (RFC 791), benchmarks (RFC 2544), protocols (RFC 6890), and the reserved
            // rest with the broadcast address (RFC 1112).
            [0, ..] | [198, 18..=19, ..] | [192, 0, 0, _] | [240..=255, ..] => {
                Err("no host's address")
            }
            _ if address.is_link_local() => Err("a link-local address"),
            _ if address.is_multicast() || address.is_documentation() => Err("no host's address"),
            _ if address.is_loopback() => Ok(Self::Local),
            // The shared address space of carriers and clouds (RFC 6598).
            [100, 64..=127, ..] => Ok(Self::Private),
            _ if address.is_private() => Ok(Self::Private),
            _ => Ok(Self::Public),
        }
    }

    fn of_v6(address: Ipv6Addr) -> Result<Self, &'static str> {
        match address.segments() {
            _ if address == AWS_METADATA_V6 => Err("a metadata service"),
            _ if address.is_unicast_link_local() => Err("a link-local address"),
            _ if address.is_loopback() => Ok(Self::Local),
            _ if address.is_unique_local() => Ok(Self::Private),
            // All that is handed out to hosts of the internet (RFC 4291, section 2.4), without the
            // documentation's part of it.
            [0x2001, 0xdb8, ..] => Err("no host's address"),
            [0x2000..=0x3fff, ..] => Ok(Self::Public),
            _ => Err("no host's address"),
        }
    }

    /// Why this reach does not have an address; None where it has.
    fn objection(self, address: IpAddr) -> Option<String> {
        let least = match Self::of(address) {
            Ok(least) if least <= self => return None,
            Ok(least) => least,
            Err(what) => return Some(format!("{address} is {what}, and never asked")),
        };
        let what = match least {
            Self::Local => "this machine's own",
            Self::Private | Self::Public => "in a private network",
        };
        Some(format!(
            "{address} is {what}: there, only hosts are asked that the configuration names, \
             as a key of `registries` or in its `trusted_hosts`"
        ))
    }

    /// Whether what answers at this address is a neighbour of ours: somebody whose own
    /// surroundings are private.
    pub(crate) fn is_neighbour(address: IpAddr) -> bool {
        Self::of(address).is_ok_and(|least| least > Self::Public)
    }
}

/// The IPv4 address that a gateway makes of an IPv6 address: NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

/// A host that is not asked, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotAsked(String);

/// Refuses a URL whose host is written as an address out of reach: such a host is not resolved,
/// so that [`GuardedResolver`] does not see it.
pub(crate) fn check(url: &Url, reach: Reach) -> Result<(), NotAsked> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err(NotAsked("the URL has no host".to_owned())),
    };
    reach.objection(address).map_or(Ok(()), |reason| Err(NotAsked(reason)))
}

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookUpError {
    /// It leads where nobody is asked, or nobody that the configuration does not name.
    #[error("{0}")]
    OutOfReach(String),
    /// Nobody knows it, or nobody was there to ask.
    #[error("its name is not known: {0}")]
    Unknown(String),
}

/// The addresses of a URL's host that are within reach.
pub(crate) async fn look_up(url: &Url, reach: Reach) -> Result<Vec<IpAddr>, LookUpError> {
    check(url, reach).map_err(|refusal| LookUpError::OutOfReach(refusal.to_string()))?;
    let name = match url.host() {
        Some(Host::Ipv4(address)) => return Ok(vec![IpAddr::V4(address)]),
        Some(Host::Ipv6(address)) => return Ok(vec![IpAddr::V6(address)]),
        Some(Host::Domain(name)) => name.parse(),
        None => "".parse(),
    };
    let name: Name = name.map_err(|_| LookUpError::Unknown("it is no legal name".to_owned()))?;
    match GuardedResolver::new(reach).resolve(name).await {
        Ok(found) => Ok(found.map(|found| found.ip()).collect()),
        Err(error) if error.is::<NotAsked>() => Err(LookUpError::OutOfReach(error.to_string())),
        Err(error) => Err(LookUpError::Unknown(error.to_string())),
    }
}

/// The system's resolver without the addresses that are out of reach. A proxy that the environment
/// names is the operator's own, wherever it is: it dials for us, and is who has to judge then.
pub(crate) struct GuardedResolver {
    reach: Reach,
    proxies: Vec<String>,
}

impl GuardedResolver {
    pub(crate) fn new(reach: Reach) -> Self {
        let variables = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
        let variables = variables.into_iter().flat_map(|name| [name.into(), name.to_lowercase()]);
        let proxies = variables.filter_map(|name| host_of_proxy(&std::env::var(name).ok()?));
        Self { reach, proxies: proxies.collect() }
    }
}

/// The host of a proxy, whose scheme may be left out.
fn host_of_proxy(proxy: &str) -> Option<String> {
    let url = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    url.parse::<Url>().ok()?.host_str().map(ToOwned::to_owned)
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let is_proxy = self.proxies.iter().any(|proxy| proxy == name.as_str());
        let reach = if is_proxy { Reach::Local } else { self.reach };
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (refused, allowed): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|found| reach.objection(found.ip()).is_some());
            if let (Some(first), true) = (refused.first(), allowed.is_empty()) {
                let reason = reach.objection(first.ip()).unwrap_or_default();
                let refusal = NotAsked(format!("{}: {reason}", name.as_str()));
                return Err(refusal.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The narrowest reach by which each of these hosts is asked.
    fn least(host: &str) -> Option<Reach> {
        let url = format!("https://{host}:5000/v2/").parse().unwrap();
        Reach::ALL.into_iter().find(|reach| check(&url, *reach).is_ok())
    }

    #[test]
    fn case_40_metadata_and_link_local_addresses_are_refused_in_each_spelling() {
        for host in [
            "169.254.169.254",
            "169.254.20.10",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::1]",
            "2852039166",
            "0xa9fea9fe",
            "0.0.0.0",
            "0.1.2.3",
            "[::]",
            "[::127.0.0.1]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "224.0.0.1",
            "[ff02::1]",
            "255.255.255.255",
            "240.0.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "[2001:db8::1]",
            "[100::1]",
        ] {
            assert_eq!(least(host), None, "{host}");
        }
    }

    #[test]
    fn case_40_private_networks_and_this_machine_are_told_from_the_internet() {
        for (host, reach) in [
            ("r.example", Reach::Public),
            ("1.1.1.1", Reach::Public),
            ("[2606:4700::1111]", Reach::Public),
            ("10.0.0.7", Reach::Private),
            ("172.31.0.1", Reach::Private),
            ("192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("[fd12::1]", Reach::Private),
            ("[::ffff:10.0.0.7]", Reach::Private),
            ("[64:ff9b::a00:7]", Reach::Private),
            ("127.0.0.1", Reach::Local),
            ("127.1", Reach::Local),
            ("[::1]", Reach::Local),
            ("[::ffff:127.0.0.1]", Reach::Local),
        ] {
            assert_eq!(least(host), Some(reach), "{host}");
        }
    }

    /// Names are judged by what they resolve to.
    #[tokio::test]
    async fn case_40_a_name_of_this_machine_is_no_way_round() {
        let resolve = |reach: Reach| {
            GuardedResolver { reach, proxies: Vec::new() }.resolve("localhost".parse().unwrap())
        };
        assert!(resolve(Reach::Local).await.is_ok());
        for reach in [Reach::Public, Reach::Private] {
            let error = resolve(reach).await.err().unwrap().to_string();
            assert!(error.contains("localhost: "), "{error}");
            assert!(error.contains("this machine's own"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_proxy_of_the_environment_may_be_anywhere() {
        for proxy in ["localhost:3128", "http://u:p@localhost:3128/"] {
            let proxies = host_of_proxy(proxy).into_iter().collect();
            let resolver = GuardedResolver { reach: Reach::Public, proxies };
            assert!(resolver.resolve("localhost".parse().unwrap()).await.is_ok(), "{proxy}");
        }
    }
}
