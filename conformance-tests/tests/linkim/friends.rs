//! Friend requests and friends, over LinkIM's API and as Matrix clients see and make them.

use conformance_tests::{Client, Options, Server, eventually, membership_of, path, unique, v3};
use serde_json::{Value, json};

use crate::SERVER;

/// Two users of a server.
pub(crate) async fn two(server: &Server) -> (Client, Client) {
    (server.register(&unique("alice")).await, server.register(&unique("bob")).await)
}

/// What a request that names another user says.
pub(crate) fn about(other: &Client) -> Value {
    json!({ "platform": 1, "friend_id": other.user_id })
}

/// One asks, the other accepts.
pub(crate) async fn befriend(one: &Client, other: &Client) {
    assert_eq!(one.post("/account/addfriend", about(other)).await.done()["state"], "pending");
    other.put("/account/acceptfriend", about(one)).await.done();
}

/// The ids of a user's friends.
pub(crate) async fn friends(of: &Client) -> Vec<String> {
    let list = of.get("/account/friendlists?platform=1").await.done();
    ids(&list)
}

/// The ids in a list of people.
pub(crate) fn ids(list: &Value) -> Vec<String> {
    let people = list["detail"].as_array().expect("a list");
    people.iter().map(|person| person["matrix_id"].as_str().expect("an id").to_owned()).collect()
}

/// A user's pending requests.
pub(crate) async fn requests(of: &Client, direction: &str) -> Vec<Value> {
    let list = of.get(&format!("/account/friendrequests?direction={direction}")).await.done();
    list["detail"].as_array().expect("a list").clone()
}

/// The room of the only pending request in this direction.
pub(crate) async fn requested_room(of: &Client, direction: &str) -> String {
    let requests = requests(of, direction).await;
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests[0]["room_id"].as_str().expect("a room").to_owned()
}

/// A global account data of a user's; null if there is none.
pub(crate) async fn account_data(of: &Client, kind: &str) -> Value {
    let reply = of.get(&v3!("/user/{}/account_data/{}", of.user_id, kind)).await;
    if reply.status == 404 { Value::Null } else { reply.ok() }
}

#[tokio::test]
async fn a_request_is_an_invitation_and_accepting_it_is_joining() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let mut body = about(&bob);
    body["user_id"] = alice.number().await.into();
    body["request_message"] = "it's me".into();
    alice.post("/account/addfriend", body).await.done();

    let (incoming, outgoing) = (requests(&bob, "in").await, requests(&alice, "out").await);
    assert_eq!((incoming.len(), outgoing.len()), (1, 1));
    assert_eq!(incoming[0]["matrix_id"], alice.user_id);
    assert_eq!(incoming[0]["request_message"], "it's me");
    assert_eq!(outgoing[0]["matrix_id"], bob.user_id);
    assert_eq!(outgoing[0]["room_id"], incoming[0]["room_id"]);
    assert!(requests(&alice, "in").await.is_empty() && requests(&bob, "out").await.is_empty());
    assert!(friends(&alice).await.is_empty() && friends(&bob).await.is_empty());

    // What a Matrix client sees of it.
    let room = requested_room(&bob, "in").await;
    let since = bob.sync(conformance_tests::Sync::initial()).await;
    let told = since["rooms"]["invite"][&room]["invite_state"]["events"].as_array().expect("an invitation").clone();
    let invite = told.iter().find(|event| event["state_key"] == bob.user_id).expect("the invitation itself");
    assert_eq!(invite["content"]["is_direct"], true);
    assert_eq!(invite["content"]["reason"], "it's me");
    assert_eq!(invite["content"]["org.linkim.friend_request"], json!({ "text": "it's me" }));

    bob.put("/account/acceptfriend", about(&alice)).await.done();
    assert_eq!(friends(&alice).await, std::slice::from_ref(&bob.user_id));
    assert_eq!(friends(&bob).await, std::slice::from_ref(&alice.user_id));
    assert!(requests(&bob, "in").await.is_empty() && requests(&alice, "out").await.is_empty());
    assert_eq!(membership_of(&alice.all_state(&room).await, &bob.user_id), Some("join"));
    assert_eq!(account_data(&alice, "m.direct").await, json!({ bob.user_id.clone(): [room] }));
    assert_eq!(account_data(&bob, "m.direct").await, json!({ alice.user_id.clone(): [room] }));
    let noted = account_data(&alice, "org.linkim.friends").await;
    assert!(noted["friends"][&bob.user_id]["since"].is_i64(), "{noted}");
    bob.send_text(&room, "hello").await;
}

#[tokio::test]
async fn a_friend_is_listed_with_the_keys_of_the_old_server() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    bob.put(&v3!("/profile/{}/displayname", bob.user_id), json!({ "displayname": "Bob" })).await.ok();
    befriend(&alice, &bob).await;
    let list = alice.get("/account/friendlists?platform=1").await.done();
    let friend = &list["detail"][0];
    let number = alice.number_of(&bob.user_id).await;
    assert_eq!((&friend["ID"], &friend["ID_str"]), (&json!(number), &json!(number.to_string())));
    assert_eq!(friend["Nickname"], "Bob");
    for key in ["Email", "Area", "Phone", "AvatarUrl", "Signature", "remark"] {
        assert_eq!(friend[key], "", "{key}");
    }
    assert_eq!((&list["has_more"], &friend["labels"]), (&json!(false), &json!([])));
    // The same with a body, as old clients send it.
    let with_body =
        alice.get_with_body("/account/friendlists", json!({ "user_id": alice.user_id, "platform": 1 })).await;
    assert_eq!(ids(&with_body.done()), std::slice::from_ref(&bob.user_id));
}

#[tokio::test]
async fn friends_come_in_pages() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    let mut wanted = Vec::new();
    for _ in 0..3 {
        let friend = server.register(&unique("friend")).await;
        befriend(&alice, &friend).await;
        wanted.push(friend.user_id.clone());
    }
    wanted.sort();
    let first = alice.get("/account/friendlists?page_size=2").await.done();
    assert_eq!((ids(&first), &first["has_more"]), (wanted[..2].to_vec(), &json!(true)));
    let cursor = first["detail"][1]["ID"].as_i64().expect("a number");
    let second = alice.get(&format!("/account/friendlists?page_size=2&cursor={cursor}")).await.done();
    assert_eq!((ids(&second), &second["has_more"]), (wanted[2..].to_vec(), &json!(false)));
    alice.get("/account/friendlists?page_size=0").await.refused(400, 1001);
    alice.get("/account/friendlists?cursor=9007199254740991").await.refused(404, 1004);
    alice.get("/account/friendrequests?cursor=9007199254740991").await.refused(404, 1004);
    alice.get("/account/friendrequests?direction=sideways").await.refused(400, 1001);
    alice.get("/account/friendrequests?page_size=-1").await.refused(400, 1001);
}

#[tokio::test]
async fn requests_come_in_pages() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    let mut wanted = Vec::new();
    for _ in 0..3 {
        let other = server.register(&unique("other")).await;
        other.post("/account/addfriend", about(&alice)).await.done();
        wanted.insert(0, other.user_id.clone());
    }
    let first = alice.get("/account/friendrequests?page_size=2").await.done();
    assert_eq!((ids(&first), &first["has_more"]), (wanted[..2].to_vec(), &json!(true)));
    let cursor = first["detail"][1]["user_id"].as_i64().expect("a number");
    let second = alice.get(&format!("/account/friendrequests?page_size=2&cursor={cursor}")).await.done();
    assert_eq!((ids(&second), &second["has_more"]), (wanted[2..].to_vec(), &json!(false)));
    // Somebody who has asked nothing is no place in the list.
    let stranger = server.register(&unique("stranger")).await;
    alice.get(&path!("/account/friendrequests?cursor={}", stranger.user_id)).await.refused(404, 1004);
}

#[tokio::test]
async fn what_cannot_be_asked() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    alice.post("/account/addfriend", about(&alice)).await.refused(400, 1301);
    alice.post("/account/addfriend", json!({ "friend_id": 9_007_199_254_740_991_i64 })).await.refused(404, 1101);
    alice.post("/account/addfriend", json!({ "friend_id": "@nobody:a.example" })).await.refused(404, 1101);
    alice.post("/account/addfriend", json!({})).await.refused(400, 1001);
    alice.post("/account/addfriend", json!({ "friend_id": "bob" })).await.refused(400, 1001);
    let mut wordy = about(&bob);
    wordy["request_message"] = "é".repeat(501).into();
    alice.post("/account/addfriend", wordy.clone()).await.refused(400, 1001);
    for answer in ["/account/acceptfriend", "/account/rejectfriend"] {
        let body = json!({ "friend_id": alice.user_id, "handle_message": "é".repeat(501) });
        bob.put(answer, body).await.refused(400, 1001);
    }
    wordy["request_message"] = "é".repeat(500).into();
    wordy["user_id"] = bob.user_id.clone().into();
    alice.post("/account/addfriend", wordy.clone()).await.refused(403, 1002);
    assert!(requests(&bob, "in").await.is_empty());
    wordy["user_id"] = alice.user_id.clone().into();
    alice.post("/account/addfriend", wordy).await.done();
    bob.put("/account/acceptfriend", about(&alice)).await.done();
    alice.post("/account/addfriend", about(&bob)).await.refused(409, 1304);
    bob.post("/account/addfriend", about(&alice)).await.refused(409, 1304);
    server.anonymous().post("/account/addfriend", about(&bob)).await.refused(401, 1507);
}

#[tokio::test]
async fn who_refuses_strangers_is_not_asked() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let path = v3!("/user/{}/account_data/org.linkim.settings", bob.user_id);
    bob.put(&path, json!({ "strangers_may_add": false })).await.ok();
    alice.post("/account/addfriend", about(&bob)).await.refused(403, 20013);
    let direct = json!({ "is_direct": true, "invite": [bob.user_id], "preset": "trusted_private_chat" });
    alice.post(&v3!("/createRoom"), direct).await.expect_error(403, "M_FORBIDDEN");
    assert!(requests(&bob, "in").await.is_empty());
    // Bob may ask others all the same, and a group is no friend request.
    bob.post("/account/addfriend", about(&alice)).await.done();
    let room = alice.create_room(json!({ "preset": "private_chat" })).await;
    alice.invite(&room, &bob).await;
}

/// Weakness 13: requests had no direction, doubled, and anybody could answer them; those that crossed waited for ever.
#[tokio::test]
async fn weakness_13_a_request_has_a_direction_and_is_answered_once_by_who_was_asked() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    alice.post("/account/addfriend", about(&bob)).await.done();
    // A second request is the first one, with new words.
    let mut again = about(&bob);
    again["request_message"] = "please".into();
    alice.post("/account/addfriend", again).await.done();
    let asked = requests(&bob, "in").await;
    assert_eq!((asked.len(), &asked[0]["request_message"]), (1, &json!("please")));

    alice.put("/account/acceptfriend", about(&bob)).await.refused(404, 1004);
    carol.put("/account/acceptfriend", about(&alice)).await.refused(404, 1004);
    bob.put("/account/acceptfriend", about(&carol)).await.refused(404, 1004);
    assert!(friends(&bob).await.is_empty());

    bob.put("/account/rejectfriend", about(&alice)).await.done();
    assert!(requests(&alice, "out").await.is_empty() && friends(&alice).await.is_empty());
    bob.put("/account/rejectfriend", about(&alice)).await.refused(409, 1305);
    bob.put("/account/acceptfriend", about(&alice)).await.refused(409, 1305);

    // Asked again, and accepted; then that is answered, too.
    befriend(&alice, &bob).await;
    bob.put("/account/acceptfriend", about(&alice)).await.refused(409, 1305);
    bob.put("/account/rejectfriend", about(&alice)).await.refused(409, 1305);

    // Crossing requests accept each other.
    alice.post("/account/addfriend", about(&carol)).await.done();
    assert_eq!(carol.post("/account/addfriend", about(&alice)).await.done()["state"], "accepted");
    assert!(friends(&alice).await.contains(&carol.user_id) && friends(&carol).await.contains(&alice.user_id));
    assert!(requests(&carol, "in").await.is_empty() && requests(&carol, "out").await.is_empty());
}

#[tokio::test]
async fn invitations_of_matrix_clients_that_cross_accept_each_other() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let direct =
        |other: &Client| json!({ "is_direct": true, "invite": [other.user_id], "preset": "trusted_private_chat" });
    let first = alice.create_room(direct(&bob)).await;
    let second = bob.create_room(direct(&alice)).await;
    let (stays, goes) = if first < second { (first, second) } else { (second, first) };
    eventually("they are friends", || async { (friends(&alice).await == [bob.user_id.clone()]).then_some(()) }).await;
    assert_eq!(friends(&bob).await, std::slice::from_ref(&alice.user_id));
    let state = alice.all_state(&stays).await;
    assert_eq!(membership_of(&state, &alice.user_id), Some("join"));
    assert_eq!(membership_of(&state, &bob.user_id), Some("join"));
    for client in [&alice, &bob] {
        eventually("the other room is left", || async {
            let rooms = client.sync(conformance_tests::Sync::initial()).await["rooms"].clone();
            let there = |section: &str| rooms[section].get(&goes).is_some();
            (!there("join") && !there("invite")).then_some(())
        })
        .await;
        assert!(requests(client, "in").await.is_empty() && requests(client, "out").await.is_empty());
    }
}

#[tokio::test]
async fn a_matrix_clients_direct_invitation_is_a_request() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let direct = json!({ "is_direct": true, "invite": [bob.user_id], "preset": "trusted_private_chat" });
    let room = alice.create_room(direct.clone()).await;
    assert_eq!(requested_room(&bob, "in").await, room);
    assert_eq!(requested_room(&alice, "out").await, room);
    bob.join(&room).await;
    assert_eq!(friends(&alice).await, std::slice::from_ref(&bob.user_id));
    assert_eq!(friends(&bob).await, std::slice::from_ref(&alice.user_id));

    // Declining rejects; taking the invitation back takes back the request.
    let carol = server.register(&unique("carol")).await;
    let refused = alice.create_room(json!({ "is_direct": true, "invite": [carol.user_id] })).await;
    carol.leave(&refused).await;
    carol.put("/account/acceptfriend", about(&alice)).await.refused(409, 1305);
    let dave = server.register(&unique("dave")).await;
    let withdrawn = alice.create_room(json!({ "is_direct": true, "invite": [dave.user_id] })).await;
    alice.kick(&withdrawn, &dave).await;
    assert!(requests(&dave, "in").await.is_empty());
    dave.put("/account/acceptfriend", about(&alice)).await.refused(404, 1004);
    // An invitation into a room that is not for two is none.
    let group = alice.create_room(json!({ "invite": [dave.user_id] })).await;
    assert!(requests(&dave, "in").await.is_empty());
    dave.join(&group).await;
    assert!(friends(&dave).await.is_empty());
}

#[tokio::test]
async fn a_removed_friend_is_one_on_neither_side_and_the_room_stays() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    befriend(&alice, &bob).await;
    let room = account_data(&alice, "m.direct").await[&bob.user_id][0].as_str().expect("a room").to_owned();
    alice.delete("/account/delfriend", Some(about(&bob))).await.done();
    assert!(friends(&alice).await.is_empty() && friends(&bob).await.is_empty());
    alice.send_text(&room, "still here").await;

    // They can be friends again, in the room that is there.
    befriend(&bob, &alice).await;
    assert_eq!((friends(&alice).await.len(), friends(&bob).await.len()), (1, 1));
    assert_eq!(account_data(&alice, "m.direct").await, json!({ bob.user_id.clone(): [room] }));
}

#[tokio::test]
async fn a_remark_is_the_callers_alone() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    let remark = |text: &str| json!({ "friend_id": bob.user_id, "remark": text });
    alice.put("/account/friend/remark", remark("Bobby")).await.refused(403, 1303);
    befriend(&alice, &bob).await;
    alice.put("/account/friend/remark", remark("Bobby")).await.done();
    let list = alice.get("/account/friendlists").await.done();
    assert_eq!(list["detail"][0]["remark"], "Bobby");
    assert_eq!(bob.get("/account/friendlists").await.done()["detail"][0]["remark"], "");
    assert_eq!(
        account_data(&alice, "org.linkim.friend_remarks").await,
        json!({ "remarks": { bob.user_id.clone(): "Bobby" } })
    );
    alice.put("/account/friend/remark", remark(&"é".repeat(51))).await.refused(400, 1001);
    alice.put("/account/friend/remark", remark("")).await.done();
    assert_eq!(alice.get("/account/friendlists").await.done()["detail"][0]["remark"], "");
    // Remarks go with the friend.
    alice.put("/account/friend/remark", remark("Bobby")).await.done();
    alice.delete("/account/delfriend", Some(about(&bob))).await.done();
    assert_eq!(account_data(&alice, "org.linkim.friend_remarks").await, json!({ "remarks": {} }));
}

#[tokio::test]
async fn friends_are_not_for_matrix_clients_to_write() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    for kind in ["org.linkim.friends", "org.linkim.friend_labels", "org.linkim.friend_remarks"] {
        let path = v3!("/user/{}/account_data/{}", alice.user_id, kind);
        alice.put(&path, json!({ "friends": {} })).await.expect_error(405, "M_BAD_JSON");
    }
}

/// Weakness 12: success was reported where nothing was changed.
#[tokio::test]
async fn weakness_12_nothing_changed_is_no_success() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    alice.put("/account/acceptfriend", about(&bob)).await.refused(404, 1004);
    alice.put("/account/rejectfriend", about(&bob)).await.refused(404, 1004);
    alice.delete("/account/delfriend", Some(about(&bob))).await.refused(404, 1004);
    alice.delete("/account/blacklist/delete", Some(about(&bob))).await.refused(404, 1004);
    let label = json!({ "relation_ship_name": "none", "friend_id": bob.user_id });
    alice.delete("/account/delrelationship", Some(label.clone())).await.refused(404, 1004);
    alice.post("/account/relationship/addfriend", label.clone()).await.refused(404, 1004);
    alice.delete("/account/relationship/delfriend", Some(label)).await.refused(404, 1004);
    alice.get("/account/relationship/friendlists?relation_ship_name=none").await.refused(404, 1004);
}

#[tokio::test]
async fn friendships_outlive_a_kill() {
    let mut server = Server::start(Options::default());
    let (alice, bob) = two(&server).await;
    let carol = server.register(&unique("carol")).await;
    befriend(&alice, &bob).await;
    carol.post("/account/addfriend", about(&alice)).await.done();
    server.kill9();
    server.restart();
    let base = server.anonymous();
    let (alice, bob) = (alice.at(&base.base), bob.at(&base.base));
    assert_eq!(friends(&alice).await, std::slice::from_ref(&bob.user_id));
    assert_eq!(friends(&bob).await, std::slice::from_ref(&alice.user_id));
    assert_eq!(requests(&alice, "in").await.len(), 1);
    alice.put("/account/acceptfriend", about(&carol)).await.done();
}

#[tokio::test]
async fn only_friends_write_where_the_configuration_says_so() {
    let server = Server::start(Options { tables: "[linkim]\nfriend_verify = true\n".into(), ..Options::default() });
    let (alice, bob) = two(&server).await;
    let direct = json!({ "is_direct": true, "invite": [bob.user_id], "preset": "trusted_private_chat" });
    let room = alice.create_room(direct).await;
    let text = json!({ "msgtype": "m.text", "body": "let me in" });
    let send = v3!("/rooms/{}/send/m.room.message/{}", room, "1");
    alice.put(&send, text.clone()).await.expect_error(403, "M_FORBIDDEN");
    bob.put("/account/acceptfriend", about(&alice)).await.done();
    alice.put(&send, text.clone()).await.ok();
    bob.send_text(&room, "hello").await;
    // Who is no friend any more writes no more.
    bob.delete("/account/delfriend", Some(about(&alice))).await.done();
    let send = v3!("/rooms/{}/send/m.room.message/{}", room, "2");
    alice.put(&send, text).await.expect_error(403, "M_FORBIDDEN");
    // Groups are none of its business.
    let group = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    bob.join(&group).await;
    alice.send_text(&group, "hello").await;
}
