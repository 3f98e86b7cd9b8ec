//! What is written of announcements fits the schemas in spec/events; what their lists cost.

use std::time::Instant;

use ruma::{EventId, OwnedEventId, RoomVersionId, UserId, user_id};
use serde_json::{Value, json};

use super::{
    announcement_readers::{Post, ReadState, find},
    announcements::Notice,
    announcing::{message_content, replacing},
    answers::Outcome,
    calls::Action,
    confirming::confirmation_content,
};
use crate::{
    rooms::group_calls::CONFIRM,
    store::{
        Store, StoreError, WriteTx, events,
        events::{NewEvent, Running},
        ids,
        ids::{EventNid, RoomKey, UserNid},
        members,
        members::{MemberRow, Membership},
        receipts,
        receipts::NewReceipt,
        rooms,
    },
};

fn valid(schema: &str, value: &Value) -> bool {
    let schema: Value = yaml_serde::from_str(schema).unwrap();
    jsonschema::validator_for(&schema).unwrap().is_valid(value)
}

macro_rules! schema {
    ($name:literal) => {
        include_str!(concat!("../../spec/events/", $name, ".yaml"))
    };
}

fn post() -> OwnedEventId {
    EventId::parse(format!("${:043}", 0)).unwrap()
}

#[test]
fn announcements_fit() {
    let schema = schema!("org.linkim.group.notice");
    let event = |content| json!({ "type": "org.linkim.group.notice", "state_key": "", "content": content });
    let author = user_id!("@alice:a.example").to_owned();
    let mut notice =
        Notice { text: "字".repeat(5_000), author, ts: 1, edited_ts: None, must_confirm: true, post: post() };
    assert!(valid(schema, &event(json!(notice.content()))));
    notice.edited_ts = Some(2);
    assert!(valid(schema, &event(json!(notice.content()))) && valid(schema, &event(json!({}))));
    notice.text.push('字');
    assert!(!valid(schema, &event(json!(notice.content()))));

    let schema = schema!("org.linkim.group.confirm");
    let event = |content| json!({ "type": "org.linkim.group.confirm", "content": content });
    assert!(valid(schema, &event(json!(confirmation_content(&post())))));
    assert!(!valid(schema, &event(json!({}))));
}

#[test]
fn requests_and_results_fit() {
    let schema = schema!("org.linkim.group.request");
    let event = |content| json!({ "type": "org.linkim.group.request", "content": content });
    let bob = || user_id!("@bob:b.example").to_owned();
    for action in [
        Action::Mute { user_id: bob(), seconds: 60 },
        Action::MuteAll { mute: true },
        Action::Settings { look_member_info: Some(1), apply_member_friend: None },
        Action::JoinMode { join_mode: 2 },
        Action::Dissolve {},
    ] {
        let content = json!(action.content().unwrap());
        assert!(valid(schema, &event(content.clone())), "{content}");
        assert_eq!(serde_json::from_value::<Action>(content).unwrap(), action);
    }
    for content in
        [json!({}), json!({ "action": "explode", "arguments": {} }), json!({ "action": "mute", "arguments": {} })]
    {
        assert!(!valid(schema, &event(content.clone())), "{content}");
    }

    let schema = schema!("org.linkim.group.result");
    let event = |content| json!({ "type": "org.linkim.group.result", "content": content });
    let refused = Outcome::Refused { errcode: 1002, error: "no".into() };
    for outcome in [Outcome::Done, refused] {
        assert!(valid(schema, &event(json!(outcome.content(&post())))));
    }
    assert!(!valid(
        schema,
        &event(json!({ "m.relates_to": { "rel_type": "m.reference", "event_id": "$a" }, "ok": false }))
    ));
}

#[test]
fn the_largest_announcement_is_an_event() {
    // Control characters take six bytes each.
    let text = "\u{1}".repeat(5_000);
    assert!(json!(message_content(&text, true)).to_string().len() < 60_000);
    // A replacement has its text twice, and the event around it a few hundred bytes.
    assert!(json!(replacing(&post(), &text, true)).to_string().len() < 64_000);
}

const MEMBERS: i64 = 5_000;

/// 5,000 members, of whom 4,000 have read it, 2,000 confirmed it by an event and 1,000 others by a check mark.
fn crowd(tx: &WriteTx<'_>) -> Result<(RoomKey, Post), StoreError> {
    let room_id: ruma::OwnedRoomId = "!crowd:a.example".try_into().unwrap();
    let (nid, main_line) = rooms::create(tx, &room_id, RoomVersionId::V12.as_str())?;
    let room = RoomKey { nid, room_id, version: RoomVersionId::V12, main_line, service: None };
    let author = ids::intern_user(tx, user_id!("@author:a.example"))?;
    let post = Post { event_id: post(), position: Some(insert(tx, &room, author, &post(), None)?), author };
    for number in 0..MEMBERS {
        let id = UserId::parse(format!("@member-{number}:a.example")).unwrap();
        let user = ids::intern_user(tx, &id)?;
        let position = tx.next_position();
        members::put(
            tx,
            &MemberRow {
                user,
                room: room.nid,
                membership: Membership::Join,
                event: EventNid(position),
                position,
                since: position,
                forgotten: false,
            },
        )?;
        let event_id = EventId::parse(format!("${:043}", number + 1)).unwrap();
        let relation = match number {
            0..2_000 => Some((CONFIRM, "m.reference")),
            2_000..3_000 => Some(("m.reaction", "m.annotation")),
            _ => None,
        };
        if relation.is_some() {
            insert(tx, &room, user, &event_id, relation)?;
        }
        if number < 4_000 {
            let ordering = post.position.unwrap_or_default();
            let event = EventNid(ordering);
            receipts::put(
                tx,
                &NewReceipt { room: room.nid, user, thread: "", event, ordering, ts: 1, position: tx.next_position() },
            )?;
        }
    }
    Ok((room, post))
}

fn insert(
    tx: &WriteTx<'_>,
    room: &RoomKey,
    sender: UserNid,
    event_id: &EventId,
    relation: Option<(&str, &str)>,
) -> Result<i64, StoreError> {
    let position = tx.next_position();
    let target = post();
    let (kind, relation) = match relation {
        Some((kind, relation)) => (kind, Some((ids::intern_type(tx, relation)?, &*target))),
        None => ("m.room.message", None),
    };
    let json = json!({ "content": { "m.relates_to": { "key": "✅" } }, "padding": "x".repeat(500) }).to_string();
    events::insert(
        tx,
        &NewEvent {
            nid: EventNid(position),
            event_id,
            room: room.nid,
            position: Some(position),
            depth: position,
            kind: ids::intern_type(tx, kind)?,
            state_key: None,
            sender,
            origin_ts: 1,
            received_ts: 1,
            flags: 0,
            before: None,
            after: None,
            relation,
            thread: None,
            running: Running::default(),
            transaction: None,
            json: &json,
        },
    )?;
    Ok(position)
}

/// Prints what the lists of a group of 5,000 cost (spec/decisions/0020-announcements.md).
#[tokio::test]
async fn the_lists_of_a_large_group_are_one_pass() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
    let (room, post) = store.write::<_, StoreError, _>(crowd).await.unwrap();
    store
        .read::<_, StoreError, _>(move |read| {
            for (state, wanted) in [
                (ReadState::Read, 4_000),
                (ReadState::Unread, 1_000),
                (ReadState::Confirmed, 3_000),
                (ReadState::Unconfirmed, 2_000),
            ] {
                let began = Instant::now();
                let found = find(read, &room, &post, state)?;
                println!("{state:?}: {:?}", began.elapsed());
                assert_eq!(found.wanted.len(), wanted, "{state:?}");
                assert_eq!((found.counts.members, found.counts.read, found.counts.confirmed), (5_000, 4_000, 3_000));
            }
            Ok(())
        })
        .await
        .unwrap();
}
