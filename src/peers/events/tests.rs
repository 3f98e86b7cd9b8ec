//! Events that are right, and each way in which one is not.

use linkim_federation::{EventTemplate, STABLE_VERSIONS, SigningKey, build_event, rules};
use ruma::{CanonicalJsonObject, EventId, RoomVersionId, ServerName, UserId, room_id, server_name};
use serde_json::{Value, json};

use super::*;
use crate::peers::keys::tests::{World, key};

fn server_b() -> &'static ServerName {
    server_name!("b.example")
}

fn version_rules(version: &str) -> &'static RoomVersionRules {
    rules(&RoomVersionId::try_from(version).unwrap()).unwrap()
}

fn event(version: &str, body: &str, server: &ServerName, signed: &SigningKey, at: u64) -> Box<RawValue> {
    let content: CanonicalJsonObject = serde_json::from_value(json!({ "body": body, "msgtype": "m.text" })).unwrap();
    let sender = UserId::parse(format!("@alice:{server}")).unwrap();
    let event_id = EventId::parse(format!("$e:{server}")).unwrap();
    let template = EventTemplate {
        room_id: Some(room_id!("!room:b.example")),
        sender: &sender,
        event_type: "m.room.message",
        state_key: None,
        content,
        prev_events: &[],
        auth_events: &[],
        depth: 5,
        origin_server_ts: at,
        redacts: None,
        event_id_v1: matches!(version, "1" | "2").then_some(&*event_id),
    };
    let pdu = build_event(template, version_rules(version), server, signed).unwrap();
    RawValue::from_string(pdu.json().to_owned()).unwrap()
}

fn changed(event: &RawValue, change: impl FnOnce(&mut Value)) -> Box<RawValue> {
    let mut value: Value = serde_json::from_str(event.get()).unwrap();
    change(&mut value);
    RawValue::from_string(value.to_string()).unwrap()
}

async fn world() -> (World, EventChecker) {
    let world = World::new().await;
    world.network.publish(world.document(server_b(), &[key(1, "b")], &[(&key(2, "old"), 1_000)]));
    let checker = EventChecker::new(world.keys.clone());
    (world, checker)
}

#[tokio::test]
async fn every_event_has_its_answer_in_order() {
    let (world, checker) = world().await;
    let now = world.now();
    for version in STABLE_VERSIONS {
        let b = |body: &str| event(version, body, server_b(), &key(1, "b"), now);
        let body = "x".repeat(65_000);
        let events = vec![
            b("right"),
            changed(&b("content"), |event| event["content"]["body"] = "other".into()),
            changed(&b("sender"), |event| event["origin_server_ts"] = (now - 1).into()),
            event(version, "other key", server_b(), &key(5, "b"), now),
            event(version, "unknown key", server_b(), &key(1, "x"), now),
            event(version, "unknown server", server_name!("gone.example"), &key(1, "b"), now),
            changed(&b("unsigned"), |event| event["signatures"] = json!({})),
            RawValue::from_string("[]".into()).unwrap(),
            changed(&b("large"), |event| event["content"]["more"] = body.repeat(2).into()),
            event(version, "ours", server_name!("a.example"), &key(9, "own"), now),
        ];
        let answers = checker.check(version_rules(version), events).await;
        let body = |at: usize| {
            let pdu = answers[at].as_ref().unwrap();
            serde_json::from_str::<Value>(pdu.content().get()).unwrap()["body"].clone()
        };
        assert_eq!(body(0), "right", "version {version}");
        assert_eq!(body(1), Value::Null, "redacted in version {version}");
        assert_eq!(body(9), "ours", "version {version}");
        for at in [2, 3, 6] {
            assert!(matches!(answers[at], Err(EventProblem::BadSignature(_))), "{at}: {:?}", answers[at]);
        }
        assert_eq!(answers[4].as_ref().unwrap_err(), &EventProblem::NoKey(server_b().to_owned()));
        assert_eq!(answers[5].as_ref().unwrap_err(), &EventProblem::NoKey(server_name!("gone.example").to_owned()));
        for at in [7, 8] {
            assert!(matches!(answers[at], Err(EventProblem::Malformed(_))), "{at}: {:?}", answers[at]);
        }
    }
    assert_eq!(world.network.asked(server_b()), 1);
}

#[tokio::test]
async fn an_old_key_is_right_for_old_events_from_version_5_on_and_for_all_before() {
    let (_world, checker) = world().await;
    let signed = |version, at| event(version, "old", server_b(), &key(2, "old"), at);
    for version in STABLE_VERSIONS {
        let events = vec![signed(version, 1_000), signed(version, 1_001)];
        let answers = checker.check(version_rules(version), events).await;
        assert!(answers[0].is_ok(), "version {version}: {:?}", answers[0]);
        let looks_at_time = version.parse::<u8>().unwrap() >= 5;
        match &answers[1] {
            Ok(_) => assert!(!looks_at_time, "version {version}"),
            Err(EventProblem::BadSignature(_)) => assert!(looks_at_time, "version {version}"),
            Err(other) => panic!("version {version}: {other}"),
        }
    }
}

#[tokio::test]
async fn who_authorises_a_restricted_join_must_have_signed_it() {
    let (world, checker) = world().await;
    world.network.publish(world.document(server_name!("c.example"), &[key(3, "c")], &[]));
    let rules = version_rules("10");
    let content = json!({ "membership": "join", "join_authorised_via_users_server": "@carol:c.example" });
    let sender = UserId::parse("@alice:b.example").unwrap();
    let template = EventTemplate {
        room_id: Some(room_id!("!room:b.example")),
        sender: &sender,
        event_type: "m.room.member",
        state_key: Some(sender.as_str()),
        content: serde_json::from_value(content).unwrap(),
        prev_events: &[],
        auth_events: &[],
        depth: 5,
        origin_server_ts: world.now(),
        redacts: None,
        event_id_v1: None,
    };
    let half = build_event(template, rules, server_b(), &key(1, "b")).unwrap();
    let whole = linkim_federation::add_signature(&half, rules, server_name!("c.example"), &key(3, "c")).unwrap();
    let raw = |pdu: &Pdu| RawValue::from_string(pdu.json().to_owned()).unwrap();
    let answers = checker.check(rules, vec![raw(&half), raw(&whole)]).await;
    assert!(matches!(answers[0], Err(EventProblem::BadSignature(_))));
    assert_eq!(answers[1].as_ref().unwrap().event_id(), whole.event_id());
}

#[tokio::test]
async fn many_events_keep_their_order() {
    let (world, checker) = world().await;
    let bodies: Vec<String> = (0..300).map(|at| at.to_string()).collect();
    let signer = |at: usize| if at.is_multiple_of(7) { key(6, "b") } else { key(1, "b") };
    let events = bodies.iter().enumerate();
    let events = events.map(|(at, body)| event("12", body, server_b(), &signer(at), world.now())).collect();
    let answers = checker.check(version_rules("12"), events).await;
    assert_eq!(answers.len(), 300);
    for (at, answer) in answers.iter().enumerate() {
        match answer {
            Ok(pdu) => assert!(pdu.content().get().contains(&format!("\"body\":\"{at}\"")), "{at}"),
            Err(_) => assert!(at.is_multiple_of(7)),
        }
    }
    assert!(checker.check(version_rules("12"), Vec::new()).await.is_empty());
}
