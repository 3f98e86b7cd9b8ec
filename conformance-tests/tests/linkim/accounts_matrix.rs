//! Matrix's endpoints for third-party identifiers, on the same codes and accounts.

use conformance_tests::verification::{code_in, destination, new_email, new_phone, with};
use conformance_tests::{Client, Reply, unique, v3};
use serde_json::{Value, json};

use crate::accounts_codes::{CODES, server};

/// Asks for a token; gives the credentials of the session, and where to hand the token in.
async fn request(client: &Client, path: &str, address: &Value) -> (Value, String) {
    let secret = unique("secret");
    let reply = client.post(&format!("/_matrix/client/v3{path}/requestToken"), wish(address, &secret, 1)).await.ok();
    let submit = reply["submit_url"].as_str().expect("a submit_url").to_owned();
    let submit = submit.strip_prefix(&client.base).expect("an address of this server").to_owned();
    (json!({ "sid": reply["sid"], "client_secret": secret }), submit)
}

fn wish(address: &Value, secret: &str, attempt: i64) -> Value {
    let address = match address["email"].as_str() {
        Some(email) => json!({ "email": email }),
        None => json!({ "country": "CN", "phone_number": address["phoneNumber"] }),
    };
    with(&address, &json!({ "client_secret": secret, "send_attempt": attempt }))
}

async fn submit(client: &Client, url: &str, creds: &Value, token: &str) -> Reply {
    client.post(url, with(creds, &json!({ "token": token }))).await
}

/// Proves an address.
async fn prove(client: &Client, path: &str, address: &Value) -> Value {
    let seen = CODES.count(&destination(address));
    let (creds, url) = request(client, path, address).await;
    let token = code_in(&CODES.text_after(&destination(address), seen).await);
    submit(client, &url, &creds, &token).await.ok();
    creds
}

fn identity(creds: &Value, address: &Value) -> Value {
    let kind = if address["email"].is_string() { "m.login.email.identity" } else { "m.login.msisdn" };
    json!({ "type": kind, "threepid_creds": creds })
}

fn medium(address: &Value) -> &'static str {
    if address["email"].is_string() { "email" } else { "msisdn" }
}

fn password_auth(user: &Client, password: &str) -> Value {
    json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user.user_id }, "password": password,
    })
}

#[tokio::test]
async fn an_address_is_added_listed_logged_in_with_and_removed() {
    let server = server();
    for address in [new_email(), new_phone()] {
        let alice = server.register(&unique("alice")).await;
        let medium = medium(&address);
        let creds = prove(&alice, &format!("/account/3pid/{medium}"), &address).await;
        let path = v3!("/account/3pid/add");
        alice.post(&path, creds.clone()).await.expect_status(401);
        let auth = password_auth(&alice, server.password());
        alice.post(&path, with(&creds, &json!({ "auth": auth }))).await.ok();
        // The session is used up.
        alice.post(&path, with(&creds, &json!({ "auth": auth }))).await.expect_error(404, "M_NO_VALID_SESSION");
        let listed = alice.get(&v3!("/account/3pid")).await.ok()["threepids"][0].clone();
        let stored = destination(&address).trim_start_matches('+').to_owned();
        assert_eq!((&listed["medium"], &listed["address"]), (&json!(medium), &json!(stored)));
        assert!(listed["validated_at"].is_i64() && listed["added_at"].is_i64(), "{listed}");
        for identifier in [
            Some(json!({ "type": "m.id.thirdparty", "medium": medium, "address": stored })),
            (medium == "msisdn")
                .then(|| json!({ "type": "m.id.phone", "country": "CN", "phone": address["phoneNumber"] })),
        ]
        .into_iter()
        .flatten()
        {
            let login =
                |password: &str| json!({ "type": "m.login.password", "identifier": identifier, "password": password });
            let anonymous = server.anonymous();
            let done = anonymous.post(&v3!("/login"), login(server.password())).await.ok();
            assert_eq!(done["user_id"], alice.user_id);
            anonymous.post(&v3!("/login"), login("wrong")).await.expect_error(403, "M_FORBIDDEN");
        }
        // LinkIM's API knows it, too.
        let body = with(&address, &json!({ "password": server.password(), "platform": 1 }));
        server.anonymous().post("/account/login", body.clone()).await.done();
        let named = json!({ "medium": medium, "address": stored });
        let removed = alice.post(&v3!("/account/3pid/delete"), named).await.ok();
        assert_eq!(removed["id_server_unbind_result"], "no-support");
        server.anonymous().post("/account/login", body).await.refused(401, 20001);
        assert_eq!(alice.get(&v3!("/account/3pid")).await.ok()["threepids"], json!([]));
    }
}

#[tokio::test]
async fn what_is_not_proved_is_not_added() {
    let server = server();
    let alice = server.register(&unique("alice")).await;
    let auth = password_auth(&alice, server.password());
    let address = new_email();
    let (creds, url) = request(&alice, "/account/3pid/email", &address).await;
    let add = async |creds: &Value| alice.post(&v3!("/account/3pid/add"), with(creds, &json!({ "auth": auth }))).await;
    add(&creds).await.expect_error(403, "M_THREEPID_AUTH_FAILED");
    submit(&alice, &url, &creds, "nonsense").await.expect_error(400, "M_TOKEN_INCORRECT");
    let token = code_in(&CODES.text_after(&destination(&address), 0).await);
    let other = with(&creds, &json!({ "client_secret": "other" }));
    submit(&alice, &url, &other, &token).await.expect_error(404, "M_NO_VALID_SESSION");
    submit(&alice, "/_linkim/validate/msisdn/submitToken", &creds, &token)
        .await
        .expect_error(404, "M_NO_VALID_SESSION");
    submit(&alice, "/_linkim/validate/x/submitToken", &creds, &token).await.expect_error(404, "M_NOT_FOUND");
    assert_eq!(submit(&alice, &url, &creds, &token).await.ok()["success"], true);
    // Said again, it stays proved.
    submit(&alice, &url, &creds, &token).await.ok();
    add(&other).await.expect_error(404, "M_NO_VALID_SESSION");
    // What was proved for something else does not do.
    let another = new_email();
    let for_registration = prove(&alice, "/register/email", &another).await;
    add(&for_registration).await.expect_error(403, "M_THREEPID_AUTH_FAILED");
    add(&creds).await.ok();
    // It is in use now.
    let body = wish(&address, "s", 1);
    for path in ["/account/3pid/email/requestToken", "/register/email/requestToken"] {
        let bob = server.register(&unique("bob")).await;
        bob.post(&format!("/_matrix/client/v3{path}"), body.clone()).await.expect_error(400, "M_THREEPID_IN_USE");
    }
}

#[tokio::test]
async fn a_token_is_sent_again_only_for_a_new_attempt() {
    let server = server();
    let anonymous = server.anonymous();
    let address = new_email();
    let path = v3!("/register/email/requestToken");
    let sid = anonymous.post(&path, wish(&address, "secret", 1)).await.ok()["sid"].clone();
    CODES.text_after(&destination(&address), 0).await;
    assert_eq!(anonymous.post(&path, wish(&address, "secret", 1)).await.ok()["sid"], sid);
    assert_eq!(CODES.count(&destination(&address)), 1);
    assert_eq!(anonymous.post(&path, wish(&address, "secret", 2)).await.ok()["sid"], sid);
    CODES.text_after(&destination(&address), 1).await;
    assert_ne!(anonymous.post(&path, wish(&address, "another", 1)).await.ok()["sid"], sid);
    for (body, errcode) in [
        (json!({ "email": "nonsense", "client_secret": "s", "send_attempt": 1 }), "M_INVALID_PARAM"),
        (json!({ "email": "a@b.example", "client_secret": "", "send_attempt": 1 }), "M_INVALID_PARAM"),
        (json!({ "email": "a@b.example", "client_secret": "a b", "send_attempt": 1 }), "M_INVALID_PARAM"),
        (json!({ "email": "a@b.example", "send_attempt": 1 }), "M_BAD_JSON"),
    ] {
        anonymous.post(&path, body).await.expect_error(400, errcode);
    }
    let body = json!({ "country": "ZZ", "phone_number": "1", "client_secret": "s", "send_attempt": 1 });
    anonymous.post(&v3!("/register/msisdn/requestToken"), body).await.expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn a_forgotten_password_is_set_by_proof_of_an_address() {
    let server = server();
    let anonymous = server.anonymous();
    for address in [new_email(), new_phone()] {
        let alice = CODES.register(&anonymous, &address, "one").await;
        let path = format!("/account/password/{}", medium(&address));
        let creds = prove(&anonymous, &path, &address).await;
        let put = async |client: &Client, creds: &Value| {
            let auth = identity(creds, &address);
            client.post(&v3!("/account/password"), json!({ "new_password": "two", "auth": auth })).await
        };
        // Proved by her, sent with another's token.
        let bob = server.register(&unique("bob")).await;
        put(&bob, &creds).await.expect_error(401, "M_THREEPID_AUTH_FAILED");
        put(&anonymous, &with(&creds, &json!({ "client_secret": "x" })))
            .await
            .expect_error(401, "M_THREEPID_AUTH_FAILED");
        put(&anonymous, &creds).await.ok();
        put(&anonymous, &creds).await.expect_error(401, "M_THREEPID_AUTH_FAILED");
        alice.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
        let login = with(&address, &json!({ "password": "two", "platform": 1 }));
        anonymous.post("/account/login", login).await.done();
    }
    // Where nobody has the address, the answer is the same, and nothing is sent.
    let unknown = new_email();
    request(&anonymous, "/account/password/email", &unknown).await;
    assert_eq!(CODES.count(&destination(&unknown)), 0);
    let body = json!({ "new_password": "two" });
    let challenge = anonymous.post(&v3!("/account/password"), body).await.expect_status(401).json;
    let flows = json!([{ "stages": ["m.login.email.identity"] }, { "stages": ["m.login.msisdn"] }]);
    assert_eq!(challenge["flows"], flows);
}

#[tokio::test]
async fn who_registers_can_prove_an_address_by_the_way() {
    let server = server();
    let anonymous = server.anonymous();
    let challenge = anonymous.post(&v3!("/register"), json!({})).await.expect_status(401).json;
    let stages = [json!(["m.login.dummy"]), json!(["m.login.email.identity"]), json!(["m.login.msisdn"])];
    assert_eq!(challenge["flows"], json!(stages.map(|stages| json!({ "stages": stages }))));
    for address in [new_email(), new_phone()] {
        let creds = prove(&anonymous, &format!("/register/{}", medium(&address)), &address).await;
        let name = unique("carol");
        let body = json!({ "username": name, "password": "one", "auth": identity(&creds, &address) });
        let carol = anonymous.with_login(&anonymous.post(&v3!("/register"), body).await.ok());
        let threepids = carol.get(&v3!("/account/3pid")).await.ok();
        assert_eq!(threepids["threepids"][0]["medium"], medium(&address));
    }
}

#[tokio::test]
async fn the_deprecated_endpoint_asks_for_the_password_too() {
    let server = server();
    let alice = server.register(&unique("alice")).await;
    let creds = prove(&alice, "/account/3pid/email", &new_email()).await;
    let path = v3!("/account/3pid");
    alice.post(&path, json!({ "three_pid_creds": creds })).await.expect_status(401);
    alice.post(&path, json!({})).await.expect_error(400, "M_MISSING_PARAM");
    let auth = password_auth(&alice, server.password());
    alice.post(&path, json!({ "three_pid_creds": creds, "auth": auth })).await.ok();
    assert_eq!(alice.get(&path).await.ok()["threepids"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn no_identity_server_is_asked() {
    let server = server();
    let alice = server.register(&unique("alice")).await;
    alice.post(&v3!("/account/3pid/bind"), json!({})).await.expect_error(403, "M_SERVER_NOT_TRUSTED");
    let named = json!({ "medium": "email", "address": "a@b.example" });
    let unbound = alice.post(&v3!("/account/3pid/unbind"), named).await.ok();
    assert_eq!(unbound["id_server_unbind_result"], "no-support");
    let unknown = json!({ "medium": "fax", "address": "1" });
    alice.post(&v3!("/account/3pid/unbind"), unknown.clone()).await.expect_error(400, "M_INVALID_PARAM");
    alice.post(&v3!("/account/3pid/delete"), unknown).await.expect_error(400, "M_INVALID_PARAM");
}
