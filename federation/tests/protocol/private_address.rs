//! Addresses that are not to be connected to.

use std::net::IpAddr;

use linkim_federation::private_address::{SPECIAL_NETWORKS, destination_address, is_private_address, special_network};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_first_and_the_last_address_of_each_network_are_refused_and_their_neighbours_are_not() {
    for (before, first, last, after) in [
        ("", "0.0.0.0", "0.255.255.255", "1.0.0.0"),
        ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
        ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
        ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
        ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
        ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
        ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
        ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
        ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
        ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
        ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
        ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
        ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
        ("223.255.255.255", "224.0.0.0", "255.255.255.255", ""),
        ("", "::", "::ffff:ffff", "::1:0:0"),
        ("64:ff9b:0:ffff:ffff:ffff:ffff:ffff", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "64:ff9b:2::"),
        ("ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "100::", "100:0:0:1:ffff:ffff:ffff:ffff", "100:0:0:2::"),
        ("2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"),
        (
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
        ),
        ("2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"),
        ("3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"),
        ("5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f01::"),
        ("fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::"),
        ("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""),
        ("", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""),
    ] {
        for inside in [first, last] {
            assert!(is_private_address(ip(inside)), "{inside}");
        }
        for outside in [before, after].into_iter().filter(|text| !text.is_empty()) {
            assert!(!is_private_address(ip(outside)), "{outside}: {:?}", special_network(ip(outside)));
        }
    }
}

#[test]
fn ordinary_addresses_are_not_refused() {
    for text in ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "2a00:1450:4001::200e", "2001:4860:4860::8888", "::1:0:0:0"] {
        assert_eq!(special_network(ip(text)), None, "{text}");
    }
}

#[test]
fn what_is_inside_a_mapped_or_translated_address_counts() {
    for (outer, inner) in [("::ffff:127.0.0.1", "127.0.0.1"), ("64:ff9b::10.1.2.3", "10.1.2.3")] {
        assert_eq!(destination_address(ip(outer)), ip(inner));
        assert_eq!(special_network(ip(outer)), special_network(ip(inner)));
        assert!(is_private_address(ip(outer)));
    }
    assert!(!is_private_address(ip("::ffff:1.1.1.1")));
    assert!(!is_private_address(ip("64:ff9b::1.1.1.1")));
    assert!(is_private_address(ip("::1.1.1.1")), "the deprecated form is refused whatever is in it");
}

#[test]
fn each_network_says_what_it_is_for() {
    for (text, purpose) in [
        ("127.0.0.1", "loopback"),
        ("192.168.1.1", "private use"),
        ("169.254.169.254", "link-local"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fd00::1", "unique local"),
        ("fe80::1", "link-local"),
        ("ff02::1", "multicast"),
    ] {
        assert_eq!(special_network(ip(text)).map(|network| network.purpose), Some(purpose), "{text}");
    }
    // The bits after the prefix are zero, or the table has a mistake.
    for network in SPECIAL_NETWORKS {
        let (bits, width) = match network.network {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        assert!(bits.trailing_zeros() >= width - u32::from(network.prefix), "{network:?}");
        assert!(network.contains(network.network));
    }
}
