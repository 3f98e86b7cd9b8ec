//! Avatar, nickname, signature, phone number, e-mail address, settings, and who sees them.

use conformance_tests::verification::{destination, new_email, new_phone, with, wrong_code};
use conformance_tests::{Client, path, unique, v3};
use serde_json::{Value, json};

use crate::accounts_codes::{CODES, server};

async fn info(client: &Client, of: &Client) -> Value {
    client.get(&path!("/account/getinfo?userID={}", of.user_id)).await.done()
}

#[tokio::test]
async fn weakness_04_phone_and_email_are_shown_to_their_owner_alone() {
    let server = server();
    let anonymous = server.anonymous();
    let (phone, email) = (new_phone(), new_email());
    let alice = CODES.register(&anonymous, &phone, "one").await;
    let code = CODES.code(&alice, &email, 4).await;
    alice.put("/account/email", with(&email, &json!({ "verifyCode": code }))).await.done();
    let own = info(&alice, &alice).await;
    assert_eq!((&own["area"], &own["phone"]), (&phone["areaCode"], &phone["phoneNumber"]));
    assert_eq!(own["email"], email["email"]);
    let bob = server.register(&unique("bob")).await;
    let seen = info(&bob, &alice).await;
    assert_eq!((&seen["area"], &seen["phone"], &seen["email"]), (&json!(""), &json!(""), &json!("")));
    assert_eq!(seen["nickname"], "Alice");
    let profile = bob.get(&v3!("/profile/{}", alice.user_id)).await.ok().to_string();
    assert!(!profile.contains(phone["phoneNumber"].as_str().unwrap()), "{profile}");
    anonymous.get(&path!("/account/getinfo?userID={}", alice.user_id)).await.refused(401, 1507);
}

#[tokio::test]
async fn weakness_01_identity_comes_from_the_token() {
    let server = server();
    let anonymous = server.anonymous();
    let (hers, his) = (new_phone(), new_phone());
    let alice = CODES.register(&anonymous, &hers, "one").await;
    let bob = CODES.register(&anonymous, &his, "one").await;
    let before = info(&alice, &alice).await;
    let number = alice.number().await;
    let new = new_phone();
    let code = CODES.code(&bob, &new, 4).await;
    let new_mail = new_email();
    let mail_code = CODES.code(&bob, &new_mail, 4).await;
    for name in [json!(number), json!(number.to_string()), json!(alice.user_id)] {
        for (path, body) in [
            ("/account/profile", json!({ "profileUrl": "https://x.example/a.png" })),
            ("/account/nickname", json!({ "nickname": "Mallory" })),
            ("/account/signature", json!({ "signature": "hacked" })),
            ("/account/phone", with(&new, &json!({ "verifyCode": code }))),
            ("/account/email", with(&new_mail, &json!({ "verifyCode": mail_code }))),
        ] {
            let body = with(&body, &json!({ "userID": name, "platform": 1 }));
            bob.put(path, body.clone()).await.refused(403, 1002);
            anonymous.put(path, body).await.refused(401, 1507);
        }
        let body = json!({ "userId": name, "oldPassword": "one", "newPassword": "two" });
        bob.put("/account/password", body).await.refused(403, 1002);
        bob.post("/account/logout", json!({ "userID": name })).await.refused(403, 1002);
    }
    assert_eq!(info(&alice, &alice).await, before);
    assert_eq!(info(&bob, &bob).await["phone"], his["phoneNumber"]);
}

#[tokio::test]
async fn nickname_signature_and_avatar_are_the_profile_that_matrix_clients_see() {
    let anonymous = server().anonymous();
    let alice = CODES.register(&anonymous, &new_phone(), "one").await;
    let number = alice.number().await;
    let put =
        async |path: &str, body: Value| alice.put(path, with(&body, &json!({ "userID": number, "platform": 1 }))).await;
    assert_eq!(put("/account/nickname", json!({ "nickname": "爱丽丝" })).await.done()["message"], "nickname updated");
    let signed = put("/account/signature", json!({ "signature": "Hello" })).await.done();
    assert_eq!(signed["message"], "signature updated");
    let profile = alice.get(&v3!("/profile/{}", alice.user_id)).await.ok();
    assert_eq!((&profile["displayname"], &profile["org.linkim.signature"]), (&json!("爱丽丝"), &json!("Hello")));
    let own = info(&alice, &alice).await;
    assert_eq!((&own["nickname"], &own["signature"]), (&json!("爱丽丝"), &json!("Hello")));
    put("/account/signature", json!({ "signature": "" })).await.done();
    assert_eq!(info(&alice, &alice).await["signature"], "", "it can be cleared");

    for (url, matrix) in [
        ("mxc://a.example/abc", json!("mxc://a.example/abc")),
        ("https://x.example/a.png", json!(null)),
        ("mxc://a.example/def", json!("mxc://a.example/def")),
        ("", json!(null)),
    ] {
        assert_eq!(put("/account/profile", json!({ "profileUrl": url })).await.done()["message"], "profile updated");
        assert_eq!(info(&alice, &alice).await["avatar_url"], url);
        assert_eq!(alice.get(&v3!("/profile/{}", alice.user_id)).await.ok()["avatar_url"], matrix);
    }
    // What a Matrix client sets takes the place of a web address.
    put("/account/profile", json!({ "profileUrl": "https://x.example/a.png" })).await.done();
    let body = json!({ "avatar_url": "mxc://a.example/ghi" });
    alice.put(&v3!("/profile/{}/avatar_url", alice.user_id), body).await.ok();
    assert_eq!(info(&alice, &alice).await["avatar_url"], "mxc://a.example/ghi");

    for (path, body) in [
        ("/account/nickname", json!({ "nickname": "" })),
        ("/account/nickname", json!({ "nickname": "x".repeat(257) })),
        ("/account/nickname", json!({})),
        ("/account/signature", json!({ "signature": "x".repeat(501) })),
        ("/account/signature", json!({ "signature": 1 })),
        ("/account/profile", json!({ "profileUrl": "nonsense" })),
        ("/account/profile", json!({ "profileUrl": "ftp://x.example/a" })),
        ("/account/profile", json!({ "profileUrl": format!("https://x.example/{}", "a".repeat(1000)) })),
        ("/account/profile", json!({})),
    ] {
        put(path, body).await.refused(400, 1001);
    }
    alice.put("/account/signature", json!({ "signature": "x".repeat(500) })).await.done();
}

#[tokio::test]
async fn a_new_phone_or_email_takes_a_code_sent_to_it() {
    let server = server();
    let anonymous = server.anonymous();
    let (old, taken) = (new_phone(), new_phone());
    let alice = CODES.register(&anonymous, &old, "one").await;
    CODES.register(&anonymous, &taken, "one").await;
    for (path, address, other) in [("/account/phone", new_phone(), taken), ("/account/email", new_email(), new_email())]
    {
        let code = CODES.code(&alice, &address, 4).await;
        let body = |address: &Value, code: &str| with(address, &json!({ "verifyCode": code, "platform": 1 }));
        alice.put(path, body(&address, &wrong_code(&code))).await.refused(400, 20006);
        alice.put(path, body(&other, &code)).await.refused(400, 20006);
        alice.put(path, body(&json!({}), &code)).await.refused(400, 1001);
        alice.put(path, address.clone()).await.refused(400, 1001);
        let done = alice.put(path, body(&address, &code)).await.done();
        assert!(done["message"].as_str().is_some_and(|text| text.ends_with("updated")), "{done}");
        alice.put(path, body(&address, &code)).await.refused(400, 20009);
        let login = with(&address, &json!({ "password": "one", "platform": 1 }));
        let login = anonymous.post("/account/login", login).await.done();
        assert_eq!(login["data"]["matrix_id"], alice.user_id);
        if path == "/account/phone" {
            let code = CODES.code(&alice, &other, 4).await;
            alice.put(path, body(&other, &code)).await.refused(409, 20003);
        }
    }
    // The old number is free.
    let login = with(&old, &json!({ "password": "one", "platform": 1 }));
    anonymous.post("/account/login", login).await.refused(401, 20001);
    CODES.register(&anonymous, &old, "one").await;
    assert!(!destination(&old).is_empty());
}

#[tokio::test]
async fn settings_are_account_data() {
    let anonymous = server().anonymous();
    let alice = CODES.register(&anonymous, &new_phone(), "one").await;
    let defaults = alice.get("/account/settings").await.done();
    assert_eq!((&defaults["find_by_phone"], &defaults["strangers_may_add"]), (&json!(false), &json!(true)));
    let changed = alice.put("/account/settings", json!({ "find_by_phone": true })).await.done();
    assert_eq!((&changed["find_by_phone"], &changed["strangers_may_add"]), (&json!(true), &json!(true)));
    let path = v3!("/user/{}/account_data/org.linkim.settings", alice.user_id);
    let content = alice.get(&path).await.ok();
    assert_eq!(content["find_by_phone"], true);
    alice.put(&path, json!({ "find_by_email": true, "strangers_may_add": false })).await.ok();
    let seen = alice.get("/account/settings").await.done();
    let flags = (&seen["find_by_phone"], &seen["find_by_email"], &seen["strangers_may_add"]);
    assert_eq!(flags, (&json!(false), &json!(true), &json!(false)));
    alice.put("/account/settings", json!({ "find_by_phone": "yes" })).await.refused(400, 1001);
    anonymous.get("/account/settings").await.refused(401, 1507);
}
