//! What users bring to the operator's notice.
//!
//! Source: Client-Server API, "Reporting Content".

use std::sync::Arc;

use ruma::{EventId, RoomId, UserId};

use crate::{
    accounts::Session,
    clock::Clock,
    store::{
        Read, Store, StoreError, events, ids,
        members::{self, Membership},
        reports::{self, Subject},
    },
};

/// Bytes of a reason at most.
const MAX_REASON: usize = 4_096;

/// Reports kept; the oldest go.
const MAX_REPORTS: i64 = 10_000;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No such room here.
    #[error("The room was not found.")]
    UnknownRoom,
    /// No such event, or the user is not in its room.
    #[error("The event was not found or you are not joined to the room.")]
    UnknownEvent,
    /// No such user here.
    #[error("The user was not found.")]
    UnknownUser,
    /// The reason is too long.
    #[error("The reason has more than {MAX_REASON} bytes")]
    ReasonTooLong,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps reports, and says in the log that they came.
pub struct Reports {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Reports {
    /// Kept in this store.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Reports a room that this server knows; the reporter need not be in it.
    pub async fn room(&self, by: &Session, room: &RoomId, reason: String) -> Result<(), ReportError> {
        let id = room.to_owned();
        let nid = self
            .keep(by, reason.clone(), move |read| {
                Ok(Subject::Room(ids::room(read, &id)?.ok_or(ReportError::UnknownRoom)?.nid))
            })
            .await?;
        tracing::warn!(report = nid, by = %by.user_id, %room, ?reason, "a user reported a room");
        Ok(())
    }

    /// Reports an event of a room that the reporter is in.
    pub async fn event(&self, by: &Session, room: &RoomId, event: &EventId, reason: String) -> Result<(), ReportError> {
        let (user, room_id, event_id) = (by.user, room.to_owned(), event.to_owned());
        let nid = self
            .keep(by, reason.clone(), move |read| {
                let room = ids::room(read, &room_id)?.ok_or(ReportError::UnknownEvent)?.nid;
                let joined = members::of(read, user, room)?.is_some_and(|row| row.membership == Membership::Join);
                let row = events::by_id(read, &event_id)?
                    .filter(|row| joined && row.room == room && !row.is(events::flag::HIDDEN));
                Ok(Subject::Event(room, row.ok_or(ReportError::UnknownEvent)?.nid))
            })
            .await?;
        tracing::warn!(report = nid, by = %by.user_id, %room, %event, ?reason, "a user reported an event");
        Ok(())
    }

    /// Reports a user that this server knows.
    pub async fn user(&self, by: &Session, user: &UserId, reason: String) -> Result<(), ReportError> {
        let id = user.to_owned();
        let nid = self
            .keep(by, reason.clone(), move |read| {
                Ok(Subject::User(ids::user_nid(read, &id)?.ok_or(ReportError::UnknownUser)?))
            })
            .await?;
        tracing::warn!(report = nid, by = %by.user_id, %user, ?reason, "a user reported a user");
        Ok(())
    }

    async fn keep(
        &self,
        by: &Session,
        reason: String,
        subject: impl FnOnce(&dyn Read) -> Result<Subject, ReportError> + Send + 'static,
    ) -> Result<i64, ReportError> {
        if reason.len() > MAX_REASON {
            return Err(ReportError::ReasonTooLong);
        }
        let (user, now) = (by.user, self.clock.now_ms());
        self.store
            .write(move |tx| {
                let subject = subject(tx)?;
                Ok(reports::insert(tx, user, subject, &reason, now, MAX_REPORTS)?)
            })
            .await
    }
}
