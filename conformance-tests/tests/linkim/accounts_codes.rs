//! `/account/code/send`, `/account/code/verify`: what a code is good for, and how often.

use conformance_tests::verification::{
    MailTls, Verification, code_in, destination, new_email, new_phone, with, wrong_code,
};
use conformance_tests::{Authority, Client, Options, Server, SharedServer, eventually, v3};
use serde_json::{Value, json};
use std::sync::LazyLock;

use conformance_tests::Shared;

/// Where the codes of the shared server arrive.
pub(crate) static CODES: LazyLock<Verification> = LazyLock::new(Verification::start);

/// A server that sends codes; for tests that disturb no other.
pub(crate) static SERVER: Shared = Shared::new(|| CODES.options());

pub(crate) fn server() -> SharedServer {
    SERVER.get()
}

fn verify(address: &Value, used_for: i64, code: &str) -> Value {
    with(address, &json!({ "usedFor": used_for, "verifyCode": code }))
}

#[tokio::test]
async fn weakness_03_a_code_is_random_and_good_for_one_purpose_and_one_use() {
    let anonymous = server().anonymous();
    for address in [new_phone(), new_email()] {
        let first = CODES.code(&anonymous, &address, 1).await;
        let second = CODES.code(&anonymous, &address, 1).await;
        if first != second {
            // A new code takes the place of the one before.
            anonymous.post("/account/code/verify", verify(&address, 1, &first)).await.refused(400, 20006);
        }
        for other in [2, 3, 4] {
            anonymous.post("/account/code/verify", verify(&address, other, &second)).await.refused(400, 20006);
        }
        anonymous.post("/account/code/verify", verify(&new_phone(), 1, &second)).await.refused(400, 20006);
        anonymous.post("/account/code/verify", verify(&address, 1, &second)).await.done();
        anonymous.post("/account/code/verify", verify(&address, 1, &second)).await.refused(400, 20009);
        // What it is for can still be done with it, once.
        let user = with(&address, &json!({ "password": "one" }));
        let body = json!({ "verifyCode": second, "platform": 1, "user": user });
        anonymous.post("/account/register", body.clone()).await.done();
        anonymous.post("/account/register", body).await.refused(400, 20009);
    }
}

#[tokio::test]
async fn weakness_03_a_code_has_five_tries() {
    let anonymous = server().anonymous();
    let address = new_phone();
    let code = CODES.code(&anonymous, &address, 1).await;
    for _ in 0..5 {
        let wrong = verify(&address, 1, &wrong_code(&code));
        anonymous.post("/account/code/verify", wrong).await.refused(400, 20006);
    }
    anonymous.post("/account/code/verify", verify(&address, 1, &code)).await.refused(400, 20008);
    let user = with(&address, &json!({ "password": "one" }));
    let body = json!({ "verifyCode": code, "platform": 1, "user": user });
    anonymous.post("/account/register", body).await.refused(400, 20008);
    // A new one can be had.
    let code = CODES.code(&anonymous, &address, 1).await;
    anonymous.post("/account/code/verify", verify(&address, 1, &code)).await.done();
}

#[tokio::test]
async fn weakness_03_wrong_codes_of_a_registration_count() {
    let anonymous = server().anonymous();
    let address = new_email();
    let code = CODES.code(&anonymous, &address, 1).await;
    let user = with(&address, &json!({ "password": "one" }));
    let body = |code: &str| json!({ "verifyCode": code, "platform": 1, "user": user });
    for _ in 0..5 {
        anonymous.post("/account/register", body(&wrong_code(&code))).await.refused(400, 20006);
    }
    anonymous.post("/account/register", body(&code)).await.refused(400, 20008);
}

#[tokio::test]
async fn weakness_03_codes_are_sent_now_and_then() {
    let server = Server::start(Options { rate_limits: true, ..CODES.options() });
    let anonymous = server.anonymous();
    let address = new_phone();
    CODES.code(&anonymous, &address, 1).await;
    // Whatever it is for: it goes to the same phone.
    for used_for in [1, 2, 3] {
        let again = with(&address, &json!({ "usedFor": used_for }));
        let refused = anonymous.post("/account/code/send", again).await.refused(429, 20005);
        let wait = refused["retry_after_ms"].as_u64().expect("a time to wait");
        assert!((1..=60_000).contains(&wait), "{wait}");
    }
    assert_eq!(CODES.count(&destination(&address)), 1);
    CODES.code(&anonymous, &new_phone(), 1).await;
}

#[tokio::test]
async fn nobody_learns_who_has_an_account() {
    let server = server();
    let anonymous = server.anonymous();
    let (known, unknown) = (new_email(), new_email());
    CODES.register(&anonymous, &known, "one").await;
    for used_for in [2, 3] {
        let seen = CODES.count(&destination(&known));
        let mut answers = Vec::new();
        for address in [&known, &unknown] {
            let sent = anonymous.post("/account/code/send", with(address, &json!({ "usedFor": used_for }))).await;
            let wrong = anonymous.post("/account/code/verify", verify(address, used_for, "nonsense")).await;
            answers.push((sent.status, sent.json, wrong.status, wrong.json));
        }
        assert_eq!(answers[0], answers[1]);
        CODES.text_after(&destination(&known), seen).await;
    }
    assert_eq!(CODES.count(&destination(&unknown)), 0);
    let login = |address: &Value| with(address, &json!({ "password": "two", "platform": 1 }));
    let known = anonymous.post("/account/login", login(&known)).await.refused(401, 20001);
    let unknown = anonymous.post("/account/login", login(&unknown)).await.refused(401, 20001);
    assert_eq!(known, unknown);
}

#[tokio::test]
async fn a_message_says_what_it_is_for() {
    let anonymous = server().anonymous();
    let address = new_phone();
    let code = CODES.code(&anonymous, &address, 1).await;
    let text: Value = serde_json::from_str(&CODES.text_after(&destination(&address), 0).await).expect("JSON");
    assert_eq!(text, json!({ "to": destination(&address), "code": code, "purpose": "register" }));
    let email = new_email();
    let code = CODES.code(&anonymous, &email, 1).await;
    assert_eq!(code_in(&CODES.text_after(&destination(&email), 0).await), code);
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()));
}

#[tokio::test]
async fn bad_requests_for_codes_are_refused() {
    let anonymous = server().anonymous();
    let send = async |body: Value| anonymous.post("/account/code/send", body).await;
    for body in [
        json!({ "usedFor": 1 }),
        json!({ "usedFor": 1, "phoneNumber": "13800138000" }),
        json!({ "usedFor": 1, "areaCode": "+86", "phoneNumber": "x" }),
        json!({ "usedFor": 1, "areaCode": "+999", "phoneNumber": "13800138000" }),
        json!({ "usedFor": 1, "email": "nonsense" }),
        json!({ "usedFor": 1, "email": "a@b.example\r\nBcc: c@d.example" }),
        json!({ "usedFor": 0, "email": "a@b.example" }),
        json!({ "usedFor": 5, "email": "a@b.example" }),
        json!({ "usedFor": "1", "email": "a@b.example" }),
        json!({ "email": "a@b.example" }),
    ] {
        send(body).await.refused(400, 1001);
    }
    // To change an address one must be logged in.
    send(with(&new_email(), &json!({ "usedFor": 4 }))).await.refused(401, 1507);
    anonymous
        .with_token("nonsense")
        .post("/account/code/send", with(&new_email(), &json!({ "usedFor": 1 })))
        .await
        .refused(401, 1505);
    send(json!({ "usedFor": 1, "email": "refused@mail.example" })).await.refused(400, 1001);
    let verify = async |body: Value| anonymous.post("/account/code/verify", body).await;
    verify(json!({ "usedFor": 1, "email": "a@b.example" })).await.refused(400, 1001);
    verify(json!({ "usedFor": 1, "verifyCode": "123456" })).await.refused(400, 1001);
    verify(json!({ "usedFor": 9, "email": "a@b.example", "verifyCode": "123456" })).await.refused(400, 1001);
}

#[tokio::test]
async fn a_mail_server_that_is_away_is_told_and_can_be_tried_again() {
    let codes = Verification::start();
    let server = Server::start(Options { rate_limits: true, ..codes.options() });
    let anonymous = server.anonymous();
    codes.fail(true);
    for (address, other) in [(new_email(), new_email()), (new_phone(), new_phone())] {
        anonymous.post("/account/code/send", with(&address, &json!({ "usedFor": 1 }))).await.refused(503, 500);
        // It is known to be away: so those hear it, too, who may not hear whether they have an account.
        anonymous.post("/account/code/send", with(&other, &json!({ "usedFor": 3 }))).await.refused(503, 500);
    }
    codes.fail(false);
    let address = new_email();
    eventually("the mail server is tried again", async || {
        let sent = anonymous.post("/account/code/send", with(&address, &json!({ "usedFor": 1 }))).await;
        (sent.status == 200).then_some(())
    })
    .await;
    assert_eq!(codes.count(&destination(&address)), 1);
}

#[tokio::test]
async fn the_mail_server_is_judged_by_the_authorities_of_the_configuration() {
    let authority = Authority::new();
    for how in [MailTls::Wrapped, MailTls::Upgraded] {
        let codes = Verification::start_over_tls(how, &authority, true);
        let server = Server::start(codes.options());
        let code = codes.code(&server.anonymous(), &new_email(), 1).await;
        assert_eq!(code.len(), 6, "{how:?}");

        let unbelieved = Verification::start_over_tls(how, &authority, false);
        let server = Server::start(unbelieved.options());
        let address = new_email();
        let asked = with(&address, &json!({ "usedFor": 1 }));
        server.anonymous().post("/account/code/send", asked).await.refused(503, 500);
        assert_eq!(unbelieved.count(&destination(&address)), 0, "{how:?}");
    }
}

#[tokio::test]
async fn without_a_way_to_send_it_is_said() {
    let server = Server::start(Options::default());
    let anonymous = server.anonymous();
    for address in [new_email(), new_phone()] {
        let refused = anonymous.post("/account/code/send", with(&address, &json!({ "usedFor": 1 }))).await;
        let text = refused.refused(403, 1002)["error"].as_str().expect("a text").to_owned();
        assert!(text.contains("smtp_url") || text.contains("sms_webhook"), "{text}");
    }
    let alice = server.register("alice").await;
    let capabilities = alice.get(&v3!("/capabilities")).await.ok();
    assert_eq!(capabilities["capabilities"]["m.3pid_changes"]["enabled"], false);
}

#[tokio::test]
async fn for_development_codes_are_written_to_the_log() {
    let tables = "[verification]\nlog_codes = true\n".to_owned();
    let server = Server::start(Options { tables, ..Options::default() });
    let anonymous = Client::anonymous(&server.base);
    let start = server.log_length();
    let address = new_phone();
    anonymous.post("/account/code/send", with(&address, &json!({ "usedFor": 1 }))).await.done();
    let code = eventually("a code in the log", async || {
        let log = server.log_since(start);
        let line = log.lines().find(|line| line.contains("verification code"))?.to_owned();
        let at = line.find("code=")?;
        Some(code_in(&line[at..]))
    })
    .await;
    anonymous.post("/account/code/verify", verify(&address, 1, &code)).await.done();
}
