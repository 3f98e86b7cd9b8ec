//! Client-Server API, "Syncing": timelines, initial, incremental and limited.

use super::*;

#[tokio::test]
async fn a_first_answer_has_everything_and_the_next_one_what_is_new() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    server.say(&room, &alice, "one").await;
    let first = server.sync(&alice, now(None)).await;
    assert_eq!(said(&first, &room), ["one"]);
    assert_eq!(joined(&first, &room)["timeline"]["limited"], false);
    assert_eq!(joined(&first, &room)["summary"]["m.joined_member_count"], 1);
    let types: Vec<&str> = first["account_data"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["m.push_rules"]);
    assert_eq!(first["device_one_time_keys_count"], json!({}));

    let nothing = server.sync(&alice, now(Some(token(&first)))).await;
    assert_eq!(nothing.get("rooms"), None);
    assert_eq!(nothing.get("account_data"), None);

    server.say(&room, &alice, "two").await;
    let second = server.sync(&alice, now(Some(token(&first)))).await;
    assert_eq!(said(&second, &room), ["two"]);
    assert_eq!(joined(&second, &room).get("state"), None);
    assert_eq!(joined(&second, &room).get("summary"), None);
    let event = &joined(&second, &room)["timeline"]["events"][0];
    assert_eq!(event.get("room_id"), None);
    assert_eq!(event["unsigned"]["membership"], "join");
}

#[tokio::test]
async fn a_repeated_token_gives_the_same_again_and_each_device_its_own() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    let start = server.sync(&alice, now(None)).await;
    server.say(&room, &alice, "one").await;
    let phone = server.sync(&alice, now(Some(token(&start)))).await;
    server.say(&room, &alice, "two").await;
    assert_eq!(said(&server.sync(&alice, now(Some(token(&start)))).await, &room), ["one", "two"]);
    assert_eq!(said(&server.sync(&alice, now(Some(token(&phone)))).await, &room), ["two"]);
    let tablet = Session { device: DeviceNid(99), ..alice.clone() };
    assert_eq!(said(&server.sync(&tablet, now(Some(token(&start)))).await, &room), ["one", "two"]);
}

#[tokio::test]
async fn a_gap_is_limited_and_leads_back() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    let start = server.sync(&alice, now(None)).await;
    let bodies: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let mut sent = Vec::new();
    for body in &bodies {
        sent.push(server.say(&room, &alice, body).await);
    }
    let filter = json!({ "room": { "timeline": { "limit": 4 } } });
    let answer = server.sync(&alice, filtered(Some(token(&start)), &filter)).await;
    assert_eq!(said(&answer, &room), ["26", "27", "28", "29"]);
    let timeline = &joined(&answer, &room)["timeline"];
    assert_eq!(timeline["limited"], true);
    assert_eq!(timeline["prev_batch"], format!("s{}", sent[26].position - 1));

    let filter = json!({ "room": { "timeline": { "limit": 30 } } });
    let answer = server.sync(&alice, filtered(Some(token(&start)), &filter)).await;
    assert_eq!(said(&answer, &room), bodies);
    assert_eq!(joined(&answer, &room)["timeline"]["limited"], false);
}

#[tokio::test]
async fn filters_choose_and_a_limit_counts_what_passes() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    let start = server.sync(&alice, now(None)).await;
    for n in 0..5 {
        server.say(&room, &alice, &format!("a{n}")).await;
        server.say(&room, &bob, &format!("b{n}")).await;
        server.set(&room, &alice, "m.room.topic", "", json!({ "topic": n.to_string() })).await;
    }
    let since = Some(token(&start));
    let of = async |timeline: Value| {
        server.sync(&alice, filtered(since, &json!({ "room": { "timeline": timeline } }))).await
    };
    let answer = of(json!({ "senders": [bob.user_id], "limit": 3 })).await;
    assert_eq!(said(&answer, &room), ["b2", "b3", "b4"]);
    assert_eq!(joined(&answer, &room)["timeline"]["limited"], true);
    let answer =
        of(json!({ "types": ["m.room.*"], "not_types": ["m.room.topic"], "not_senders": [bob.user_id] })).await;
    assert_eq!(said(&answer, &room), ["a0", "a1", "a2", "a3", "a4"]);
    assert_eq!(joined(&answer, &room)["timeline"]["limited"], false);
    // The state change that the timeline leaves out is not lost.
    assert_eq!(joined(&answer, &room)["state"]["events"][0]["content"]["topic"], "4");
    let answer = of(json!({ "rooms": ["!other:a.example"] })).await;
    assert_eq!(said(&answer, &room), Vec::<&str>::new());
    let whole = json!({ "room": { "not_rooms": [room.room_id] } });
    assert_eq!(server.sync(&alice, filtered(since, &whole)).await.get("rooms"), None);
    let answer = of(json!({ "limit": 0 })).await;
    assert_eq!(joined(&answer, &room)["timeline"]["events"], json!([]));
    assert_eq!(joined(&answer, &room)["timeline"]["limited"], true);
}

#[tokio::test]
async fn fields_and_format() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    server.say(&room, &alice, "one").await;
    let filter = json!({ "event_fields": ["content.body"], "room": { "timeline": { "types": ["m.room.message"] } } });
    let answer = server.sync(&alice, filtered(None, &filter)).await;
    let event = &joined(&answer, &room)["timeline"]["events"][0];
    assert_eq!(event["content"], json!({ "body": "one" }));
    assert_eq!(event.get("origin_server_ts"), None);
    let filter = json!({ "event_format": "federation" });
    let answer = server.sync(&alice, filtered(None, &filter)).await;
    let event = joined(&answer, &room)["timeline"]["events"].as_array().unwrap().last().unwrap();
    assert_eq!(event["room_id"], json!(room.room_id));
    assert!(event["signatures"]["a.example"].is_object() && event["prev_events"].is_array());
}

#[tokio::test]
async fn ignored_users_are_left_out_but_their_state_is_not() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let bob = server.account("bob").await;
    let room = server.room(&alice, "shared").await;
    server.join(&room, &bob).await;
    let list = json!({ "ignored_users": { bob.user_id.as_str(): {} } });
    server.account_data(&alice, None, "m.ignored_user_list", list).await;
    let start = server.sync(&alice, now(None)).await;
    let heard = server.say(&room, &bob, "noise").await;
    server.read(&bob, &room, &heard).await;
    server.set(&room, &bob, "m.room.topic", "", json!({ "topic": "t" })).await;
    let answer = server.sync(&alice, now(Some(token(&start)))).await;
    let room_answer = joined(&answer, &room);
    assert_eq!(keys(&room_answer["timeline"]["events"]), [("m.room.topic", "")]);
    assert_eq!(room_answer.get("ephemeral"), None);
    assert_eq!(room_answer["unread_notifications"]["notification_count"], 0);
}

#[tokio::test]
async fn account_data_global_and_of_rooms() {
    let server = Server::new();
    let alice = server.account("alice").await;
    let room = server.room(&alice, "shared").await;
    let start = server.sync(&alice, now(None)).await;
    server.account_data(&alice, None, "org.example.a", json!({ "n": 1 })).await;
    server.account_data(&alice, Some(&room), "m.tag", json!({ "tags": {} })).await;
    let answer = server.sync(&alice, now(Some(token(&start)))).await;
    let event = json!([{ "type": "org.example.a", "content": { "n": 1 } }]);
    assert_eq!(answer["account_data"]["events"], event);
    let event = json!([{ "type": "m.tag", "content": { "tags": {} } }]);
    assert_eq!(joined(&answer, &room)["account_data"]["events"], event);
    assert_eq!(joined(&answer, &room).get("timeline"), None);
    let filter = json!({ "account_data": { "not_types": ["org.*"] }, "room": { "account_data": { "types": [] } } });
    let answer = server.sync(&alice, filtered(Some(token(&start)), &filter)).await;
    assert_eq!((answer.get("account_data"), answer.get("rooms")), (None, None));
    assert_eq!(server.sync(&alice, now(Some(token(&answer)))).await.get("rooms"), None);
}
