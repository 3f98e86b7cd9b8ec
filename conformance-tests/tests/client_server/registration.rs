//! "Account registration" and the stages of user-interactive authentication that it uses.

use conformance_tests::{Client, Options, Registration, Server, membership_of, path, timeline, unique, v3};
use hmac::Mac as _;
use serde_json::{Value, json};

use crate::SERVER;

fn dummy(username: &str) -> Value {
    json!({ "username": username, "password": "wonderland", "auth": { "type": "m.login.dummy" } })
}

fn stages(answer: &Value) -> Vec<Vec<&str>> {
    let flows = answer["flows"].as_array().unwrap_or_else(|| panic!("no flows in {answer}"));
    flows
        .iter()
        .map(|flow| flow["stages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect())
        .collect()
}

#[tokio::test]
async fn the_dummy_flow_registers_in_one_request() {
    let server = SERVER.get();
    let name = unique("alice");
    let answer = server.anonymous().post(&v3!("/register"), dummy(&name)).await.ok();
    assert_eq!(answer["user_id"], format!("@{name}:{}", server.name()));
    let alice = server.anonymous().with_login(&answer);
    assert_eq!(alice.get(&v3!("/account/whoami")).await.ok()["user_id"], answer["user_id"]);
}

#[tokio::test]
async fn without_auth_the_flows_and_a_session_are_offered() {
    let server = SERVER.get();
    let body = json!({ "username": unique("alice"), "password": "wonderland" });
    let answer = server.anonymous().post(&v3!("/register"), body).await.expect_status(401).json;
    assert!(stages(&answer).contains(&vec!["m.login.dummy"]), "{answer}");
    assert!(answer["session"].is_string(), "{answer}");
    assert!(answer["params"].is_null() || answer["params"].is_object(), "{answer}");
}

#[tokio::test]
async fn the_offered_session_completes_the_registration() {
    let server = SERVER.get();
    let mut body = json!({ "username": unique("alice"), "password": "wonderland" });
    let offer = server.anonymous().post(&v3!("/register"), body.clone()).await.expect_status(401).json;
    body["auth"] = json!({ "type": "m.login.dummy", "session": offer["session"] });
    server.anonymous().post(&v3!("/register"), body).await.ok();
}

#[tokio::test]
async fn inhibit_login_gives_no_token() {
    let server = SERVER.get();
    let mut body = dummy(&unique("alice"));
    body["inhibit_login"] = json!(true);
    let answer = server.anonymous().post(&v3!("/register"), body).await.ok();
    assert!(answer["user_id"].is_string(), "{answer}");
    assert!(answer["access_token"].is_null() && answer["device_id"].is_null(), "{answer}");
    let user_id = answer["user_id"].as_str().expect("a user id");
    Client::login(&server.base, user_id, "wonderland").await;
}

#[tokio::test]
async fn a_taken_name_is_refused_before_authentication() {
    let server = SERVER.get();
    let name = unique("alice");
    server.anonymous().post(&v3!("/register"), dummy(&name)).await.ok();
    let body = json!({ "username": name, "password": "other" });
    server.anonymous().post(&v3!("/register"), body).await.expect_error(400, "M_USER_IN_USE");
    server.anonymous().post(&v3!("/register"), dummy(&name)).await.expect_error(400, "M_USER_IN_USE");
}

#[tokio::test]
async fn a_name_outside_the_grammar_is_refused() {
    let server = SERVER.get();
    let too_long = "a".repeat(256);
    for name in ["with space", "ümlaut", "a:b", "@alice", "semi;colon", too_long.as_str()] {
        server.anonymous().post(&v3!("/register"), dummy(name)).await.expect_error(400, "M_INVALID_USERNAME");
    }
}

#[tokio::test]
async fn a_name_in_upper_case_is_mapped_or_refused_but_never_kept() {
    let server = SERVER.get();
    let name = unique("ALICE");
    let reply = server.anonymous().post(&v3!("/register"), dummy(&name)).await;
    match reply.status {
        200 => assert_eq!(reply.json["user_id"], format!("@{}:{}", name.to_lowercase(), server.name())),
        _ => drop(reply.expect_error(400, "M_INVALID_USERNAME")),
    }
}

#[tokio::test]
async fn every_character_of_the_grammar_is_allowed() {
    let server = SERVER.get();
    let name = unique("az09._=-/+");
    let answer = server.anonymous().post(&v3!("/register"), dummy(&name)).await.ok();
    assert_eq!(answer["user_id"], format!("@{name}:{}", server.name()));
}

#[tokio::test]
async fn without_a_username_one_is_made() {
    let server = SERVER.get();
    let body = json!({ "password": "wonderland", "auth": { "type": "m.login.dummy" } });
    let one = server.anonymous().post(&v3!("/register"), body.clone()).await.ok();
    let two = server.anonymous().post(&v3!("/register"), body).await.ok();
    assert!(one["user_id"].as_str().is_some_and(|id| id.starts_with('@')), "{one}");
    assert_ne!(one["user_id"], two["user_id"]);
}

#[tokio::test]
async fn the_given_device_id_and_name_are_used() {
    let server = SERVER.get();
    let mut body = dummy(&unique("alice"));
    body["device_id"] = json!("LOOKINGGLASS");
    body["initial_device_display_name"] = json!("Alice's glass");
    let answer = server.anonymous().post(&v3!("/register"), body).await.ok();
    assert_eq!(answer["device_id"], "LOOKINGGLASS");
    let alice = server.anonymous().with_login(&answer);
    let device = alice.get(&v3!("/devices/{}", "LOOKINGGLASS")).await.ok();
    assert_eq!(device["display_name"], "Alice's glass");
}

#[tokio::test]
async fn available_tells_free_taken_and_invalid_names_apart() {
    let server = SERVER.get();
    let (free, alice) = (unique("free"), server.register("alice").await);
    let taken = alice.user_id[1..].split(':').next().expect("a localpart").to_owned();
    let ask = async |name: &str| server.anonymous().get(&v3!("/register/available?username={}", name)).await;
    assert_eq!(ask(&free).await.ok()["available"], true);
    ask(&taken).await.expect_error(400, "M_USER_IN_USE");
    ask("not valid").await.expect_error(400, "M_INVALID_USERNAME");
    server.anonymous().get(&v3!("/register/available")).await.expect_status(400);
}

#[tokio::test]
async fn an_unknown_kind_of_account_is_refused() {
    let server = SERVER.get();
    let reply = server.anonymous().post(&v3!("/register?kind=robot"), dummy(&unique("robot"))).await;
    assert_eq!(reply.status, 400, "{reply}");
}

#[tokio::test]
async fn guests_are_refused_unless_configured() {
    let server = SERVER.get();
    let reply = server.anonymous().post(&v3!("/register?kind=guest"), json!({})).await;
    reply.expect_one_of(&[(403, "M_GUEST_ACCESS_FORBIDDEN"), (403, "M_FORBIDDEN"), (403, "M_UNKNOWN")]);
}

#[tokio::test]
async fn only_one_of_many_concurrent_registrations_gets_the_name() {
    let server = SERVER.get();
    let name = unique("alice");
    let tries: Vec<_> = (0..6)
        .map(|_| {
            let (client, body) = (server.anonymous(), dummy(&name));
            tokio::spawn(async move { client.post(&v3!("/register"), body).await })
        })
        .collect();
    let mut given = 0;
    for one in tries {
        let reply = one.await.expect("the task ends");
        if reply.status == 200 {
            given += 1;
        } else {
            reply.expect_error(400, "M_USER_IN_USE");
        }
    }
    assert_eq!(given, 1);
}

fn closed() -> Options {
    let registration = Registration {
        open: false,
        tokens: vec!["looking-glass".to_owned()],
        shared_secret: Some("jabberwock".to_owned()),
        ..Registration::default()
    };
    Options { registration, ..Options::default() }
}

#[tokio::test]
async fn a_registration_token_lets_in_and_a_wrong_one_does_not() {
    let server = Server::start(closed());
    let validity = async |token: &str| {
        let path = path!("/_matrix/client/v1/register/m.login.registration_token/validity?token={}", token);
        server.anonymous().get(&path).await.ok()
    };
    assert_eq!(validity("looking-glass").await["valid"], true);
    assert_eq!(validity("teapot").await["valid"], false);

    let mut body = json!({ "username": "alice", "password": "wonderland" });
    let offer = server.anonymous().post(&v3!("/register"), body.clone()).await.expect_status(401).json;
    for flow in stages(&offer) {
        assert!(flow.contains(&"m.login.registration_token"), "each flow needs the token: {offer}");
    }
    body["auth"] = json!({ "type": "m.login.dummy", "session": offer["session"] });
    server.anonymous().post(&v3!("/register"), body.clone()).await.expect_status(401);

    body["auth"] = json!({ "type": "m.login.registration_token", "token": "teapot", "session": offer["session"] });
    let refused = server.anonymous().post(&v3!("/register"), body.clone()).await.expect_status(401).json;
    assert!(refused["errcode"].is_string() && refused["error"].is_string(), "a failed stage has an error: {refused}");
    assert!(refused["flows"].is_array(), "and the flows again: {refused}");

    body["auth"]["token"] = json!("looking-glass");
    let mut reply = server.anonymous().post(&v3!("/register"), body.clone()).await;
    if reply.status == 401 {
        // A flow may ask for the dummy stage too.
        assert_eq!(reply.json["completed"], json!(["m.login.registration_token"]), "{reply}");
        body["auth"] = json!({ "type": "m.login.dummy", "session": offer["session"] });
        reply = server.anonymous().post(&v3!("/register"), body).await;
    }
    assert_eq!(reply.ok()["user_id"], "@alice:a.example");
}

#[tokio::test]
async fn closed_registration_is_forbidden() {
    let registration = Registration { open: false, ..Registration::default() };
    let server = Server::start(Options { registration, ..Options::default() });
    server.anonymous().post(&v3!("/register"), dummy("alice")).await.expect_error(403, "M_FORBIDDEN");
    server.anonymous().post(&v3!("/register"), json!({})).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn reserved_names_are_refused() {
    let registration = Registration { reserved_names: vec!["admin".to_owned()], ..Registration::default() };
    let server = Server::start(Options { registration, ..Options::default() });
    let reply = server.anonymous().post(&v3!("/register"), dummy("admin")).await;
    reply.expect_one_of(&[(400, "M_EXCLUSIVE"), (400, "M_USER_IN_USE"), (400, "M_INVALID_USERNAME")]);
    server.anonymous().post(&v3!("/register"), dummy("administrator")).await.ok();
}

const SHARED_SECRET: &str = "/_synapse/admin/v1/register";

/// The body of a shared-secret registration: HMAC-SHA1 over the fields, each ended by a zero byte but the last.
fn with_secret(secret: &str, nonce: &str, name: &str, admin: bool) -> Value {
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).expect("any key length will do");
    mac.update([nonce, name, "wonderland", if admin { "admin" } else { "notadmin" }].join("\0").as_bytes());
    let mac: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "nonce": nonce, "username": name, "password": "wonderland", "admin": admin, "mac": mac })
}

async fn nonce(client: &Client) -> String {
    client.get(SHARED_SECRET).await.ok()["nonce"].as_str().expect("a nonce").to_owned()
}

#[tokio::test]
async fn the_shared_secret_registers_although_registration_is_closed() {
    let server = Server::start(closed());
    let client = server.anonymous();
    let nonce = nonce(&client).await;
    let body = with_secret("jabberwock", &nonce, "alice", false);
    let answer = client.post(SHARED_SECRET, body.clone()).await.ok();
    assert_eq!(answer["user_id"], "@alice:a.example");
    client.with_login(&answer).get(&v3!("/account/whoami")).await.ok();
    Client::login(&server.base, "alice", "wonderland").await;

    let again = with_secret("jabberwock", &nonce, "bob", false);
    let reply = client.post(SHARED_SECRET, again).await;
    assert_eq!(reply.status, 400, "a nonce serves once\n{reply}");
}

#[tokio::test]
async fn a_wrong_secret_registers_nobody() {
    let server = Server::start(closed());
    let client = server.anonymous();
    let wrong = with_secret("bandersnatch", &nonce(&client).await, "alice", false);
    let reply = client.post(SHARED_SECRET, wrong).await;
    assert_eq!(reply.status, 403, "{reply}");
    // The MAC covers the admin flag: it cannot be turned on afterwards.
    let mut raised = with_secret("jabberwock", &nonce(&client).await, "alice", false);
    raised["admin"] = json!(true);
    let reply = client.post(SHARED_SECRET, raised).await;
    assert_eq!(reply.status, 403, "{reply}");
    let unknown = with_secret("jabberwock", "no-such-nonce", "alice", false);
    assert_eq!(client.post(SHARED_SECRET, unknown).await.status, 400);
    let login = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" }, "password": "wonderland" });
    client.post(&v3!("/login"), login).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn without_a_shared_secret_the_path_gives_no_account() {
    let server = SERVER.get();
    let reply = server.anonymous().get(SHARED_SECRET).await;
    assert!(matches!(reply.status, 400 | 403 | 404), "{reply}");
}

#[tokio::test]
async fn guests_get_an_account_that_may_do_little() {
    let registration = Registration { guests: true, ..Registration::default() };
    let server = Server::start(Options { registration, ..Options::default() });
    let body = json!({ "username": "chosen", "device_id": "CHOSEN" });
    let answer = server.anonymous().post(&v3!("/register?kind=guest"), body).await.ok();
    assert_ne!(answer["user_id"], "@chosen:a.example", "a guest's username is ignored");
    assert_ne!(answer["device_id"], "CHOSEN", "the server picks the device id of a guest");
    let guest = server.anonymous().with_login(&answer);
    assert_eq!(guest.get(&v3!("/account/whoami")).await.ok()["is_guest"], true);

    let refused = guest.post(&v3!("/createRoom"), json!({})).await;
    refused.expect_one_of(&[(403, "M_GUEST_ACCESS_FORBIDDEN"), (403, "M_FORBIDDEN")]);

    let alice = server.register("alice").await;
    let closed_to_guests = alice.create_room(json!({ "preset": "public_chat" })).await;
    let refused = guest.post(&v3!("/rooms/{}/join", closed_to_guests), json!({})).await;
    refused.expect_one_of(&[(403, "M_GUEST_ACCESS_FORBIDDEN"), (403, "M_FORBIDDEN")]);

    let guest_access =
        json!({ "type": "m.room.guest_access", "state_key": "", "content": { "guest_access": "can_join" } });
    let open = alice.create_room(json!({ "preset": "public_chat", "initial_state": [guest_access] })).await;
    guest.join(&open).await;
    guest.send_text(&open, "hello").await;

    // Guests are thrown out when the room closes to them.
    let since = alice.now().await;
    alice.set_state(&open, "m.room.guest_access", "", json!({ "guest_access": "forbidden" })).await;
    alice
        .wait_until_sync(&since, |answer| membership_of(timeline(answer, &open), &guest.user_id) == Some("leave"))
        .await;
}
