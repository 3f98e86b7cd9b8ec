//! What admins on other servers ask of groups made here: executed by the service user by the same rules as what local admins
//! ask, and answered.
//!
//! A request is noted in the transaction of its event, and forgotten in that of its result, which is the transaction of what was
//! done. So it acts once, whatever is cut off when.

use std::{pin::pin, sync::Arc, time::Duration};

use linkim_federation::Pdu;
use ruma::{CanonicalJsonObject, EventId, OwnedEventId, UserId};
use serde::Deserialize;

use super::{Actor, GroupError, Groups, JoinMode, act::Plan, calls::Action};
use crate::{
    numbers::User,
    rooms::{
        append::LocalEvent,
        content::{number, object},
        group_calls::{MAX_AGE_MS, RESULT},
        state,
    },
    store::{
        StoreError, events, group_calls, ids,
        ids::{EventNid, RoomKey, RoomNid},
    },
};

/// Bytes of a request's content at most.
const MAX_CONTENT: usize = 4_096;

/// Characters of a refusal's text at most, written or believed.
const MAX_ERROR: usize = 500;

/// Requests read at once.
const CHUNK: usize = 100;

/// After a failure.
const RETRY: Duration = Duration::from_secs(5);

/// The event by which an admin asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Its number.
    pub(super) nid: EventNid,
    /// Its id.
    pub(super) event_id: OwnedEventId,
}

impl Request {
    /// The event that says that it was done.
    pub(super) fn done(&self, executor: &UserId) -> LocalEvent {
        LocalEvent::message(executor.to_owned(), RESULT, Outcome::Done.content(&self.event_id))
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Refused { errcode: u32, error: String },
}

impl Outcome {
    pub(super) fn content(&self, request: &EventId) -> CanonicalJsonObject {
        let relation = object([("event_id", request.as_str().into()), ("rel_type", "m.reference".into())]);
        let mut content = object([("m.relates_to", relation.into()), ("ok", (*self == Self::Done).into())]);
        if let Self::Refused { errcode, error } = self {
            content.insert("errcode".into(), number((*errcode).into()));
            content.insert("error".into(), error.as_str().into());
        }
        content
    }

    /// What a result says. One that is malformed says that it was refused.
    pub(super) fn of_pdu(pdu: &Pdu) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Content {
            ok: bool,
            errcode: Option<u32>,
            error: String,
        }
        let content: Content = serde_json::from_str(pdu.content().get()).unwrap_or_default();
        if content.ok {
            return Self::Done;
        }
        let error = content.error.chars().take(MAX_ERROR).collect();
        Self::Refused { errcode: content.errcode.unwrap_or(errcode::NO_PERMISSION), error }
    }

    /// Why something was not done. None: it may be done yet.
    fn of_error(error: &GroupError) -> Option<Self> {
        let errcode = match error {
            GroupError::Busy | GroupError::Store(_) | GroupError::Pending => return None,
            GroupError::NotInGroup | GroupError::TargetNotInGroup(_) => errcode::NOT_IN_GROUP,
            GroupError::Dissolved => errcode::GROUP_DISMISSED,
            GroupError::Argument(_) => errcode::ARGUMENT,
            GroupError::Already(_) => errcode::DUPLICATE,
            _ => errcode::NO_PERMISSION,
        };
        Some(Self::Refused { errcode, error: error.to_string().chars().take(MAX_ERROR).collect() })
    }
}

/// Numbers of OpenIM's, as results carry them.
pub(super) mod errcode {
    pub(crate) const ARGUMENT: u32 = 1001;
    pub(crate) const NO_PERMISSION: u32 = 1002;
    pub(crate) const DUPLICATE: u32 = 1003;
    pub(crate) const NOT_IN_GROUP: u32 = 1203;
    pub(crate) const GROUP_DISMISSED: u32 = 1204;
}

/// A request that waits.
struct Waiting {
    request: Request,
    room: Arc<RoomKey>,
    by: Actor,
    action: Result<Action, GroupError>,
}

impl Groups {
    /// Executes what admins on other servers ask, until dropped.
    pub async fn answer_requests(self: Arc<Self>) {
        let calls = self.appenders.calls();
        loop {
            let mut woken = pin!(calls.notified());
            // First listen, then look.
            woken.as_mut().enable();
            match self.answer_waiting().await {
                Ok(()) => woken.await,
                Err(error) => {
                    tracing::warn!(%error, "what an admin on another server asked was not done; it is tried again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Executes what waits, oldest first. What fails is left for the next time, and the rest is done.
    async fn answer_waiting(&self) -> Result<(), GroupError> {
        let (mut after, mut failed) = (EventNid(i64::MIN), None);
        loop {
            let waiting =
                self.store.read::<_, StoreError, _>(move |read| group_calls::waiting(read, after, CHUNK)).await?;
            let Some((last, _)) = waiting.last() else { break };
            after = *last;
            for (event, room) in waiting {
                if let Err(error) = self.answer_one(event, room).await {
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn answer_one(&self, event: EventNid, room: RoomNid) -> Result<(), GroupError> {
        let now_ms = self.clock.now_ms();
        let Waiting { request, room, by, action } =
            self.store.read::<_, StoreError, _>(move |read| waiting(read, event, room, now_ms)).await?;
        let done = match action {
            Ok(action) => self.execute(&room, &by, action).await,
            Err(error) => Err(error),
        };
        let Err(error) = done else { return Ok(()) };
        match Outcome::of_error(&error) {
            Some(outcome) => self.refuse(&room, request, outcome).await,
            None => Err(error),
        }
    }

    async fn execute(&self, room: &Arc<RoomKey>, by: &Actor, action: Action) -> Result<(), GroupError> {
        match action {
            Action::Mute { user_id, seconds } => {
                let named = user_id.clone();
                let nid = self.store.read::<_, StoreError, _>(move |read| ids::user_nid(read, &named)).await?;
                let nid = nid.ok_or_else(|| GroupError::TargetNotInGroup(user_id.to_string()))?;
                self.mute(room, by, &User { nid, user_id }, seconds).await.map(drop)
            }
            Action::MuteAll { mute } => self.mute_all(room, by, mute).await,
            Action::Settings { look_member_info, apply_member_friend } => {
                self.set_settings(room, by, look_member_info, apply_member_friend).await
            }
            Action::JoinMode { join_mode } => {
                let mode = JoinMode::of_number(join_mode);
                let mode = mode.ok_or_else(|| GroupError::Argument("join_mode is none of 0, 1 and 2".into()))?;
                self.set_join_mode(room, by, mode).await
            }
            Action::Dissolve {} => self.dissolve(room, by).await,
        }
    }

    async fn refuse(&self, room: &Arc<RoomKey>, request: Request, outcome: Outcome) -> Result<(), GroupError> {
        let executor = self.service.user_id.clone();
        self.act_as(room, executor, move |_, _, executor, _| {
            let answer = LocalEvent::message(executor.to_owned(), RESULT, outcome.content(&request.event_id));
            let nid = request.nid;
            Ok(Plan::new(vec![answer], ()).beside(move |tx| group_calls::answered(tx, nid)))
        })
        .await
    }
}

/// A request as its event says it.
fn waiting(read: &dyn crate::store::Read, event: EventNid, room: RoomNid, now_ms: i64) -> Result<Waiting, StoreError> {
    let row = events::by_nid(read, event)?;
    let pdu = state::load_pdu(read, event)?;
    let content = pdu.content().get();
    let action = if now_ms.saturating_sub(row.origin_ts) > MAX_AGE_MS {
        Err(GroupError::Argument("the request is older than an hour".into()))
    } else if content.len() > MAX_CONTENT {
        Err(GroupError::Argument(format!("the request has more than {MAX_CONTENT} bytes")))
    } else {
        serde_json::from_str(content).map_err(|error| GroupError::Argument(format!("no such action: {error}")))
    };
    let request = Request { nid: event, event_id: row.event_id };
    let by = Actor { user: row.sender, user_id: pdu.sender().to_owned(), request: Some(request.clone()) };
    Ok(Waiting { request, room: ids::room_by_nid(read, room)?, by, action })
}
