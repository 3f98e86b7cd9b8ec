//! The services of rooms on a real store and real appenders.

mod create;
mod membership;
mod outside;
mod send;
mod upgrade;

use linkim_federation::STABLE_VERSIONS;
use ruma::{CanonicalJsonObject, EventId, OwnedRoomId, room_id};
use serde_json::{Value, json};

use super::{
    aliases::AliasError,
    append::AppendError,
    checks::ContentError,
    create::{CreateError, CreateRequest, InitialState},
    directory::{DirectoryError, DirectoryPage, DirectoryQuery},
    fixture::{Fixture, content, transaction},
    hierarchy::{HierarchyError, HierarchyPage, HierarchyQuery},
    membership::{Change, MembershipError, MembershipState},
    presets::{Preset, Visibility},
    send::SendError,
    upgrade::UpgradeError,
};
use crate::{
    accounts::Session,
    params,
    store::{account_data, aliases, events, rooms},
};

fn public() -> CreateRequest {
    CreateRequest { preset: Some(Preset::PublicChat), ..CreateRequest::default() }
}

fn with_join_rule(room_version: &str, rule: Value) -> CreateRequest {
    CreateRequest {
        room_version: Some(room_version.into()),
        initial_state: vec![InitialState {
            kind: "m.room.join_rules".into(),
            state_key: String::new(),
            content: content(rule),
        }],
        ..CreateRequest::default()
    }
}

fn text(body: &str) -> CanonicalJsonObject {
    content(json!({ "msgtype": "m.text", "body": body }))
}

async fn count_rooms(f: &Fixture) -> i64 {
    f.read(|read| read.one("SELECT COUNT(*) FROM rooms", params![], |row| row.get(0))).await.unwrap()
}

fn restricted(room_version: &str, rule: &str, to: &OwnedRoomId) -> CreateRequest {
    let rule = json!({ "join_rule": rule, "allow": [{ "type": "m.room_membership", "room_id": to }] });
    with_join_rule(room_version, rule)
}
