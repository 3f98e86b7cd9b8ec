//! A room as the peer knows it: its events, the state before each, and where it grows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use ruma::RoomVersionId;
use ruma::room_version_rules::{EventIdFormatVersion, EventsReferenceFormatVersion, RoomVersionRules};
use serde_json::{Value, json};

use super::event::Event;
use super::{RawPeer, lock};

/// Type and state key to event id.
type State = BTreeMap<(String, String), String>;

/// A handle of a room; clones are the same room.
#[derive(Clone)]
pub struct PeerRoom {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The version's rules.
    pub rules: &'static RoomVersionRules,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    events: HashMap<String, Event>,
    before: HashMap<String, Arc<State>>,
    state: Arc<State>,
    tips: Vec<String>,
    depth: u64,
    made: u64,
}

impl RawPeer {
    /// Makes a public room of this version, with its creator alone in it, and holds it.
    pub fn create_room(&self, creator: &str, version: &str) -> PeerRoom {
        let rules = rules(version);
        // Two create events of one millisecond would be one event, and in version 12 one room.
        let mut content = json!({ "room_version": version, "org.example.number": crate::unique("room") });
        if !rules.authorization.use_room_create_sender {
            content["creator"] = creator.into();
        }
        let mut create = json!({
            "type": "m.room.create", "state_key": "", "sender": creator, "content": content,
            "prev_events": [], "auth_events": [], "depth": 1, "origin_server_ts": now_ms(),
        });
        let named_after_create = rules.authorization.room_create_event_id_as_room_id;
        if !named_after_create {
            create["room_id"] = format!("!{}:{}", crate::unique("raw"), self.name).into();
        }
        if rules.event_id_format == EventIdFormatVersion::V1 {
            create["event_id"] = format!("${}:{}", crate::unique("create"), self.name).into();
        }
        let create = Event::sign(create, rules, self.name.as_str(), &self.key);
        let id = match named_after_create {
            true => format!("!{}", create.id.trim_start_matches('$')),
            false => create.json["room_id"].as_str().expect("a room id").to_owned(),
        };
        let room = PeerRoom::new(&id, version);
        room.add(&create);
        self.add(&room, creator, "m.room.member", Some(creator), json!({ "membership": "join" }));
        // In version 12 the creator has more than any number says, and must not stand there.
        let users = if named_after_create { json!({}) } else { json!({ creator: 100 }) };
        let levels = json!({ "users": users, "users_default": 0, "events_default": 0, "state_default": 50, "ban": 50, "kick": 50, "redact": 50, "invite": 0 });
        self.add(&room, creator, "m.room.power_levels", Some(""), levels);
        self.add(&room, creator, "m.room.join_rules", Some(""), json!({ "join_rule": "public" }));
        let visible = json!({ "history_visibility": "shared" });
        self.add(&room, creator, "m.room.history_visibility", Some(""), visible);
        self.hold(&room);
        room
    }
}

impl PeerRoom {
    /// A room without events.
    pub(super) fn new(id: &str, version: &str) -> Self {
        Self { id: id.to_owned(), version: version.to_owned(), rules: rules(version), inside: Arc::default() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        lock(&self.inside)
    }

    /// An event at the room's end that the current state authorises, unsigned: to be changed, and then to be
    /// [signed](RawPeer::sign).
    pub fn draft(&self, sender: &str, kind: &str, state_key: Option<&str>, content: Value) -> Value {
        let auth_events = self.auth_events(sender, kind, state_key, &content);
        let mut inside = self.inside();
        inside.made += 1;
        let (tips, depth, made) = (inside.tips.clone(), inside.depth + 1, inside.made);
        drop(inside);
        let mut draft = json!({
            "type": kind, "sender": sender, "content": content, "room_id": self.id, "depth": depth,
            "origin_server_ts": now_ms(), "prev_events": self.references(&tips),
            "auth_events": self.references(&auth_events),
        });
        if let Some(state_key) = state_key {
            draft["state_key"] = state_key.into();
        }
        if self.rules.event_id_format == EventIdFormatVersion::V1 {
            let server = sender.split_once(':').map_or("nowhere", |(_, server)| server);
            draft["event_id"] = format!("${}-{made}:{server}", crate::unique("raw")).into();
        }
        draft
    }

    /// The ids of what the current state has to authorise such an event.
    pub fn auth_events(&self, sender: &str, kind: &str, state_key: Option<&str>, content: &Value) -> Vec<String> {
        let mut keys = vec![("m.room.power_levels", ""), ("m.room.member", sender)];
        if !self.rules.authorization.room_create_event_id_as_room_id {
            keys.push(("m.room.create", ""));
        }
        if kind == "m.room.member" {
            keys.extend(state_key.map(|user| ("m.room.member", user)));
            if matches!(content["membership"].as_str(), Some("join" | "invite" | "knock")) {
                keys.push(("m.room.join_rules", ""));
            }
        }
        let keys: BTreeSet<_> = keys.into_iter().collect();
        keys.into_iter().filter_map(|(kind, key)| self.state_id(kind, key)).collect()
    }

    /// How events of this version name others.
    pub fn references(&self, ids: &[String]) -> Value {
        let with_hashes = self.rules.events_reference_format == EventsReferenceFormatVersion::V1;
        let reference = |id: &String| match with_hashes {
            true => {
                let hash = self.event(id).map_or_else(|| "AAAA".to_owned(), |event| event.reference_hash(self.rules));
                json!([id, { "sha256": hash }])
            }
            false => json!(id),
        };
        ids.iter().map(reference).collect()
    }

    /// Takes an event in at the room's end.
    pub fn add(&self, event: &Event) {
        let mut inside = self.inside();
        let before = inside.state.clone();
        inside.before.insert(event.id.clone(), before);
        if let (Some(kind), Some(key)) = (event.json["type"].as_str(), event.json["state_key"].as_str()) {
            let key = (kind.to_owned(), key.to_owned());
            Arc::make_mut(&mut inside.state).insert(key, event.id.clone());
        }
        inside.depth = inside.depth.max(event.json["depth"].as_u64().unwrap_or(0));
        inside.tips = vec![event.id.clone()];
        inside.events.insert(event.id.clone(), event.clone());
    }

    /// Keeps an event to serve it, with the current state before it; the room goes on as if it were not there.
    pub fn keep(&self, event: &Event) {
        let mut inside = self.inside();
        let before = inside.state.clone();
        inside.before.entry(event.id.clone()).or_insert(before);
        inside.events.insert(event.id.clone(), event.clone());
    }

    /// Takes an event for one of the current state, without moving the room's end.
    pub(super) fn add_state(&self, event: &Event) {
        self.keep(event);
        let mut inside = self.inside();
        if let (Some(kind), Some(key)) = (event.json["type"].as_str(), event.json["state_key"].as_str()) {
            let key = (kind.to_owned(), key.to_owned());
            Arc::make_mut(&mut inside.state).insert(key, event.id.clone());
        }
    }

    /// An event by id.
    pub fn event(&self, id: &str) -> Option<Event> {
        self.inside().events.get(id).cloned()
    }

    /// The id of a current state event.
    pub fn state_id(&self, kind: &str, key: &str) -> Option<String> {
        self.inside().state.get(&(kind.to_owned(), key.to_owned())).cloned()
    }

    /// A current state event.
    pub fn state_event(&self, kind: &str, key: &str) -> Option<Event> {
        self.event(&self.state_id(kind, key)?)
    }

    /// Where the room ends.
    pub fn tips(&self) -> Vec<String> {
        self.inside().tips.clone()
    }

    /// How deep it is.
    pub fn depth(&self) -> u64 {
        self.inside().depth
    }

    /// The servers of all members.
    pub fn servers(&self) -> Vec<String> {
        let inside = self.inside();
        let members = inside.state.iter().filter(|((kind, _), _)| kind == "m.room.member");
        let joined = members.filter(|(_, id)| {
            inside.events.get(*id).is_some_and(|event| event.json["content"]["membership"] == "join")
        });
        let servers = joined.filter_map(|((_, user), _)| Some(user.split_once(':')?.1.to_owned()));
        servers.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The ids of the state before an event.
    pub fn state_before(&self, id: &str) -> Option<Vec<String>> {
        Some(self.inside().before.get(id)?.values().cloned().collect())
    }

    /// The ids of the current state.
    pub fn state_ids(&self) -> Vec<String> {
        self.inside().state.values().cloned().collect()
    }

    /// The ids of the auth chains of these events, which are not in it themselves unless another names them.
    pub fn auth_chain(&self, ids: &[String]) -> Vec<String> {
        let inside = self.inside();
        let (mut chain, mut waiting) = (BTreeSet::new(), ids.to_vec());
        while let Some(event) = waiting.pop().and_then(|id| inside.events.get(&id)) {
            let named = named(&event.json["auth_events"]);
            waiting.extend(named.into_iter().filter(|id| chain.insert(id.clone())));
        }
        chain.into_iter().collect()
    }

    /// The events before these, breadth first: those that may be served, without any of `stop`.
    pub fn ancestors(&self, of: &[String], stop: &[String], limit: usize) -> Vec<Value> {
        let inside = self.inside();
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        let mut waiting: std::collections::VecDeque<String> = of.to_vec().into();
        while let Some(event) = waiting.pop_front().and_then(|id| inside.events.get(&id)) {
            for id in named(&event.json["prev_events"]) {
                if found.len() >= limit {
                    return found;
                }
                if stop.contains(&id) || !seen.insert(id.clone()) {
                    continue;
                }
                found.extend(inside.events.get(&id).map(|event| event.json.clone()));
                waiting.push_back(id);
            }
        }
        found
    }

    /// Events by id, as they are sent; unknown ones are left out.
    pub fn events(&self, ids: &[String]) -> Vec<Value> {
        let inside = self.inside();
        ids.iter().filter_map(|id| Some(inside.events.get(id)?.json.clone())).collect()
    }
}

/// The ids in a list of references of either form.
pub(super) fn named(references: &Value) -> Vec<String> {
    let of_one = |reference: &Value| reference.as_str().or_else(|| reference[0].as_str()).map(str::to_owned);
    references.as_array().into_iter().flatten().filter_map(of_one).collect()
}

/// The rules of a version.
pub(super) fn rules(version: &str) -> &'static RoomVersionRules {
    let version = RoomVersionId::try_from(version).expect("a room version");
    linkim_federation::rules(&version).expect("a stable room version")
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("it is later than 1970");
    since.as_millis().try_into().expect("not that late")
}
