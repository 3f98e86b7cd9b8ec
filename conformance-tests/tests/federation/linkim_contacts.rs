//! Friends of two organisations: LinkIM's API on both servers, or a plain Matrix client on one of them.

use conformance_tests::{Client, bodies, eventually, invited, membership_is, room_in, timeline, v3};
use serde_json::{Value, json};

use crate::{own, pair};

fn about(other: &Client) -> Value {
    json!({ "platform": 1, "friend_id": other.user_id })
}

async fn friends(of: &Client) -> Vec<String> {
    let list = of.get("/account/friendlists?platform=1").await.done();
    let people = list["detail"].as_array().expect("a list");
    people.iter().map(|person| person["matrix_id"].as_str().expect("an id").to_owned()).collect()
}

async fn are_friends(one: &Client, other: &Client) {
    for (client, friend) in [(one, other), (other, one)] {
        let what = format!("{} has {} as a friend", client.user_id, friend.user_id);
        eventually(&what, || async { (friends(client).await == [friend.user_id.clone()]).then_some(()) }).await;
    }
}

async fn requests(of: &Client, direction: &str) -> Vec<Value> {
    let list = of.get(&format!("/account/friendrequests?direction={direction}")).await.done();
    list["detail"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_request_crosses_servers_and_is_accepted() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice-asks").await, b.register("bob-accepts").await);
    let mut body = about(&bob);
    body["request_message"] = "from afar".into();
    assert_eq!(alice.post("/account/addfriend", body).await.done()["state"], "pending");
    assert_eq!(requests(&alice, "out").await.len(), 1);
    let asked = requests(&bob, "in").await;
    assert_eq!((asked.len(), &asked[0]["request_message"]), (1, &json!("from afar")));
    assert_eq!(asked[0]["matrix_id"], alice.user_id);
    bob.put("/account/acceptfriend", about(&alice)).await.done();
    are_friends(&alice, &bob).await;
    assert!(requests(&alice, "out").await.is_empty() && requests(&bob, "in").await.is_empty());

    // One side's removal is the other's to hear of, and the room stays.
    let room = asked[0]["room_id"].as_str().expect("a room");
    let since = bob.now().await;
    alice.delete("/account/delfriend", Some(about(&bob))).await.done();
    assert!(friends(&alice).await.is_empty());
    let answer = bob
        .wait_until_sync(&since, |answer| {
            let events = room_in(answer, "join", room)["timeline"]["events"].as_array();
            events.is_some_and(|events| events.iter().any(|event| event["type"] == "org.linkim.friend.removed"))
        })
        .await;
    assert!(timeline(&answer, room).iter().all(|event| event["content"] == json!({})));
    assert_eq!(friends(&bob).await, std::slice::from_ref(&alice.user_id));
    // Bob counts Alice as a friend and is in the room: nobody has to be asked.
    assert_eq!(alice.post("/account/addfriend", about(&bob)).await.done()["state"], "accepted");
    are_friends(&alice, &bob).await;
}

#[tokio::test]
async fn both_hear_of_requests_and_answers_as_they_come() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice-listens").await, b.register("bob-listens").await);
    let (mut alices, mut bobs) = (alice.push(None).await, bob.push(None).await);
    let (since_alice, since_bob) = (alices.position.clone(), bobs.position.clone());
    let mut body = about(&bob);
    body["request_message"] = "hear me".into();
    alice.post("/account/addfriend", body).await.done();
    let membership = |user: &Client, membership: &'static str| {
        let id = user.user_id.clone();
        move |frame: &Value| {
            frame["type"] == "friend"
                && frame["data"]["state_key"] == *id
                && frame["data"]["event_content"]["membership"] == membership
        }
    };
    let known = |friend: &Client| {
        let id = friend.user_id.clone();
        move |frame: &Value| {
            let data = frame["data"]["account_data"].as_array();
            frame["type"] == "friend"
                && data.is_some_and(|data| {
                    data.iter().any(|it| it["event_type"] == "org.linkim.friends" && it.to_string().contains(&id))
                })
        }
    };
    let asked = bobs.wait_for(membership(&bob, "invite")).await;
    assert_eq!((&asked["data"]["matrix_id"], &asked["data"]["thread_type"]), (&json!(alice.user_id), &json!("single")));
    bob.put("/account/acceptfriend", about(&alice)).await.done();
    alices.wait_for(membership(&bob, "join")).await;
    alices.wait_for(known(&bob)).await;
    bobs.wait_for(known(&alice)).await;
    // Who was away hears of the same when they come back.
    alice.push(Some(&since_alice)).await.wait_for(known(&bob)).await;
    bob.push(Some(&since_bob)).await.wait_for(known(&alice)).await;
}

#[tokio::test]
async fn a_rejection_reaches_who_asked() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice-rejected").await, b.register("bob-rejects").await);
    alice.post("/account/addfriend", about(&bob)).await.done();
    bob.put("/account/rejectfriend", about(&alice)).await.done();
    eventually("the request is answered", || async { requests(&alice, "out").await.is_empty().then_some(()) }).await;
    assert!(friends(&alice).await.is_empty() && friends(&bob).await.is_empty());
    // Asked again, in the room that is there.
    alice.post("/account/addfriend", about(&bob)).await.done();
    assert_eq!(requests(&bob, "in").await.len(), 1);
    bob.put("/account/acceptfriend", about(&alice)).await.done();
    are_friends(&alice, &bob).await;
}

#[tokio::test]
async fn a_plain_client_elsewhere_asks_and_is_asked() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice-plain").await, b.register("bob-linkim").await);
    let direct = json!({ "is_direct": true, "invite": [bob.user_id], "preset": "trusted_private_chat" });
    let room = alice.create_room(direct).await;
    eventually("bob is asked", || async { (requests(&bob, "in").await.len() == 1).then_some(()) }).await;
    bob.put("/account/acceptfriend", about(&alice)).await.done();
    membership_is(&alice, &room, &bob.user_id, "join").await;
    are_friends(&alice, &bob).await;

    let carol = a.register("carol-plain").await;
    bob.post("/account/addfriend", about(&carol)).await.done();
    let room = requests(&bob, "out").await[0]["room_id"].as_str().expect("a room").to_owned();
    invited(&carol, &room).await;
    carol.join(&room).await;
    eventually("carol is a friend", || async { friends(&bob).await.contains(&carol.user_id).then_some(()) }).await;
}

#[tokio::test]
async fn requests_that_cross_between_servers_accept_each_other() {
    let [a, b] = own::<2>();
    let (alice, bob) = (a.register("alice").await, b.register("bob").await);
    // Both make their room before the other's invitation is known.
    let direct =
        |other: &Client| json!({ "is_direct": true, "invite": [other.user_id], "preset": "trusted_private_chat" });
    let (first, second) = tokio::join!(alice.create_room(direct(&bob)), bob.create_room(direct(&alice)));
    are_friends(&alice, &bob).await;
    let (stays, goes) = if first < second { (first, second) } else { (second, first) };
    for client in [&alice, &bob] {
        membership_is(client, &stays, &alice.user_id, "join").await;
        membership_is(client, &stays, &bob.user_id, "join").await;
        assert!(requests(client, "in").await.is_empty() && requests(client, "out").await.is_empty());
        eventually("the other room is left", || async {
            let rooms = client.sync(conformance_tests::Sync::initial()).await["rooms"].clone();
            let there = |section: &str| rooms[section].get(&goes).is_some();
            (!there("join") && !there("invite")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn who_refuses_strangers_is_not_asked_from_elsewhere() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice-stranger").await, b.register("bob-alone").await);
    let path = v3!("/user/{}/account_data/org.linkim.settings", bob.user_id);
    bob.put(&path, json!({ "strangers_may_add": false })).await.ok();
    alice.post("/account/addfriend", about(&bob)).await.refused(403, 20013);
    assert!(requests(&bob, "in").await.is_empty() && requests(&alice, "out").await.is_empty());
}

#[tokio::test]
async fn a_blocked_user_elsewhere_is_not_heard_and_not_told() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice-blocked").await, b.register("bob-blocks").await);
    alice.post("/account/addfriend", about(&bob)).await.done();
    let room = requests(&bob, "in").await[0]["room_id"].as_str().expect("a room").to_owned();
    bob.put("/account/acceptfriend", about(&alice)).await.done();
    are_friends(&alice, &bob).await;
    bob.post("/account/blacklist/add", about(&alice)).await.done();
    let since = bob.now().await;
    alice.send_text(&room, "hello?").await;
    // What another user of that server says later comes later, so the first message was there.
    let carol = a.register("carol-heard").await;
    carol.post("/account/addfriend", about(&bob)).await.done();
    let asked = eventually("carol asks", || async {
        let asked = requests(&bob, "in").await;
        (asked.len() == 1).then_some(asked)
    })
    .await;
    assert_eq!(asked[0]["matrix_id"], carol.user_id);
    let own = bob.send_text(&room, "mine").await;
    let answer = bob.wait_for_event(&since, &room, &own).await;
    assert_eq!(bodies(timeline(&answer, &room)), ["mine"]);

    // A new request of the blocked one is taken, and not shown.
    let direct = json!({ "is_direct": true, "invite": [bob.user_id] });
    let hidden = alice.create_room(direct).await;
    membership_is(&alice, &hidden, &bob.user_id, "invite").await;
    assert_eq!(requests(&bob, "in").await.len(), 1);
    let rooms = bob.sync(conformance_tests::Sync::initial()).await["rooms"]["invite"].clone();
    assert!(rooms.get(&hidden).is_none(), "{rooms}");
}

/// Who is of another server can't be refused: what they say stands in the history, neither pushed nor counted.
#[tokio::test]
async fn who_receives_nothing_hears_nothing_from_elsewhere() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice-unheard").await, b.register("bob-deaf").await);
    alice.post("/account/addfriend", about(&bob)).await.done();
    bob.put("/account/acceptfriend", about(&alice)).await.done();
    are_friends(&alice, &bob).await;
    let entry = || async { bob.get("/conversations").await.done()["detail"][0].clone() };
    let thread = entry().await["thread_id"].clone();
    let wish = |opt: i64| bob.put("/conversation/recv_opt", json!({ "thread_id": thread, "recv_opt": opt }));
    wish(1).await.done();
    let mut push = bob.push(None).await;
    let say = |text: &str| alice.post("/message/send", json!({ "the_other_person_id": bob.user_id, "text": text }));
    say("anybody there?").await.done();
    eventually("it is in the history", || async {
        (entry().await["last_message"]["content"] == "anybody there?").then_some(())
    })
    .await;
    assert_eq!(entry().await["unread_count"], 0);
    let frames = push.up_to_now().await;
    assert!(frames.iter().all(|frame| frame["type"] != "message"), "{frames:?}");
    wish(0).await.done();
    say("and now?").await.done();
    assert_eq!(push.said_until("and now?").await, ["and now?"]);
}

/// A message to a stranger of another server waits as a request, which says it.
#[tokio::test]
async fn a_message_to_a_stranger_elsewhere_is_a_request_that_says_it() {
    let [a, b] = pair();
    let (alice, bob) = (a.register("alice-writes").await, b.register("bob-stranger").await);
    let sent = alice.post("/message/send", json!({ "the_other_person_id": bob.user_id, "text": "Is this Bob?" })).await;
    let sent = sent.done();
    let asked = requests(&bob, "in").await;
    assert_eq!((asked.len(), &asked[0]["room_id"]), (1, &sent["room_id"]));
    assert_eq!(asked[0]["request_message"], "Is this Bob?");
    bob.put("/account/acceptfriend", about(&alice)).await.done();
    are_friends(&alice, &bob).await;
    eventually("the message is there", || async {
        let path = format!("/conversation/get?the_other_person_id={}", conformance_tests::encode(&alice.user_id));
        let history = bob.get(&path).await.done()["detail"]["Messages"].clone();
        (history[0]["Content"] == "Is this Bob?").then_some(())
    })
    .await;
}
