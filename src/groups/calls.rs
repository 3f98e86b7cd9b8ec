//! What an admin does in a group of another server's: their own server asks that server, by an event in the group, where their
//! own power does not suffice. An owner has the power; only dissolving is the group's server's alone.

use std::{pin::pin, sync::Arc, time::Duration};

use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, OwnedUserId};
use serde::{Deserialize, Serialize};

use super::{Actor, GroupError, Groups, OWNER_LEVEL, Role, Roles, act::caller, answers::Outcome};
use crate::{
    rooms::{
        append::LocalEvent,
        group_calls::{LOOKED_AT, REQUEST, RESULT},
        power::Level,
        state,
    },
    store::{
        Read, StoreError, events,
        ids::{RoomKey, RoomNid, UserNid},
        relations,
    },
};

/// How long a call waits for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked, as the content of the event says it. Users are named by their ids: numbers are each server's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "action", content = "arguments", rename_all = "snake_case")]
pub(super) enum Action {
    /// A member is muted for so many seconds; 0 lifts it.
    Mute { user_id: OwnedUserId, seconds: i64 },
    /// Only the owner and admins may talk, or everybody.
    MuteAll { mute: bool },
    /// What members may see of each other.
    Settings {
        #[serde(skip_serializing_if = "Option::is_none")]
        look_member_info: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        apply_member_friend: Option<i64>,
    },
    /// How one comes in.
    JoinMode { join_mode: i64 },
    /// The group ends.
    Dissolve {},
}

impl Action {
    pub(super) fn content(&self) -> Result<CanonicalJsonObject, StoreError> {
        let broken = |error: &dyn std::fmt::Display| StoreError::Engine(error.to_string());
        let value = serde_json::to_value(self).map_err(|error| broken(&error))?;
        match CanonicalJsonValue::try_from(value).map_err(|error| broken(&error))? {
            CanonicalJsonValue::Object(content) => Ok(content),
            _ => Err(broken(&"an action is no object")),
        }
    }
}

/// Where something is done.
enum Place {
    Here,
    There(UserNid),
}

impl Groups {
    /// Asks the group's own server, if that must do this; true: it did. False: it is to be done here.
    ///
    /// # Errors
    /// `Pending` if it has not answered yet, `Elsewhere` if it refused; what [`caller`] says; `NotPermitted` for a role that
    /// does not suffice.
    pub(super) async fn elsewhere(&self, room: &Arc<RoomKey>, by: &Actor, action: Action) -> Result<bool, GroupError> {
        let Some(service) = room.service.filter(|service| *service != self.service.user) else { return Ok(false) };
        let (of, user, dissolves) = (room.clone(), by.clone(), action == Action::Dissolve {});
        let place = self
            .store
            .read::<_, GroupError, _>(move |read| {
                let roles = Roles::of(read, &of)?;
                let role = caller(read, &of, &roles, user.user)?;
                let (needed, who) = match dissolves {
                    true => (Role::Owner, "the owner"),
                    false => (Role::Admin, "the owner and the admins"),
                };
                if role < needed {
                    return Err(GroupError::NotPermitted(format!("only {who} of the group may do this")));
                }
                let own = !dissolves && roles.power().of(&user.user_id) >= Level::Number(OWNER_LEVEL);
                Ok(if own { Place::Here } else { Place::There(service) })
            })
            .await?;
        let Place::There(service) = place else { return Ok(false) };
        let event = LocalEvent::message(by.user_id.clone(), REQUEST, action.content()?);
        let appended = self.appenders.append(room.nid, vec![event], None).await?;
        let request = appended.into_iter().next().map(|appended| appended.event_id);
        let request = request.ok_or_else(|| StoreError::Engine("an append of one event answered none".into()))?;
        match tokio::time::timeout(PATIENCE, self.answer(room.nid, service, request)).await {
            Err(_) => Err(GroupError::Pending),
            Ok(outcome) => match outcome? {
                Outcome::Done => Ok(true),
                Outcome::Refused { errcode, error } => Err(GroupError::Elsewhere { errcode, error }),
            },
        }
    }

    /// Waits for the answer to a request.
    async fn answer(&self, room: RoomNid, service: UserNid, request: OwnedEventId) -> Result<Outcome, StoreError> {
        let calls = self.appenders.calls();
        loop {
            let mut woken = pin!(calls.notified());
            // First listen, then look.
            woken.as_mut().enable();
            let request = request.clone();
            let found = self.store.read(move |read| outcome(read, room, service, &request)).await?;
            if let Some(outcome) = found {
                return Ok(outcome);
            }
            woken.await;
        }
    }
}

/// What the group's service user answered to a request, if it did.
fn outcome(read: &dyn Read, room: RoomNid, service: UserNid, request: &EventId) -> Result<Option<Outcome>, StoreError> {
    let Some(row) = events::by_id(read, request)?.filter(|row| row.room == room) else { return Ok(None) };
    for answer in relations::references(read, &row, LOOKED_AT)? {
        if answer.sender == service && &*answer.kind == RESULT && answer.state_key.is_none() {
            return Ok(Some(Outcome::of_pdu(&*state::load_pdu(read, answer.nid)?)));
        }
    }
    Ok(None)
}
