//! "Device management", with the user-interactive authentication of deletions.

use conformance_tests::{Client, v3};
use serde_json::{Value, json};

use crate::SERVER;

fn device_ids(answer: &Value) -> Vec<&str> {
    let devices = answer["devices"].as_array().unwrap_or_else(|| panic!("no devices in {answer}"));
    let mut ids: Vec<&str> = devices.iter().filter_map(|device| device["device_id"].as_str()).collect();
    ids.sort_unstable();
    ids
}

fn password_stage(user: &Client, password: &str, session: &Value) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user.user_id },
        "password": password,
        "session": session,
    })
}

#[tokio::test]
async fn all_devices_of_the_user_are_listed_and_nobody_elses() {
    let server = SERVER.get();
    let phone = server.register("alice").await;
    let laptop = server.new_device(&phone).await;
    server.register("bob").await;
    let mut wanted = [phone.device_id.as_str(), laptop.device_id.as_str()];
    wanted.sort_unstable();
    assert_eq!(device_ids(&phone.get(&v3!("/devices")).await.ok()), wanted);
}

#[tokio::test]
async fn a_device_can_be_renamed() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    let path = v3!("/devices/{}", alice.device_id);
    alice.put(&path, json!({ "display_name": "telescope" })).await.ok();
    assert_eq!(alice.get(&path).await.ok()["display_name"], "telescope");
    // Without the key the name is unchanged.
    alice.put(&path, json!({})).await.ok();
    let device = alice.get(&path).await.ok();
    assert_eq!((&device["display_name"], &device["device_id"]), (&json!("telescope"), &json!(alice.device_id)));
}

#[tokio::test]
async fn unknown_and_foreign_devices_are_not_found() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    for id in ["NOSUCHDEVICE", &bob.device_id] {
        let path = v3!("/devices/{}", id);
        alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
        alice.put(&path, json!({ "display_name": "mine" })).await.expect_error(404, "M_NOT_FOUND");
    }
    assert_ne!(bob.get(&v3!("/devices/{}", bob.device_id)).await.ok()["display_name"], "mine");
}

#[tokio::test]
async fn deleting_a_device_needs_the_password_and_ends_its_token() {
    let server = SERVER.get();
    let phone = server.register("alice").await;
    let laptop = server.new_device(&phone).await;
    let path = v3!("/devices/{}", laptop.device_id);

    let offer = phone.delete(&path, Some(json!({}))).await.expect_status(401).json;
    assert!(offer["session"].is_string(), "{offer}");
    assert!(
        offer["flows"].as_array().is_some_and(|flows| flows.contains(&json!({ "stages": ["m.login.password"] }))),
        "{offer}"
    );
    laptop.get(&v3!("/account/whoami")).await.ok();

    let wrong = json!({ "auth": password_stage(&phone, "wrong", &offer["session"]) });
    let refused = phone.delete(&path, Some(wrong)).await.expect_error(401, "M_FORBIDDEN");
    assert!(refused["flows"].is_array(), "a failed stage shows the flows again: {refused}");
    laptop.get(&v3!("/account/whoami")).await.ok();

    let right = json!({ "auth": password_stage(&phone, server.password(), &offer["session"]) });
    phone.delete(&path, Some(right)).await.ok();
    laptop.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
    assert_eq!(device_ids(&phone.get(&v3!("/devices")).await.ok()), [phone.device_id.as_str()]);
}

#[tokio::test]
async fn somebody_elses_password_does_not_delete_my_device() {
    let server = SERVER.get();
    let phone = server.register("alice").await;
    let laptop = server.new_device(&phone).await;
    let mallory = Client::register(&server.base, &conformance_tests::unique("mallory"), "mallory's own").await;
    let path = v3!("/devices/{}", laptop.device_id);
    let offer = phone.delete(&path, Some(json!({}))).await.expect_status(401).json;
    let body = json!({ "auth": password_stage(&mallory, "mallory's own", &offer["session"]) });
    let reply = phone.delete(&path, Some(body)).await;
    assert!(matches!(reply.status, 400 | 401 | 403), "{reply}");
    laptop.get(&v3!("/account/whoami")).await.ok();
}

#[tokio::test]
async fn a_session_opened_for_one_deletion_does_not_serve_another_user() {
    let server = SERVER.get();
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let bobs_other = server.new_device(&bob).await;
    let offer = alice.delete(&v3!("/devices/{}", alice.device_id), Some(json!({}))).await.expect_status(401).json;
    // Bob's token, alice's session, alice's password.
    let body = json!({ "auth": password_stage(&alice, server.password(), &offer["session"]) });
    let reply = bob.delete(&v3!("/devices/{}", bobs_other.device_id), Some(body)).await;
    assert!(matches!(reply.status, 400 | 401 | 403), "{reply}");
    bobs_other.get(&v3!("/account/whoami")).await.ok();
}

#[tokio::test]
async fn delete_devices_deletes_those_named() {
    let server = SERVER.get();
    let phone = server.register("alice").await;
    let (laptop, tablet) = (server.new_device(&phone).await, server.new_device(&phone).await);
    let mut body = json!({ "devices": [laptop.device_id, tablet.device_id, "NOSUCHDEVICE"] });
    let offer = phone.post(&v3!("/delete_devices"), body.clone()).await.expect_status(401).json;
    body["auth"] = password_stage(&phone, server.password(), &offer["session"]);
    phone.post(&v3!("/delete_devices"), body).await.ok();
    for gone in [&laptop, &tablet] {
        gone.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
    }
    phone.get(&v3!("/account/whoami")).await.ok();
}

#[tokio::test]
async fn delete_devices_needs_a_list() {
    let server = SERVER.get();
    let alice = server.register("alice").await;
    for body in [json!({}), json!({ "devices": "all" }), json!({ "devices": [7] })] {
        let reply = alice.post(&v3!("/delete_devices"), body).await;
        assert_eq!(reply.status, 400, "{reply}");
    }
}
