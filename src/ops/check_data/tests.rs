//! A store that was written through the write path agrees with its events; each kind of damage is found.

use std::{path::Path, sync::Arc};

use linkim_federation::{EventReference, EventTemplate, Pdu, SigningKey, auth_types, build_event, rules};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedUserId, RoomVersionId, UserId, room_version_id,
    server_name, user_id,
};
use serde_json::{json, value::RawValue};

use super::*;
use crate::{
    clock::SystemClock,
    random::OsRandom,
    rooms::append::{Appended, Appenders, Incoming, LocalEvent, NewRoom, NoWake, Received, Signer, Transaction},
    store::{
        Store, events, ids,
        ids::{DeviceNid, RoomKey},
        state,
    },
};

struct Fixture {
    store: Store,
    appenders: Appenders,
    config: Config,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(server_name!("a.example").to_owned(), folder.path().to_owned());
        let StorageUrl::Sqlite(path) = &config.storage.url;
        let store = Store::open(path, "a.example").unwrap();
        let secret = store.write::<_, StoreError, _>(|tx| store::secret(tx, "state_hash_key", [7; 32]));
        let signer = Signer {
            server_name: config.server_name.clone(),
            key: SigningKey::generate([1; 32], "1").unwrap(),
            random: Arc::new(OsRandom),
        };
        let hash_key = StateHashKey::new(secret.await.unwrap());
        let accounts = store.write::<_, StoreError, _>(|tx| {
            for user in [alice(), bob()] {
                let nid = ids::intern_user(tx, &user)?;
                tx.execute("INSERT INTO accounts (user, kind, created_ts) VALUES (?1, 0, 0)", params![nid])?;
            }
            let service = ids::intern_user(tx, &service())?;
            tx.execute("INSERT INTO accounts (user, kind, created_ts) VALUES (?1, 3, 0)", params![service])?;
            Ok(())
        });
        accounts.await.unwrap();
        let appenders = Appenders::new(store.clone(), Arc::new(SystemClock), signer, hash_key, Arc::new(NoWake));
        Self { store, appenders, config, folder }
    }

    async fn room(&self, version: RoomVersionId) -> Arc<RoomKey> {
        let v12 = rules(&version).unwrap().authorization.explicitly_privilege_room_creators;
        let mut create = json!({ "room_version": version.as_str() });
        if !rules(&version).unwrap().authorization.use_room_create_sender {
            create["creator"] = json!(alice());
        }
        let users = if v12 { json!({}) } else { json!({ alice(): 100 }) };
        let levels = json!({ "users": users, "events": { "m.room.topic": 0 }, "state_default": 50 });
        let events = vec![
            LocalEvent::state(alice(), "m.room.member", alice(), object(json!({ "membership": "join" }))),
            LocalEvent::state(alice(), "m.room.power_levels", "", object(levels)),
            LocalEvent::state(alice(), "m.room.join_rules", "", object(json!({ "join_rule": "public" }))),
        ];
        let new = NewRoom { version, creator: alice(), create_content: object(create) };
        self.appenders.create(new, events, None).await.unwrap().0
    }

    async fn send(&self, room: &RoomKey, event: LocalEvent) -> Appended {
        self.appenders.append(room.nid, vec![event], None).await.unwrap().remove(0)
    }

    async fn message(&self, room: &RoomKey, by: OwnedUserId, content: serde_json::Value) -> OwnedEventId {
        self.send(room, LocalEvent::message(by, "m.room.message", object(content))).await.event_id
    }

    /// An event of another server that follows `prev`.
    async fn remote(
        &self,
        room: &Arc<RoomKey>,
        by: &UserId,
        (kind, key): (&str, Option<&str>),
        content: serde_json::Value,
        prev: &[&OwnedEventId],
    ) -> Arc<Pdu> {
        let rules = rules(&room.version).unwrap();
        let raw = RawValue::from_string(content.to_string()).unwrap();
        let types = auth_types(kind, by, key, &raw, rules).unwrap();
        let wanted: Vec<OwnedEventId> = prev.iter().map(|id| (*id).clone()).collect();
        let (auth, depth) = self
            .store
            .read::<_, StoreError, _>(move |read| {
                // Good enough where the previous events agree on what authorises this one.
                let row = events::by_id(read, &wanted[0])?.unwrap();
                let mut depth = row.depth;
                for id in &wanted {
                    depth = depth.max(events::by_id(read, id)?.unwrap().depth);
                }
                let mut auth = Vec::new();
                for (kind, key) in types {
                    let Some(key) = ids::state_key_nid(read, &kind.to_string(), &key)? else { continue };
                    if let Some(nid) = state::value(read, row.after.unwrap(), key)? {
                        auth.push(events::id(read, nid)?);
                    }
                }
                Ok((auth, depth))
            })
            .await
            .unwrap();
        let auth: Vec<EventReference<'_>> =
            auth.iter().map(|id| EventReference { event_id: id, reference_hash: None }).collect();
        let prev: Vec<EventReference<'_>> =
            prev.iter().map(|id| EventReference { event_id: id, reference_hash: None }).collect();
        let template = EventTemplate {
            room_id: Some(&room.room_id),
            sender: by,
            event_type: kind,
            state_key: key,
            content: object(content),
            prev_events: &prev,
            auth_events: &auth,
            depth: u64::try_from(depth).unwrap() + 1,
            origin_server_ts: 1_000,
            redacts: None,
            event_id_v1: None,
        };
        let key = SigningKey::generate([3; 32], "1").unwrap();
        Arc::new(build_event(template, rules, by.server_name(), &key).unwrap())
    }

    async fn receive(&self, room: &RoomKey, pdu: &Arc<Pdu>) -> Received {
        self.appenders.receive(room.nid, vec![Incoming::new(pdu.clone())]).await.unwrap().remove(0)
    }

    /// The report on the store as it is.
    fn check(&self) -> Report {
        check_data(&self.config).unwrap()
    }

    /// The report on a copy that `sql` has damaged; the reason if it damaged nothing.
    fn check_damaged(&self, sql: &str) -> Result<Report, String> {
        let copy = tempfile::tempdir().unwrap();
        for name in ["linkim.db", "linkim.db-wal"] {
            let from = self.folder.path().join(name);
            if from.exists() {
                std::fs::copy(from, copy.path().join(name)).unwrap();
            }
        }
        let damaged = Config::new(self.config.server_name.clone(), copy.path().to_owned());
        let changed = damage(&copy.path().join("linkim.db"), sql).map_err(|error| error.to_string())?;
        if changed == 0 {
            return Err("it changes nothing".into());
        }
        check_data(&damaged).map_err(|error| error.to_string())
    }
}

fn damage(path: &Path, sql: &str) -> rusqlite::Result<usize> {
    rusqlite::Connection::open(path)?.execute(sql, [])
}

fn object(value: serde_json::Value) -> CanonicalJsonObject {
    match CanonicalJsonValue::try_from(value).unwrap() {
        CanonicalJsonValue::Object(object) => object,
        _ => panic!("not an object"),
    }
}

fn alice() -> OwnedUserId {
    user_id!("@alice:a.example").to_owned()
}

fn bob() -> OwnedUserId {
    user_id!("@bob:a.example").to_owned()
}

fn service() -> OwnedUserId {
    user_id!("@_linkim:a.example").to_owned()
}

fn text(report: &Report) -> String {
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// A room with messages, mentions, a thread, an edit, a redaction, a transaction, and members who come and go.
async fn conversation(f: &Fixture, version: RoomVersionId) {
    let room = f.room(version).await;
    let join = LocalEvent::state(bob(), "m.room.member", bob(), object(json!({ "membership": "join" })));
    f.send(&room, join).await;
    let carol = user_id!("@carol:c.example");
    let invite = object(json!({ "membership": "invite" }));
    f.send(&room, LocalEvent::state(alice(), "m.room.member", carol, invite)).await;
    let first = f.message(&room, alice(), json!({ "msgtype": "m.text", "body": "hello" })).await;
    let mention = json!({ "msgtype": "m.text", "body": "bob", "m.mentions": { "user_ids": [bob()] } });
    f.message(&room, alice(), mention).await;
    let all = json!({ "msgtype": "m.text", "body": "@room", "m.mentions": { "room": true } });
    f.message(&room, bob(), all.clone()).await;
    f.message(&room, alice(), all).await;
    let mention = json!({ "msgtype": "m.notice", "body": "bob?", "m.mentions": { "user_ids": [bob()] } });
    f.message(&room, alice(), mention).await;
    let relate = |kind: &str| json!({ "rel_type": kind, "event_id": first });
    let reply = json!({ "msgtype": "m.text", "body": "in a thread", "m.relates_to": relate("m.thread") });
    let reply = f.message(&room, alice(), reply).await;
    let edit = json!({ "msgtype": "m.text", "body": "* hi", "m.relates_to": relate("m.replace") });
    f.message(&room, alice(), edit).await;
    f.message(&room, alice(), json!({ "msgtype": "m.notice", "body": "quietly" })).await;
    let gone = f.message(&room, alice(), json!({ "msgtype": "m.text", "body": "secret" })).await;
    let mut redaction = LocalEvent::message(alice(), "m.room.redaction", object(json!({})));
    redaction.redacts = Some(gone);
    f.send(&room, redaction).await;
    let mut once =
        LocalEvent::message(alice(), "m.room.message", object(json!({ "body": "once", "msgtype": "m.text" })));
    once.transaction = Some(Transaction { device: DeviceNid(1), key: [5; 16], txn_id: "1".into() });
    let sent = f.send(&room, once.clone()).await;
    assert_eq!(f.send(&room, once).await.event_id, sent.event_id);
    let frank = user_id!("@frank:a.example");
    for membership in ["join", "leave"] {
        let content = object(json!({ "membership": membership }));
        f.send(&room, LocalEvent::state(frank.to_owned(), "m.room.member", frank, content)).await;
    }
    let reaction = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": reply, "key": "+" } });
    f.send(&room, LocalEvent::message(alice(), "m.reaction", object(reaction))).await;
}

/// A room whose history forks, with a rejected and a soft-failed event and two extremities at the end.
async fn fork(f: &Fixture, version: RoomVersionId) {
    let room = f.room(version).await;
    let topic = LocalEvent::state(alice(), "m.room.topic", "", object(json!({ "topic": "before" })));
    let start = f.send(&room, topic).await.event_id;
    let dora = user_id!("@dora:d.example");
    let join = json!({ "membership": "join" });
    let joined = f.remote(&room, dora, ("m.room.member", Some(dora.as_str())), join, &[&start]).await;
    assert!(matches!(f.receive(&room, &joined).await, Received::Accepted(_)));
    let joined = joined.event_id().to_owned();
    let topic = LocalEvent::state(alice(), "m.room.topic", "", object(json!({ "topic": "ours" })));
    let ours = f.send(&room, topic).await.event_id;
    let theirs = f.remote(&room, dora, ("m.room.topic", Some("")), json!({ "topic": "theirs" }), &[&joined]).await;
    assert!(matches!(f.receive(&room, &theirs).await, Received::Accepted(_)));
    let theirs = theirs.event_id().to_owned();
    let name =
        f.remote(&room, dora, ("m.room.name", Some("")), json!({ "name": "not hers to give" }), &[&theirs]).await;
    assert!(matches!(f.receive(&room, &name).await, Received::Rejected(..)));
    let said = f
        .remote(
            &room,
            dora,
            ("m.room.message", None),
            json!({ "body": "on the fork", "msgtype": "m.text" }),
            &[&theirs],
        )
        .await;
    assert!(matches!(f.receive(&room, &said).await, Received::Accepted(_)));
    let joining =
        LocalEvent::message(alice(), "m.room.message", object(json!({ "body": "joins", "msgtype": "m.text" })));
    let join_point = f.send(&room, joining).await.event_id;
    // Names two of the fork's sides when both have been joined already: their states are resolved, and that remembered.
    let late = json!({ "body": "late", "msgtype": "m.text" });
    let late = f.remote(&room, dora, ("m.room.message", None), late, &[&theirs, &ours]).await;
    assert!(matches!(f.receive(&room, &late).await, Received::Accepted(_)));
    let ban = LocalEvent::state(alice(), "m.room.member", dora, object(json!({ "membership": "ban" })));
    f.send(&room, ban).await;
    let late = f
        .remote(
            &room,
            dora,
            ("m.room.message", None),
            json!({ "body": "too late", "msgtype": "m.text" }),
            &[&join_point],
        )
        .await;
    assert!(matches!(f.receive(&room, &late).await, Received::SoftFailed(..)));
    let eve = user_id!("@eve:e.example");
    let join = json!({ "membership": "join" });
    let aside = f.remote(&room, eve, ("m.room.member", Some(eve.as_str())), join, &[&join_point]).await;
    assert!(matches!(f.receive(&room, &aside).await, Received::Accepted(_)));
}

/// A group of LinkIM's with alice.
async fn group(f: &Fixture) -> Arc<RoomKey> {
    let version = RoomVersionId::V12;
    let create = json!({ "room_version": version.as_str(), "org.linkim.group": true });
    let levels =
        json!({ "users": { alice(): 100, "@dora:d.example": 50 }, "events": { "org.linkim.group.request": 50 } });
    let events = vec![
        LocalEvent::state(service(), "m.room.member", service(), object(json!({ "membership": "join" }))),
        LocalEvent::state(service(), "m.room.power_levels", "", object(levels)),
        LocalEvent::state(service(), "m.room.join_rules", "", object(json!({ "join_rule": "public" }))),
        LocalEvent::state(alice(), "m.room.member", alice(), object(json!({ "membership": "join" }))),
    ];
    let new = NewRoom { version, creator: service(), create_content: object(create) };
    let nid = f.appenders.create(new, events, None).await.unwrap().0.nid;
    f.store.read::<_, StoreError, _>(move |read| ids::room_by_nid(read, nid)).await.unwrap()
}

/// A group in which an admin of another server has asked twice and was answered once, and one that is being dissolved.
async fn groups(f: &Fixture) {
    let room = group(f).await;
    let topic = LocalEvent::state(alice(), "m.room.topic", "", object(json!({ "topic": "before" })));
    let start = f.send(&room, topic).await.event_id;
    let dora = user_id!("@dora:d.example");
    let join = json!({ "membership": "join" });
    let mut last = f.remote(&room, dora, ("m.room.member", Some(dora.as_str())), join, &[&start]).await;
    assert!(matches!(f.receive(&room, &last).await, Received::Accepted(_)));
    let mut asked = Vec::new();
    for mute in [true, false] {
        let content = json!({ "action": "mute_all", "arguments": { "mute": mute } });
        last = f.remote(&room, dora, ("org.linkim.group.request", None), content, &[last.owned_event_id()]).await;
        let Received::Accepted(appended) = f.receive(&room, &last).await else { panic!("it is not refused") };
        asked.push(appended);
    }
    let content = json!({ "m.relates_to": { "rel_type": "m.reference", "event_id": asked[0].event_id }, "ok": true });
    let result = LocalEvent::message(service(), "org.linkim.group.result", object(content));
    let answered = asked[0].nid;
    let along: crate::rooms::append::Along =
        Box::new(move |tx, _, _| crate::store::group_calls::answered(tx, answered));
    f.appenders.append(room.nid, vec![result], Some(along)).await.unwrap();

    let over = group(f).await;
    let status = json!({ "status": "dissolved", "by": alice(), "ts": 1 });
    let status = LocalEvent::state(service(), "org.linkim.group.status", "", object(status));
    let along: crate::rooms::append::Along = Box::new(|tx, room, _| crate::store::groups::start_dissolution(tx, room));
    f.appenders.append(over.nid, vec![status], Some(along)).await.unwrap();
}

async fn filled() -> Fixture {
    let f = Fixture::new().await;
    for version in [room_version_id!("12"), room_version_id!("10")] {
        conversation(&f, version.clone()).await;
        if version == RoomVersionId::V10 {
            groups(&f).await;
        }
        fork(&f, version).await;
    }
    f.store.close();
    f
}

#[tokio::test]
async fn what_the_write_path_wrote_agrees() {
    let f = filled().await;
    let report = f.check();
    assert!(report.agrees(), "{}", text(&report));
    assert_eq!(report.rooms, 6);
    assert!(report.events > 50, "{}", report.events);
}

#[tokio::test]
async fn a_running_server_is_left_alone() {
    let f = filled().await;
    let lock = data_dir::hold(&f.config.data_dir).unwrap();
    assert!(matches!(check_data(&f.config), Err(StoreError::Locked { .. })));
    drop(lock);
    assert!(check_data(&f.config).is_ok());
}

#[tokio::test]
async fn without_a_database_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let config = Config::new(server_name!("a.example").to_owned(), data_dir.clone());
    assert!(matches!(check_data(&config), Err(StoreError::Io { .. })));
    assert!(!data_dir.exists());
}

/// Some message of the first room that nothing has redacted.
const MESSAGE: &str = "(SELECT MIN(e.nid) FROM events e JOIN event_types t ON t.nid = e.type \
                       WHERE t.type = 'm.room.message' AND e.redacted_by IS NULL)";

/// The redacted message of the first room.
const REDACTED: &str = "(SELECT MIN(nid) FROM events WHERE redacted_by IS NOT NULL)";

/// An event of a fork: its state is on a line of its own.
const FORKED: &str = "(SELECT MAX(nid) FROM events WHERE after_line NOT IN (SELECT main_line FROM rooms))";

/// One way to damage a store, and what must be found.
struct Damage {
    sql: String,
    found: Kind,
}

fn damages() -> Vec<Damage> {
    let mut out = Vec::new();
    let mut add = |found, sql: &str| {
        let sql = sql.replace("MESSAGE", MESSAGE).replace("REDACTED", REDACTED).replace("FORKED", FORKED);
        out.push(Damage { sql, found });
    };
    add(Kind::Body, "DELETE FROM event_json WHERE event = MESSAGE");
    add(Kind::Body, "UPDATE event_json SET json = '{' WHERE event = MESSAGE");
    add(Kind::Body, "UPDATE event_json SET json = json || ' ' WHERE event = MESSAGE");
    add(Kind::ContentHash, "UPDATE event_json SET json = replace(json, 'hello', 'hallo') WHERE event = MESSAGE");
    add(
        Kind::EventId,
        "UPDATE event_json SET json = replace(json, '\"sender\":\"@alice', '\"sender\":\"@bob') WHERE event = MESSAGE",
    );
    add(Kind::Column, "UPDATE events SET depth = depth + 1 WHERE nid = MESSAGE");
    add(Kind::Column, "UPDATE events SET type = type + 1 WHERE nid = MESSAGE");
    add(Kind::Column, "UPDATE events SET sender = sender + 1 WHERE nid = MESSAGE");
    add(Kind::Column, "UPDATE events SET origin_ts = 1 WHERE nid = MESSAGE");
    add(Kind::Column, "UPDATE events SET state_key = 1 WHERE nid = MESSAGE");
    add(Kind::Column, "UPDATE users SET server = server + 1 WHERE nid = 1");
    add(Kind::Position, "UPDATE events SET position = (SELECT MAX(position) FROM events) WHERE nid = MESSAGE");
    add(Kind::Position, "UPDATE head SET position = position - 1");
    add(Kind::Position, "UPDATE events SET position = NULL WHERE nid = MESSAGE");
    add(Kind::Edge, "UPDATE events SET flags = flags & ~64 WHERE nid = MESSAGE");
    add(Kind::Edge, "DELETE FROM event_edges WHERE event = (SELECT MAX(event) FROM event_edges)");
    add(Kind::Edge, "UPDATE events SET flags = flags | 64 WHERE nid = (SELECT MAX(event) FROM event_edges)");
    add(Kind::Extremity, "DELETE FROM forward_extremities WHERE event = (SELECT MAX(event) FROM forward_extremities)");
    add(Kind::Extremity, "INSERT INTO forward_extremities SELECT room, nid FROM events WHERE nid = MESSAGE");
    add(Kind::Extremity, "INSERT INTO backward_extremities SELECT room, x'00', nid FROM events WHERE nid = MESSAGE");
    add(Kind::AuthEdge, "DELETE FROM auth_edges WHERE event = (SELECT MAX(event) FROM auth_edges)");
    add(Kind::AuthEdge, "UPDATE auth_edges SET auth = x'02' WHERE event = (SELECT MAX(event) FROM auth_edges)");
    add(Kind::Verdict, "UPDATE events SET flags = flags | 2 WHERE nid = MESSAGE");
    add(Kind::Verdict, "UPDATE events SET flags = flags & ~2 WHERE flags & 2 <> 0");
    add(Kind::Verdict, "UPDATE events SET flags = flags & ~4 WHERE flags & 4 <> 0");
    add(Kind::StateBefore, "UPDATE events SET before_epoch = 1 WHERE nid = MESSAGE");
    add(Kind::StateBefore, "UPDATE events SET before_line = NULL WHERE nid = MESSAGE");
    add(Kind::StateAfter, "UPDATE events SET after_epoch = 1 WHERE nid = MESSAGE");
    add(Kind::StateAfter, "UPDATE events SET after_line = 4711 WHERE nid = MESSAGE");
    add(Kind::StateAfter, "DELETE FROM room_state WHERE line = (SELECT after_line FROM events WHERE nid = FORKED)");
    add(Kind::Line, "UPDATE state_lines SET level = level + 1 WHERE line = (SELECT MAX(line) FROM state_lines)");
    add(Kind::Line, "UPDATE state_lines SET base_line = line WHERE line = (SELECT MAX(line) FROM state_lines)");
    add(
        Kind::Line,
        "UPDATE room_state SET event = MESSAGE WHERE from_epoch = (SELECT MAX(from_epoch) FROM room_state)",
    );
    add(Kind::CurrentState, "DELETE FROM current_state WHERE state_key = (SELECT MAX(state_key) FROM current_state)");
    add(
        Kind::CurrentState,
        "UPDATE current_state SET event = 1 WHERE state_key = (SELECT MAX(state_key) FROM current_state)",
    );
    add(
        Kind::CurrentState,
        "UPDATE room_state SET event = NULL WHERE from_epoch = (SELECT MAX(from_epoch) FROM room_state \
         WHERE line IN (SELECT main_line FROM rooms)) AND line IN (SELECT main_line FROM rooms)",
    );
    add(Kind::StateHash, "UPDATE room_heads SET state_hash = zeroblob(16) WHERE room = 1");
    add(Kind::Resolution, "UPDATE resolutions SET line = 4711");
    add(Kind::Resolution, "UPDATE resolutions SET line = (SELECT MIN(main_line) FROM rooms), epoch = 3");
    add(Kind::Head, "UPDATE room_heads SET joined = joined + 1 WHERE room = 1");
    add(Kind::Head, "UPDATE room_heads SET invited = 0 WHERE room = 1");
    add(Kind::Head, "UPDATE room_heads SET local_joined = 0 WHERE room = 1");
    add(Kind::Head, "UPDATE room_heads SET last_position = last_position - 1 WHERE room = 1");
    add(Kind::Head, "UPDATE room_heads SET message_position = message_position - 1 WHERE room = 1");
    add(Kind::Head, "UPDATE room_heads SET state_position = state_position + 1 WHERE room = 1");
    add(Kind::Head, "UPDATE rooms SET create_event = create_event + 1 WHERE nid = 1");
    add(Kind::Head, "DELETE FROM room_heads WHERE room = 1");
    add(Kind::Membership, "UPDATE memberships SET membership = 5 WHERE room = 1 AND membership = 1");
    add(Kind::Membership, "UPDATE memberships SET membership = 9 WHERE room = 1 AND membership = 1");
    add(Kind::Membership, "UPDATE memberships SET since = since + 1 WHERE room = 1 AND membership = 1");
    add(Kind::Membership, "UPDATE memberships SET position = position + 1 WHERE room = 1 AND membership = 1");
    add(Kind::Membership, "UPDATE memberships SET event = event + 1 WHERE room = 1 AND membership = 1");
    add(Kind::Membership, "UPDATE memberships SET forgotten = 1 WHERE room = 1 AND membership = 1");
    add(Kind::Membership, "DELETE FROM memberships WHERE room = 1 AND membership = 1");
    add(Kind::Membership, "INSERT INTO memberships VALUES (999, 1, 1, 1, 1, 1, 0)");
    add(Kind::Servers, "DELETE FROM room_servers WHERE from_position = (SELECT MAX(from_position) FROM room_servers)");
    add(Kind::Servers, "UPDATE room_servers SET joined = joined + 1 WHERE room = 1 AND to_position IS NULL");
    add(Kind::Servers, "UPDATE room_servers SET to_position = 1 WHERE to_position IS NULL");
    add(
        Kind::Servers,
        "UPDATE room_servers SET from_position = from_position - 1 \
         WHERE from_position = (SELECT MAX(from_position) FROM room_servers)",
    );
    add(Kind::Class, "UPDATE events SET flags = flags & ~128 WHERE nid = MESSAGE");
    add(Kind::Class, "UPDATE events SET flags = flags | 512 WHERE nid = MESSAGE");
    add(Kind::Running, "UPDATE events SET countable = countable + 1 WHERE nid = MESSAGE");
    add(Kind::Running, "UPDATE events SET notify = 0 WHERE notify > 1 AND nid > MESSAGE");
    add(Kind::Running, "UPDATE events SET highlight = highlight + 1 WHERE nid = MESSAGE");
    add(Kind::Relation, "UPDATE events SET relation_target = x'00' WHERE relation_target IS NOT NULL");
    add(Kind::Relation, "UPDATE events SET relation_type = NULL WHERE relation_target IS NOT NULL");
    add(Kind::Relation, "UPDATE events SET thread = 0 WHERE thread <> 0");
    add(Kind::Relation, "UPDATE events SET thread = 1 WHERE nid = MESSAGE");
    add(Kind::Redaction, "UPDATE events SET redacted_by = NULL WHERE nid = REDACTED");
    add(Kind::Redaction, "UPDATE events SET redacted_by = MESSAGE WHERE nid = REDACTED");
    add(Kind::Redaction, "UPDATE events SET redacted_by = 4711 WHERE nid = REDACTED");
    add(Kind::Redaction, "UPDATE events SET redacted_by = nid + 1 WHERE nid = MESSAGE");
    add(
        Kind::Redaction,
        "INSERT INTO pending_redactions SELECT room, event_id, nid, 0 FROM events WHERE nid = MESSAGE",
    );
    add(Kind::Group, "UPDATE rooms SET service = NULL WHERE service IS NOT NULL");
    add(Kind::Group, "UPDATE rooms SET service = 1 WHERE nid = 1");
    add(Kind::Group, "DELETE FROM group_calls");
    add(Kind::Group, "INSERT INTO group_calls SELECT nid, room FROM events WHERE nid = MESSAGE");
    add(Kind::Group, "DELETE FROM group_dissolutions");
    add(Kind::Group, "INSERT INTO group_dissolutions VALUES (1)");
    add(Kind::Transaction, "UPDATE transactions SET event = 4711");
    add(Kind::Transaction, "UPDATE transactions SET event = MESSAGE");
    add(Kind::Transaction, "UPDATE transactions SET device = 2");
    add(
        Kind::Transaction,
        "UPDATE events SET device = 1, txn_id = '1' WHERE room = 1 AND type = (SELECT type FROM events WHERE nid = MESSAGE)",
    );
    add(Kind::Unread, "UPDATE read_to SET position = 1000000");
    add(Kind::Unread, "UPDATE personal_notifications SET highlight = 5");
    add(Kind::Unread, "UPDATE personal_notifications SET position = 4711");
    add(Kind::Unread, "UPDATE personal_notifications SET user = 1");
    add(Kind::Unread, "DELETE FROM personal_notifications");
    add(Kind::Unread, "UPDATE events SET notify = notify + 7 WHERE nid = (SELECT MAX(nid) FROM events WHERE room = 1)");

    add(Kind::Orphan, "UPDATE events SET room = 99 WHERE nid = MESSAGE");
    add(Kind::Orphan, "INSERT INTO event_json VALUES (4711, '{}')");
    add(Kind::Orphan, "UPDATE rejections SET event = MESSAGE WHERE event = (SELECT MIN(event) FROM rejections)");
    add(Kind::Orphan, "INSERT INTO room_state VALUES (4711, 1, 1, 1)");
    add(Kind::Orphan, "INSERT INTO group_mutes VALUES (1, 1, 1)");
    add(Kind::Orphan, "INSERT INTO group_invitations VALUES (1, 1, 1)");
    add(Kind::Orphan, "INSERT INTO group_requests (room, user, text, source, asked_ts) VALUES (1, 1, '', 3, 0)");
    add(Kind::Orphan, "INSERT INTO group_calls VALUES (4711, 1)");
    add(Kind::Orphan, "INSERT INTO message_numbers SELECT nid, nid + 1 FROM events WHERE nid = MESSAGE");
    add(Kind::Orphan, "INSERT INTO refused_events VALUES (4711, 1, 1)");
    add(Kind::Orphan, "INSERT INTO direct_rooms VALUES (1, 2, 2)");
    add(Kind::Orphan, "INSERT INTO friend_requests VALUES (1, 2, 4711, 0, '', 0, 1)");
    add(Kind::Orphan, "INSERT INTO unignored VALUES (4711, 1, 1)");
    add(Kind::Orphan, "INSERT INTO third_party_ids VALUES ('email', 'x', 4711, 0, 0)");
    out
}

#[tokio::test]
async fn each_damage_is_found() {
    let f = filled().await;
    let mut missed = Vec::new();
    for damage in damages() {
        match f.check_damaged(&damage.sql) {
            Ok(report) if report.has(damage.found) => {}
            Ok(report) => missed.push(format!("{}: no {:?} in\n{}", damage.sql, damage.found, text(&report))),
            Err(error) => missed.push(format!("{}: {error}", damage.sql)),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
