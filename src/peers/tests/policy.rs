//! What clients see of a policy server: b.example, which refuses.

use http::StatusCode;
use serde_json::json;

use super::two_servers::{Network, Server};

const SIGN: &str = "/_matrix/policy/v1/sign";

#[tokio::test(flavor = "multi_thread")]
async fn its_refusal_reaches_the_client_word_by_word() {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let b = Server::start(&network, "b.example").await;
    let (alice, bob) = (a.person("alice").await, b.person("bob").await);
    let room = a.room(&alice, json!({ "preset": "public_chat" })).await;
    b.post(&format!("/join/{room}?via=a.example"), &bob, json!({})).await.ok();
    let policy = format!("/rooms/{room}/state/m.room.policy");
    let key = "6yhHGKhCiXTSEN2ksjV7kX_not_a_key";
    a.put(&policy, &alice, json!({ "via": "b.example", "public_keys": { "ed25519": key } })).await.ok();
    network.tamper(|_, line, status, value| {
        if line.contains(SIGN) {
            *status = StatusCode::BAD_REQUEST;
            *value = json!({ "errcode": "M_FORBIDDEN", "error": "No spam here", "example.score": 9 });
        }
    });
    let message = json!({ "msgtype": "m.text", "body": "hello" });
    let words = json!({ "errcode": "M_FORBIDDEN", "error": "No spam here", "example.score": 9 });
    let send = format!("/rooms/{room}/send/m.room.message");
    let answer = a.put(&format!("{send}/1"), &alice, message.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.body), (400, words.clone()));
    let topic = a.put(&format!("/rooms/{room}/state/m.room.topic"), &alice, json!({ "topic": "x" })).await;
    assert_eq!((topic.status.as_u16(), topic.body), (400, words.clone()));
    let kick = a.post(&format!("/rooms/{room}/kick"), &alice, json!({ "user_id": bob.id })).await;
    assert_eq!((kick.status.as_u16(), kick.body), (400, words.clone()));
    let carl = b.person("carl").await;
    let invite = a.post(&format!("/rooms/{room}/invite"), &alice, json!({ "user_id": carl.id })).await;
    assert_eq!((invite.status.as_u16(), invite.body), (400, words));
    assert_eq!(network.count("/invite/"), 0, "the invited user's server does not hear of it");

    // What the endpoint does not answer with is not handed on: it might log the client out.
    network.tamper(|_, line, status, value| {
        if line.contains(SIGN) {
            *status = StatusCode::UNAUTHORIZED;
            *value = json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "Go away" });
        }
    });
    assert_eq!(a.put(&format!("{send}/2"), &alice, message.clone()).await.error(), (502, "M_UNKNOWN"));

    // The policy itself is set without asking, and then nobody is asked.
    let asked = network.count(SIGN);
    a.put(&policy, &alice, json!({})).await.ok();
    a.put(&format!("{send}/3"), &alice, message).await.ok();
    assert_eq!(network.count(SIGN), asked);
    a.stop(&network).await;
    b.stop(&network).await;
}
