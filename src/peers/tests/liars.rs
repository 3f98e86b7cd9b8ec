//! Resident servers that lie: nobody joins what they make up, and nothing of it stays.

use http::StatusCode;
use serde_json::{Value, json};

use super::two_servers::{Network, Person, Server};

struct World {
    network: Network,
    a: Server,
    b: Server,
    alice: Person,
    bob: Person,
}

async fn world() -> World {
    let network = Network::default();
    let a = Server::start(&network, "a.example").await;
    let b = Server::start(&network, "b.example").await;
    let (alice, bob) = (a.person("alice").await, b.person("bob").await);
    World { network, a, b, alice, bob }
}

impl World {
    /// Alice tries to join a new room of this version while answers to this endpoint are changed: what she hears.
    async fn joining(
        &self,
        version: &str,
        endpoint: &'static str,
        lie: impl Fn(&mut Value) + Send + Sync + 'static,
    ) -> (u16, String) {
        let body = json!({ "preset": "public_chat", "room_version": version, "name": "Tea" });
        let room = self.b.room(&self.bob, body).await;
        self.network.tamper(move |_, line, status, body| {
            if line.contains(endpoint) && *status == StatusCode::OK {
                lie(body);
            }
        });
        let answer = self.a.post(&format!("/join/{room}?via=b.example"), &self.alice, json!({})).await;
        self.network.tamper_no_more();
        let (status, code) = answer.error();
        if status != 200 {
            let member = self.a.membership(&room, &self.alice, &self.alice.id).await;
            assert_eq!(member, "none", "{endpoint} of version {version}: {}", answer.body);
        }
        (status, code.to_owned())
    }
}

/// The state events of an answer to send_join with this type.
fn of_type<'v>(answer: &'v mut Value, list: &str, kind: &str) -> &'v mut Value {
    let list = answer[list].as_array_mut().unwrap();
    list.iter_mut().find(|event| event["type"] == kind).unwrap()
}

fn drop_type(answer: &mut Value, list: &str, kind: &str) {
    answer[list].as_array_mut().unwrap().retain(|event| event["type"] != kind);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_was_not_asked_for_is_not_signed() {
    let world = world().await;
    let lied = (502, "M_UNKNOWN".to_owned());
    for version in ["1", "6", "12"] {
        for (pointer, value) in [
            ("/event/state_key", json!("@carol:a.example")),
            ("/event/sender", json!("@bob:b.example")),
            ("/event/type", json!("m.room.power_levels")),
            ("/event/room_id", json!("!other:b.example")),
            ("/event/content/membership", json!("ban")),
            ("/event/auth_events", json!([])),
        ] {
            let lie = move |made: &mut Value| *made.pointer_mut(pointer).unwrap() = value.clone();
            assert_eq!(world.joining(version, "make_join", lie).await, lied, "{pointer}");
        }
    }
    assert_eq!(world.network.count("send_join"), 0, "nothing was signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_version_is_found_out() {
    let world = world().await;
    let unknown = |made: &mut Value| made["room_version"] = json!("99");
    let refused = world.joining("11", "make_join", unknown).await;
    assert_eq!(refused, (400, "M_INCOMPATIBLE_ROOM_VERSION".to_owned()));
    // Of the same event format: only the create event tells. The resident refuses what was signed by other rules, or we do.
    let other = |made: &mut Value| made["room_version"] = json!("9");
    assert_eq!(world.joining("8", "make_join", other).await.0, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_is_fetched_or_the_join_is_refused() {
    let world = world().await;
    for version in ["1", "3", "6", "8", "10", "11", "12"] {
        let no_create = |answer: &mut Value| {
            drop_type(answer, "state", "m.room.create");
            drop_type(answer, "auth_chain", "m.room.create");
        };
        assert_eq!(world.joining(version, "send_join", no_create).await.0, 502, "version {version}: no create event");
        let no_powers = |answer: &mut Value| {
            drop_type(answer, "state", "m.room.power_levels");
            drop_type(answer, "auth_chain", "m.room.power_levels");
        };
        assert_eq!(world.joining(version, "send_join", no_powers).await.0, 502, "version {version}: no power levels");
        let closed = |answer: &mut Value| drop_type(answer, "state", "m.room.join_rules");
        assert_eq!(world.joining(version, "send_join", closed).await.0, 502, "version {version}: no join rules");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_auth_event_that_is_left_out_is_fetched() {
    let world = world().await;
    for version in ["1", "6", "12"] {
        let (b, bob) = (&world.b, &world.bob);
        let body = json!({ "preset": "public_chat", "room_version": version });
        let room = b.room(bob, body).await;
        let path = format!("/rooms/{room}/state/m.room.power_levels");
        let mut levels = b.get(&path, bob).await.ok();
        levels["users_default"] = json!(1);
        b.put(&path, bob, levels).await.ok();
        world.network.tamper(|_, line, status, body| {
            if line.contains("send_join") && *status == StatusCode::OK {
                // Those of now are in the state; the ones before authorise them.
                body["auth_chain"].as_array_mut().unwrap().retain(|event| {
                    event["type"] != "m.room.power_levels" || event["content"]["users_default"] == json!(1)
                });
            }
        });
        let asked = world.network.count("/v1/event/");
        let joined = world.a.post(&format!("/join/{room}?via=b.example"), &world.alice, json!({})).await;
        world.network.tamper_no_more();
        joined.ok();
        assert_eq!(world.network.count("/v1/event/"), asked + 1, "version {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_events_are_left_out() {
    let world = world().await;
    for version in ["1", "6", "12"] {
        // Somebody whose server never signed that.
        let forged = |answer: &mut Value| {
            let mut member = of_type(answer, "state", "m.room.member").clone();
            member["state_key"] = json!("@eve:b.example");
            member["sender"] = json!("@eve:b.example");
            answer["state"].as_array_mut().unwrap().push(member);
        };
        let room = world.b.room(&world.bob, json!({ "preset": "public_chat", "room_version": version })).await;
        world.network.tamper(move |_, line, _, body| {
            if line.contains("send_join") {
                forged(body);
            }
        });
        world.a.post(&format!("/join/{room}?via=b.example"), &world.alice, json!({})).await.ok();
        world.network.tamper_no_more();
        let eve = ruma::user_id!("@eve:b.example");
        assert_eq!(world.a.membership(&room, &world.alice, eve).await, "none", "version {version}");
        assert_eq!(world.a.membership(&room, &world.alice, &world.bob.id).await, "join", "version {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_rooms_state_is_refused() {
    let world = world().await;
    for version in ["1", "6", "12"] {
        let other = world.b.room(&world.bob, json!({ "preset": "public_chat", "room_version": version })).await;
        let kept = std::sync::Arc::new(std::sync::Mutex::new(Value::Null));
        let keep = kept.clone();
        world.network.tamper(move |_, line, _, body| {
            if line.contains("send_join") {
                *keep.lock().unwrap() = body.clone();
            }
        });
        world.a.post(&format!("/join/{other}?via=b.example"), &world.alice, json!({})).await.ok();
        let theirs = kept.lock().unwrap().clone();
        let whole = theirs.clone();
        let swapped = move |answer: &mut Value| {
            for list in ["state", "auth_chain"] {
                answer[list] = whole[list].clone();
            }
        };
        assert_eq!(world.joining(version, "send_join", swapped).await.0, 502, "version {version}");
        let create = move |answer: &mut Value| {
            let mut theirs = theirs.clone();
            *of_type(answer, "state", "m.room.create") = of_type(&mut theirs, "state", "m.room.create").clone();
        };
        assert_eq!(world.joining(version, "send_join", create).await.0, 502, "version {version}: create event");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_refused() {
    let world = world().await;
    let two = |answer: &mut Value| {
        let twice = of_type(answer, "state", "m.room.power_levels").clone();
        answer["state"].as_array_mut().unwrap().push(twice);
    };
    assert_eq!(world.joining("12", "send_join", two).await.0, 502);
    assert_eq!(world.joining("12", "send_join", |answer| *answer = json!({})).await.0, 502);
    assert_eq!(world.joining("12", "send_join", |answer| answer["state"] = json!([1, 2])).await.0, 502);
    assert_eq!(world.joining("12", "send_join", |answer| answer["servers_in_room"] = json!([])).await.0, 502);
}

/// A restricted join must come back with the signature of the server whose user vouches.
#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_join_needs_the_resident_signature() {
    let world = world().await;
    let (a, b) = (&world.a, &world.b);
    let allowed = b.room(&world.bob, json!({ "preset": "public_chat" })).await;
    a.post(&format!("/join/{allowed}?via=b.example"), &world.alice, json!({})).await.ok();
    let name = format!("/profile/{}/displayname", world.alice.id);
    a.put(&name, &world.alice, json!({ "displayname": "Alice" })).await.ok();
    let rule = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": allowed }] });
    let lies: [fn(&mut Value); 3] = [
        |answer| {
            answer.as_object_mut().unwrap().remove("event");
        },
        |answer| {
            answer["event"]["signatures"].as_object_mut().unwrap().remove("b.example");
        },
        |answer| answer["event"]["content"]["displayname"] = json!("Mallory"),
    ];
    for lie in lies {
        let state = json!([{ "type": "m.room.join_rules", "content": rule }]);
        let room = b.room(&world.bob, json!({ "initial_state": state })).await;
        world.network.tamper(move |_, line, status, body| {
            if line.contains("send_join") && *status == StatusCode::OK {
                lie(body);
            }
        });
        let answer = a.post(&format!("/join/{room}?via=b.example"), &world.alice, json!({})).await;
        world.network.tamper_no_more();
        assert_eq!(answer.error(), (502, "M_UNKNOWN"));
    }
}
