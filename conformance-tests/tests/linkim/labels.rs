//! Labels of friends: the old LinkIM's «relationships».

use conformance_tests::{Client, unique, v3};
use serde_json::{Value, json};

use crate::SERVER;
use crate::friends::{about, account_data, befriend, ids, two};

async fn labels(of: &Client) -> Value {
    of.get("/account/relationships?platform=1").await.done()["detail"].clone()
}

fn named(name: &str) -> Value {
    json!({ "platform": 1, "relation_ship_name": name })
}

fn labelled(name: &str, friend: &Client) -> Value {
    json!({ "platform": 1, "relation_ship_name": name, "friend_id": friend.user_id })
}

#[tokio::test]
async fn a_label_is_made_listed_and_removed() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    assert_eq!(labels(&alice).await, json!([]));
    alice.post("/account/addrelationship", named("work")).await.done();
    alice.post("/account/addrelationship", named("家人")).await.done();
    assert_eq!(labels(&alice).await, json!(["work", "家人"]));
    alice.post("/account/addrelationship", named("work")).await.refused(409, 1003);
    alice.post("/account/addrelationship", named("")).await.refused(400, 1001);
    alice.post("/account/addrelationship", named(&"é".repeat(51))).await.refused(400, 1001);
    alice.post("/account/addrelationship", json!({})).await.refused(400, 1001);
    alice.delete("/account/delrelationship", Some(named("work"))).await.done();
    assert_eq!(labels(&alice).await, json!(["家人"]));
    alice.delete("/account/delrelationship", Some(named("work"))).await.refused(404, 1004);
    let other = server.register(&unique("other")).await;
    let mut as_other = named("mine");
    as_other["user_id"] = other.user_id.clone().into();
    alice.post("/account/addrelationship", as_other).await.refused(403, 1002);
    server.anonymous().get("/account/relationships").await.refused(401, 1507);
}

#[tokio::test]
async fn friends_have_labels_which_matrix_clients_see_as_tags() {
    let server = SERVER.get();
    let (alice, bob) = two(&server).await;
    alice.post("/account/addrelationship", named("work")).await.done();
    alice.post("/account/relationship/addfriend", labelled("work", &bob)).await.refused(403, 1303);
    befriend(&alice, &bob).await;
    alice.post("/account/relationship/addfriend", labelled("play", &bob)).await.refused(404, 1004);
    alice.post("/account/relationship/addfriend", labelled("work", &bob)).await.done();
    alice.post("/account/relationship/addfriend", labelled("work", &bob)).await.refused(409, 1003);

    let list = alice.get_with_body("/account/relationship/friendlists", named("work")).await.done();
    assert_eq!(ids(&list), std::slice::from_ref(&bob.user_id));
    assert_eq!(list["detail"][0]["labels"], json!(["work"]));
    assert_eq!(
        account_data(&alice, "org.linkim.friend_labels").await,
        json!({ "labels": [{ "name": "work", "friends": [bob.user_id] }] })
    );
    let room = list["detail"][0]["room_id"].as_str().expect("a room").to_owned();
    let tags = v3!("/user/{}/rooms/{}/tags", alice.user_id, room);
    assert_eq!(alice.get(&tags).await.ok(), json!({ "tags": { "u.work": {} } }));

    alice.delete("/account/relationship/delfriend", Some(labelled("work", &bob))).await.done();
    alice.delete("/account/relationship/delfriend", Some(labelled("work", &bob))).await.refused(404, 1004);
    assert_eq!(alice.get(&tags).await.ok(), json!({ "tags": {} }));
    // The tag goes with the label, and with the friend.
    alice.post("/account/relationship/addfriend", labelled("work", &bob)).await.done();
    alice.delete("/account/delrelationship", Some(named("work"))).await.done();
    assert_eq!(alice.get(&tags).await.ok(), json!({ "tags": {} }));
    alice.post("/account/addrelationship", named("work")).await.done();
    alice.post("/account/relationship/addfriend", labelled("work", &bob)).await.done();
    alice.delete("/account/delfriend", Some(about(&bob))).await.done();
    assert_eq!(alice.get(&tags).await.ok(), json!({ "tags": {} }));
    let list = alice.get("/account/relationship/friendlists?relation_ship_name=work").await.done();
    assert_eq!(ids(&list), Vec::<String>::new());
}

#[tokio::test]
async fn there_are_a_hundred_labels_at_most() {
    let server = SERVER.get();
    let alice = server.register(&unique("alice")).await;
    for n in 0..100 {
        alice.post("/account/addrelationship", named(&format!("label {n}"))).await.done();
    }
    alice.post("/account/addrelationship", named("one more")).await.refused(409, 1002);
    assert_eq!(labels(&alice).await.as_array().map(Vec::len), Some(100));
}
