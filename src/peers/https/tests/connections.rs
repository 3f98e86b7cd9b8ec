//! Connections: whose certificates are believed, how they are kept, and what a server can make us hold.

use std::{sync::atomic::AtomicU64, time::Duration};

use axum::{response::Redirect, routing::get};
use linkim_federation::SigningKey;
use ruma::owned_server_name;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    config::Config,
    peers::{
        client::{Call, PeerClient, PeerError},
        reachability::Reachability,
    },
};

fn peer_client(https: Https) -> PeerClient {
    let config = Config::new(owned_server_name!("us.example"), PathBuf::from("/nonexistent"));
    let key = SigningKey::generate([1; 32], "a").unwrap();
    PeerClient::new(Arc::new(config), key, Arc::new(https))
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let server = authority.serve(&["other.example"], saying("here")).await;
    let https = https(&outgoing_config(&authority), FakeResolver::here(&["a.example"]), NOWHERE);
    let answer = asked(&https, &format!("a.example:{}", server.port())).await;
    assert!(answer.starts_with("Connect") && answer.contains("certificate"), "{answer}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let server = unknown.serve(&["a.example"], saying("here")).await;
    let https = https(&outgoing_config(&authority), FakeResolver::here(&["a.example"]), NOWHERE);
    let answer = asked(&https, &format!("a.example:{}", server.port())).await;
    assert!(answer.starts_with("Connect") && answer.contains("certificate"), "{answer}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn one_connection_carries_requests_one_after_the_other() {
    let authority = Authority::new();
    for (protocols, version) in [(&["h2", "http/1.1"][..], Version::HTTP_2), (&["http/1.1"], Version::HTTP_11)] {
        let server = Server::start(authority.acceptor(&["a.example"], protocols), saying("here")).await;
        let https = https(&outgoing_config(&authority), FakeResolver::here(&["a.example"]), NOWHERE);
        let name = format!("a.example:{}", server.port());
        for _ in 0..5 {
            assert_eq!(asked(&https, &name).await, "200 here");
        }
        assert_eq!(server.connections(), 1);
        let seen = server.seen();
        assert!(seen.len() == 5 && seen.iter().all(|seen| seen.version == version), "{seen:?}");
        // What both say is the same, and neither says more.
        let hosts = seen.iter().flat_map(|seen| seen.authority.iter().chain(&seen.host));
        assert!(hosts.into_iter().all(|host| *host == name), "{seen:?}");
    }
}

#[tokio::test]
async fn the_next_address_is_tried_where_one_refuses() {
    let authority = Authority::new();
    let server = authority.serve(&["a.example"], saying("here")).await;
    let resolver = FakeResolver::here(&["a.example"]);
    // Nothing listens there on this port: the server is bound to one address.
    let both = vec!["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    resolver.addresses.lock().unwrap().insert("a.example".to_owned(), both);
    let mut config = outgoing_config(&authority);
    config.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
    let https = https(&config, resolver, NOWHERE);
    assert_eq!(asked(&https, &format!("a.example:{}", server.port())).await, "200 here");
}

#[tokio::test]
async fn an_address_that_says_nothing_does_not_take_all_the_time() {
    let authority = Authority::new();
    let server = authority.serve(&["a.example"], saying("here")).await;
    // Accepts connections, for the system does, and is silent.
    let silent = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), server.port())).await.unwrap();
    let resolver = FakeResolver::here(&["a.example"]);
    let both = vec![silent.local_addr().unwrap().ip(), server.address.ip()];
    resolver.addresses.lock().unwrap().insert("a.example".to_owned(), both);
    let mut config = outgoing_config(&authority);
    config.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
    let https = https(&config, resolver.clone(), NOWHERE);
    let name = format!("a.example:{}", server.port());
    assert_eq!(asked(&https, &name).await, "200 here");
    server.stop().await;
    resolver.put("a.example", silent.local_addr().unwrap().ip());
    // The connection that was kept, and its route, are gone after one failure.
    assert_ne!(asked(&https, &name).await, "200 here");
    let answer = asked(&https, &name).await;
    assert!(answer.starts_with("Connect") && answer.contains("in time"), "{answer}");
}

/// Answers the first request of the first connection, and closes it when it sees the second: as a server does that
/// found the connection idle for too long. The second connection answers.
#[tokio::test]
async fn a_kept_connection_that_is_closed_under_a_request_is_replaced() {
    let authority = Authority::new();
    let acceptor = authority.acceptor(&["a.example"], &["http/1.1"]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        for requests in [1, 2] {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            for _ in 0..requests {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere").await.unwrap();
                stream.flush().await.unwrap();
            }
            if requests == 1 {
                let _ = stream.read_u8().await;
            }
        }
    });
    let https = https(&outgoing_config(&authority), FakeResolver::here(&["a.example"]), NOWHERE);
    let name = format!("a.example:{port}");
    for _ in 0..3 {
        assert_eq!(asked(&https, &name).await, "200 here");
    }
    serving.await.unwrap();
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let authority = Authority::new();
    let router = Router::new().fallback(get(|| std::future::ready(Redirect::temporary("/elsewhere"))));
    let server = authority.serve(&["a.example"], router).await;
    let https = https(&outgoing_config(&authority), FakeResolver::here(&["a.example"]), NOWHERE);
    assert!(asked(&https, &format!("a.example:{}", server.port())).await.starts_with("307"));
    assert_eq!(server.seen().len(), 1);
}

/// A body of so many bytes, and how many of them were taken.
fn large(total: u64) -> (Router, Arc<AtomicU64>) {
    let taken = Arc::<AtomicU64>::default();
    let counted = taken.clone();
    let body = move || {
        let counted = counted.clone();
        let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
        let chunks = (0..total / 65_536).map(move |_| {
            counted.fetch_add(65_536, Ordering::SeqCst);
            Ok::<_, std::convert::Infallible>(chunk.clone())
        });
        std::future::ready(Body::from_stream(futures_util::stream::iter(chunks)))
    };
    (Router::new().fallback(body), taken)
}

#[tokio::test]
async fn a_response_without_end_is_stopped_at_the_limit() {
    let authority = Authority::new();
    for protocol in ["h2", "http/1.1"] {
        let (router, taken) = large(100 * 1024 * 1024);
        let server = Server::start(authority.acceptor(&["a.example"], &[protocol]), router).await;
        let https = https(&outgoing_config(&authority), FakeResolver::here(&["a.example"]), NOWHERE);
        let client = peer_client(https);
        let name = format!("a.example:{}", server.port());
        let name = <&ServerName>::try_from(name.as_str()).unwrap();
        let error = client.bytes(name, Call::get("/").limit(1024 * 1024)).await.unwrap_err();
        assert!(matches!(error, PeerError::TooLarge(_)), "{error}");
        // The rest of it lies in the buffers of sockets, at most.
        assert!(taken.load(Ordering::SeqCst) < 32 * 1024 * 1024, "{protocol}: {taken:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let authority = Authority::new();
    let router = Router::new().fallback(std::future::pending::<()>);
    let server = authority.serve(&["a.example"], router).await;
    let https = https(&outgoing_config(&authority), FakeResolver::here(&["a.example"]), NOWHERE);
    let reachability = Arc::new(Reachability::new(Duration::from_secs(60), Arc::new(OsRandom)));
    let client = peer_client(https).telling(reachability.clone(), Arc::new(SystemClock));
    let name = format!("a.example:{}", server.port());
    let name = <&ServerName>::try_from(name.as_str()).unwrap();
    let error = client.bytes(name, Call::get("/").timeout(Duration::from_millis(300))).await.unwrap_err();
    assert!(matches!(error, PeerError::Timeout(_)), "{error}");
    assert_eq!(reachability.snapshot()[0].server, name);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn outages_are_told_and_answers_end_them() {
    let authority = Authority::new();
    let router = Router::new()
        .route("/down", get(|| std::future::ready(StatusCode::BAD_GATEWAY)))
        .route("/busy", get(|| std::future::ready((StatusCode::TOO_MANY_REQUESTS, "{\"retry_after_ms\":30000}"))))
        .route("/never", get(|| std::future::ready(StatusCode::NOT_FOUND)));
    let server = authority.serve(&["a.example"], router).await;
    let https = https(&outgoing_config(&authority), FakeResolver::here(&["a.example"]), NOWHERE);
    let reachability = Arc::new(Reachability::new(Duration::from_secs(60), Arc::new(OsRandom)));
    let client = peer_client(https).telling(reachability.clone(), Arc::new(SystemClock));
    let name = format!("a.example:{}", server.port());
    let name = <&ServerName>::try_from(name.as_str()).unwrap();
    client.bytes(name, Call::get("/down")).await.unwrap_err();
    let failing = reachability.snapshot();
    assert_eq!((failing[0].failures, reachability.failing()), (1, 1));
    client.bytes(name, Call::get("/busy")).await.unwrap_err();
    let pause = reachability.snapshot()[0].retry_at_ms - failing[0].failing_since_ms;
    assert!(pause >= 30_000, "{pause}");
    // An answer that says no is an answer.
    client.bytes(name, Call::get("/never")).await.unwrap_err();
    assert_eq!(reachability.failing(), 0);
}
