//! "API standards": whatever is wrong with a request gets the specified error and changes nothing.

use conformance_tests::{Client, Server, v3};
use reqwest::Method;
use serde_json::json;

use crate::SERVER;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A request with a body for each endpoint that takes one; each needs a token.
fn endpoints(room: &str, user: &str) -> Vec<(Method, String)> {
    let post = |path: String| (Method::POST, path);
    let put = |path: String| (Method::PUT, path);
    vec![
        post(v3!("/createRoom")),
        post(v3!("/rooms/{}/invite", room)),
        post(v3!("/rooms/{}/kick", room)),
        post(v3!("/rooms/{}/ban", room)),
        post(v3!("/rooms/{}/unban", room)),
        post(v3!("/rooms/{}/join", room)),
        post(v3!("/rooms/{}/leave", room)),
        post(v3!("/join/{}", room)),
        post(v3!("/knock/{}", room)),
        put(v3!("/rooms/{}/send/m.room.message/bad", room)),
        put(v3!("/rooms/{}/state/org.example.bad/", room)),
        put(v3!("/rooms/{}/redact/{}/bad", room, "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        put(v3!("/rooms/{}/typing/{}", room, user)),
        post(v3!("/rooms/{}/read_markers", room)),
        post(v3!("/rooms/{}/upgrade", room)),
        put(v3!("/directory/room/{}", "#bad:a.example")),
        put(v3!("/directory/list/room/{}", room)),
        post(v3!("/publicRooms")),
        post(v3!("/user/{}/filter", user)),
        put(v3!("/user/{}/account_data/org.example.bad", user)),
        put(v3!("/user/{}/rooms/{}/account_data/org.example.bad", user, room)),
        put(v3!("/profile/{}/displayname", user)),
        post(v3!("/account/password")),
        post(v3!("/account/deactivate")),
        post(v3!("/delete_devices")),
    ]
}

async fn alice_in_a_room(server: &Server) -> (Client, String) {
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({})).await;
    (alice, room)
}

/// That the member and the room are as they were.
async fn unharmed(alice: &Client, room: &str) {
    assert_eq!(alice.get(&v3!("/joined_rooms")).await.ok()["joined_rooms"], json!([room]));
    assert_eq!(alice.state(room, "m.room.member", &alice.user_id).await["membership"], "join");
    alice.get(&v3!("/account/whoami")).await.ok();
}

#[tokio::test]
async fn what_is_not_json_is_not_json_on_every_endpoint() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    for body in [&b"{"[..], b"nonsense", b"{\"a\":}", b"{} {}", b"{'a':1}", b"\x00"] {
        for (method, path) in endpoints(&room, &alice.user_id) {
            alice.raw(method, &path, &JSON, Some(body.to_vec())).await.expect_error(400, "M_NOT_JSON");
        }
    }
    unharmed(&alice, &room).await;
}

#[tokio::test]
async fn what_is_no_object_is_bad_json_on_every_endpoint() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    for body in [&b"[]"[..], b"7", b"\"text\"", b"null", b"true"] {
        for (method, path) in endpoints(&room, &alice.user_id) {
            let reply = alice.raw(method, &path, &JSON, Some(body.to_vec())).await;
            reply.expect_one_of(&[(400, "M_BAD_JSON"), (400, "M_NOT_JSON")]);
        }
    }
    unharmed(&alice, &room).await;
}

#[tokio::test]
async fn no_body_is_no_content() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    for body in [&b""[..], b"  \n\t "] {
        for path in [
            v3!("/rooms/{}/send/m.room.message/empty", room),
            v3!("/rooms/{}/state/org.example.bad/", room),
            v3!("/user/{}/account_data/org.example.bad", alice.user_id),
            v3!("/profile/{}/displayname", alice.user_id),
        ] {
            alice.raw(Method::PUT, &path, &JSON, Some(body.to_vec())).await.expect_error(400, "M_NOT_JSON");
        }
    }
    unharmed(&alice, &room).await;
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_are_not_json() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    for body in [&b"{\"body\":\"\xff\xfe\"}"[..], b"{\"body\":\"\xc3\"}", b"\xef\xbb\xbf{\"\xed\xa0\x80\":1}"] {
        for (method, path) in endpoints(&room, &alice.user_id) {
            let reply = alice.raw(method, &path, &JSON, Some(body.to_vec())).await;
            reply.expect_one_of(&[(400, "M_NOT_JSON"), (400, "M_BAD_JSON")]);
        }
    }
    unharmed(&alice, &room).await;
}

#[tokio::test]
async fn a_lone_surrogate_is_no_text() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    let body = br#"{"msgtype":"m.text","body":"\ud800"}"#.to_vec();
    let path = v3!("/rooms/{}/send/m.room.message/1", room);
    let reply = alice.raw(Method::PUT, &path, &JSON, Some(body)).await;
    reply.expect_one_of(&[(400, "M_NOT_JSON"), (400, "M_BAD_JSON")]);
}

#[tokio::test]
async fn deep_nesting_is_refused_and_kills_nobody() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    for depth in [1_000usize, 30_000] {
        let lists = format!("{{\"body\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
        let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)).into_bytes();
        for body in [lists, objects] {
            for (method, path) in endpoints(&room, &alice.user_id) {
                let reply = alice.raw(method, &path, &JSON, Some(body.clone())).await;
                let request: String = reply.request.chars().take(120).collect();
                assert!(matches!(reply.status, 400 | 413), "{request}\n{}", reply.status);
                assert!(reply.errcode().starts_with("M_"), "{request}\n{}", reply.text);
            }
        }
    }
    unharmed(&alice, &room).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large_before_it_is_anything_else() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    let body = format!("{{\"body\":\"{}\"}}", "x".repeat(20 << 20)).into_bytes();
    for (method, path) in [
        (Method::POST, v3!("/createRoom")),
        (Method::PUT, v3!("/rooms/{}/send/m.room.message/large", room)),
        (Method::POST, v3!("/login")),
    ] {
        // A server may answer and close before it has read all; then there may be no answer to read.
        if let Ok(reply) = alice.try_raw(method, &path, &JSON, Some(body.clone())).await {
            reply.expect_error(413, "M_TOO_LARGE");
        }
    }
    unharmed(&alice, &room).await;
}

#[tokio::test]
async fn a_key_that_comes_twice_does_not_split_opinions() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    let body = br#"{"msgtype":"m.text","body":"first","body":"second"}"#.to_vec();
    let path = v3!("/rooms/{}/send/m.room.message/twice", room);
    let reply = alice.raw(Method::PUT, &path, &JSON, Some(body)).await;
    if reply.status == 200 {
        // What is stored is one of the two, the same for everyone, and the event hashes as it is shown.
        let id = reply.json["event_id"].as_str().expect("an event id").to_owned();
        let shown = alice.event(&room, &id).await["content"]["body"].clone();
        assert_eq!(shown, "second", "the last of equal keys counts, as in every JSON library");
    } else {
        reply.expect_one_of(&[(400, "M_BAD_JSON"), (400, "M_NOT_JSON")]);
    }
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    let body = || Some(br#"{"msgtype":"m.text","body":"x"}"#.to_vec());
    for (number, kind) in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"].iter().enumerate()
    {
        let path = v3!("/rooms/{}/send/m.room.message/{}", room, number);
        alice.raw(Method::PUT, &path, &[("content-type", kind)], body()).await.ok();
    }
    alice.raw(Method::PUT, &v3!("/rooms/{}/send/m.room.message/none", room), &[], body()).await.ok();
}

#[tokio::test]
async fn an_unknown_path_is_unrecognized() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for path in [
        v3!("/no/such/endpoint"),
        "/_matrix/client/v99/sync".to_owned(),
        "/_matrix/no/such/api".to_owned(),
        "/_matrix/client/".to_owned(),
        "/_matrix".to_owned(),
        v3!("/rooms/x/state/a/b/c"),
    ] {
        for client in [&alice, &server.anonymous()] {
            client.get(&path).await.expect_error(404, "M_UNRECOGNIZED");
            client.post(&path, json!({})).await.expect_error(404, "M_UNRECOGNIZED");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_unrecognized() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    for (method, path) in [
        (Method::POST, v3!("/sync")),
        (Method::GET, v3!("/createRoom")),
        (Method::DELETE, v3!("/account/whoami")),
        (Method::GET, v3!("/rooms/{}/send/m.room.message/1", room)),
        (Method::PATCH, v3!("/rooms/{}/state/m.room.topic/", room)),
        (Method::PUT, v3!("/register")),
        (Method::POST, "/_matrix/client/versions".to_owned()),
    ] {
        alice.raw(method, &path, &JSON, None).await.expect_error(405, "M_UNRECOGNIZED");
    }
}

#[tokio::test]
async fn every_endpoint_wants_a_token_before_anything_else() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    let open = [v3!("/account/password"), v3!("/account/deactivate")];
    for (method, path) in endpoints(&room, &alice.user_id) {
        if open.contains(&path) {
            continue;
        }
        let anonymous = server.anonymous();
        let reply = anonymous.raw(method.clone(), &path, &JSON, Some(b"{}".to_vec())).await;
        reply.expect_error(401, "M_MISSING_TOKEN");
        let reply = anonymous.with_token("nonsense").raw(method, &path, &JSON, Some(b"{}".to_vec())).await;
        reply.expect_error(401, "M_UNKNOWN_TOKEN");
    }
    for path in [
        v3!("/sync"),
        v3!("/joined_rooms"),
        v3!("/devices"),
        v3!("/rooms/{}/messages?dir=b", room),
        v3!("/rooms/{}/state", room),
        v3!("/rooms/{}/members", room),
        v3!("/rooms/{}/joined_members", room),
        v3!("/rooms/{}/aliases", room),
        v3!("/user/{}/filter/1", alice.user_id),
    ] {
        server.anonymous().get(&path).await.expect_error(401, "M_MISSING_TOKEN");
    }
}

#[tokio::test]
async fn paths_that_are_no_text_harm_nobody() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    for component in ["%ff%fe", "%00", "%", "%zz", "%2e%2e%2f", "..", "%e2%98%83"] {
        let path = format!("/_matrix/client/v3/rooms/{component}/state");
        let reply = alice.get(&path).await;
        assert!(matches!(reply.status, 400..=404), "{reply}");
        let path = format!("/_matrix/client/v3/profile/{component}");
        let reply = alice.get(&path).await;
        assert!(matches!(reply.status, 400..=404), "{reply}");
    }
    let long = "x".repeat(30_000);
    if let Ok(reply) = alice.try_raw(Method::GET, &v3!("/rooms/{}/state", long), &[], None).await {
        assert!(matches!(reply.status, 400..=431), "{}", reply.status);
    }
    unharmed(&alice, &room).await;
}

#[tokio::test]
async fn a_bad_authorization_header_is_a_bad_token() {
    let server = SERVER.get();
    for header in ["Bearer", "Bearer ", "Basic YTpi", "bearer", "Bearer a b c", "nonsense"] {
        let reply =
            server.anonymous().raw(Method::GET, &v3!("/account/whoami"), &[("authorization", header)], None).await;
        reply.expect_one_of(&[(401, "M_MISSING_TOKEN"), (401, "M_UNKNOWN_TOKEN")]);
    }
}

#[tokio::test]
async fn concurrent_nonsense_does_not_stop_the_server() {
    let server = SERVER.get();
    let (alice, room) = alice_in_a_room(&server).await;
    let tasks: Vec<_> = (0..40u32)
        .map(|number| {
            let (alice, room) = (alice.clone(), room.clone());
            tokio::spawn(async move {
                let body = vec![u8::try_from(number % 256).unwrap_or(0); 2000];
                let path = v3!("/rooms/{}/send/m.room.message/{}", room, number);
                alice.raw(Method::PUT, &path, &JSON, Some(body)).await.status
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("the task ends"), 400);
    }
    unharmed(&alice, &room).await;
}
