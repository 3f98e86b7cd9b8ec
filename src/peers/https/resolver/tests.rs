use std::{sync::Arc, time::Duration};

use hickory_resolver::{
    config::ConnectionConfig,
    proto::{
        op::Message,
        rr::{Record, rdata::SRV},
    },
};
use tokio::net::UdpSocket;

use super::*;

#[tokio::test]
async fn localhost_is_here() {
    let resolver = SystemResolver::new().unwrap();
    for name in ["localhost", "LOCALHOST.", "a.localhost"] {
        let found = resolver.addresses(name).await;
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{name}");
    }
    assert_eq!(resolver.srv("_matrix-fed._tcp.localhost").await, SrvAnswer::Records(Vec::new()));
    assert!(!is_localhost("notlocalhost") && !is_localhost("localhost.example"));
}

/// A resolver that asks a name server of the test's, which answers with `answer`: records, or an error. Names carry the
/// dot at their end; answers that the hosts file should have given are none of the server's.
async fn asking(answer: fn(&str, RecordType) -> Result<Vec<RData>, ResponseCode>, hosts: &str) -> Arc<SystemResolver> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            let query = asked.queries[0].clone();
            let mut response = Message::response(asked.metadata.id, asked.metadata.op_code);
            response.add_query(query.clone());
            match answer(&query.name().to_ascii(), query.query_type()) {
                Ok(found) => {
                    let records = found.into_iter().map(|data| Record::from_rdata(query.name().clone(), 60, data));
                    response.add_answers(records);
                }
                Err(code) => response.metadata.response_code = code,
            }
            socket.send_to(&response.to_vec().unwrap(), from).await.unwrap();
        }
    });
    let mut udp = ConnectionConfig::udp();
    udp.port = port;
    let mut server = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
    server.connections = vec![udp];
    let search = vec![Name::from_ascii("search.example.").unwrap()];
    let config = ResolverConfig::from_parts(None, search, vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().timeout = Duration::from_secs(2);
    let mut read = Hosts::default();
    read.read_hosts_conf(hosts.as_bytes()).unwrap();
    Arc::new(SystemResolver::with(builder, read).unwrap())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn addresses_of_both_families_are_found() {
    let answer = |name: &str, kind| match (name, kind) {
        ("a.example.", RecordType::A) => Ok(vec![RData::from(ip("192.0.2.1"))]),
        ("a.example.", RecordType::AAAA) => Ok(vec![RData::from(ip("2001:db8::1"))]),
        ("b.example.", RecordType::A) => Ok(vec![RData::from(ip("192.0.2.2"))]),
        ("b.example.", RecordType::AAAA) => Err(ResponseCode::ServFail),
        _ => Err(ResponseCode::NXDomain),
    };
    let resolver = asking(answer, "").await;
    assert_eq!(resolver.addresses("a.example").await, [ip("192.0.2.1"), ip("2001:db8::1")]);
    assert_eq!(resolver.addresses("A.EXAMPLE.").await, [ip("192.0.2.1"), ip("2001:db8::1")]);
    assert_eq!(resolver.addresses("b.example").await, [ip("192.0.2.2")]);
    assert!(resolver.addresses("c.example").await.is_empty());
}

#[tokio::test]
async fn search_domains_are_not_asked() {
    let answer = |name: &str, _| match name {
        "a.search.example." => Ok(vec![RData::from(ip("192.0.2.1"))]),
        _ => Err(ResponseCode::NXDomain),
    };
    let resolver = asking(answer, "").await;
    assert!(resolver.addresses("a").await.is_empty());
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_alone() {
    let answer = |_: &str, kind| match kind {
        RecordType::A => Ok(vec![RData::from(ip("192.0.2.1"))]),
        _ => Ok(vec![RData::from(ip("2001:db8::1"))]),
    };
    let resolver = asking(answer, "10.0.0.7 a.example  alias\n").await;
    assert_eq!(resolver.addresses("A.example").await, [ip("10.0.0.7")]);
    assert_eq!(resolver.addresses("alias").await, [ip("10.0.0.7")]);
    assert_eq!(resolver.addresses("b.example").await.len(), 2);
}

/// A look-up that failed is told from one that found nothing.
#[tokio::test]
async fn srv_records_are_found_or_absent_or_out_of_reach() {
    let answer = |name: &str, kind| match (name, kind) {
        ("_matrix-fed._tcp.a.example.", RecordType::SRV) => {
            Ok(vec![RData::SRV(SRV::new(10, 5, 8443, Name::from_ascii("machine.example.").unwrap()))])
        }
        ("_matrix-fed._tcp.none.example.", RecordType::SRV) => Ok(vec![RData::SRV(SRV::new(0, 0, 0, Name::root()))]),
        ("_matrix-fed._tcp.empty.example.", _) => Ok(Vec::new()),
        ("_matrix-fed._tcp.broken.example.", _) => Err(ResponseCode::ServFail),
        ("_matrix-fed._tcp.closed.example.", _) => Err(ResponseCode::Refused),
        _ => Err(ResponseCode::NXDomain),
    };
    let resolver = asking(answer, "").await;
    let record = |priority, weight, port, target: &str| SrvRecord { priority, weight, port, target: target.to_owned() };
    let answers = [
        ("a", SrvAnswer::Records(vec![record(10, 5, 8443, "machine.example.")])),
        ("none", SrvAnswer::Records(vec![record(0, 0, 0, ".")])),
        ("empty", SrvAnswer::Records(Vec::new())),
        ("absent", SrvAnswer::Records(Vec::new())),
        ("broken", SrvAnswer::Failed),
        ("closed", SrvAnswer::Failed),
    ];
    for (host, expected) in answers {
        assert_eq!(resolver.srv(&format!("_matrix-fed._tcp.{host}.example")).await, expected, "{host}");
    }
}
