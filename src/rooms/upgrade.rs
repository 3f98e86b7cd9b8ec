//! Room upgrades: a room of another version takes a room's place.
//!
//! Source: Client-Server API, "Room upgrades", server behaviour, whose numbered steps [`Upgrades::upgrade`] follows. What the
//! new room's events are, is in `upgrade_plan`.

use std::sync::Arc;

use linkim_federation::rules;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId};

use super::{
    append::{Along, AppendError, Appenders, LocalEvent, NewRoom},
    content::object,
    power::Power,
    predecessor,
    profile::MemberProfile,
    state,
    upgrade_plan::{self, OldRoom, TRANSFERRED},
};
use crate::{
    accounts::Session,
    store::{
        Read, Store, StoreError, aliases, events, ids,
        ids::{RoomKey, RoomNid},
        members,
        members::Membership,
        rooms, state as stored_state,
    },
};

/// Bans, and children of a space, that go along at most; what is beyond stays behind.
const MAX_TAKEN_ALONG: usize = 1000;

/// Why a room was not upgraded.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// No such room here.
    #[error("no such room")]
    UnknownRoom,
    /// It is a group of LinkIM's.
    #[error("this room is a group of LinkIM's: it cannot be upgraded")]
    Group,
    /// No such room version here.
    #[error("this server does not support room version {0:?}")]
    UnsupportedVersion(String),
    /// The user may not.
    #[error("{0}")]
    Forbidden(String),
    /// The events could not be appended.
    #[error(transparent)]
    Append(AppendError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AppendError> for UpgradeError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Denied(reason) => Self::Forbidden(reason),
            AppendError::Store(error) => Self::Store(error),
            other => Self::Append(other),
        }
    }
}

/// Upgrades rooms.
pub struct Upgrades {
    store: Store,
    appenders: Arc<Appenders>,
}

/// The old room, and what ends it.
struct Known {
    room: Arc<RoomKey>,
    old: OldRoom,
    listed: bool,
    profile: MemberProfile,
    /// Its power levels with everybody silenced; None if the user may not set them.
    silenced: Option<CanonicalJsonObject>,
    /// Whether the user may take its canonical alias away, and it has one.
    loses_alias: bool,
}

impl Upgrades {
    /// On this store.
    pub fn new(store: Store, appenders: Arc<Appenders>) -> Self {
        Self { store, appenders }
    }

    /// Upgrades a room; answers the new one's id once both are durable. `additional_creators` counts in versions that know
    /// them.
    ///
    /// # Errors
    /// [`UpgradeError`]; the old room is as it was then.
    pub async fn upgrade(
        &self,
        by: &Session,
        room: &RoomId,
        version: &str,
        additional_creators: Vec<OwnedUserId>,
    ) -> Result<OwnedRoomId, UpgradeError> {
        let unsupported = || UpgradeError::UnsupportedVersion(version.to_owned());
        let new_version = RoomVersionId::try_from(version).map_err(|_| unsupported())?;
        let new_rules = rules(&new_version).ok_or_else(unsupported)?;
        // 1.
        let (session, room) = (by.clone(), room.to_owned());
        let known = self.store.read(move |read| look(read, &session, &room)).await?;
        // 2. and 3.
        let target = upgrade_plan::Target {
            creator: by.user_id.clone(),
            version: &new_version,
            rules: new_rules,
            additional_creators,
            profile: &known.profile,
        };
        let (create_content, events) = upgrade_plan::plan(&known.old, &target);
        let new = NewRoom { version: new_version.clone(), creator: by.user_id.clone(), create_content };
        let (user, predecessor) = (by.user, known.room.clone());
        let along: Along = Box::new(move |tx, room, _| {
            rooms::set_predecessor(tx, room, predecessor.room_id.as_str())?;
            let new = ids::room_by_nid(tx, room)?;
            predecessor::carry_over(tx, user, &predecessor, &new.room_id)
        });
        let (new_room, _) = self.appenders.create(new, events, Some(along)).await?;
        // 4. to 6.
        if let Err(error) = self.end_old(by, &known, &new_room).await {
            self.abandon(by, new_room.nid).await;
            return Err(error.into());
        }
        Ok(new_room.room_id.clone())
    }

    /// Moves aliases and listing, and sends the tombstone: all of it or nothing.
    async fn end_old(&self, by: &Session, known: &Known, new: &RoomKey) -> Result<(), AppendError> {
        let along = || -> Along {
            let (old, new, successor, listed) = (known.room.nid, new.nid, new.room_id.clone(), known.listed);
            Box::new(move |tx, _, _| {
                aliases::move_all(tx, old, new)?;
                if listed {
                    rooms::set_listed(tx, old, false)?;
                    rooms::set_listed(tx, new, true)?;
                }
                rooms::set_successor(tx, old, Some(successor.as_str()))
            })
        };
        let state = |kind: &str, content| LocalEvent::state(by.user_id.clone(), kind, "", content);
        let tombstone = || {
            let body = object([
                ("body", "This room has been replaced".into()),
                ("replacement_room", new.room_id.as_str().into()),
            ]);
            state("m.room.tombstone", body)
        };
        let mut events = Vec::new();
        if known.loses_alias {
            events.push(state("m.room.canonical_alias", CanonicalJsonObject::new()));
        }
        events.push(tombstone());
        if let Some(levels) = &known.silenced {
            events.push(state("m.room.power_levels", levels.clone()));
        }
        let all = events.len();
        match self.appenders.append(known.room.nid, events, Some(along())).await {
            // What is only wished for must not prevent the tombstone ("if possible").
            Err(AppendError::Denied(_)) if all > 1 => {
                self.appenders.append(known.room.nid, vec![tombstone()], Some(along())).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Leaves a new room whose old one could not be ended. A failure is logged: then the user sees one room too many.
    async fn abandon(&self, by: &Session, room: RoomNid) {
        let leave = object([("membership", "leave".into())]);
        let event = LocalEvent::state(by.user_id.clone(), "m.room.member", by.user_id.as_str(), leave);
        let user = by.user;
        let along: Along = Box::new(move |tx, room, _| members::forget(tx, user, room, tx.next_position()));
        if let Err(error) = self.appenders.append(room, vec![event], Some(along)).await {
            tracing::warn!(%error, "could not leave the room of a failed upgrade");
        }
    }
}

/// Looks at the old room, and at whether the user may upgrade it.
fn look(read: &dyn Read, by: &Session, room: &RoomId) -> Result<Known, UpgradeError> {
    let room = ids::room(read, room)?.ok_or(UpgradeError::UnknownRoom)?;
    let member = members::of(read, by.user, room.nid)?;
    if member.is_none_or(|member| member.membership != Membership::Join) {
        return Err(UpgradeError::Forbidden("you are not in this room".into()));
    }
    // The new room would be none: who upgrades would be its creator, above all owners.
    if room.service.is_some() {
        return Err(UpgradeError::Group);
    }
    let power = Power::of_room(read, &room)?;
    let own = power.of(&by.user_id);
    if own < power.to_send("m.room.tombstone", true) {
        return Err(UpgradeError::Forbidden("you do not have the power to upgrade this room".into()));
    }
    let mut old = OldRoom {
        room_id: room.room_id.clone(),
        newest_event: match rooms::newest_event(read, room.nid)? {
            Some((nid, _)) => Some(events::id(read, nid)?),
            None => None,
        },
        create: state::current_content(read, room.nid, "m.room.create", "")?.unwrap_or_default(),
        creators: privileged_creators(&room, &power),
        state: Vec::new(),
        children: Vec::new(),
        banned: Vec::new(),
        aliases: aliases::of_room(read, room.nid)?,
    };
    for kind in TRANSFERRED {
        if let Some(content) = state::current_content(read, room.nid, kind, "")? {
            old.state.push((kind, content));
        }
    }
    if old.create.get("type") == Some(&CanonicalJsonValue::from("m.space")) {
        old.children = children(read, room.nid)?;
    }
    for member in members::of_room(read, room.nid, Membership::Ban)?.into_iter().take(MAX_TAKEN_ALONG) {
        let user = ids::user_id(read, member.user)?;
        if let Some(content) = state::current_content(read, room.nid, "m.room.member", user.as_str())? {
            old.banned.push((user, content));
        }
    }
    let levels: Option<CanonicalJsonObject> = state::current_content(read, room.nid, "m.room.power_levels", "")?;
    let may = |kind: &str| own >= power.to_send(kind, true);
    Ok(Known {
        listed: rooms::listed(read, room.nid)?,
        profile: MemberProfile::load(read, by.user)?,
        silenced: levels.filter(|_| may("m.room.power_levels")).map(upgrade_plan::silence),
        loses_alias: may("m.room.canonical_alias") && old.has("m.room.canonical_alias"),
        old,
        room,
    })
}

/// The creators of a room in whose version they stand above all levels.
fn privileged_creators(room: &RoomKey, power: &Power) -> Vec<OwnedUserId> {
    let privileged = rules(&room.version).is_some_and(|r| r.authorization.explicitly_privilege_room_creators);
    let creators = power.creators().iter().filter(|_| privileged);
    creators.filter_map(|user| user.as_str().try_into().ok()).collect()
}

/// The children of a space that are not taken away.
fn children(read: &dyn Read, room: RoomNid) -> Result<Vec<(String, CanonicalJsonObject)>, StoreError> {
    let Some(kind) = ids::type_nid(read, "m.space.child")? else { return Ok(Vec::new()) };
    let mut children = Vec::new();
    for (key, nid) in stored_state::current_of_type(read, room, kind)?.into_iter().take(MAX_TAKEN_ALONG) {
        let pdu = state::load_pdu(read, nid)?;
        let content: CanonicalJsonObject = serde_json::from_str(pdu.content().get()).unwrap_or_default();
        if content.contains_key("via") {
            children.push((key, content));
        }
    }
    Ok(children)
}
