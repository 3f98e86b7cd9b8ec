//! The endpoints themselves, asked by a server that follows no rules.

use axum::Router;
use http::Method;
use linkim_federation::{EventReference, EventTemplate, Pdu, build_event, rules};
use ruma::{EventId, RoomVersionId, UserId};
use serde_json::{Value, json};

use super::two_servers::{Answer, Network, Person, RawServer, Server};

struct World {
    network: Network,
    b: Server,
    bob: Person,
    raw: RawServer,
}

async fn world() -> World {
    let network = Network::default();
    let b = Server::start(&network, "b.example").await;
    let bob = b.person("bob").await;
    let raw = RawServer::start(&network, "raw.example", Router::new());
    World { network, b, bob, raw }
}

fn encoded(text: &str) -> String {
    super::super::handshake::segment(text)
}

impl World {
    async fn room(&self, body: Value) -> String {
        self.b.room(&self.bob, body).await
    }

    async fn make(&self, what: &str, room: &str, user: &str, query: &str) -> Answer {
        let uri = format!("/_matrix/federation/v1/{what}/{}/{}{query}", encoded(room), encoded(user));
        self.raw.ask(&self.b.name, Method::GET, &uri, None).await
    }

    async fn send(&self, what: &str, room: &str, event: &Value, id: &EventId) -> Answer {
        let uri = format!("/_matrix/federation/{what}/{}/{}", encoded(room), encoded(id.as_str()));
        self.raw.ask(&self.b.name, Method::PUT, &uri, Some(event.clone())).await
    }

    /// The event of a template, changed and signed.
    fn complete(&self, made: &Value, change: impl FnOnce(&mut Value)) -> Pdu {
        let version = RoomVersionId::try_from(made["room_version"].as_str().unwrap()).unwrap();
        let rules = rules(&version).unwrap();
        let mut event = made["event"].clone();
        change(&mut event);
        let ids = |list: &Value| -> Vec<ruma::OwnedEventId> {
            list.as_array().unwrap().iter().map(|id| EventId::parse(id.as_str().unwrap()).unwrap()).collect()
        };
        let (prev, auth) = (ids(&event["prev_events"]), ids(&event["auth_events"]));
        build_event(
            EventTemplate {
                room_id: Some(event["room_id"].as_str().unwrap().try_into().unwrap()),
                sender: <&UserId>::try_from(event["sender"].as_str().unwrap()).unwrap(),
                event_type: event["type"].as_str().unwrap(),
                state_key: event["state_key"].as_str(),
                content: serde_json::from_value(event["content"].clone()).unwrap(),
                prev_events: &references(&prev),
                auth_events: &references(&auth),
                depth: event["depth"].as_u64().unwrap(),
                origin_server_ts: 1_700_000_000_000,
                redacts: None,
                event_id_v1: None,
            },
            rules,
            &self.raw.name,
            &self.raw.key,
        )
        .unwrap()
    }
}

fn references(ids: &[ruma::OwnedEventId]) -> Vec<EventReference<'_>> {
    ids.iter().map(|id| EventReference { event_id: id, reference_hash: None }).collect()
}

fn value(pdu: &Pdu) -> Value {
    serde_json::from_str(pdu.json()).unwrap()
}

const EVE: &str = "@eve:raw.example";

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_for_who_may_have_it() {
    let w = world().await;
    let room = w.room(json!({ "preset": "public_chat", "room_version": "10" })).await;
    let made = w.make("make_join", &room, EVE, "?ver=9&ver=10").await.ok();
    assert_eq!(made["room_version"], "10");
    let event = &made["event"];
    assert_eq!(event["type"], "m.room.member");
    assert_eq!(event["content"]["membership"], "join");
    assert_eq!((event["sender"].as_str(), event["state_key"].as_str()), (Some(EVE), Some(EVE)));
    assert_eq!(event["room_id"], room);
    for field in ["hashes", "signatures", "event_id"] {
        assert!(event.get(field).is_none(), "{field}");
    }
    let incompatible = w.make("make_join", &room, EVE, "?ver=9").await;
    assert_eq!(incompatible.error(), (400, "M_INCOMPATIBLE_ROOM_VERSION"));
    assert_eq!(incompatible.body["room_version"], "10");
    // "Defaults to [1]."
    assert_eq!(w.make("make_join", &room, EVE, "").await.error(), (400, "M_INCOMPATIBLE_ROOM_VERSION"));
    assert_eq!(w.make("make_join", &room, "@eve:other.example", "?ver=10").await.error(), (403, "M_FORBIDDEN"));
    assert_eq!(w.make("make_join", "!none:b.example", EVE, "?ver=10").await.error(), (404, "M_NOT_FOUND"));
    assert_eq!(w.make("make_leave", &room, EVE, "").await.error(), (403, "M_FORBIDDEN"));
    assert_eq!(w.make("make_knock", &room, EVE, "?ver=10").await.error(), (403, "M_FORBIDDEN"));
    let private = w.room(json!({ "room_version": "10" })).await;
    assert_eq!(w.make("make_join", &private, EVE, "?ver=10").await.error(), (403, "M_FORBIDDEN"));
    // The only member leaves: we are no longer in it.
    w.b.post(&format!("/rooms/{room}/leave"), &w.bob, json!({})).await.ok();
    assert_eq!(w.make("make_join", &room, EVE, "?ver=10").await.error(), (404, "M_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_control_list_shuts_servers_out() {
    let w = world().await;
    let room = w.room(json!({ "preset": "public_chat", "room_version": "10" })).await;
    let made = w.make("make_join", &room, EVE, "?ver=10").await.ok();
    let acl = json!({ "allow": ["*"], "deny": ["raw.example"] });
    w.b.put(&format!("/rooms/{room}/state/m.room.server_acl"), &w.bob, acl).await.ok();
    for what in ["make_join", "make_leave", "make_knock"] {
        assert_eq!(w.make(what, &room, EVE, "?ver=10").await.error(), (403, "M_FORBIDDEN"), "{what}");
    }
    let join = w.complete(&made, |_| {});
    for what in ["v1/send_join", "v2/send_join", "v1/send_leave", "v2/send_leave", "v1/send_knock"] {
        let answer = w.send(what, &room, &value(&join), join.event_id()).await;
        assert_eq!(answer.error(), (403, "M_FORBIDDEN"), "{what}");
    }
    assert_eq!(w.b.membership(&room, &w.bob, <&UserId>::try_from(EVE).unwrap()).await, "none");
}

/// Server-Server API, `PUT /send_join`: what "the receiving server MUST apply".
#[tokio::test(flavor = "multi_thread")]
async fn a_join_is_checked_before_it_is_taken() {
    let w = world().await;
    let room = w.room(json!({ "preset": "public_chat", "room_version": "10" })).await;
    let made = w.make("make_join", &room, EVE, "?ver=10").await.ok();
    let refused = (400, "M_INVALID_PARAM");
    for (field, wrong) in [
        ("/type", json!("m.room.name")),
        ("/content/membership", json!("knock")),
        ("/content/membership", json!("leave")),
        ("/sender", json!("@bob:b.example")),
        ("/state_key", json!("@bob:b.example")),
        ("/room_id", json!("!other:b.example")),
        ("/prev_events", json!(["$0000000000000000000000000000000000000000000"])),
    ] {
        let event = w.complete(&made, |event| *event.pointer_mut(field).unwrap() = wrong.clone());
        let answer = w.send("v2/send_join", &room, &value(&event), event.event_id()).await;
        assert_eq!(answer.error(), refused, "{field} {wrong}: {}", answer.body);
    }
    let join = w.complete(&made, |_| {});
    let other = EventId::parse("$1111111111111111111111111111111111111111111").unwrap();
    assert_eq!(w.send("v2/send_join", &room, &value(&join), &other).await.error(), refused, "another id");
    let mut unsigned = value(&join);
    unsigned["signatures"] = json!({});
    assert_eq!(w.send("v2/send_join", &room, &unsigned, join.event_id()).await.error(), refused, "no signature");
    let mut changed = value(&join);
    changed["content"]["displayname"] = json!("Eve");
    assert_eq!(w.send("v2/send_join", &room, &changed, join.event_id()).await.error(), refused, "another hash");
    assert_eq!(w.b.membership(&room, &w.bob, <&UserId>::try_from(EVE).unwrap()).await, "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_has_the_state_before_the_join_and_its_auth_chain() {
    let w = world().await;
    let room = w.room(json!({ "preset": "public_chat", "room_version": "10" })).await;
    let made = w.make("make_join", &room, EVE, "?ver=10").await.ok();
    let join = w.complete(&made, |_| {});
    let answer = w.send("v2/send_join", &room, &value(&join), join.event_id()).await.ok();
    let ids = |list: &str| -> std::collections::BTreeSet<String> {
        let rules = rules(&RoomVersionId::V10).unwrap();
        let id = |event: &Value| Pdu::from_peer(event.to_string().as_bytes(), rules).unwrap().event_id().to_string();
        answer[list].as_array().unwrap().iter().map(id).collect()
    };
    let (state, auth_chain) = (ids("state"), ids("auth_chain"));
    assert!(!state.contains(join.event_id().as_str()), "before the join");
    assert_eq!(state.len(), answer["state"].as_array().unwrap().len(), "each once");
    for event in answer["state"].as_array().unwrap().iter().chain(answer["auth_chain"].as_array().unwrap()) {
        for id in event["auth_events"].as_array().unwrap() {
            assert!(auth_chain.contains(id.as_str().unwrap()), "the chain is whole");
        }
    }
    for id in join.auth_events() {
        assert!(auth_chain.contains(id.as_str()), "the join's, too");
    }
    assert_eq!(answer["event"], value(&join));
    assert_eq!(answer.get("members_omitted"), None);
    assert_eq!(w.b.membership(&room, &w.bob, <&UserId>::try_from(EVE).unwrap()).await, "join");
    // Sent again, it is answered again, from the same state. Version 1 wraps it.
    let again = w.send("v1/send_join", &room, &value(&join), join.event_id()).await.ok();
    assert_eq!(again[0], 200);
    assert_eq!(again[1]["state"].as_array().unwrap().len(), state.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_left_out_on_request() {
    let w = world().await;
    for (name, members) in [(Some("Tea"), 0), (None, 1)] {
        let room = w.room(json!({ "preset": "public_chat", "room_version": "10", "name": name })).await;
        let made = w.make("make_join", &room, EVE, "?ver=10").await.ok();
        let join = w.complete(&made, |_| {});
        let uri = format!(
            "/_matrix/federation/v2/send_join/{}/{}?omit_members=true",
            encoded(&room),
            encoded(join.event_id().as_str())
        );
        let answer = w.raw.ask(&w.b.name, Method::PUT, &uri, Some(value(&join))).await.ok();
        assert_eq!(answer["members_omitted"], true);
        assert_eq!(answer["servers_in_room"], json!(["b.example"]));
        let state = answer["state"].as_array().unwrap();
        let found = state.iter().filter(|event| event["type"] == "m.room.member").count();
        assert_eq!(found, members, "heroes stand for a room without a name");
        assert!(answer["auth_chain"].as_array().unwrap().iter().all(|event| !state.contains(event)));
    }
}

/// Server-Server API, "Restricted rooms".
#[tokio::test(flavor = "multi_thread")]
async fn restricted_rooms_tell_why_not() {
    let w = world().await;
    let allowed = w.room(json!({ "preset": "public_chat", "room_version": "10" })).await;
    let restricted = async |allow: Value, levels: Value| {
        let state = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "restricted", "allow": allow } }]);
        w.room(json!({ "room_version": "10", "initial_state": state, "power_level_content_override": levels })).await
    };
    let on = |room: &str| json!([{ "type": "m.room_membership", "room_id": room }]);
    let elsewhere = restricted(on("!elsewhere:c.example"), json!({})).await;
    let make = async |room: &str| w.make("make_join", room, EVE, "?ver=10").await;
    assert_eq!(make(&elsewhere).await.error(), (400, "M_UNABLE_TO_AUTHORISE_JOIN"));
    let nothing = restricted(json!([]), json!({})).await;
    assert_eq!(make(&nothing).await.error(), (403, "M_FORBIDDEN"));
    let here = restricted(on(&allowed), json!({})).await;
    assert_eq!(make(&here).await.error(), (403, "M_FORBIDDEN"));
    let nobody = restricted(on(&allowed), json!({ "invite": 101 })).await;
    let made = make(&allowed).await.ok();
    let join = w.complete(&made, |_| {});
    w.send("v2/send_join", &allowed, &value(&join), join.event_id()).await.ok();
    assert_eq!(make(&nobody).await.error(), (400, "M_UNABLE_TO_GRANT_JOIN"));
    let made = make(&here).await.ok();
    assert_eq!(made["event"]["content"]["join_authorised_via_users_server"], w.bob.id.as_str());
    let nobody_named = w.complete(&made, |event| {
        event["content"].as_object_mut().unwrap().remove("join_authorised_via_users_server");
    });
    let answer = w.send("v2/send_join", &here, &value(&nobody_named), nobody_named.event_id()).await;
    assert_eq!(answer.error(), (403, "M_FORBIDDEN"));
    let other_named = w.complete(&made, |event| {
        event["content"]["join_authorised_via_users_server"] = json!(EVE);
    });
    let answer = w.send("v2/send_join", &here, &value(&other_named), other_named.event_id()).await;
    assert_eq!(answer.error(), (400, "M_INVALID_PARAM"));
    let join = w.complete(&made, |_| {});
    let answer = w.send("v2/send_join", &here, &value(&join), join.event_id()).await.ok();
    assert!(answer["event"]["signatures"]["b.example"].is_object(), "we vouch by our signature");
    assert!(answer["event"]["signatures"]["raw.example"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_checked_before_it_is_signed() {
    let w = world().await;
    // A room of raw.example that nobody has: its create event and an invitation.
    let version = RoomVersionId::V11;
    let rules = rules(&version).unwrap();
    let room = "!tea:raw.example";
    let event = |kind: &str, key: &str, content: Value, auth: &[&EventId]| {
        let auth: Vec<EventReference<'_>> =
            auth.iter().map(|id| EventReference { event_id: id, reference_hash: None }).collect();
        build_event(
            EventTemplate {
                room_id: Some(room.try_into().unwrap()),
                sender: <&UserId>::try_from(EVE).unwrap(),
                event_type: kind,
                state_key: Some(key),
                content: serde_json::from_value(content).unwrap(),
                prev_events: &auth,
                auth_events: &auth,
                depth: 1,
                origin_server_ts: 1_700_000_000_000,
                redacts: None,
                event_id_v1: None,
            },
            rules,
            &w.raw.name,
            &w.raw.key,
        )
        .unwrap()
    };
    let create = event("m.room.create", "", json!({ "room_version": "11" }), &[]);
    let send = async |invite: &Pdu, id: &EventId, version: &str| {
        let body = json!({ "room_version": version, "event": value(invite), "invite_room_state": [value(&create)] });
        w.send("v2/invite", room, &body, id).await
    };
    let bob = w.bob.id.as_str();
    for (kind, key, content) in [
        ("m.room.name", bob, json!({ "membership": "invite" })),
        ("m.room.member", bob, json!({ "membership": "join" })),
        ("m.room.member", "@bob:c.example", json!({ "membership": "invite" })),
    ] {
        let wrong = event(kind, key, content.clone(), &[create.event_id()]);
        let answer = send(&wrong, wrong.event_id(), "11").await;
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM"), "{kind} {key} {content}");
    }
    let nobody = event("m.room.member", "@nobody:b.example", json!({ "membership": "invite" }), &[create.event_id()]);
    assert_eq!(send(&nobody, nobody.event_id(), "11").await.error(), (404, "M_NOT_FOUND"));
    let invite = event("m.room.member", bob, json!({ "membership": "invite" }), &[create.event_id()]);
    assert_eq!(send(&invite, create.event_id(), "11").await.error(), (400, "M_INVALID_PARAM"));
    assert_eq!(send(&invite, invite.event_id(), "99").await.error(), (400, "M_UNSUPPORTED_ROOM_VERSION"));
    let mut unsigned = value(&invite);
    unsigned["signatures"] = json!({});
    let body = json!({ "room_version": "11", "event": unsigned });
    assert_eq!(w.send("v2/invite", room, &body, invite.event_id()).await.error(), (400, "M_INVALID_PARAM"));
    assert_eq!(w.b.sync(&w.bob).await["rooms"]["invite"], Value::Null, "nobody heard of these");
    let signed = send(&invite, invite.event_id(), "11").await.ok();
    assert!(signed["event"]["signatures"]["b.example"].is_object());
    assert_eq!(signed["event"]["content"], value(&invite)["content"]);
    assert_ne!(w.b.sync(&w.bob).await["rooms"]["invite"][room], Value::Null);
    assert_eq!(send(&invite, invite.event_id(), "11").await.ok(), signed, "sent again, it is answered again");
    assert!(w.network.count("/invite/") > 0);
}

/// Server-Server API, `PUT /invite`: "All invites to other room versions which fail validation SHOULD result in an error."
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_a_room_of_version_12_must_be_right() {
    let w = world().await;
    let rules = rules(&RoomVersionId::V12).unwrap();
    let eve = <&UserId>::try_from(EVE).unwrap();
    let template = |room: Option<&'static str>, kind: &'static str, key: &'static str, content: Value| EventTemplate {
        room_id: room.map(|room| room.try_into().unwrap()),
        sender: eve,
        event_type: kind,
        state_key: Some(key),
        content: serde_json::from_value(content).unwrap(),
        prev_events: &[],
        auth_events: &[],
        depth: 1,
        origin_server_ts: 1_700_000_000_000,
        redacts: None,
        event_id_v1: None,
    };
    let build = |template: EventTemplate<'_>| build_event(template, rules, &w.raw.name, &w.raw.key).unwrap();
    let create = build(template(None, "m.room.create", "", json!({ "room_version": "12" })));
    let other = build(template(None, "m.room.create", "", json!({ "room_version": "12", "other": true })));
    let room: &'static str = create.room_id().as_str().to_owned().leak();
    let name = value(&build(template(Some(room), "m.room.name", "", json!({ "name": "Tea" }))));
    let invite = build(template(Some(room), "m.room.member", "@bob:b.example", json!({ "membership": "invite" })));
    let mut forged = name.clone();
    forged["signatures"] = json!({});
    let stripped = json!({ "type": "m.room.name", "state_key": "", "sender": EVE, "content": {} });
    for (told, code) in [
        (json!([]), "M_MISSING_PARAM"),
        (json!([name]), "M_MISSING_PARAM"),
        (json!([value(&create), forged]), "M_INVALID_PARAM"),
        (json!([value(&create), stripped]), "M_INVALID_PARAM"),
        (json!([value(&create), value(&other)]), "M_INVALID_PARAM"),
    ] {
        let body = json!({ "room_version": "12", "event": value(&invite), "invite_room_state": told });
        assert_eq!(w.send("v2/invite", room, &body, invite.event_id()).await.error(), (400, code), "{told}");
    }
    let body = json!({ "room_version": "12", "event": value(&invite), "invite_room_state": [value(&create), name] });
    w.send("v2/invite", room, &body, invite.event_id()).await.ok();
}
