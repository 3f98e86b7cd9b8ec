//! Which servers to ask about a room's past, the most likely ones first.

use ruma::{OwnedServerName, ServerName};

use crate::{
    rooms::state,
    store::{
        Read, StoreError, aliases, events, ids,
        ids::{EventNid, RoomNid},
        server_standing,
    },
};

/// Servers of each kind that are named at most.
const EACH: i64 = 5;

/// Servers that may have what came before an event: its sender's first, as it named what is missing; then those that have
/// been in the room longest, the creator's, and those with the most members. Not `own`.
///
/// # Errors
/// The store's.
pub(super) fn of_past(
    read: &dyn Read,
    room: RoomNid,
    event: Option<EventNid>,
    own: &ServerName,
) -> Result<Vec<OwnedServerName>, StoreError> {
    let mut named = Vec::new();
    if let Some(event) = event {
        let sender = ids::user_id(read, events::by_nid(read, event)?.sender)?;
        named.push(sender.server_name().to_owned());
    }
    let longest = aliases::servers(read, room, EACH)?;
    named.extend(longest.into_iter().filter_map(|name| OwnedServerName::try_from(name).ok()));
    if let Some(create) = state::current(read, room, "m.room.create", "")? {
        named.push(create.sender().server_name().to_owned());
    }
    named.extend(server_standing::by_members(read, room, EACH)?);
    let mut servers: Vec<OwnedServerName> = Vec::new();
    for name in named {
        if name != own && !servers.contains(&name) {
            servers.push(name);
        }
    }
    Ok(servers)
}
