//! `/account/login`, `/account/logout`, `/account/password`.

use conformance_tests::verification::{destination, logged_in, new_email, new_phone, with, wrong_code};
use conformance_tests::{Client, Options, Server, unique, v3};
use serde_json::{Value, json};

use crate::accounts_codes::{CODES, server};

async fn login(client: &Client, who: &Value, more: Value) -> conformance_tests::Reply {
    client.post("/account/login", with(&with(who, &json!({ "platform": 2 })), &more)).await
}

#[tokio::test]
async fn one_logs_in_by_phone_email_or_name_with_password_or_code() {
    let server = server();
    let anonymous = server.anonymous();
    let (phone, email) = (new_phone(), new_email());
    for address in [phone, email] {
        let alice = CODES.register(&anonymous, &address, "one").await;
        let done = login(&anonymous, &address, json!({ "password": "one" })).await.done();
        assert_eq!((&done["message"], &done["data"]["matrix_id"]), (&json!("login success"), &json!(alice.user_id)));
        login(&anonymous, &address, json!({ "password": "two" })).await.refused(401, 20001);
        let code = CODES.code(&anonymous, &address, 3).await;
        login(&anonymous, &address, json!({ "verifyCode": wrong_code(&code) })).await.refused(400, 20006);
        let done = login(&anonymous, &address, json!({ "verifyCode": code })).await.done();
        let again = logged_in(&anonymous, &done);
        assert_eq!(again.get(&v3!("/account/whoami")).await.ok()["user_id"], alice.user_id);
        login(&anonymous, &address, json!({ "verifyCode": code })).await.refused(400, 20009);
        let name = alice.user_id.split([':', '@']).nth(1).expect("a localpart");
        for account in [name, &alice.user_id] {
            login(&anonymous, &json!({ "account": account }), json!({ "password": "one" })).await.done();
            login(&anonymous, &json!({ "account": account }), json!({ "password": "two" })).await.refused(401, 20001);
        }
    }
}

#[tokio::test]
async fn a_matrix_account_logs_in_by_its_name() {
    let server = server();
    let bob = server.register(&unique("bob")).await;
    let (who, password) = (json!({ "account": bob.user_id }), json!({ "password": server.password() }));
    let done = login(&server.anonymous(), &who, password).await.done();
    assert_eq!(done["data"]["matrix_id"], bob.user_id);
}

#[tokio::test]
async fn bad_logins_are_refused() {
    let anonymous = server().anonymous();
    for (who, more) in [
        (json!({}), json!({ "password": "one" })),
        (json!({ "email": "nonsense" }), json!({ "password": "one" })),
        (json!({ "phoneNumber": "13800138000" }), json!({ "password": "one" })),
        (new_phone(), json!({})),
        (json!({ "account": "alice" }), json!({ "verifyCode": "123456" })),
        (new_phone(), json!({ "password": "one", "platform": 0 })),
        (new_phone(), json!({ "password": "one", "platform": "2" })),
        (new_phone(), json!({ "password": "one", "deviceID": "x".repeat(300) })),
    ] {
        login(&anonymous, &who, more).await.refused(400, 1001);
    }
    login(&anonymous, &json!({ "account": "@x:b.example" }), json!({ "password": "one" })).await.refused(401, 20001);
    login(&anonymous, &new_phone(), json!({ "verifyCode": "123456" })).await.refused(400, 20006);
}

#[tokio::test]
async fn wrong_passwords_are_limited_alike_for_those_who_have_an_account_and_those_who_have_none() {
    let server = Server::start(Options { rate_limits: true, ..CODES.options() });
    let anonymous = server.anonymous();
    let (known, unknown) = (new_phone(), new_phone());
    CODES.register(&anonymous, &known, "one").await;
    for address in [known, unknown] {
        for _ in 0..10 {
            login(&anonymous, &address, json!({ "password": "two" })).await.refused(401, 20001);
        }
        login(&anonymous, &address, json!({ "password": "two" })).await.refused(429, 20005);
    }
}

#[tokio::test]
async fn logout_ends_the_token_and_names_agree_with_it() {
    let server = server();
    let anonymous = server.anonymous();
    let alice = CODES.register(&anonymous, &new_phone(), "one").await;
    let bob = server.register(&unique("bob")).await;
    let number = alice.number().await;
    let body = |user: Value, token: &str| json!({ "userID": user, "token": token });
    alice.post("/account/logout", body(json!(bob.number().await), &alice.access_token)).await.refused(403, 1002);
    alice.post("/account/logout", body(json!(number), &bob.access_token)).await.refused(403, 1002);
    alice.post("/account/logout", json!({ "token": 7 })).await.refused(400, 1001);
    anonymous.post("/account/logout", json!({})).await.refused(401, 1507);
    let done = alice.post("/account/logout", body(json!(number), &alice.access_token)).await.done();
    assert_eq!(done["message"], "logout success");
    // It logged itself out: that is no news to it.
    alice.post("/account/logout", json!({})).await.refused(401, 1505);
    alice.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
    bob.post("/account/logout", json!({})).await.done();
    bob.get(&v3!("/account/whoami")).await.expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn weakness_02_a_new_password_ends_the_other_sessions() {
    let anonymous = server().anonymous();
    let address = new_phone();
    let alice = CODES.register(&anonymous, &address, "one").await;
    let other = logged_in(&anonymous, &login(&anonymous, &address, json!({ "password": "one" })).await.done());
    let put = async |body: Value| alice.put("/account/password", body).await;
    put(json!({ "oldPassword": "wrong", "newPassword": "two" })).await.refused(403, 20001);
    put(json!({ "newPassword": "two" })).await.refused(400, 1001);
    put(json!({ "oldPassword": "one", "newPassword": "" })).await.refused(400, 1001);
    put(json!({ "oldPassword": "one", "newPassword": "two", "confirmPassword": "three" })).await.refused(400, 1001);
    other.get(&v3!("/account/whoami")).await.ok();
    let done = put(json!({ "oldPassword": "one", "newPassword": "two", "userId": alice.number().await })).await.done();
    assert_eq!(done["message"], "update success");
    alice.get(&v3!("/account/whoami")).await.ok();
    let ended = other.get("/sessions").await.refused(401, 1506);
    assert_eq!(ended["error"], "The password was changed");
    login(&anonymous, &address, json!({ "password": "one" })).await.refused(401, 20001);
    login(&anonymous, &address, json!({ "password": "two" })).await.done();
}

#[tokio::test]
async fn weakness_06_nobody_sets_the_password_of_another() {
    let server = server();
    let anonymous = server.anonymous();
    let (hers, his) = (new_phone(), new_email());
    let alice = CODES.register(&anonymous, &hers, "one").await;
    let bob = CODES.register(&anonymous, &his, "one").await;
    let number = alice.number().await;
    let old = |who: &Value, code: &str| {
        with(who, &json!({ "userId": number, "verifyCode": code, "newPassword": "two", "platform": 1 }))
    };
    // As the old LinkIM let anybody do it.
    anonymous.put("/account/password", old(&hers, "123456")).await.refused(400, 20006);
    let code = CODES.code(&anonymous, &his, 2).await;
    bob.put("/account/password", old(&his, &code)).await.refused(403, 1002);
    anonymous.put("/account/password", old(&his, &code)).await.refused(403, 1002);
    anonymous.put("/account/password", old(&hers, &code)).await.refused(400, 20006);
    anonymous.put("/account/password", json!({ "oldPassword": "one", "newPassword": "two" })).await.refused(401, 1507);
    // His code, her token.
    let mixed = with(&his, &json!({ "verifyCode": code, "newPassword": "two" }));
    alice.put("/account/password", mixed.clone()).await.refused(403, 1002);
    for address in [&hers, &his] {
        login(&anonymous, address, json!({ "password": "one" })).await.done();
        login(&anonymous, address, json!({ "password": "two" })).await.refused(401, 20001);
    }
    // A code for something else does not do.
    let for_login = CODES.code(&anonymous, &his, 3).await;
    if for_login != code {
        let body = with(&his, &json!({ "verifyCode": for_login, "newPassword": "two" }));
        anonymous.put("/account/password", body).await.refused(400, 20006);
    }
    anonymous.put("/account/password", mixed).await.done();
    login(&anonymous, &his, json!({ "password": "two" })).await.done();
    bob.get("/sessions").await.refused(401, 1506);
}

#[tokio::test]
async fn weakness_02_passwords_are_argon2_hashes() {
    let server = Server::start(CODES.options());
    let anonymous = server.anonymous();
    let secret = "a password that nobody else has";
    CODES.register(&anonymous, &new_phone(), secret).await;
    let mut found = false;
    for entry in std::fs::read_dir(server.data_dir()).expect("a folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).unwrap_or_default();
        let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!has(secret), "the password is there to read");
        found |= has("$argon2id$v=19$m=19456,t=2,p=1$");
    }
    assert!(found, "no Argon2 hash in the data folder");
}

#[tokio::test]
async fn the_end_of_an_account_frees_its_addresses() {
    let anonymous = server().anonymous();
    let address = new_phone();
    let alice = CODES.register(&anonymous, &address, "one").await;
    let auth = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": alice.user_id }, "password": "one",
    });
    alice.post(&v3!("/account/deactivate"), json!({ "auth": auth })).await.ok();
    alice.get("/sessions").await.refused(401, 1506);
    login(&anonymous, &address, json!({ "password": "one" })).await.refused(401, 20001);
    let again = CODES.register(&anonymous, &address, "two").await;
    assert_ne!(again.user_id, alice.user_id);
    assert!(!destination(&address).is_empty());
}
