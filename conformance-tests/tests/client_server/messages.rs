//! `/messages`: pagination in both directions.

use conformance_tests::{Client, Server, Sync, bodies, event_ids, find_state_in, v3};
use serde_json::{Value, json};

use crate::SERVER;

/// A room with the messages 1 to 20 after its creation.
async fn twenty(server: &Server) -> (Client, String, Vec<String>) {
    let alice = server.register("alice").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let ids = alice.send_texts(&room, "", 1..=20).await;
    (alice, room, ids)
}

fn chunk(answer: &Value) -> &[Value] {
    answer["chunk"].as_array().unwrap_or_else(|| panic!("no chunk in {answer}"))
}

fn token<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}"))
}

#[tokio::test]
async fn without_from_backwards_begins_at_the_newest() {
    let server = SERVER.get();
    let (alice, room, ids) = twenty(&server).await;
    let answer = alice.messages(&room, &[("dir", "b"), ("limit", "3")]).await;
    assert_eq!(event_ids(chunk(&answer)), [&ids[19], &ids[18], &ids[17]]);
    assert!(answer["start"].is_string() && answer["end"].is_string(), "{answer}");
}

#[tokio::test]
async fn without_from_forwards_begins_at_the_oldest() {
    let server = SERVER.get();
    let (alice, room, _) = twenty(&server).await;
    let answer = alice.messages(&room, &[("dir", "f"), ("limit", "3")]).await;
    let types: Vec<&str> = chunk(&answer).iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(types, ["m.room.create", "m.room.member", "m.room.power_levels"]);
}

#[tokio::test]
async fn the_default_limit_is_ten() {
    let server = SERVER.get();
    let (alice, room, ids) = twenty(&server).await;
    let answer = alice.messages(&room, &[("dir", "b")]).await;
    assert_eq!(event_ids(chunk(&answer)), ids[10..].iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn pages_of_any_size_give_every_event_once_in_both_directions() {
    let server = SERVER.get();
    let (alice, room, ids) = twenty(&server).await;
    let whole = alice.whole_history(&room, 1000).await;
    let wanted: Vec<String> = event_ids(&whole).into_iter().map(str::to_owned).collect();
    assert!(wanted.ends_with(&ids), "{wanted:?}");
    assert_eq!(whole[0]["type"], "m.room.create");
    for page in [1, 3, 7, 20] {
        assert_eq!(event_ids(&alice.whole_history(&room, page).await), wanted, "backwards by {page}");
        let (mut found, mut from) = (Vec::new(), None::<String>);
        for _ in 0..200 {
            let page = page.to_string();
            let mut pairs = vec![("dir", "f"), ("limit", page.as_str())];
            pairs.extend(from.as_deref().map(|from| ("from", from)));
            let answer = alice.messages(&room, &pairs).await;
            found.extend(event_ids(chunk(&answer)).into_iter().map(str::to_owned));
            match answer["end"].as_str() {
                // At the live end a server may hand out a token for events to come.
                Some(end) if !chunk(&answer).is_empty() => from = Some(end.to_owned()),
                _ => break,
            }
        }
        assert_eq!(found, wanted, "forwards by {page}");
    }
}

#[tokio::test]
async fn start_is_the_token_that_was_given() {
    let server = SERVER.get();
    let (alice, room, _) = twenty(&server).await;
    let first = alice.messages(&room, &[("dir", "b"), ("limit", "3")]).await;
    let second = alice.messages(&room, &[("dir", "b"), ("limit", "3"), ("from", token(&first, "end"))]).await;
    assert_eq!(second["start"], first["end"]);
}

#[tokio::test]
async fn a_page_can_be_walked_back_and_forth() {
    let server = SERVER.get();
    let (alice, room, ids) = twenty(&server).await;
    let back = alice.messages(&room, &[("dir", "b"), ("limit", "5")]).await;
    let forth = alice.messages(&room, &[("dir", "f"), ("limit", "5"), ("from", token(&back, "end"))]).await;
    assert_eq!(event_ids(chunk(&forth)), ids[15..].iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn to_ends_the_page() {
    let server = SERVER.get();
    let (alice, room, ids) = twenty(&server).await;
    let five = alice.messages(&room, &[("dir", "b"), ("limit", "5")]).await;
    let to = token(&five, "end");
    let bounded = alice.messages(&room, &[("dir", "b"), ("limit", "50"), ("to", to)]).await;
    assert_eq!(event_ids(chunk(&bounded)), ids[15..].iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn prev_batch_of_sync_leads_to_what_was_before_the_timeline() {
    let server = SERVER.get();
    let (alice, room, ids) = twenty(&server).await;
    let filter = json!({ "room": { "timeline": { "limit": 4 } } });
    let answer = alice.sync(Sync::initial().filter(filter)).await;
    let section = &answer["rooms"]["join"][&room]["timeline"];
    assert_eq!(section["limited"], true, "{answer}");
    assert_eq!(event_ids(section["events"].as_array().expect("events")), ids[16..].iter().collect::<Vec<_>>());
    let prev_batch = token(section, "prev_batch");
    let page = alice.messages(&room, &[("dir", "b"), ("limit", "4"), ("from", prev_batch)]).await;
    assert_eq!(event_ids(chunk(&page)), [&ids[15], &ids[14], &ids[13], &ids[12]]);
}

#[tokio::test]
async fn a_gap_of_sync_is_filled_exactly_from_both_sides() {
    let server = SERVER.get();
    let (alice, room, ids) = twenty(&server).await;
    let since = alice.now().await;
    let newer = alice.send_texts(&room, "n", 1..=12).await;
    let filter = json!({ "room": { "timeline": { "limit": 3 } } });
    let answer = alice.sync(Sync::since(&since).filter(filter)).await;
    let section = &answer["rooms"]["join"][&room]["timeline"];
    assert_eq!(section["limited"], true, "{answer}");
    assert_eq!(event_ids(section["events"].as_array().expect("events")), newer[9..].iter().collect::<Vec<_>>());
    let prev_batch = token(section, "prev_batch");
    let back = [("dir", "b"), ("limit", "100"), ("from", prev_batch), ("to", since.as_str())];
    assert_eq!(
        event_ids(chunk(&alice.messages(&room, &back).await)),
        newer[..9].iter().rev().collect::<Vec<_>>(),
        "not one of {ids:?}"
    );
    let forth = [("dir", "f"), ("limit", "100"), ("from", since.as_str()), ("to", prev_batch)];
    assert_eq!(event_ids(chunk(&alice.messages(&room, &forth).await)), newer[..9].iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn next_batch_of_sync_pages_both_ways() {
    let server = SERVER.get();
    let (alice, room, ids) = twenty(&server).await;
    let now = alice.now().await;
    let newer = alice.send_texts(&room, "n", 1..=3).await;
    let forth = alice.messages(&room, &[("dir", "f"), ("from", now.as_str())]).await;
    assert_eq!(event_ids(chunk(&forth)), newer.iter().collect::<Vec<_>>());
    let back = alice.messages(&room, &[("dir", "b"), ("limit", "2"), ("from", now.as_str())]).await;
    assert_eq!(event_ids(chunk(&back)), [&ids[19], &ids[18]]);
}

#[tokio::test]
async fn a_token_of_pagination_stays_valid_while_the_room_goes_on() {
    let server = SERVER.get();
    let (alice, room, ids) = twenty(&server).await;
    let first = alice.messages(&room, &[("dir", "b"), ("limit", "5")]).await;
    alice.send_texts(&room, "later", 1..=5).await;
    let second = alice.messages(&room, &[("dir", "b"), ("limit", "5"), ("from", token(&first, "end"))]).await;
    assert_eq!(event_ids(chunk(&second)), ids[10..15].iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn filters_choose_types_senders_and_urls() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    bob.join(&room).await;
    alice.send_text(&room, "alice's").await;
    bob.send_text(&room, "bob's").await;
    let image = json!({ "msgtype": "m.image", "body": "image", "url": "mxc://a.example/x" });
    alice.send(&room, "m.room.message", image).await;
    alice.send(&room, "org.example.other", json!({ "body": "no message" })).await;
    let found = async |filter: Value| {
        let filter = filter.to_string();
        let answer = alice.messages(&room, &[("dir", "f"), ("limit", "100"), ("filter", &filter)]).await;
        bodies(chunk(&answer)).join(" ")
    };
    assert_eq!(found(json!({ "types": ["m.room.message"] })).await, "alice's bob's image");
    assert_eq!(found(json!({ "types": ["m.room.mess*"], "not_senders": [alice.user_id] })).await, "bob's");
    assert_eq!(found(json!({ "senders": [alice.user_id] })).await, "alice's image");
    assert_eq!(found(json!({ "senders": [alice.user_id], "not_senders": [alice.user_id] })).await, "");
    assert_eq!(found(json!({ "contains_url": true })).await, "image");
    assert_eq!(found(json!({ "types": ["m.room.message"], "contains_url": false })).await, "alice's bob's");
    assert_eq!(found(json!({ "not_types": ["m.room.message"] })).await, "");
    assert_eq!(found(json!({ "types": [] })).await, "");
}

#[tokio::test]
async fn a_filter_that_matches_little_still_pages_to_the_end() {
    let server = SERVER.get();
    let (alice, room, _) = twenty(&server).await;
    let filter = json!({ "types": ["m.room.create"] }).to_string();
    let (mut found, mut from) = (0, None::<String>);
    for _ in 0..100 {
        let mut pairs = vec![("dir", "b"), ("limit", "2"), ("filter", filter.as_str())];
        pairs.extend(from.as_deref().map(|from| ("from", from)));
        let answer = alice.messages(&room, &pairs).await;
        found += chunk(&answer).len();
        match answer["end"].as_str() {
            Some(end) => from = Some(end.to_owned()),
            None => {
                assert_eq!(found, 1);
                return;
            }
        }
    }
    panic!("pagination does not end");
}

#[tokio::test]
async fn lazy_loading_gives_the_members_of_the_senders() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let carol = server.register("carol").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    for user in [&bob, &carol] {
        user.join(&room).await;
    }
    bob.send_text(&room, "bob's").await;
    let filter = json!({ "lazy_load_members": true }).to_string();
    let answer = alice.messages(&room, &[("dir", "b"), ("limit", "1"), ("filter", &filter)]).await;
    assert_eq!(bodies(chunk(&answer)), ["bob's"]);
    assert!(find_state_in(&answer["state"], "m.room.member", &bob.user_id).is_some(), "{answer}");
    assert!(find_state_in(&answer["state"], "m.room.member", &carol.user_id).is_none(), "{answer}");
}

#[tokio::test]
async fn strangers_read_nothing_and_the_invited_neither() {
    let server = SERVER.get();
    let (alice, room, _) = twenty(&server).await;
    let bob = server.register("bob").await;
    bob.get(&v3!("/rooms/{}/messages?dir=b", room)).await.expect_error(403, "M_FORBIDDEN");
    alice.invite(&room, &bob).await;
    bob.get(&v3!("/rooms/{}/messages?dir=b", room)).await.expect_error(403, "M_FORBIDDEN");
    bob.get(&v3!("/rooms/{}/messages?dir=b", "!nosuchroom:a.example"))
        .await
        .expect_one_of(&[(403, "M_FORBIDDEN"), (404, "M_NOT_FOUND")]);
}

#[tokio::test]
async fn who_left_reads_up_to_the_leave() {
    let server = SERVER.get();
    let (alice, room, ids) = twenty(&server).await;
    let bob = server.register("bob").await;
    bob.join(&room).await;
    bob.leave(&room).await;
    alice.send_text(&room, "after").await;
    let answer = bob.messages(&room, &[("dir", "b"), ("limit", "100")]).await;
    let events = chunk(&answer);
    assert_eq!(events[0]["state_key"], bob.user_id, "the own leave is the newest that is seen");
    assert!(!bodies(events).contains(&"after"), "{answer}");
    assert!(event_ids(events).contains(&ids[0].as_str()), "shared history is seen");
    let forth = bob.messages(&room, &[("dir", "f"), ("limit", "100")]).await;
    assert!(!bodies(chunk(&forth)).contains(&"after"), "{forth}");
}

#[tokio::test]
async fn bad_parameters_are_bad_requests() {
    let server = SERVER.get();
    let (alice, room, _) = twenty(&server).await;
    for (query, codes) in [
        ("", ["M_MISSING_PARAM", "M_INVALID_PARAM"]),
        ("?dir=x", ["M_INVALID_PARAM", "M_BAD_JSON"]),
        ("?dir=b&from=nonsense", ["M_INVALID_PARAM", "M_UNKNOWN"]),
        ("?dir=b&to=nonsense", ["M_INVALID_PARAM", "M_UNKNOWN"]),
        ("?dir=b&limit=many", ["M_INVALID_PARAM", "M_BAD_JSON"]),
        ("?dir=b&limit=-1", ["M_INVALID_PARAM", "M_BAD_JSON"]),
        ("?dir=b&filter=nonsense", ["M_BAD_JSON", "M_NOT_JSON"]),
        ("?dir=b&filter=%7B%22types%22%3A7%7D", ["M_BAD_JSON", "M_INVALID_PARAM"]),
    ] {
        let reply = alice.get(&(v3!("/rooms/{}/messages", room) + query)).await;
        assert!(reply.status == 400 && codes.contains(&reply.errcode()), "{query}: {codes:?}\n{reply}");
    }
}

#[tokio::test]
async fn a_huge_limit_is_capped_not_refused() {
    let server = SERVER.get();
    let (alice, room, ids) = twenty(&server).await;
    let answer = alice.messages(&room, &[("dir", "b"), ("limit", "1000000000")]).await;
    assert!(event_ids(chunk(&answer)).starts_with(&[ids[19].as_str()]), "{answer}");
}
