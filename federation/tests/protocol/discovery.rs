//! Resolution of server names.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use linkim_federation::discovery::{
    DiscoveryError, MAX_ADDRESSES, MAX_SRV_TARGETS, Route, SrvAnswer, SrvRecord, Step, TlsName, order_srv_records,
    resolve_server_name,
};
use proptest::prelude::*;
use ruma::ServerName;

/// What the world answers. What is not in it does not exist.
#[derive(Default)]
struct World {
    well_known: BTreeMap<&'static str, &'static str>,
    srv: BTreeMap<&'static str, Vec<SrvRecord>>,
    addresses: BTreeMap<&'static str, Vec<&'static str>>,
    /// A name whose SRV lookup fails.
    broken: Option<&'static str>,
}

fn record(priority: u16, weight: u16, port: u16, target: &str) -> SrvRecord {
    SrvRecord { priority, weight, port, target: target.to_owned() }
}

impl World {
    /// Resolves a name: the questions in their order, and the end.
    fn resolve(&self, name: &str) -> (Vec<String>, Result<Route, DiscoveryError>) {
        let mut asked = Vec::new();
        let mut step = resolve_server_name(<&ServerName>::try_from(name).unwrap()).unwrap();
        loop {
            step = match step {
                Step::WellKnown(question) => {
                    asked.push(format!("well-known {}", question.host()));
                    let delegated = self.well_known.get(question.host());
                    question.answer(delegated.map(|name| <&ServerName>::try_from(*name).unwrap()))
                }
                Step::Srv(question) => {
                    let name = question.name();
                    asked.push(format!("srv {name}"));
                    let answer = if self.broken == Some(name.as_str()) {
                        SrvAnswer::Failed
                    } else {
                        SrvAnswer::Records(self.srv.get(name.as_str()).cloned().unwrap_or_default())
                    };
                    question.answer(answer, |_| 0)
                }
                Step::Addresses(question) => {
                    asked.push(format!("addresses {}", question.host()));
                    let found = self.addresses.get(question.host()).cloned().unwrap_or_default();
                    question.answer(found.into_iter().map(|address| address.parse::<IpAddr>().unwrap()))
                }
                Step::Done(route) => return (asked, Ok(route)),
                Step::Failed(error) => return (asked, Err(error)),
            };
        }
    }
}

fn route(addresses: &[&str], host_header: &str, tls_name: &str) -> Result<Route, DiscoveryError> {
    Ok(Route {
        addresses: addresses.iter().map(|address| address.parse::<SocketAddr>().unwrap()).collect(),
        host_header: host_header.to_owned(),
        tls_name: match tls_name.parse() {
            Ok(address) => TlsName::Ip(address),
            Err(_) => TlsName::Dns(tls_name.to_owned()),
        },
    })
}

#[test]
fn step_1_ip_literals() {
    let world = World::default();
    let none: Vec<String> = Vec::new();
    for (name, expected) in [
        ("1.2.3.4", route(&["1.2.3.4:8448"], "1.2.3.4", "1.2.3.4")),
        ("1.2.3.4:80", route(&["1.2.3.4:80"], "1.2.3.4:80", "1.2.3.4")),
        ("[2001:db8::1]", route(&["[2001:db8::1]:8448"], "[2001:db8::1]", "2001:db8::1")),
        ("[2001:db8::1]:80", route(&["[2001:db8::1]:80"], "[2001:db8::1]:80", "2001:db8::1")),
    ] {
        assert_eq!(world.resolve(name), (none.clone(), expected));
    }
}

#[test]
fn step_2_an_explicit_port() {
    let world = World {
        addresses: BTreeMap::from([("a.example", vec!["192.0.2.1", "2001:db8::1"])]),
        well_known: BTreeMap::from([("a.example", "never.example")]),
        ..World::default()
    };
    let expected = route(&["192.0.2.1:443", "[2001:db8::1]:443"], "a.example:443", "a.example");
    assert_eq!(world.resolve("a.example:443"), (vec!["addresses a.example".to_owned()], expected));
}

#[test]
fn step_3_delegation_goes_by_the_same_rules_and_not_to_another_well_known() {
    let world = |delegated, srv: &'static str| World {
        well_known: BTreeMap::from([("a.example", delegated), ("b.example", "c.example")]),
        srv: BTreeMap::from([(srv, vec![record(0, 0, 444, "host.example")])]),
        addresses: BTreeMap::from([("b.example", vec!["192.0.2.2"]), ("host.example", vec!["192.0.2.3"])]),
        broken: None,
    };
    let asked = |questions: &[&str]| questions.iter().map(|question| (*question).to_owned()).collect::<Vec<_>>();
    let (well_known, fed, old) =
        ("well-known a.example", "srv _matrix-fed._tcp.b.example", "srv _matrix._tcp.b.example");
    for (delegated, srv, questions, expected) in [
        // 3.1
        ("192.0.2.9", "", vec![well_known], route(&["192.0.2.9:8448"], "192.0.2.9", "192.0.2.9")),
        ("[::9]:1", "", vec![well_known], route(&["[::9]:1"], "[::9]:1", "::9")),
        // 3.2
        (
            "b.example:443",
            "",
            vec![well_known, "addresses b.example"],
            route(&["192.0.2.2:443"], "b.example:443", "b.example"),
        ),
        // 3.3
        (
            "b.example",
            "_matrix-fed._tcp.b.example",
            vec![well_known, fed, "addresses host.example"],
            route(&["192.0.2.3:444"], "b.example", "b.example"),
        ),
        // 3.4
        (
            "b.example",
            "_matrix._tcp.b.example",
            vec![well_known, fed, old, "addresses host.example"],
            route(&["192.0.2.3:444"], "b.example", "b.example"),
        ),
        // 3.5
        (
            "b.example",
            "",
            vec![well_known, fed, old, "addresses b.example"],
            route(&["192.0.2.2:8448"], "b.example", "b.example"),
        ),
    ] {
        assert_eq!(world(delegated, srv).resolve("a.example"), (asked(&questions), expected), "{delegated} {srv}");
    }
}

#[test]
fn steps_4_to_6_without_a_valid_well_known() {
    let (well_known, fed, old) =
        ("well-known a.example", "srv _matrix-fed._tcp.a.example", "srv _matrix._tcp.a.example");
    let addresses = BTreeMap::from([("a.example", vec!["192.0.2.1"]), ("host.example", vec!["192.0.2.3"])]);
    for (srv, questions, expected) in [
        ("_matrix-fed._tcp.a.example", vec![well_known, fed, "addresses host.example"], "192.0.2.3:444"),
        ("_matrix._tcp.a.example", vec![well_known, fed, old, "addresses host.example"], "192.0.2.3:444"),
        ("", vec![well_known, fed, old, "addresses a.example"], "192.0.2.1:8448"),
    ] {
        let world = World {
            srv: BTreeMap::from([(srv, vec![record(0, 0, 444, "host.example")])]),
            addresses: addresses.clone(),
            ..World::default()
        };
        let (asked, route_found) = world.resolve("a.example");
        assert_eq!(asked, questions);
        assert_eq!(route_found, route(&[expected], "a.example", "a.example"));
    }
}

#[test]
fn a_delegated_name_that_is_none_is_no_answer() {
    // ruma reads this one.
    let world = World {
        well_known: BTreeMap::from([("a.example", "b.example:+1")]),
        addresses: BTreeMap::from([("a.example", vec!["192.0.2.1"])]),
        ..World::default()
    };
    assert_eq!(world.resolve("a.example").1, route(&["192.0.2.1:8448"], "a.example", "a.example"));
    assert!(resolve_server_name(<&ServerName>::try_from("b.example:+1").unwrap()).is_err());
}

#[test]
fn all_targets_are_tried_in_their_order_and_within_bounds() {
    let many: Vec<&'static str> = (0..MAX_ADDRESSES).map(|at| &*format!("192.0.2.{at}").leak()).collect();
    let mut world = World {
        srv: BTreeMap::from([(
            "_matrix-fed._tcp.a.example",
            vec![record(20, 0, 3, "c.example"), record(5, 0, 1, "gone.example"), record(10, 0, 2, "b.example")],
        )]),
        addresses: BTreeMap::from([
            ("b.example", vec!["192.0.2.1", "192.0.2.1", "192.0.2.2"]),
            ("c.example", vec!["192.0.2.1"]),
        ]),
        ..World::default()
    };
    let expected = ["192.0.2.1:2", "192.0.2.2:2", "192.0.2.1:3"];
    assert_eq!(world.resolve("a.example").1, route(&expected, "a.example", "a.example"));
    world.addresses.insert("b.example", many);
    let (asked, found) = world.resolve("a.example");
    assert_eq!(found.unwrap().addresses.len(), MAX_ADDRESSES);
    assert!(!asked.contains(&"addresses c.example".to_owned()), "{asked:?}");
}

#[test]
fn failures_have_their_reasons() {
    let fed = "_matrix-fed._tcp.a.example";
    let nothing = World::default().resolve("a.example").1;
    assert_eq!(nothing, Err(DiscoveryError::NoAddress("a.example".to_owned())));
    let broken = World { broken: Some(fed), ..World::default() };
    assert_eq!(broken.resolve("a.example").1, Err(DiscoveryError::SrvLookup(fed.to_owned())));
    let offered_not = World { srv: BTreeMap::from([(fed, vec![record(0, 0, 0, ".")])]), ..World::default() };
    assert_eq!(offered_not.resolve("a.example").1, Err(DiscoveryError::NotOffered(fed.to_owned())));
}

#[test]
fn priorities_come_first_and_then_weights_as_in_rfc_2782() {
    let records = vec![
        record(2, 9, 0, "e"),
        record(1, 3, 0, "b"),
        record(1, 0, 0, "a"),
        record(1, 1, 0, "c"),
        record(1, 0, 0, "."),
        record(0, 0, 0, "first"),
    ];
    // For each draw: the bound it must be given, and the number drawn. Running sums of priority 1: a 0, b 3, c 4.
    for (draws, expected) in [
        (vec![(0, 0), (4, 0), (4, 3), (1, 1), (9, 5)], ["first", "a", "b", "c", "e"]),
        (vec![(0, 0), (4, 4), (3, 0), (3, 2), (9, 0)], ["first", "c", "a", "b", "e"]),
        (vec![(0, 0), (4, 1), (1, 1), (0, 0), (9, 9)], ["first", "b", "c", "a", "e"]),
        // More than the bound counts as the bound.
        (vec![(0, 7), (4, 99), (3, 99), (0, 99), (9, 99)], ["first", "c", "b", "a", "e"]),
    ] {
        let mut draws = draws.into_iter();
        let ordered = order_srv_records(records.clone(), |bound| {
            let (expected, drawn) = draws.next().unwrap();
            assert_eq!(bound, expected);
            drawn
        });
        assert_eq!(ordered.iter().map(|record| record.target.as_str()).collect::<Vec<_>>(), expected);
    }
}

proptest! {
    #[test]
    fn ordering_keeps_the_best_priorities_and_terminates(
        records in proptest::collection::vec((0..3_u16, any::<u16>()), 0..40),
        draws in proptest::collection::vec(any::<u32>(), 40),
    ) {
        let records: Vec<SrvRecord> = records.into_iter().enumerate()
            .map(|(at, (priority, weight))| record(priority, weight, at as u16, "t")).collect();
        let mut draws = draws.into_iter();
        let ordered = order_srv_records(records.clone(), |_| draws.next().unwrap_or_default());
        let mut priorities: Vec<u16> = records.iter().map(|record| record.priority).collect();
        priorities.sort_unstable();
        priorities.truncate(MAX_SRV_TARGETS);
        prop_assert_eq!(ordered.iter().map(|record| record.priority).collect::<Vec<_>>(), priorities);
        let ports: std::collections::BTreeSet<u16> = ordered.iter().map(|record| record.port).collect();
        prop_assert_eq!(ports.len(), ordered.len());
    }
}
