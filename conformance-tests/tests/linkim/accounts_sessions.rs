//! `/sessions`, and which sessions a login ends.

use conformance_tests::verification::{logged_in, new_phone, with};
use conformance_tests::{Client, Options, Server, unique, v3};
use serde_json::{Value, json};

use crate::accounts_codes::{CODES, server};

async fn login(client: &Client, who: &Value, platform: i64) -> Client {
    let body = with(who, &json!({ "password": "one", "platform": platform }));
    logged_in(client, &client.post("/account/login", body).await.done())
}

/// Holds that a session was ended by another login, as both APIs say it.
async fn is_kicked(client: &Client) {
    let ended = client.get("/sessions").await.refused(401, 1506);
    assert_eq!(ended["error"], "Logged in on another device");
    let ended = client.get(&v3!("/sync")).await.expect_error(401, "M_UNKNOWN_TOKEN");
    assert_eq!((&ended["soft_logout"], &ended["error"]), (&json!(false), &json!("Logged in on another device")));
}

async fn stands(client: &Client) {
    client.get(&v3!("/account/whoami")).await.ok();
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let server = server();
    let anonymous = server.anonymous();
    let address = new_phone();
    let phone = CODES.register(&anonymous, &address, "one").await;
    let web = login(&anonymous, &address, 5).await;
    let localpart = phone.user_id.split([':', '@']).nth(1).expect("a localpart");
    let matrix = Client::login(&server.base, localpart, "one").await;
    let page = phone.get("/sessions").await.done();
    let list = page["detail"].as_array().expect("a list").clone();
    assert_eq!((list.len(), &page["has_more"]), (3, &json!(false)));
    let platforms: Vec<_> = list.iter().map(|entry| entry["platformID"].as_i64()).collect();
    assert_eq!(platforms, [Some(2), Some(5), Some(0)]);
    let current: Vec<_> = list.iter().map(|entry| entry["current"].as_bool()).collect();
    assert_eq!(current, [Some(true), Some(false), Some(false)]);
    assert_eq!((&list[0]["name"], &list[1]["platform"]), (&json!("LinkIM Android"), &json!("Web")));
    assert_eq!(list[0]["ip"], "127.0.0.1");
    assert_eq!((&list[1]["device_id"], &list[2]["device_id"]), (&json!(web.device_id), &json!(matrix.device_id)));
    assert!(list.iter().all(|entry| entry["last_seen_ts"].as_i64().is_some_and(|ts| ts > 0)));

    let first = phone.get("/sessions?page_size=2").await.done();
    assert_eq!((first["detail"].as_array().map(Vec::len), &first["has_more"]), (Some(2), &json!(true)));
    let after = &first["detail"][1]["session_id"];
    let second = phone.get(&format!("/sessions?page_size=2&after={after}")).await.done();
    assert_eq!(second["detail"], json!([list[2]]));
    phone.get("/sessions?after=9007199254740991").await.refused(404, 1004);
    phone.get("/sessions?page_size=0").await.refused(400, 1001);
    anonymous.get("/sessions").await.refused(401, 1507);

    let id = |entry: &Value| entry["session_id"].as_i64().expect("a number");
    let bob = server.register(&unique("bob")).await;
    bob.delete(&format!("/sessions/{}", id(&list[1])), None).await.refused(404, 1004);
    phone.delete("/sessions/9007199254740991", None).await.refused(404, 1004);
    phone.delete("/sessions/x", None).await.refused(400, 1001);
    phone.delete(&format!("/sessions/{}", id(&list[1])), None).await.done();
    let ended = web.get("/sessions").await.refused(401, 1506);
    assert_eq!(ended["error"], "Logged out from another device");
    phone.delete(&format!("/sessions/{}", id(&list[1])), None).await.refused(404, 1004);
    let devices = phone.get(&v3!("/devices")).await.ok();
    assert_eq!(devices["devices"].as_array().map(Vec::len), Some(2), "Matrix clients see the same");
    stands(&matrix).await;
    phone.delete(&format!("/sessions/{}", id(&list[0])), None).await.done();
    phone.get("/sessions").await.refused(401, 1505);
}

#[tokio::test]
async fn every_session_stays_by_policy_0() {
    let anonymous = server().anonymous();
    let address = new_phone();
    let first = CODES.register(&anonymous, &address, "one").await;
    let second = login(&anonymous, &address, 2).await;
    stands(&first).await;
    stands(&second).await;
}

/// Logs in on each platform in turn on a server of that policy; answers which sessions stand in the end, and holds that the
/// others were told.
async fn standing(policy: i64, platforms: &[i64]) -> Vec<usize> {
    let tables = CODES.tables() + &format!("[linkim]\nmulti_device_policy = {policy}\n");
    let mut server = Server::start(Options { tables, ..Options::default() });
    let anonymous = server.anonymous();
    let address = new_phone();
    let registered = CODES.register(&anonymous, &address, "one").await;
    let localpart = registered.user_id.split([':', '@']).nth(1).expect("a localpart").to_owned();
    registered.post("/account/logout", json!({})).await.done();
    let matrix = Client::login(&server.base, &localpart, "one").await;
    let mut sessions = Vec::new();
    for platform in platforms {
        sessions.push(login(&anonymous, &address, *platform).await);
    }
    // Why a session ended is remembered.
    server.restart();
    let mut standing = Vec::new();
    for (index, session) in sessions.iter().enumerate() {
        let session = session.at(&server.base);
        match session.get(&v3!("/account/whoami")).await.status {
            200 => standing.push(index),
            _ => is_kicked(&session).await,
        }
    }
    stands(&matrix.at(&server.base)).await;
    standing
}

#[tokio::test]
async fn one_session_of_a_platform_stays_by_policy_1() {
    assert_eq!(standing(1, &[1, 2, 2, 5, 1]).await, [2, 3, 4]);
}

#[tokio::test]
async fn one_session_of_a_class_stays_by_policy_4() {
    // iOS and Android are phones; Windows and Linux computers; an iPad is a tablet.
    assert_eq!(standing(4, &[1, 3, 9, 5, 2, 7]).await, [2, 3, 4, 5]);
}

#[tokio::test]
async fn computers_and_one_other_stay_by_policy_5() {
    assert_eq!(standing(5, &[3, 1, 4, 5]).await, [0, 2, 3]);
}

#[tokio::test]
async fn a_login_with_the_same_device_id_takes_its_place() {
    let server = server();
    let anonymous = server.anonymous();
    let address = new_phone();
    let first = CODES.register(&anonymous, &address, "one").await;
    let body = with(&address, &json!({ "password": "one", "platform": 1, "deviceID": first.device_id }));
    let again = logged_in(&anonymous, &anonymous.post("/account/login", body).await.done());
    assert_eq!(again.device_id, first.device_id);
    let page = again.get("/sessions").await.done();
    assert_eq!(page["detail"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["detail"][0]["platformID"], 1);
    first.get("/sessions").await.refused(401, 1505);
}
