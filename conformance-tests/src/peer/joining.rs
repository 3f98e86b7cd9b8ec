//! The peer joins rooms of the server under test.

use serde_json::{Value, json};

use super::event::Event;
use super::{PeerRoom, RawPeer};
use crate::{Reply, Server, encode};

impl RawPeer {
    /// Has a user of its own join a room of the server's, and holds what it was told of it.
    pub async fn join(&self, server: &Server, room: &str, user: &str) -> PeerRoom {
        let (version, draft) = self.make_join(server, room, user).await;
        let held = PeerRoom::new(room, &version);
        let join = Event::sign(draft, held.rules, self.name.as_str(), &self.key);
        let answer = self.send_join(server, room, &join).await.ok();
        for list in ["auth_chain", "state"] {
            for event in answer[list].as_array().expect("a list of events") {
                let event = Event::received(event.clone(), held.rules);
                if list == "state" { held.add_state(&event) } else { held.keep(&event) }
            }
        }
        held.add(&join);
        self.hold(&held);
        held
    }

    /// The version of a room and the template of a join, signed by nobody.
    pub async fn make_join(&self, server: &Server, room: &str, user: &str) -> (String, Value) {
        let versions: String = (1..=12).map(|version| format!("&ver={version}")).collect();
        let uri = format!("/_matrix/federation/v1/make_join/{}/{}?{}", encode(room), encode(user), &versions[1..]);
        let made = self.get(server, &uri).await.ok();
        let version = made["room_version"].as_str().unwrap_or("1").to_owned();
        let mut draft = made["event"].clone();
        draft["origin_server_ts"] = super::room::now_ms().into();
        if matches!(version.as_str(), "1" | "2") {
            draft["event_id"] = format!("${}:{}", crate::unique("join"), self.name).into();
        }
        (version, draft)
    }

    /// Sends a join, or whatever the event is.
    pub async fn send_join(&self, server: &Server, room: &str, join: &Event) -> Reply {
        let uri = format!("/_matrix/federation/v2/send_join/{}/{}", encode(room), encode(&join.id));
        self.put(server, &uri, &join.json).await
    }

    /// Invites a user of the server's into a room of its own; gives the answer and the invitation.
    pub async fn invite(&self, server: &Server, room: &PeerRoom, sender: &str, user: &str) -> (Reply, Event) {
        let draft = room.draft(sender, "m.room.member", Some(user), json!({ "membership": "invite" }));
        let invite = self.sign(room, draft);
        let body = self.invitation(room, &invite);
        (self.send_invite(server, &room.id, &invite.id, &body).await, invite)
    }

    /// The body of an honest invitation.
    pub fn invitation(&self, room: &PeerRoom, invite: &Event) -> Value {
        let create = room.state_event("m.room.create", "").expect("a create event");
        json!({ "room_version": room.version, "event": invite.json, "invite_room_state": [create.json] })
    }

    /// Sends the body of an invitation.
    pub async fn send_invite(&self, server: &Server, room: &str, event_id: &str, body: &Value) -> Reply {
        let uri = format!("/_matrix/federation/v2/invite/{}/{}", encode(room), encode(event_id));
        self.put(server, &uri, body).await
    }
}
