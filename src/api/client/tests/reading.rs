//! Reading rooms: messages, context, events, state, members, relations, threads.

use serde_json::{Value, json};

use super::App;

/// Registers a user; answers their token.
async fn user(app: &App, name: &str) -> String {
    app.register(name).await["access_token"].as_str().unwrap().to_owned()
}

/// Makes a public room; answers its id.
async fn room(app: &App, token: &str, extra: Value) -> String {
    let mut body = json!({ "preset": "public_chat" });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    app.post("/v3/createRoom", Some(token), body).await.text("room_id")
}

async fn say(app: &App, token: &str, room: &str, txn: &str, content: Value) -> String {
    let path = format!("/v3/rooms/{room}/send/m.room.message/{txn}");
    app.put(&path, Some(token), content).await.text("event_id")
}

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

fn bodies(answer: &Value, list: &str) -> Vec<String> {
    let events = answer[list].as_array().unwrap().iter();
    events.filter_map(|event| event["content"]["body"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_room_is_read_back() {
    let app = App::open().await;
    let alice = user(&app, "alice").await;
    let room = room(&app, &alice, json!({})).await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(say(&app, &alice, &room, &format!("t{n}"), text(&n.to_string())).await);
    }
    let path = format!("/v3/rooms/{room}/messages");
    let page = app.get(&format!("{path}?dir=b&limit=2"), Some(&alice)).await.ok();
    assert_eq!(bodies(&page, "chunk"), ["4", "3"]);
    assert_eq!(page["chunk"][0]["room_id"], room.as_str());
    assert_eq!(page["chunk"][0]["unsigned"]["transaction_id"], "t4");
    assert_eq!(page["chunk"][0]["unsigned"]["membership"], "join");
    assert!(page["start"].is_string() && page.get("state").is_none());
    let end = page["end"].as_str().unwrap();
    let next = app.get(&format!("{path}?dir=b&limit=100&from={end}"), Some(&alice)).await.ok();
    assert_eq!(bodies(&next, "chunk"), ["2", "1", "0"]);
    assert_eq!((&next["start"], next.get("end")), (&json!(end), None));
    let types: Vec<&Value> = next["chunk"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(types.last().unwrap().as_str(), Some("m.room.create"));
    let filter = "%7B%22types%22%3A%5B%22m.room.member%22%5D%2C%22lazy_load_members%22%3Atrue%7D";
    let members = app.get(&format!("{path}?dir=f&filter={filter}"), Some(&alice)).await.ok();
    assert_eq!(members["chunk"].as_array().unwrap().len(), 1);
    assert_eq!(members["state"][0]["state_key"], "@alice:a.example");

    let context = app.get(&format!("/v3/rooms/{room}/context/{}?limit=2", sent[2]), Some(&alice)).await.ok();
    assert_eq!(context["event"]["event_id"], sent[2].as_str());
    assert_eq!(
        (bodies(&context, "events_before"), bodies(&context, "events_after")),
        (vec!["1".into()], vec!["3".into()])
    );
    let event = app.get(&format!("/v3/rooms/{room}/event/{}", sent[0]), Some(&alice)).await.ok();
    assert_eq!(event["content"]["body"], "0");
}

#[tokio::test]
async fn state_and_members() {
    let app = App::open().await;
    let (alice, bob) = (user(&app, "alice").await, user(&app, "bob").await);
    let room = room(&app, &alice, json!({ "topic": "t" })).await;
    let state = app.get(&format!("/v3/rooms/{room}/state"), Some(&alice)).await.ok();
    assert!(state.as_array().unwrap().iter().any(|event| event["type"] == "m.room.create"));
    for path in ["m.room.create", "m.room.create/"] {
        let create = app.get(&format!("/v3/rooms/{room}/state/{path}"), Some(&alice)).await.ok();
        assert_eq!(create["room_version"], "12");
    }
    let member = format!("/v3/rooms/{room}/state/m.room.member/@alice:a.example");
    assert_eq!(app.get(&member, Some(&alice)).await.ok()["membership"], "join");
    let event = app.get(&format!("{member}?format=event"), Some(&alice)).await.ok();
    assert_eq!((&event["type"], &event["room_id"]), (&json!("m.room.member"), &json!(room)));
    let wrong = app.get(&format!("{member}?format=xml"), Some(&alice)).await;
    assert_eq!(wrong.error(), (400, "M_INVALID_PARAM"));
    let none = app.get(&format!("/v3/rooms/{room}/state/org.example.none"), Some(&alice)).await;
    assert_eq!(none.error(), (404, "M_NOT_FOUND"));

    app.post(&format!("/v3/rooms/{room}/join"), Some(&bob), json!({})).await.ok();
    let joined = app.get(&format!("/v3/rooms/{room}/joined_members"), Some(&bob)).await.ok();
    assert_eq!(joined["joined"].as_object().unwrap().len(), 2);
    assert!(joined["joined"]["@bob:a.example"].is_object());
    let rooms = app.get("/v3/joined_rooms", Some(&bob)).await.ok();
    assert_eq!(rooms, json!({ "joined_rooms": [room] }));
    app.post(&format!("/v3/rooms/{room}/leave"), Some(&bob), json!({})).await.ok();
    let members = app.get(&format!("/v3/rooms/{room}/members?membership=leave"), Some(&alice)).await.ok();
    assert_eq!(members["chunk"][0]["state_key"], "@bob:a.example");
    assert_eq!(app.get("/v3/joined_rooms", Some(&bob)).await.ok(), json!({ "joined_rooms": [] }));
    let refused = app.get(&format!("/v3/rooms/{room}/joined_members"), Some(&bob)).await;
    assert_eq!(refused.error(), (403, "M_FORBIDDEN"));
}

#[tokio::test]
async fn relations_threads_and_times() {
    let app = App::open().await;
    let alice = user(&app, "alice").await;
    let room = room(&app, &alice, json!({})).await;
    let root = say(&app, &alice, &room, "1", text("root")).await;
    let related = |kind: &str, body: &str| {
        let mut content = text(body);
        content["m.relates_to"] = json!({ "rel_type": kind, "event_id": root });
        content
    };
    let threaded = say(&app, &alice, &room, "2", related("m.thread", "in the thread")).await;
    say(&app, &alice, &room, "3", related("m.reference", "about it")).await;
    let path = format!("/v1/rooms/{room}/relations/{root}");
    let all = app.get(&path, Some(&alice)).await.ok();
    assert_eq!(bodies(&all, "chunk"), ["about it", "in the thread"]);
    let page = app.get(&format!("{path}?limit=1&dir=f"), Some(&alice)).await.ok();
    assert_eq!(bodies(&page, "chunk"), ["in the thread"]);
    let next = page["next_batch"].as_str().unwrap();
    let page = app.get(&format!("{path}?limit=1&dir=f&from={next}"), Some(&alice)).await.ok();
    assert_eq!((bodies(&page, "chunk"), page.get("next_batch")), (vec!["about it".into()], None));
    assert_eq!(page["prev_batch"], next);
    let typed = app.get(&format!("{path}/m.thread/m.room.message?recurse=true"), Some(&alice)).await.ok();
    assert_eq!((bodies(&typed, "chunk"), &typed["recursion_depth"]), (vec!["in the thread".into()], &json!(3)));
    let missing = app.get(&format!("/v1/rooms/{room}/relations/$none"), Some(&alice)).await;
    assert_eq!(missing.error(), (404, "M_NOT_FOUND"));

    let threads = app.get(&format!("/v1/rooms/{room}/threads"), Some(&alice)).await.ok();
    let thread = &threads["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
    assert_eq!(threads["chunk"][0]["event_id"], root.as_str());
    assert_eq!(thread["latest_event"]["event_id"], threaded.as_str());
    let place = format!("/v1/rooms/{room}/timestamp_to_event");
    let found = app.get(&format!("{place}?ts=0&dir=f"), Some(&alice)).await.ok();
    assert!(found["event_id"].is_string() && found["origin_server_ts"].is_i64());
    let none = app.get(&format!("{place}?ts=0&dir=b"), Some(&alice)).await;
    assert_eq!(none.error(), (404, "M_NOT_FOUND"));
}

/// Whether a room is unknown or closed is not told; an event is not found in either case.
#[tokio::test]
async fn closed_rooms() {
    let app = App::open().await;
    let (alice, bob) = (user(&app, "alice").await, user(&app, "bob").await);
    let closed = room(&app, &alice, json!({})).await;
    let event = say(&app, &alice, &closed, "1", text("x")).await;
    for room in [closed.as_str(), "!unknown:a.example"] {
        for path in [
            format!("/v3/rooms/{room}/messages?dir=b"),
            format!("/v3/rooms/{room}/context/{event}"),
            format!("/v3/rooms/{room}/state"),
            format!("/v3/rooms/{room}/state/m.room.create"),
            format!("/v3/rooms/{room}/members"),
            format!("/v3/rooms/{room}/joined_members"),
            format!("/v1/rooms/{room}/relations/{event}"),
            format!("/v1/rooms/{room}/threads"),
            format!("/v1/rooms/{room}/timestamp_to_event?ts=0&dir=f"),
        ] {
            assert_eq!(app.get(&path, Some(&bob)).await.error(), (403, "M_FORBIDDEN"), "{path}");
            assert_eq!(app.get(&path, None).await.error(), (401, "M_MISSING_TOKEN"), "{path}");
        }
        let path = format!("/v3/rooms/{room}/event/{event}");
        assert_eq!(app.get(&path, Some(&bob)).await.error(), (404, "M_NOT_FOUND"));
    }
    let open = json!({ "history_visibility": "world_readable" });
    let path = format!("/v3/rooms/{closed}/state/m.room.history_visibility");
    app.put(&path, Some(&alice), open).await.ok();
    say(&app, &alice, &closed, "2", text("open")).await;
    let page = app.get(&format!("/v3/rooms/{closed}/messages?dir=b&limit=100"), Some(&bob)).await.ok();
    assert_eq!(bodies(&page, "chunk"), ["open"]);
}

/// What was said while anybody could read stays readable by its id; the pages of the room are closed again.
#[tokio::test]
async fn a_room_that_was_open_for_a_while() {
    let app = App::open().await;
    let (alice, bob) = (user(&app, "alice").await, user(&app, "bob").await);
    let room = room(&app, &alice, json!({})).await;
    let set = async |value: &str| {
        let path = format!("/v3/rooms/{room}/state/m.room.history_visibility");
        app.put(&path, Some(&alice), json!({ "history_visibility": value })).await.text("event_id")
    };
    let before = say(&app, &alice, &room, "1", text("closed")).await;
    let opening = set("world_readable").await;
    let during = say(&app, &alice, &room, "2", text("open")).await;
    let closing = set("invited").await;
    let after = say(&app, &alice, &room, "3", text("closed again")).await;
    // An invitation changes nothing.
    for _ in 0..2 {
        for id in [&opening, &during, &closing] {
            app.get(&format!("/v3/rooms/{room}/event/{id}"), Some(&bob)).await.ok();
            let context = app.get(&format!("/v3/rooms/{room}/context/{id}?limit=50"), Some(&bob)).await.ok();
            assert!(!context.to_string().contains("closed"), "{context}");
        }
        for id in [&before, &after] {
            let event = app.get(&format!("/v3/rooms/{room}/event/{id}"), Some(&bob)).await;
            assert_eq!(event.error(), (404, "M_NOT_FOUND"));
            let context = app.get(&format!("/v3/rooms/{room}/context/{id}"), Some(&bob)).await;
            assert_eq!(context.error(), (403, "M_FORBIDDEN"));
        }
        let page = app.get(&format!("/v3/rooms/{room}/messages?dir=b"), Some(&bob)).await;
        assert_eq!(page.error(), (403, "M_FORBIDDEN"));
        let body = json!({ "user_id": "@bob:a.example" });
        app.post(&format!("/v3/rooms/{room}/invite"), Some(&alice), body).await.ok();
    }
}

#[tokio::test]
async fn bad_parameters() {
    let app = App::open().await;
    let alice = user(&app, "alice").await;
    let room = room(&app, &alice, json!({})).await;
    for (query, errcode) in [
        ("", "M_MISSING_PARAM"),
        ("?dir=x", "M_INVALID_PARAM"),
        ("?dir=b&limit=-1", "M_INVALID_PARAM"),
        ("?dir=b&limit=ten", "M_INVALID_PARAM"),
        ("?dir=b&limit=99999999999999999999", "M_INVALID_PARAM"),
        ("?dir=b&from=nonsense", "M_INVALID_PARAM"),
        ("?dir=b&to=t1", "M_INVALID_PARAM"),
        ("?dir=b&filter=nonsense", "M_NOT_JSON"),
        ("?dir=b&filter=%7B%22types%22%3A1%7D", "M_BAD_JSON"),
        ("?dir=b&filter=%FF", "M_NOT_JSON"),
    ] {
        let answer = app.get(&format!("/v3/rooms/{room}/messages{query}"), Some(&alice)).await;
        assert_eq!(answer.error(), (400, errcode), "{query}");
    }
    let answer = app.get(&format!("/v3/rooms/{room}/messages?dir=b&limit=1000000"), Some(&alice)).await;
    answer.ok();
    for path in [
        "/v3/rooms/nonsense/messages?dir=b".to_owned(),
        format!("/v3/rooms/{room}/event/nonsense"),
        format!("/v3/rooms/{room}/members?membership=friend"),
        format!("/v3/rooms/{room}/members?at=x"),
        format!("/v1/rooms/{room}/threads?limit=0"),
        format!("/v1/rooms/{room}/threads?include=mine"),
        format!("/v1/rooms/{room}/threads?from=t1_2"),
        format!("/v1/rooms/{room}/relations/$x?limit=0"),
        format!("/v1/rooms/{room}/timestamp_to_event?ts=x&dir=f"),
    ] {
        assert_eq!(app.get(&path, Some(&alice)).await.error(), (400, "M_INVALID_PARAM"), "{path}");
    }
}
