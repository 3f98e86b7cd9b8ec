//! Which addresses no request of ours may reach, because what a name resolves to is chosen by strangers.
//!
//! The table is that of the IANA registries of special-purpose addresses
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry/>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry/>), without the networks in them that are reachable from
//! everywhere and have hosts, and with multicast and the deprecated ways to write or to tunnel to IPv4 addresses.
//!
//! The address that is connected to must be judged, after resolution, and not the name, nor an address looked up
//! before: another lookup may give another answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network that has its own purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialNetwork {
    /// The first address.
    pub network: IpAddr,
    /// How many bits of it all addresses of the network share.
    pub prefix: u8,
    /// What the network is for.
    pub purpose: &'static str,
}

impl SpecialNetwork {
    /// Whether the address is in the network. An address of the other family is not.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32_u32.saturating_sub(self.prefix.into());
                (network.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128_u32.saturating_sub(self.prefix.into());
                (network.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Every network whose addresses are refused.
pub const SPECIAL_NETWORKS: &[SpecialNetwork] = &[
    v4([0, 0, 0, 0], 8, "this network"),
    v4([10, 0, 0, 0], 8, "private use"),
    v4([100, 64, 0, 0], 10, "shared between carrier and customers"),
    v4([127, 0, 0, 0], 8, "loopback"),
    v4([169, 254, 0, 0], 16, "link-local"),
    v4([172, 16, 0, 0], 12, "private use"),
    v4([192, 0, 0, 0], 24, "protocol assignments"),
    v4([192, 0, 2, 0], 24, "documentation"),
    v4([192, 88, 99, 0], 24, "6to4 relay"),
    v4([192, 168, 0, 0], 16, "private use"),
    v4([198, 18, 0, 0], 15, "benchmarking"),
    v4([198, 51, 100, 0], 24, "documentation"),
    v4([203, 0, 113, 0], 24, "documentation"),
    v4([224, 0, 0, 0], 4, "multicast"),
    v4([240, 0, 0, 0], 4, "reserved, and broadcast"),
    // The unspecified address and loopback are in this one too, and are named for what they are.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "translation to IPv4 inside one network"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 63, "discard, and dummy"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol assignments, Teredo among them"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

const MAPPED: SpecialNetwork = v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped");
const TRANSLATED: SpecialNetwork = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "translation to IPv4");

const fn v4(network: [u8; 4], prefix: u8, purpose: &'static str) -> SpecialNetwork {
    let [a, b, c, d] = network;
    SpecialNetwork { network: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix, purpose }
}

const fn v6(network: [u16; 8], prefix: u8, purpose: &'static str) -> SpecialNetwork {
    let [a, b, c, d, e, f, g, h] = network;
    SpecialNetwork { network: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix, purpose }
}

/// The address that a packet reaches in the end: of an IPv6 address that is mapped (`::ffff:0:0/96`) or translated
/// (`64:ff9b::/96`, RFC 6052) the IPv4 address in it, otherwise the address itself.
///
/// A configuration's list of allowed networks must be compared with this address too.
pub fn destination_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(inner) if MAPPED.contains(address) || TRANSLATED.contains(address) => {
            let [.., a, b, c, d] = inner.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => address,
    }
}

/// The network for which an address must not be connected to, unless the configuration allows it; `None` if the address
/// is an ordinary one of the public internet.
pub fn special_network(address: IpAddr) -> Option<&'static SpecialNetwork> {
    let address = destination_address(address);
    SPECIAL_NETWORKS.iter().find(|network| network.contains(address))
}

/// Whether an address must not be connected to, unless the configuration allows it.
pub fn is_private_address(address: IpAddr) -> bool {
    special_network(address).is_some()
}
