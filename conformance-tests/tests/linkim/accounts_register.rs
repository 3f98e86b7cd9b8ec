//! `/account/register`: who gets an account, and what is asked for.

use conformance_tests::verification::{logged_in, new_email, new_phone, with, wrong_code};
use conformance_tests::{Client, Options, Registration, Server, unique, v3};
use serde_json::{Value, json};

use crate::accounts_codes::{CODES, server};

/// A registration without its codes.
fn wanted(address: &Value, more: Value) -> Value {
    with(&with(address, &json!({ "password": "one" })), &more)
}

async fn register(client: &Client, code: &str, user: Value) -> conformance_tests::Reply {
    client.post("/account/register", json!({ "verifyCode": code, "platform": 1, "user": user })).await
}

#[tokio::test]
async fn who_proves_an_address_gets_an_account_on_both_apis() {
    let anonymous = server().anonymous();
    for address in [new_phone(), new_email()] {
        let code = CODES.code(&anonymous, &address, 1).await;
        let user =
            wanted(&address, json!({ "confirmPassword": "one", "nickname": "Alice", "email": address["email"] }));
        let body = json!({ "verifyCode": code, "platform": 2, "autoLogin": true, "user": user });
        let done = anonymous.post("/account/register", body).await.done();
        assert_eq!(done["message"], "register success");
        let data = &done["data"];
        assert_eq!(data["platformID"], 2);
        assert_eq!(data["userID_str"], json!(data["userID"].as_i64().expect("a number").to_string()));
        let user_id = data["matrix_id"].as_str().expect("an id");
        let digits = address["phoneNumber"].as_str().unwrap_or("mail");
        assert!(!user_id.contains(digits) && !user_id.contains("alice"), "{user_id} tells the address");
        let alice = logged_in(&anonymous, &done);
        assert_eq!(alice.get(&v3!("/account/whoami")).await.ok()["user_id"], user_id);
        let profile = alice.get(&v3!("/profile/{}/displayname", user_id)).await.ok();
        assert_eq!(profile["displayname"], "Alice");
        let threepids = alice.get(&v3!("/account/3pid")).await.ok();
        assert_eq!(threepids["threepids"].as_array().map(Vec::len), Some(1), "{threepids}");
    }
}

#[tokio::test]
async fn without_auto_login_there_is_no_session() {
    let anonymous = server().anonymous();
    let address = new_phone();
    let code = CODES.code(&anonymous, &address, 1).await;
    let done = register(&anonymous, &code, wanted(&address, json!({}))).await.done();
    assert_eq!(done.get("data"), None);
    let body = with(&address, &json!({ "password": "one", "platform": 1 }));
    let login = anonymous.post("/account/login", body).await.done();
    assert_eq!(login["data"]["matrix_id"], done["matrix_id"]);
    let alice = logged_in(&anonymous, &login);
    let info = alice.get("/account/getinfo?userID=".to_owned().as_str()).await;
    info.refused(400, 1001);
    let number = alice.number().await;
    let info = alice.get(&format!("/account/getinfo?userID={number}")).await.done();
    assert_eq!(info["nickname"], "momo", "the name that the old LinkIM gave");
}

#[tokio::test]
async fn weakness_03_nobody_registers_without_a_right_code() {
    let anonymous = server().anonymous();
    let address = new_phone();
    let user = wanted(&address, json!({}));
    register(&anonymous, "123456", user.clone()).await.refused(400, 20006);
    let code = CODES.code(&anonymous, &address, 1).await;
    register(&anonymous, &wrong_code(&code), user.clone()).await.refused(400, 20006);
    register(&anonymous, "", user.clone()).await.refused(400, 20006);
    let without = json!({ "platform": 1, "user": user });
    anonymous.post("/account/register", without).await.refused(400, 1001);
    // The code of another address, and one for something else.
    let other = new_phone();
    let others = CODES.code(&anonymous, &other, 1).await;
    if others != code {
        register(&anonymous, &others, user.clone()).await.refused(400, 20006);
    }
    register(&anonymous, &code, user).await.done();
}

#[tokio::test]
async fn weakness_14_accounts_without_an_email_address_do_not_collide_and_the_area_code_counts() {
    let anonymous = server().anonymous();
    for empty in [json!(""), json!(null), json!(" ")] {
        let address = new_phone();
        let code = CODES.code(&anonymous, &address, 1).await;
        register(&anonymous, &code, wanted(&address, json!({ "email": empty }))).await.done();
    }
    // The same national number in two countries.
    let china = new_phone();
    let italy = json!({ "areaCode": "39", "phoneNumber": china["phoneNumber"] });
    for address in [&china, &italy] {
        let to = json!({ "areaCode": format!("+{}", address["areaCode"].as_str().unwrap().trim_start_matches('+')),
            "phoneNumber": address["phoneNumber"] });
        let code = CODES.code(&anonymous, &to, 1).await;
        register(&anonymous, &code, wanted(address, json!({}))).await.done();
    }
    // The same number written in another way is the same.
    let spaced = format!("0 {}", china["phoneNumber"].as_str().unwrap());
    let code = CODES.code(&anonymous, &china, 1).await;
    let again = json!({ "areaCode": "86", "phoneNumber": spaced });
    register(&anonymous, &code, wanted(&again, json!({}))).await.refused(409, 20003);
}

#[tokio::test]
async fn an_address_has_one_account() {
    let anonymous = server().anonymous();
    for (address, taken) in [(new_phone(), 20003), (new_email(), 20014)] {
        CODES.register(&anonymous, &address, "one").await;
        let code = CODES.code(&anonymous, &address, 1).await;
        register(&anonymous, &code, wanted(&address, json!({}))).await.refused(409, taken);
    }
    let email = new_email();
    CODES.register(&anonymous, &email, "one").await;
    let upper = json!({ "email": email["email"].as_str().unwrap().to_uppercase() });
    let code = CODES.code(&anonymous, &upper, 1).await;
    register(&anonymous, &code, wanted(&upper, json!({}))).await.refused(409, 20014);
}

#[tokio::test]
async fn an_account_has_a_phone_and_an_email_if_both_are_proved() {
    let anonymous = server().anonymous();
    let (phone, email) = (new_phone(), new_email());
    let user = wanted(&with(&phone, &email), json!({}));
    let code = CODES.code(&anonymous, &phone, 1).await;
    register(&anonymous, &code, user.clone()).await.refused(400, 1001);
    let email_code = CODES.code(&anonymous, &email, 1).await;
    let body = |code: &str| json!({ "verifyCode": code, "emailVerifyCode": email_code, "user": user });
    anonymous.post("/account/register", body(&wrong_code(&code))).await.refused(400, 20006);
    anonymous.post("/account/register", body(&code)).await.done();
    for address in [phone, email] {
        let login = with(&address, &json!({ "password": "one", "platform": 1 }));
        anonymous.post("/account/login", login).await.done();
    }
}

#[tokio::test]
async fn an_account_name_can_be_chosen() {
    let anonymous = server().anonymous();
    let name = unique("zhang");
    let address = new_phone();
    let code = CODES.code(&anonymous, &address, 1).await;
    for (bad, status, errcode) in [("no spaces", 400, 1001), ("x:y", 400, 1001)] {
        register(&anonymous, &code, wanted(&address, json!({ "account": bad }))).await.refused(status, errcode);
    }
    let done = register(&anonymous, &code, wanted(&address, json!({ "account": name }))).await.done();
    assert_eq!(done["matrix_id"], format!("@{name}:a.example"));
    let other = new_phone();
    let code = CODES.code(&anonymous, &other, 1).await;
    register(&anonymous, &code, wanted(&other, json!({ "account": name }))).await.refused(409, 20004);
    // The refusal has not used the code up.
    register(&anonymous, &code, wanted(&other, json!({}))).await.done();
}

#[tokio::test]
async fn bad_registrations_are_refused() {
    let anonymous = server().anonymous();
    let address = new_phone();
    let code = CODES.code(&anonymous, &address, 1).await;
    for more in [
        json!({ "confirmPassword": "two" }),
        json!({ "password": "" }),
        json!({ "password": "x".repeat(2000) }),
        json!({ "nickname": "x".repeat(300) }),
        json!({ "phoneNumber": "" }),
        json!({ "phoneNumber": "12" }),
        json!({ "password": 1 }),
    ] {
        register(&anonymous, &code, wanted(&address, more)).await.refused(400, 1001);
    }
    for platform in [0, 12, -1] {
        let body = json!({ "verifyCode": code, "platform": platform, "user": wanted(&address, json!({})) });
        anonymous.post("/account/register", body).await.refused(400, 1001);
    }
    register(&anonymous, &code, wanted(&address, json!({}))).await.done();
}

#[tokio::test]
async fn where_registration_is_not_open_one_must_be_invited() {
    let codes = &*CODES;
    let closed = Registration { open: false, ..Registration::default() };
    let server = Server::start(Options { registration: closed, ..codes.options() });
    let anonymous = server.anonymous();
    let address = new_phone();
    let code = codes.code(&anonymous, &address, 1).await;
    let with_code = |invitation: &str| wanted(&address, json!({ "invitationCode": invitation }));
    register(&anonymous, &code, wanted(&address, json!({}))).await.refused(403, 1002);
    register(&anonymous, &code, with_code("nonsense")).await.refused(403, 1002);
    let (status, invitation) = server.run(&["admin", "invite-code"]);
    assert_eq!(status, 0, "{invitation}");
    let invitation = invitation.split_whitespace().last().expect("a code").to_owned();
    register(&anonymous, &code, wanted(&address, json!({}))).await.refused(403, 20011);
    register(&anonymous, &code, with_code("nonsense")).await.refused(403, 20011);
    register(&anonymous, &code, with_code(&invitation)).await.done();
    // It was good for one.
    let (status, second) = server.run(&["admin", "invite-code", "--uses", "2"]);
    assert_eq!(status, 0, "{second}");
    let other = new_phone();
    let code = codes.code(&anonymous, &other, 1).await;
    let user = wanted(&other, json!({ "invitationCode": invitation }));
    register(&anonymous, &code, user).await.refused(403, 20010);
    // Matrix's registration takes it, too.
    let second = second.split_whitespace().last().expect("a code");
    let auth = json!({ "type": "m.login.registration_token", "token": second });
    for name in ["first", "second"] {
        let body = json!({ "username": name, "password": "x", "auth": auth });
        anonymous.post(&v3!("/register"), body).await.ok();
    }
    let body = json!({ "username": "third", "password": "x", "auth": auth });
    anonymous.post(&v3!("/register"), body).await.expect_status(403);
}

#[tokio::test]
async fn an_invitation_can_be_asked_for_though_registration_is_open() {
    let codes = &*CODES;
    let registration = Registration { tokens: vec!["shared-token".into()], ..Registration::default() };
    let tables = codes.tables() + "[linkim]\ninvitation_required = true\n";
    let server = Server::start(Options { registration, tables, ..Options::default() });
    let anonymous = server.anonymous();
    for _ in 0..2 {
        let address = new_phone();
        let code = codes.code(&anonymous, &address, 1).await;
        register(&anonymous, &code, wanted(&address, json!({}))).await.refused(403, 20011);
        let user = wanted(&address, json!({ "invitationCode": "shared-token" }));
        register(&anonymous, &code, user).await.done();
    }
    let dummy = json!({ "username": "bob", "password": "x", "auth": { "type": "m.login.dummy" } });
    anonymous.post(&v3!("/register"), dummy).await.expect_status(401);
}
