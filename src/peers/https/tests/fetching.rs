//! Requests to addresses that strangers choose.

use axum::{response::Redirect, routing::get};
use url::Url;

use super::{outgoing::*, *};

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

/// A server that redirects `/to` to `target`.
async fn redirecting(authority: &Authority, target: &str) -> Server {
    let target = target.to_owned();
    let router = Router::new()
        .route("/to", get(move || std::future::ready(Redirect::temporary(&target))))
        .fallback(|| std::future::ready("here"));
    authority.serve(&["a.example", "127.0.0.1"], router).await
}

async fn failure(outgoing: &Outgoing, fetch: Fetch) -> String {
    format!("{:?}", outgoing.fetch(fetch).await.unwrap_err())
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_told() {
    let authority = Authority::new();
    let server = redirecting(&authority, "/here").await;
    let client = outgoing(&outgoing_config(&authority), FakeResolver::here(&["a.example"]));
    let from = format!("https://a.example:{}/to", server.port());
    let fetched = client.fetch(Fetch::get(url(&from)).redirects(1)).await.unwrap();
    assert_eq!((&fetched.body[..], fetched.url.path()), (&b"here"[..], "/here"));
    let fetched = client.fetch(Fetch::get(url(&from))).await.unwrap();
    assert_eq!(fetched.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(server.seen()[0].user_agent.as_deref(), Some(USER_AGENT));
}

#[tokio::test]
async fn private_addresses_are_refused_by_name_and_by_number() {
    let authority = Authority::new();
    let server = redirecting(&authority, "/here").await;
    let port = server.port();
    let mut config = outgoing_config(&authority);
    config.allow_networks.clear();
    let client = outgoing(&config, FakeResolver::here(&["a.example"]));
    let urls = [
        "https://a.example",
        "https://127.0.0.1",
        "https://2130706433",
        "https://0x7f.1",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
    ];
    for host in urls {
        let error = failure(&client, Fetch::get(url(&format!("{host}:{port}/")))).await;
        assert!(error.starts_with("Private"), "{host}: {error}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn redirects_are_held_to_the_rules() {
    let authority = Authority::new();
    let resolver = FakeResolver::here(&["a.example"]);
    resolver.put("inside.example", "10.0.0.1".parse().unwrap());
    let client = outgoing(&outgoing_config(&authority), resolver);
    for (target, expected) in [
        ("https://inside.example/", "Private"),
        ("https://127.0.0.2/", "Private"),
        ("http://169.254.169.254/latest/meta-data", "Private"),
        ("file:///etc/passwd", "Scheme"),
    ] {
        let server = redirecting(&authority, target).await;
        let from = url(&format!("https://a.example:{}/to", server.port()));
        let error = failure(&client, Fetch::get(from).redirects(5)).await;
        assert!(error.starts_with(expected), "{target}: {error}");
    }
    let server = redirecting(&authority, "http://a.example/").await;
    let from = url(&format!("https://a.example:{}/to", server.port()));
    let error = failure(&client, Fetch::get(from).redirects(5).https_only()).await;
    assert!(error.starts_with("Scheme"), "{error}");
}

#[tokio::test]
async fn a_response_may_not_be_larger_than_told() {
    let authority = Authority::new();
    let server = authority.serve(&["a.example"], saying("four")).await;
    let client = outgoing(&outgoing_config(&authority), FakeResolver::here(&["a.example"]));
    let from = url(&format!("https://a.example:{}/", server.port()));
    assert_eq!(client.fetch(Fetch::get(from.clone()).limit(4)).await.unwrap().body, "four");
    assert!(failure(&client, Fetch::get(from).limit(3)).await.starts_with("TooLarge"));
}
