//! The summary of a room: how many are in it, and who stands for its name.
//!
//! Source: Client-Server API, "Syncing", `summary`; "Calculating the display name for a room".

use serde::Deserialize;

use super::{body::Object, view::View};
use crate::{
    rooms::state,
    store::{
        StoreError, ids,
        ids::{RoomKey, UserNid},
        partial_joins::Standing,
        rooms,
        rooms::RoomHeadRow,
        sync,
    },
};

/// Heroes at most.
const HEROES: usize = 5;

/// Members up to which heroes are found in the order of their joining. Above, that would be a scan in each answer for a room
/// without a name; clients show the number of such a crowd, not its names.
const FEW: i64 = 500;

#[derive(Deserialize)]
struct Name {
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct CanonicalAlias {
    #[serde(default)]
    alias: Option<String>,
}

/// A room's summary.
#[derive(Debug)]
pub(super) struct Summary {
    /// Who stands for the room's name, if it has none.
    pub(super) heroes: Option<Vec<UserNid>>,
    joined: i64,
    invited: i64,
    /// Whether the counts and heroes are of those members alone who are known so far; none where that is as the client knows.
    partial: Option<bool>,
}

impl Summary {
    /// Reads the summary of a room as it is now, and as the client of a place is told of its `members`.
    pub(super) fn read(
        view: &View<'_>,
        room: &RoomKey,
        head: &RoomHeadRow,
        (members, since): (Standing, Option<i64>),
    ) -> Result<Self, StoreError> {
        let read = view.read;
        let name: Option<Name> = state::current_content(read, room.nid, "m.room.name", "")?;
        let mut named = name.and_then(|name| name.name).is_some_and(|name| !name.is_empty());
        if !named {
            let alias: Option<CanonicalAlias> = state::current_content(read, room.nid, "m.room.canonical_alias", "")?;
            named = alias.and_then(|alias| alias.alias).is_some_and(|alias| !alias.is_empty());
        }
        let heroes = if named { None } else { Some(heroes(view, room, head)?) };
        let ended = since.is_some_and(|since| members.filled > since);
        let partial = (members.partial || ended).then_some(members.partial);
        let joined = head.joined - rooms::hidden_members(read, room)?;
        Ok(Self { heroes, joined, invited: head.invited, partial })
    }

    /// The summary as JSON.
    pub(super) fn write(&self, view: &View<'_>, out: &mut String) -> Result<(), StoreError> {
        let mut summary = Object::default();
        if let Some(heroes) = &self.heroes {
            let heroes = heroes.iter().map(|hero| ids::user_id(view.read, *hero)).collect::<Result<Vec<_>, _>>()?;
            let heroes = serde_json::to_string(&heroes).map_err(|e| StoreError::Damaged(e.to_string()))?;
            summary.put("m.heroes", &heroes);
        }
        summary.put("m.joined_member_count", &self.joined.to_string());
        summary.put("m.invited_member_count", &self.invited.to_string());
        if let Some(partial) = self.partial {
            summary.put("org.linkim.partial_state", if partial { "true" } else { "false" });
        }
        out.push_str(&summary.finish());
        Ok(())
    }
}

fn heroes(view: &View<'_>, room: &RoomKey, head: &RoomHeadRow) -> Result<Vec<UserNid>, StoreError> {
    let (read, me) = (view.read, view.viewer.user);
    // One more than needed: a group's service user stands for nothing.
    let shown = |mut members: Vec<UserNid>| {
        members.retain(|member| room.service != Some(*member));
        members.truncate(HEROES);
        members
    };
    if head.joined + head.invited > FEW {
        return Ok(shown(sync::some_members(read, room.nid, me, HEROES + 1)?));
    }
    let heroes = shown(sync::first_members(read, room.nid, me, HEROES + 1)?);
    if !heroes.is_empty() {
        return Ok(heroes);
    }
    Ok(shown(sync::former_members(read, room.nid, me, HEROES + 1)?))
}
