//! Server names.
//!
//! <https://spec.matrix.org/v1.19/appendices/#server-name>

use std::net::IpAddr;

use linkim_federation::server_name::{Host, ParsedServerName, ServerNameError};
use proptest::prelude::*;

fn ip(text: &str) -> Host<'static> {
    Host::Ip(text.parse::<IpAddr>().unwrap())
}

#[test]
fn the_examples_of_the_specification_are_read() {
    for (text, hostname, host, port) in [
        ("matrix.org", "matrix.org", Host::Dns("matrix.org"), None),
        ("matrix.org:8888", "matrix.org", Host::Dns("matrix.org"), Some(8888)),
        ("1.2.3.4", "1.2.3.4", ip("1.2.3.4"), None),
        ("1.2.3.4:1234", "1.2.3.4", ip("1.2.3.4"), Some(1234)),
        ("[1234:5678::abcd]", "[1234:5678::abcd]", ip("1234:5678::abcd"), None),
        ("[1234:5678::abcd]:5678", "[1234:5678::abcd]", ip("1234:5678::abcd"), Some(5678)),
    ] {
        let parsed = ParsedServerName::parse(text).unwrap();
        assert_eq!((parsed.hostname(), parsed.host(), parsed.port()), (hostname, host, port), "{text}");
        assert_eq!(parsed.is_ip_literal(), matches!(host, Host::Ip(_)), "{text}");
        assert_eq!(parsed.name().as_str(), text);
    }
}

#[test]
fn what_looks_nearly_like_an_address_is_a_dns_name_or_nothing() {
    for text in ["1.2.3", "1.2.3.4.5", "1.2.3.4.", "1.2.3.1234", "1.2.3.4a", "2130706433", "-", ".", "A-b.C"] {
        assert_eq!(ParsedServerName::parse(text).unwrap().host(), Host::Dns(text));
    }
    assert_eq!(ParsedServerName::parse("001.02.3.255").unwrap().host(), ip("1.2.3.255"));
    for text in ["1.2.3.256", "999.2.3.4:1"] {
        assert_eq!(ParsedServerName::parse(text), Err(ServerNameError::Ipv4));
    }
}

#[test]
fn the_bounds_are_exact() {
    let longest = format!("{}:65535", "a".repeat(255));
    assert_eq!(ParsedServerName::parse(&longest).unwrap().port(), Some(65_535));
    assert_eq!(ParsedServerName::parse(&"a".repeat(256)), Err(ServerNameError::TooLong));
    assert_eq!(ParsedServerName::parse("a:00001").unwrap().port(), Some(1));
    let full = "[0000:0000:0000:0000:0000:ffff:255.255.255.255]";
    assert_eq!(full.len(), 45 + 2);
    assert!(ParsedServerName::parse(full).unwrap().is_ip_literal());
}

#[test]
fn everything_else_is_refused_with_its_reason() {
    use ServerNameError::*;
    for (text, reason) in [
        ("", EmptyHostname),
        (":8448", EmptyHostname),
        ("a_b", Character),
        ("a b", Character),
        ("é.example", Character),
        ("a/b", Character),
        ("user@a", Character),
        ("a:", Port),
        ("a:+1", Port),
        ("a:1a", Port),
        ("a:65536", Port),
        ("a:000001", Port),
        ("a:1:2", Port),
        ("a:١", Port),
        ("1234::abcd", Port),
        ("[::1", Ipv6),
        ("[]", Ipv6),
        ("[::1%eth0]", Ipv6),
        ("[1.2.3.4]", Ipv6),
        ("[:::]", Ipv6),
        ("[g::]", Ipv6),
        ("[[::1]]", Ipv6),
        ("[::1]8448", Port),
        ("[::1]:", Port),
        ("[::1] :1", Port),
    ] {
        assert_eq!(ParsedServerName::parse(text), Err(reason), "{text:?}");
    }
}

#[test]
fn names_are_case_sensitive_and_the_port_is_part_of_them() {
    let name = |text| ParsedServerName::parse(text).unwrap();
    assert_ne!(name("matrix.org"), name("MATRIX.ORG"));
    assert_ne!(name("matrix.org"), name("matrix.org:8448"));
    assert_ne!(name("matrix.org:8448"), name("matrix.org:08448"));
    assert_eq!(name("matrix.org"), name("matrix.org"));
}

proptest! {
    /// Also that ruma, whose type is used everywhere else, takes all that the grammar allows.
    #[test]
    fn the_grammar_is_accepted_and_taken_apart(
        hostname in prop_oneof![
            "[a-zA-Z0-9.-]{1,255}",
            any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
            any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]")),
        ],
        port in proptest::option::of(any::<u16>()),
    ) {
        // Four groups of digits beyond 255 are the one thing that the grammar takes and the prose does not.
        let is_address = hostname.split('.').count() == 4
            && hostname.split('.').all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()));
        prop_assume!(!is_address || hostname.split('.').all(|part| part.parse::<u8>().is_ok()));
        let text = port.map_or(hostname.clone(), |port| format!("{hostname}:{port}"));
        let parsed = ParsedServerName::parse(&text).unwrap();
        prop_assert_eq!(parsed.hostname(), hostname);
        prop_assert_eq!(parsed.port(), port);
    }
}
