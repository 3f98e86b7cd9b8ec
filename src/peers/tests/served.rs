//! What other servers ask of this one, over the server-server API.

use axum::Router;
use http::Method;
use serde_json::{Value, json};

use super::two_servers::{Network, RawServer, Server};

const FEDERATION: &str = "/_matrix/federation/v1";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_without_a_signature() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let alice = a.person("alice").await;
    let room = a.room(&alice, json!({ "preset": "public_chat" })).await;
    let gets = [
        format!("/backfill/{room}?v=$x&limit=1"),
        format!("/state/{room}?event_id=$x"),
        format!("/state_ids/{room}?event_id=$x"),
        "/event/$x".into(),
        format!("/event_auth/{room}/$x"),
        format!("/timestamp_to_event/{room}?ts=1&dir=f"),
        "/publicRooms".into(),
        format!("/hierarchy/{room}"),
        "/query/directory?room_alias=%23a:a.example".into(),
        "/query/profile?user_id=@alice:a.example".into(),
        "/query/anything".into(),
    ];
    for path in gets {
        let answer = a.call(Method::GET, &format!("{FEDERATION}{path}"), None, Value::Null).await;
        assert_eq!(answer.error(), (401, "M_UNAUTHORIZED"), "{path}");
    }
    for path in [format!("/get_missing_events/{room}"), "/publicRooms".into()] {
        let answer = a.call(Method::POST, &format!("{FEDERATION}{path}"), None, json!({})).await;
        assert_eq!(answer.error(), (401, "M_UNAUTHORIZED"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_in_the_room_is_shown_nothing_of_it() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let c = RawServer::start(&network, "c.example", Router::new());
    let alice = a.person("alice").await;
    let room = a.room(&alice, json!({ "preset": "public_chat" })).await;
    let text = json!({ "msgtype": "m.text", "body": "secret" });
    let sent = a.put(&format!("/rooms/{room}/send/m.room.message/1"), &alice, text).await.ok();
    let event = sent["event_id"].as_str().unwrap();
    let get = |path: String| {
        let (c, name) = (&c, &a.name);
        async move { c.ask(name, Method::GET, &format!("{FEDERATION}{path}"), None).await }
    };
    for path in [
        format!("/backfill/{room}?v={event}&limit=10"),
        format!("/state/{room}?event_id={event}"),
        format!("/state_ids/{room}?event_id={event}"),
        format!("/event_auth/{room}/{event}"),
        format!("/timestamp_to_event/{room}?ts=1&dir=f"),
    ] {
        assert_eq!(get(path.clone()).await.error(), (403, "M_FORBIDDEN"), "{path}");
    }
    let question = json!({ "earliest_events": [], "latest_events": [event] });
    let path = format!("{FEDERATION}/get_missing_events/{room}");
    assert_eq!(c.ask(&a.name, Method::POST, &path, Some(question)).await.error(), (403, "M_FORBIDDEN"));
    assert_eq!(get(format!("/event/{event}")).await.error(), (404, "M_NOT_FOUND"));
    assert_eq!(get("/state/!nothing:a.example?event_id=$x".into()).await.error(), (404, "M_NOT_FOUND"));
    for (path, code) in [
        (format!("/backfill/{room}?limit=1"), "M_MISSING_PARAM"),
        (format!("/backfill/{room}?v={event}"), "M_MISSING_PARAM"),
        (format!("/backfill/{room}?v={event}&limit=0"), "M_INVALID_PARAM"),
        (format!("/state/{room}"), "M_MISSING_PARAM"),
        (format!("/timestamp_to_event/{room}?ts=1&dir=x"), "M_INVALID_PARAM"),
    ] {
        assert_eq!(get(path.clone()).await.error(), (400, code), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_answered_for_what_is_ours() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let c = RawServer::start(&network, "c.example", Router::new());
    let alice = a.person("alice").await;
    a.put(&format!("/profile/{}/displayname", alice.id), &alice, json!({ "displayname": "Al" })).await.ok();
    let room = a.room(&alice, json!({ "preset": "public_chat", "room_alias_name": "tea" })).await;
    let get = |path: &'static str| {
        let (c, name) = (&c, &a.name);
        async move { c.ask(name, Method::GET, &format!("{FEDERATION}{path}"), None).await }
    };
    let found = get("/query/directory?room_alias=%23tea:a.example").await.ok();
    assert_eq!(found, json!({ "room_id": room, "servers": ["a.example"] }));
    assert_eq!(get("/query/directory?room_alias=%23none:a.example").await.error(), (404, "M_NOT_FOUND"));
    assert_eq!(get("/query/directory?room_alias=%23tea:b.example").await.error(), (400, "M_INVALID_PARAM"));
    assert_eq!(get("/query/directory").await.error(), (400, "M_MISSING_PARAM"));
    assert_eq!(get("/query/profile?user_id=@alice:a.example").await.ok(), json!({ "displayname": "Al" }));
    let named = get("/query/profile?user_id=@alice:a.example&field=displayname").await.ok();
    assert_eq!(named, json!({ "displayname": "Al" }));
    let unset = get("/query/profile?user_id=@alice:a.example&field=avatar_url").await;
    assert_eq!(unset.error(), (404, "M_NOT_FOUND"));
    assert_eq!(get("/query/profile?user_id=@nobody:a.example").await.error(), (404, "M_NOT_FOUND"));
    assert_eq!(get("/query/profile?user_id=@alice:b.example").await.error(), (400, "M_INVALID_PARAM"));
    assert_eq!(get("/query/anything").await.error(), (404, "M_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_openid_token_names_its_user_to_whoever_has_it() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let alice = a.person("alice").await;
    let given = a.post(&format!("/user/{}/openid/request_token", alice.id), &alice, json!({})).await.ok();
    let token = given["access_token"].as_str().unwrap();
    let ask = |token: String| {
        let a = &a;
        async move {
            a.call(Method::GET, &format!("{FEDERATION}/openid/userinfo?access_token={token}"), None, Value::Null).await
        }
    };
    assert_eq!(ask(token.into()).await.ok(), json!({ "sub": alice.id }));
    assert_eq!(ask(alice.token.clone()).await.error(), (401, "M_UNKNOWN_TOKEN"), "an access token is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_is_shown_where_the_configuration_allows_it() {
    let network = Network::default();
    let c = RawServer::start(&network, "c.example", Router::new());
    let a = Server::start(&network, "a.example").await;
    let b = Server::start_with(&network, "b.example", |config| config.federation.public_rooms = false).await;
    let alice = a.person("alice").await;
    let listed = json!({ "preset": "public_chat", "visibility": "public", "name": "Tea" });
    let room = a.room(&alice, listed).await;
    a.room(&alice, json!({ "preset": "public_chat", "name": "Unlisted" })).await;
    let path = format!("{FEDERATION}/publicRooms");
    let page = c.ask(&a.name, Method::GET, &path, None).await.ok();
    assert_eq!((page["chunk"].as_array().unwrap().len(), &page["chunk"][0]["room_id"]), (1, &json!(room)));
    let search = |term: &str| Some(json!({ "filter": { "generic_search_term": term }, "limit": 5 }));
    assert_eq!(c.ask(&a.name, Method::POST, &path, search("tea")).await.ok()["chunk"][0]["name"], "Tea");
    assert_eq!(c.ask(&a.name, Method::POST, &path, search("coffee")).await.ok()["chunk"], json!([]));
    assert_eq!(c.ask(&b.name, Method::GET, &path, None).await.error(), (403, "M_FORBIDDEN"));
    assert_eq!(c.ask(&b.name, Method::POST, &path, search("tea")).await.error(), (403, "M_FORBIDDEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_tells_what_the_asking_server_may_join() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let c = RawServer::start(&network, "c.example", Router::new());
    let alice = a.person("alice").await;
    let space = a
        .room(&alice, json!({ "preset": "public_chat", "name": "Space", "creation_content": { "type": "m.space" } }))
        .await;
    let open = a.room(&alice, json!({ "preset": "public_chat", "name": "Open" })).await;
    let closed = a.room(&alice, json!({ "preset": "private_chat", "name": "Closed" })).await;
    for (child, suggested) in [(open.as_str(), true), (closed.as_str(), false), ("!elsewhere:b.example", false)] {
        let content = json!({ "via": ["a.example"], "suggested": suggested });
        a.put(&format!("/rooms/{space}/state/m.space.child/{child}"), &alice, content).await.ok();
    }
    let ask = |room: &str, query: &str| {
        let (c, name, uri) = (&c, &a.name, format!("{FEDERATION}/hierarchy/{room}{query}"));
        async move { c.ask(name, Method::GET, &uri, None).await }
    };
    let told = ask(&space, "").await.ok();
    assert_eq!((&told["room"]["room_id"], &told["room"]["room_type"]), (&json!(space), &json!("m.space")));
    assert_eq!(told["room"]["children_state"].as_array().unwrap().len(), 3);
    let children: Vec<&Value> = told["children"].as_array().unwrap().iter().map(|child| &child["room_id"]).collect();
    assert_eq!(children, [&json!(open)]);
    assert_eq!(told["inaccessible_children"], json!([closed]));
    let told = ask(&space, "?suggested_only=true").await.ok();
    assert_eq!(told["room"]["children_state"].as_array().unwrap().len(), 1);
    assert_eq!(told["inaccessible_children"], json!([]));
    assert_eq!(ask(&closed, "").await.error(), (404, "M_NOT_FOUND"));
    assert_eq!(ask("!nothing:a.example", "").await.error(), (404, "M_NOT_FOUND"));
}
