//! Restricted joins: who may join without an invitation because they are in another room, and who vouches for it.
//!
//! Source: Client-Server API, "Restricted rooms"; Server-Server API, "Restricted rooms".

use std::sync::Arc;

use linkim_federation::rules;
use ruma::{OwnedUserId, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::Value;

use super::{
    power::{Level, Power},
    state,
};
use crate::store::{
    Read, StoreError, ids,
    ids::{RoomKey, UserNid},
    members,
    members::Membership,
    room_servers, rooms,
};

/// What a room's join rule makes of a join without an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Restriction {
    /// The join rule is not a restricted one: the authorisation rules decide alone.
    None,
    /// A condition is met, and this local member may vouch for it.
    Via(OwnedUserId),
    /// No condition is met.
    Unmet,
    /// A condition is met, but nobody here may invite.
    NobodyVouches,
}

#[derive(Default, Deserialize)]
struct JoinRules {
    join_rule: Option<String>,
    #[serde(default)]
    allow: Vec<Value>,
}

/// Decides on a user who is neither joined nor invited.
pub(crate) fn decide(
    read: &dyn Read,
    room: &RoomKey,
    user: Option<UserNid>,
    server_name: &ServerName,
) -> Result<Restriction, StoreError> {
    if !is_restricted(read, room)? {
        return Ok(Restriction::None);
    }
    if !meets_condition(read, room, user)? {
        return Ok(Restriction::Unmet);
    }
    Ok(voucher(read, room, server_name)?.map_or(Restriction::NobodyVouches, Restriction::Via))
}

/// Whether the join rule is `restricted` or `knock_restricted` in a version that knows it.
fn is_restricted(read: &dyn Read, room: &RoomKey) -> Result<bool, StoreError> {
    let join_rules: JoinRules = state::current_content(read, room.nid, "m.room.join_rules", "")?.unwrap_or_default();
    let Some(rules) = rules(&room.version) else { return Ok(false) };
    Ok(match join_rules.join_rule.as_deref() {
        Some("restricted") => rules.authorization.restricted_join_rule,
        Some("knock_restricted") => rules.authorization.knock_restricted_join_rule,
        _ => false,
    })
}

/// Whether the user is in one of the rooms that the join rules allow. Only what our own state says counts.
pub(crate) fn meets_condition(read: &dyn Read, room: &RoomKey, user: Option<UserNid>) -> Result<bool, StoreError> {
    let Some(user) = user else { return Ok(false) };
    let join_rules: JoinRules = state::current_content(read, room.nid, "m.room.join_rules", "")?.unwrap_or_default();
    for condition in &join_rules.allow {
        let Some(allowed) = allowed_room(read, condition)? else { continue };
        let joined = members::of(read, user, allowed.nid)?.is_some_and(|member| member.membership == Membership::Join);
        // Of a room that all of ours left we know no more who is in it.
        if joined && rooms::head(read, allowed.nid)?.local_joined > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The room of a condition, if it is one on rooms and the room is known here.
fn allowed_room(read: &dyn Read, condition: &Value) -> Result<Option<Arc<RoomKey>>, StoreError> {
    if condition["type"] != "m.room_membership" {
        return Ok(None);
    }
    match condition["room_id"].as_str().and_then(|id| <&RoomId>::try_from(id).ok()) {
        Some(allowed) => ids::room(read, allowed),
        None => Ok(None),
    }
}

/// Whether this server is able to say that a user meets no condition: there is none that it could not check, or it is in one
/// of the rooms at least.
pub(crate) fn can_judge(read: &dyn Read, room: &RoomKey, server_name: &ServerName) -> Result<bool, StoreError> {
    let join_rules: JoinRules = state::current_content(read, room.nid, "m.room.join_rules", "")?.unwrap_or_default();
    let on_rooms = |condition: &&Value| condition["type"] == "m.room_membership" && condition["room_id"].is_string();
    let mut none = true;
    for condition in join_rules.allow.iter().filter(on_rooms) {
        none = false;
        if let Some(allowed) = allowed_room(read, condition)?
            && room_servers::server_in_room(read, allowed.nid, server_name)?
        {
            return Ok(true);
        }
    }
    Ok(none)
}

/// A joined local member who may invite: the one with the most power, of equals the one whose id sorts first.
fn voucher(read: &dyn Read, room: &RoomKey, server_name: &ServerName) -> Result<Option<OwnedUserId>, StoreError> {
    let power = Power::of_room(read, room)?;
    let mut candidates: Vec<(Level, &UserId)> = power
        .listed()
        .chain(power.creators().iter().map(String::as_str))
        .filter_map(|user| <&UserId>::try_from(user).ok())
        .filter(|user| user.server_name() == server_name)
        .map(|user| (power.of(user), user))
        .filter(|(level, _)| *level >= power.to_invite())
        .collect();
    candidates.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    for (_, user) in candidates {
        let Some(nid) = ids::user_nid(read, user)? else { continue };
        if members::of(read, nid, room.nid)?.is_some_and(|member| member.membership == Membership::Join) {
            return Ok(Some(user.to_owned()));
        }
    }
    // Nobody who is named may: but perhaps everybody may.
    for nid in members::local_joined(read, room.nid)? {
        let user = ids::user_id(read, nid)?;
        if power.of(&user) >= power.to_invite() {
            return Ok(Some(user));
        }
    }
    Ok(None)
}
