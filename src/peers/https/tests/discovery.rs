//! Server-Server API, "Resolving server names": each step, and where it must stop.

use axum::{
    extract::Path,
    response::{IntoResponse as _, Redirect},
    routing::get,
};

use super::*;

const WELL_KNOWN: &str = "/.well-known/matrix/server";

/// Answers with a delegation.
fn delegating(to: String) -> Router {
    Router::new().route(WELL_KNOWN, get(move || std::future::ready(format!("{{\"m.server\":\"{to}\"}}"))))
}

/// Whom a request was for, which HTTP/2 and HTTP/1.1 say in different places.
fn host(seen: &Seen) -> &str {
    seen.authority.as_deref().or(seen.host.as_deref()).unwrap()
}

#[tokio::test]
async fn by_ip_literal() {
    let authority = Authority::new();
    let server = authority.serve(&["127.0.0.1"], saying("here")).await;
    let https = https(&outgoing_config(&authority), FakeResolver::here(&[]), NOWHERE);
    let name = server.address.to_string();
    assert_eq!(asked(&https, &name).await, "200 here");
    let seen = server.seen();
    assert_eq!(host(&seen[0]), name);
    assert_eq!(seen[0].path, "/_matrix/federation/v1/version");
    assert_eq!(seen[0].user_agent.as_deref(), Some(USER_AGENT));
}

#[tokio::test]
async fn by_port_without_asking_for_a_delegation() {
    let authority = Authority::new();
    let server = authority.serve(&["localhost"], saying("here")).await;
    let well_known = authority.serve(&["localhost"], delegating("elsewhere.example".to_owned())).await;
    let resolver = Arc::new(SystemResolver::new().unwrap());
    let https = https(&outgoing_config(&authority), resolver, well_known.port());
    let name = format!("localhost:{}", server.port());
    assert_eq!(asked(&https, &name).await, "200 here");
    assert_eq!(host(&server.seen()[0]), name);
    assert_eq!(well_known.connections(), 0);
}

#[tokio::test]
async fn by_well_known_to_a_name_with_port() {
    let authority = Authority::new();
    let server = authority.serve(&["matrix.a.example"], saying("here")).await;
    let delegated = format!("matrix.a.example:{}", server.port());
    let well_known = authority.serve(&["a.example"], delegating(delegated.clone())).await;
    let resolver = FakeResolver::here(&["a.example", "matrix.a.example"]);
    let https = https(&outgoing_config(&authority), resolver, well_known.port());
    assert_eq!(asked(&https, "a.example").await, "200 here");
    assert_eq!(host(&server.seen()[0]), delegated);
    // Remembered.
    assert_eq!(asked(&https, "a.example").await, "200 here");
    assert_eq!(well_known.seen().len(), 1);
}

#[tokio::test]
async fn by_well_known_and_the_records_of_the_delegated_name() {
    let authority = Authority::new();
    // The certificate is for the delegated name, not for the target of its record.
    let server = authority.serve(&["matrix.a.example"], saying("here")).await;
    let well_known = authority.serve(&["a.example"], delegating("matrix.a.example".to_owned())).await;
    let resolver = FakeResolver::here(&["a.example", "machine.example"]);
    resolver.put_srv("_matrix-fed._tcp.matrix.a.example", "machine.example", server.port());
    let https = https(&outgoing_config(&authority), resolver, well_known.port());
    assert_eq!(asked(&https, "a.example").await, "200 here");
    assert_eq!(host(&server.seen()[0]), "matrix.a.example");
}

#[tokio::test]
async fn by_records_where_there_is_no_delegation() {
    let authority = Authority::new();
    let server = authority.serve(&["b.example"], saying("here")).await;
    let well_known = authority.serve(&["b.example"], Router::new()).await;
    for service in ["_matrix-fed._tcp.b.example", "_matrix._tcp.b.example"] {
        let resolver = FakeResolver::here(&["b.example", "machine.example"]);
        resolver.put_srv(service, "machine.example", server.port());
        let https = https(&outgoing_config(&authority), resolver, well_known.port());
        assert_eq!(asked(&https, "b.example").await, "200 here");
        assert_eq!(host(server.seen().last().unwrap()), "b.example");
    }
}

#[tokio::test]
async fn a_failed_look_up_of_records_ends_it() {
    let authority = Authority::new();
    let resolver = FakeResolver::here(&["b.example"]);
    resolver.srv.lock().unwrap().insert("_matrix-fed._tcp.b.example".to_owned(), SrvAnswer::Failed);
    let https = https(&outgoing_config(&authority), resolver, NOWHERE);
    assert!(asked(&https, "b.example").await.starts_with("NoRoute"));
}

#[tokio::test]
async fn endless_redirects_of_the_well_known_are_stopped() {
    let authority = Authority::new();
    let server = authority.serve(&["b.example"], saying("here")).await;
    let onward = |Path(step): Path<u32>| async move { Redirect::temporary(&format!("/step/{}", step + 1)) };
    let router = Router::new()
        .route(WELL_KNOWN, get(|| std::future::ready(Redirect::permanent("/step/1"))))
        .route("/step/{step}", get(onward));
    let well_known = authority.serve(&["b.example"], router).await;
    let resolver = FakeResolver::here(&["b.example"]);
    resolver.put_srv("_matrix-fed._tcp.b.example", "b.example", server.port());
    let https = https(&outgoing_config(&authority), resolver, well_known.port());
    assert_eq!(asked(&https, "b.example").await, "200 here");
    assert_eq!(well_known.seen().len(), 1 + linkim_federation::well_known::MAX_WELL_KNOWN_REDIRECTS);
}

#[tokio::test]
async fn a_redirect_of_the_well_known_may_not_lead_to_a_private_address() {
    let authority = Authority::new();
    let server = authority.serve(&["b.example"], saying("here")).await;
    let acceptor = authority.acceptor(&["inside.example"], &["http/1.1"]);
    let inside = Ipv4Addr::new(127, 0, 0, 2);
    let elsewhere = Server::start_at(inside, acceptor, delegating("evil.example:1".to_owned())).await;
    let target = format!("https://inside.example:{}{WELL_KNOWN}", elsewhere.port());
    let router = Router::new().route(WELL_KNOWN, get(move || std::future::ready(Redirect::temporary(&target))));
    let well_known = authority.serve(&["b.example"], router).await;
    let resolver = FakeResolver::here(&["b.example"]);
    // Loopback as well, so that the other server would answer, were it not refused.
    resolver.put("inside.example", inside.into());
    resolver.put_srv("_matrix-fed._tcp.b.example", "b.example", server.port());
    let https = https(&outgoing_config(&authority), resolver, well_known.port());
    assert_eq!(asked(&https, "b.example").await, "200 here");
    assert_eq!(well_known.seen().len(), 1);
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_well_known_document_that_is_too_long_is_none() {
    let authority = Authority::new();
    let server = authority.serve(&["b.example"], saying("here")).await;
    let long = format!("{{\"m.server\":\"evil.example:1\",\"x\":\"{}\"}}", "x".repeat(60_000));
    let router = Router::new().route(WELL_KNOWN, get(move || std::future::ready(long.into_response())));
    let well_known = authority.serve(&["b.example"], router).await;
    let resolver = FakeResolver::here(&["b.example"]);
    resolver.put_srv("_matrix-fed._tcp.b.example", "b.example", server.port());
    let https = https(&outgoing_config(&authority), resolver, well_known.port());
    assert_eq!(asked(&https, "b.example").await, "200 here");
    assert_eq!(well_known.seen().len(), 1);
}

#[tokio::test]
async fn private_addresses_are_refused() {
    let authority = Authority::new();
    let server = authority.serve(&["127.0.0.1", "a.example"], saying("here")).await;
    let config = config::Outgoing { allow_networks: Vec::new(), ..outgoing_config(&authority) };
    let https = https(&config, FakeResolver::here(&["a.example"]), server.port());
    for name in [server.address.to_string(), format!("a.example:{}", server.port()), "a.example".to_owned()] {
        assert!(asked(&https, &name).await.starts_with("Private"), "{name}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_is_resolved_once_for_all_who_wait() {
    let authority = Authority::new();
    let server = authority.serve(&["matrix.a.example"], saying("here")).await;
    let delegated = format!("matrix.a.example:{}", server.port());
    let well_known = authority.serve(&["a.example"], delegating(delegated)).await;
    let resolver = FakeResolver::here(&["a.example", "matrix.a.example"]);
    let https = https(&outgoing_config(&authority), resolver, well_known.port());
    let all = futures_util::future::join_all((0..20).map(|_| asked(&https, "a.example"))).await;
    assert!(all.iter().all(|answer| answer == "200 here"), "{all:?}");
    assert_eq!(well_known.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_moved_is_found_at_the_next_try() {
    let authority = Authority::new();
    let before = authority.serve(&["b.example"], saying("before")).await;
    let after = authority.serve(&["b.example"], saying("after")).await;
    let resolver = FakeResolver::here(&["b.example"]);
    resolver.put_srv("_matrix-fed._tcp.b.example", "b.example", before.port());
    let https = https(&outgoing_config(&authority), resolver.clone(), NOWHERE);
    assert_eq!(asked(&https, "b.example").await, "200 before");
    resolver.put_srv("_matrix-fed._tcp.b.example", "b.example", after.port());
    assert_eq!(asked(&https, "b.example").await, "200 before");
    before.stop().await;
    assert_ne!(asked(&https, "b.example").await, "200 before");
    assert_eq!(asked(&https, "b.example").await, "200 after");
}

#[tokio::test]
async fn a_delegation_that_leads_nowhere_is_soon_asked_for_again() {
    let authority = Authority::new();
    let before = authority.serve(&["matrix.a.example"], saying("before")).await;
    let after = authority.serve(&["matrix.a.example"], saying("after")).await;
    let delegated = Arc::new(Mutex::new(before.port()));
    let named = delegated.clone();
    let router = Router::new().route(
        WELL_KNOWN,
        get(move || {
            let port = *named.lock().unwrap();
            std::future::ready(format!("{{\"m.server\":\"matrix.a.example:{port}\"}}"))
        }),
    );
    let well_known = authority.serve(&["a.example"], router).await;
    let clock = Arc::new(SetClock::default());
    let resolver = FakeResolver::here(&["a.example", "matrix.a.example"]);
    let https = https_at(clock.clone(), &outgoing_config(&authority), resolver, well_known.port());
    assert_eq!(asked(&https, "a.example").await, "200 before");
    *delegated.lock().unwrap() = after.port();
    before.stop().await;
    // Within a minute of its answer the host is not asked again, however often what it said fails.
    clock.0.store(59_999, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(asked(&https, "a.example").await.starts_with("Connect"));
    }
    assert_eq!(well_known.seen().len(), 1);
    clock.0.store(60_000, Ordering::SeqCst);
    assert_eq!(asked(&https, "a.example").await, "200 after");
}

/// How often a host was asked, when its answer is asked for at these times.
async fn asked_at(router: Router, times_ms: &[i64]) -> Vec<usize> {
    let authority = Authority::new();
    let well_known = authority.serve(&["a.example"], router).await;
    let client = outgoing(&outgoing_config(&authority), FakeResolver::here(&["a.example"]));
    let clock = Arc::new(SetClock::default());
    let delegations = Delegations::new(Arc::new(client), clock.clone(), well_known.port());
    let mut counts = Vec::new();
    for time_ms in times_ms {
        clock.0.store(*time_ms, Ordering::SeqCst);
        delegations.of("a.example").await;
        counts.push(well_known.seen().len());
    }
    counts
}

#[tokio::test]
async fn answers_are_believed_as_long_as_the_spec_says() {
    let router = delegating("b.example".to_owned());
    assert_eq!(asked_at(router, &[0, 86_399_999, 86_400_000]).await, [1, 1, 2]);
    let headers = [("cache-control", "max-age=120")];
    let router =
        Router::new().route(WELL_KNOWN, get(move || std::future::ready((headers, "{\"m.server\":\"b.example\"}"))));
    assert_eq!(asked_at(router, &[0, 119_999, 120_000]).await, [1, 1, 2]);
    // Errors: a minute, then two.
    assert_eq!(asked_at(Router::new(), &[0, 59_999, 60_000, 179_999, 180_000]).await, [1, 1, 2, 2, 3]);
}
