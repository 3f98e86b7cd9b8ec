//! What this server asks of others for its clients.

use axum::{Router, routing::get};
use http::Method;
use serde_json::{Value, json};

use super::two_servers::{Network, RawServer, Server};
use crate::api::extract::{Json, Query};

const FEDERATION: &str = "/_matrix/federation/v1";

#[tokio::test(flavor = "multi_thread")]
async fn aliases_and_directories_of_other_servers_are_read() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let b = Server::start(&network, "b.example").await;
    let (alice, bob) = (a.person("alice").await, b.person("bob").await);
    let body = json!({ "preset": "public_chat", "visibility": "public", "room_alias_name": "tea", "name": "Tea" });
    let room = b.room(&bob, body).await;
    let found = a.get("/directory/room/%23tea:b.example", &alice).await.ok();
    assert_eq!(found, json!({ "room_id": room, "servers": ["b.example"] }));
    a.get("/directory/room/%23tea:b.example", &alice).await.ok();
    assert_eq!(network.count("query/directory"), 1, "it is remembered");
    assert_eq!(a.get("/directory/room/%23none:b.example", &alice).await.error(), (404, "M_NOT_FOUND"));
    assert_eq!(a.get("/publicRooms?server=b.example", &alice).await.ok()["chunk"][0]["name"], "Tea");
    let search = json!({ "filter": { "generic_search_term": "coffee" } });
    assert_eq!(a.post("/publicRooms?server=b.example", &alice, search).await.ok()["chunk"], json!([]));
    assert_eq!(a.get("/publicRooms?server=a.example", &alice).await.ok()["chunk"], json!([]), "our own");
    assert_eq!(a.get("/publicRooms?server=not%20one", &alice).await.error(), (400, "M_INVALID_PARAM"));
    network.set_down(&b.name, true);
    assert_eq!(a.get("/publicRooms?server=b.example", &alice).await.error().0, 502);
    assert_eq!(a.get("/directory/room/%23other:b.example", &alice).await.error().0, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_server_tells_is_bounded_and_checked() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let alice = a.person("alice").await;
    let rooms = get(|| async {
        let good = json!({ "room_id": "!a:c.example", "num_joined_members": 3, "name": "Good" });
        let mut chunk = vec![json!({ "room_id": 7 }), json!("x"), json!({ "name": "no id" }), good];
        chunk.extend((0..600).map(|n| json!({ "room_id": format!("!{n}:c.example") })));
        Json(json!({ "chunk": chunk, "next_batch": "x".repeat(5_000), "total_room_count_estimate": -3 }))
    });
    let alias = get(|| async {
        let mut servers = vec![json!("not a server"), json!("b.example"), json!("b.example")];
        servers.extend((0..500).map(|n| json!(format!("s{n}.example"))));
        Json(json!({ "room_id": "!a:c.example", "servers": servers }))
    });
    let profile = get(|Query(query): Query<Value>| async move {
        assert_eq!(query["user_id"], "@carol:c.example");
        Json(
            json!({ "displayname": 7, "avatar_url": "https://c.example/x", "org.example.x": [1], "not a key": 1, "m.tz": null }),
        )
    });
    let routes = Router::new()
        .route(&format!("{FEDERATION}/publicRooms"), rooms)
        .route(&format!("{FEDERATION}/query/directory"), alias)
        .route(&format!("{FEDERATION}/query/profile"), profile);
    RawServer::start(&network, "c.example", routes);
    let page = a.get("/publicRooms?server=c.example", &alice).await.ok();
    let chunk = page["chunk"].as_array().unwrap();
    assert_eq!((chunk.len(), &chunk[0]["name"]), (500, &json!("Good")));
    assert_eq!(page.get("next_batch"), None);
    let found = a.get("/directory/room/%23x:c.example", &alice).await.ok();
    let servers = found["servers"].as_array().unwrap();
    assert_eq!((servers.len(), &servers[0], &servers[100]), (101, &json!("b.example"), &json!("c.example")));
    assert_eq!(a.get("/profile/@carol:c.example", &alice).await.ok(), json!({ "org.example.x": [1] }));
    assert_eq!(a.get("/profile/@carol:c.example/displayname", &alice).await.error(), (404, "M_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_of_other_servers_users_are_read_and_remembered() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let b = Server::start(&network, "b.example").await;
    let (alice, bob) = (a.person("alice").await, b.person("bob").await);
    b.put(&format!("/profile/{}/displayname", bob.id), &bob, json!({ "displayname": "Bob" })).await.ok();
    assert_eq!(a.get(&format!("/profile/{}", bob.id), &alice).await.ok(), json!({ "displayname": "Bob" }));
    let name = a.get(&format!("/profile/{}/displayname", bob.id), &alice).await.ok();
    assert_eq!(name, json!({ "displayname": "Bob" }));
    assert_eq!(a.get("/profile/@nobody:b.example", &alice).await.error(), (404, "M_NOT_FOUND"));
    assert_eq!(network.count("query/profile"), 2, "one question a user");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_grows_over_servers() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let b = Server::start(&network, "b.example").await;
    let (alice, bob) = (a.person("alice").await, b.person("bob").await);
    let space = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" }, "name": "Space" });
    let (root, theirs) = (a.room(&alice, space.clone()).await, b.room(&bob, space).await);
    let leaf = b.room(&bob, json!({ "preset": "public_chat", "name": "Leaf" })).await;
    let secret = b.room(&bob, json!({ "preset": "private_chat", "name": "Secret" })).await;
    let via = json!({ "via": ["b.example"] });
    a.put(&format!("/rooms/{root}/state/m.space.child/{theirs}"), &alice, via.clone()).await.ok();
    for child in [&leaf, &secret] {
        b.put(&format!("/rooms/{theirs}/state/m.space.child/{child}"), &bob, via.clone()).await.ok();
    }
    let tree = |query: &'static str| {
        let (a, alice, path) = (&a, &alice, format!("/_matrix/client/v1/rooms/{root}/hierarchy{query}"));
        async move { a.call(Method::GET, &path, Some(alice), Value::Null).await.ok() }
    };
    let whole = tree("").await;
    let ids: Vec<&str> = whole["rooms"].as_array().unwrap().iter().map(|r| r["room_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [root.as_str(), theirs.as_str(), leaf.as_str()]);
    assert_eq!(network.count("/hierarchy/"), 1, "the space told of its children");
    let first = tree("?limit=2").await;
    assert_eq!(first["rooms"].as_array().unwrap().len(), 2);
    let summary = |room: &str| {
        let (a, alice, path) = (&a, &alice, format!("/_matrix/client/v1/room_summary/{room}?via=b.example"));
        async move { a.call(Method::GET, &path, Some(alice), Value::Null).await }
    };
    assert_eq!(summary(&leaf).await.ok()["name"], "Leaf");
    assert_eq!(summary(&secret).await.error(), (404, "M_NOT_FOUND"));
    network.set_down(&b.name, true);
    let other = a.room(&alice, json!({ "creation_content": { "type": "m.space" } })).await;
    a.put(&format!("/rooms/{other}/state/m.space.child/{secret}"), &alice, via).await.ok();
    let path = format!("/_matrix/client/v1/rooms/{other}/hierarchy");
    let alone = a.call(Method::GET, &path, Some(&alice), Value::Null).await.ok();
    assert_eq!(alone["rooms"].as_array().unwrap().len(), 1, "what is here, where nobody answers");
}
