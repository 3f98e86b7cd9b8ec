//! Account data, tags and filters.

use super::*;
use crate::{params, store::StoreError};

/// Makes a room that has nothing but an id.
async fn make_room(app: &App, room_id: &'static str) {
    app.store
        .write::<_, StoreError, _>(move |tx| {
            tx.execute("INSERT INTO rooms (room_id, version, main_line) VALUES (?1, '12', 1)", params![room_id])
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn it_is_stored_and_has_a_position() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let path = "/v3/user/@alice:a.example/account_data/org.example.config";
    assert_eq!(app.get(path, Some(&token)).await.error(), (404, "M_NOT_FOUND"));
    let before = app.store.position();
    app.put(path, Some(&token), json!({ "a": [1, 2.5, null] })).await.ok();
    assert_eq!(app.store.position(), before + 1);
    let content = app.get(path, Some(&token)).await.ok();
    assert_eq!(content, json!({ "a": [1, 2.5, null] }));
    app.put(path, Some(&token), json!({})).await.ok();
    assert_eq!(app.get(path, Some(&token)).await.ok(), json!({}));
}

#[tokio::test]
async fn others_and_the_servers_own_are_refused() {
    let app = App::open().await;
    let token = app.token("alice").await;
    app.register("bob").await;
    make_room(&app, "!room:a.example").await;
    let cases = [
        ("/v3/user/@bob:a.example/account_data/x", 403, "M_FORBIDDEN"),
        ("/v3/user/@alice:a.example/account_data/m.push_rules", 405, "M_BAD_JSON"),
        ("/v3/user/@alice:a.example/account_data/m.fully_read", 405, "M_BAD_JSON"),
        ("/v3/user/@alice:a.example/rooms/!room:a.example/account_data/m.fully_read", 405, "M_BAD_JSON"),
        ("/v3/user/@alice:a.example/rooms/!none:a.example/account_data/x", 404, "M_NOT_FOUND"),
        ("/v3/user/@alice:a.example/rooms/nonsense/account_data/x", 400, "M_INVALID_PARAM"),
        ("/v3/user/nonsense/account_data/x", 400, "M_INVALID_PARAM"),
    ];
    for (path, status, errcode) in cases {
        let answer = app.put(path, Some(&token), json!({ "x": 1 })).await;
        assert_eq!(answer.error(), (status, errcode), "{path}");
    }
    let rules = "/v3/user/@alice:a.example/account_data/m.push_rules";
    assert!(app.get(rules, Some(&token)).await.ok()["global"].is_object());
    let others = app.get("/v3/user/@bob:a.example/account_data/m.push_rules", Some(&token)).await;
    assert_eq!(others.error(), (403, "M_FORBIDDEN"));
}

#[tokio::test]
async fn what_is_not_an_object_or_too_large_is_refused() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let path = "/v3/user/@alice:a.example/account_data/x";
    let answer = app.put(path, Some(&token), json!([1])).await;
    assert_eq!(answer.error(), (400, "M_BAD_JSON"));
    // {"x":"…"} has 8 bytes beside the text.
    let fits = json!({ "x": "y".repeat(64 * 1024 - 8) });
    app.put(path, Some(&token), fits).await.ok();
    let large = json!({ "x": "y".repeat(64 * 1024 - 7) });
    assert_eq!(app.put(path, Some(&token), large).await.error(), (413, "M_TOO_LARGE"));
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let request = Request::put(format!("/_matrix/client{path}"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from(deep));
    assert_eq!(app.send(request.unwrap()).await.error(), (400, "M_BAD_JSON"));
    let long = format!("{path}{}", "x".repeat(255));
    assert_eq!(app.put(&long, Some(&token), json!({})).await.error(), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn a_user_has_at_most_1000_types() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let user = app.state.sessions.authenticate(&token).await.unwrap().user;
    app.store
        .write::<_, StoreError, _>(move |tx| {
            // The push rules are the first.
            for number in 1..1000 {
                let kind = format!("t{number}");
                crate::store::account_data::insert(tx, user, None, &kind, "{}", tx.next_position())?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let path = |kind: &str| format!("/v3/user/@alice:a.example/account_data/{kind}");
    app.put(&path("t1"), Some(&token), json!({ "new": true })).await.ok();
    let more = app.put(&path("more"), Some(&token), json!({})).await;
    assert_eq!(more.error(), (413, "M_TOO_LARGE"));
}

#[tokio::test]
async fn room_tags_are_account_data_of_the_room() {
    let app = App::open().await;
    let token = app.token("alice").await;
    make_room(&app, "!room:a.example").await;
    let room = "/v3/user/@alice:a.example/rooms/!room:a.example";
    let tags = format!("{room}/tags");
    assert_eq!(app.get(&tags, Some(&token)).await.ok(), json!({ "tags": {} }));
    let tag = |name: &str| format!("{tags}/{name}");
    app.put(&tag("m.favourite"), Some(&token), json!({ "order": 0.25 })).await.ok();
    app.put(&tag("u.work"), Some(&token), json!({ "org.x": 1 })).await.ok();
    let both = json!({ "tags": { "m.favourite": { "order": 0.25 }, "u.work": { "org.x": 1 } } });
    assert_eq!(app.get(&tags, Some(&token)).await.ok(), both);
    let stored = app.get(&format!("{room}/account_data/m.tag"), Some(&token)).await.ok();
    assert_eq!(stored, both);
    app.call(Method::DELETE, &tag("u.work"), Some(&token), Value::Null).await.ok();
    let before = app.store.position();
    app.call(Method::DELETE, &tag("u.work"), Some(&token), Value::Null).await.ok();
    assert_eq!(app.store.position(), before);
    for order in [json!("first"), json!(-0.1), json!(1.1)] {
        let answer = app.put(&tag("u.x"), Some(&token), json!({ "order": order })).await;
        assert_eq!(answer.error(), (400, "M_BAD_JSON"));
    }
    let long = app.put(&tag(&"x".repeat(256)), Some(&token), json!({})).await;
    assert_eq!(long.error(), (400, "M_INVALID_PARAM"));
    app.put(&format!("{room}/account_data/m.tag"), Some(&token), json!({ "tags": 5 })).await.ok();
    assert_eq!(app.get(&tags, Some(&token)).await.ok(), json!({ "tags": {} }));
    let unknown = app.get("/v3/user/@alice:a.example/rooms/!none:x/tags", Some(&token)).await;
    assert_eq!(unknown.error(), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn filters_are_stored_once() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let path = "/v3/user/@alice:a.example/filter";
    // The example of the spec.
    let filter = json!({
        "room": {
            "state": { "types": ["m.room.*"], "not_rooms": ["!726s6s6q:example.com"] },
            "timeline": {
                "limit": 10, "types": ["m.room.message"], "not_rooms": ["!726s6s6q:example.com"],
                "not_senders": ["@spam:example.com"],
            },
            "ephemeral": {
                "types": ["m.receipt", "m.typing"], "not_rooms": ["!726s6s6q:example.com"],
                "not_senders": ["@spam:example.com"],
            },
        },
        "presence": { "types": ["m.presence"], "not_senders": ["@alice:example.com"] },
        "event_format": "client",
        "event_fields": ["type", "content", "sender"],
    });
    let id = app.post(path, Some(&token), filter.clone()).await.text("filter_id");
    assert!(!id.starts_with('{'));
    assert_eq!(app.post(path, Some(&token), filter.clone()).await.text("filter_id"), id);
    let empty = app.post(path, Some(&token), json!({})).await.text("filter_id");
    assert_ne!(empty, id);
    assert_eq!(app.get(&format!("{path}/{id}"), Some(&token)).await.ok(), filter);
    let bob = app.token("bob").await;
    let others = app.get(&format!("/v3/user/@bob:a.example/filter/{id}"), Some(&bob)).await;
    assert_eq!(others.error(), (404, "M_NOT_FOUND"));
    assert_eq!(app.get(&format!("{path}/{id}"), Some(&bob)).await.error(), (403, "M_FORBIDDEN"));
    let missing = app.get(&format!("{path}/x"), Some(&token)).await;
    assert_eq!(missing.error(), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn what_is_not_a_filter_is_refused() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let cases = [
        json!([]),
        json!({ "room": 5 }),
        json!({ "room": { "timeline": { "limit": "many" } } }),
        json!({ "room": { "timeline": { "limit": -1 } } }),
        json!({ "room": { "rooms": ["not a room"] } }),
        json!({ "room": { "state": { "senders": ["nobody"] } } }),
        json!({ "presence": { "types": "m.presence" } }),
        json!({ "event_format": "xml" }),
    ];
    for filter in cases {
        let answer = app.post("/v3/user/@alice:a.example/filter", Some(&token), filter.clone()).await;
        assert_eq!(answer.error(), (400, "M_BAD_JSON"), "{filter}");
    }
}

#[tokio::test]
async fn the_oldest_filters_go() {
    let app = App::open().await;
    let token = app.token("alice").await;
    let user = app.state.sessions.authenticate(&token).await.unwrap().user;
    let add = async |number: usize| {
        let filter = json!({ "room": { "timeline": { "limit": number } } });
        let Value::Object(filter) = filter else { unreachable!() };
        app.state.filters.add(user, filter).await.unwrap()
    };
    let first = add(0).await;
    let second = add(1).await;
    for number in 2..1000 {
        add(number).await;
    }
    assert!(app.state.filters.get(user, &first).await.unwrap().is_some());
    let last = add(1000).await;
    assert!(app.state.filters.get(user, &first).await.unwrap().is_none());
    assert!(app.state.filters.get(user, &second).await.unwrap().is_some());
    assert!(app.state.filters.get(user, &last).await.unwrap().is_some());
}
