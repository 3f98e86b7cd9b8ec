//! Withdrawing messages, and restoring what was withdrawn.
//!
//! To withdraw is to redact. The sender may within a window; the owner of a group may at any time withdraw their own and
//! everybody else's, an admin their own and ordinary members' (spec/decisions/0018-conversations.md). To restore is to send
//! anew: an event that says which message it restores takes that one's number in the transaction that writes it.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, OwnedEventId};

use super::{
    compose, direct, history,
    place::{self, ConversationRef, PlaceError},
    roles::{self, Role},
    sending::{MessageError, Messages, Sent, transaction, visible},
};
use crate::{
    accounts::Session,
    numbers::MessageRef,
    rooms::{
        access::OpenRoom,
        client_event::{Shape, Viewer},
    },
    store::{
        Read, events,
        events::EventRow,
        ids::{RoomKey, UserNid},
        members,
        members::Membership,
        message_numbers,
    },
};

/// The key of a message's content that says which withdrawn message it restores.
pub const RESTORES: &str = "org.linkim.restores";

/// What a withdrawal leaves.
#[derive(Clone, Debug)]
pub struct Withdrawn {
    /// The number of the newest message that is left; none: there is none.
    pub newest: Option<i64>,
    /// The redaction's id.
    pub event_id: OwnedEventId,
}

/// A message that is to be withdrawn or restored.
struct Target {
    room: Arc<RoomKey>,
    row: EventRow,
    number: i64,
}

impl Messages {
    /// Withdraws a message.
    ///
    /// # Errors
    /// [`MessageError`]; nothing was done then.
    pub async fn withdraw(
        &self,
        by: &Session,
        at: ConversationRef,
        message: MessageRef,
    ) -> Result<Withdrawn, MessageError> {
        let (numbers, session, viewer) = (self.numbers.clone(), by.clone(), self.viewer(by));
        let window_ms = self.window_ms();
        let window = self.withdraw;
        let target = self
            .store
            .read(move |read| {
                let room = place::find(read, &numbers, &session, &at)?;
                let target = target(read, room, &viewer, &message)?;
                if target.row.redacted_by.is_some() {
                    return Err(MessageError::Withdrawn);
                }
                if !is_staff(read, &target, session.user)? {
                    if target.row.sender != session.user {
                        return Err(MessageError::NotSender);
                    }
                    if viewer.now_ms - target.row.received_ts > window_ms {
                        return Err(MessageError::TooLate(window));
                    }
                }
                Ok(target)
            })
            .await?;
        let Target { room, row, number } = target;
        let transaction = transaction(by, &room, "withdraw", format!("{number}-{}", row.nid.0));
        let event_id =
            self.sending.redact(by, &room.room_id, &row.event_id, CanonicalJsonObject::new(), transaction).await?;
        let viewer = self.viewer(by);
        let newest = self
            .store
            .read::<_, MessageError, _>(move |read| {
                let mut open = OpenRoom::open(read, &room.room_id, Shape::Client, &viewer)?;
                Ok(history::newest(read, &mut open)?.map(|message| message.number))
            })
            .await?;
        Ok(Withdrawn { newest, event_id })
    }

    /// Restores a message that its sender withdrew, with another text.
    ///
    /// # Errors
    /// [`MessageError`]; nothing was done then.
    pub async fn restore(
        &self,
        by: &Session,
        at: ConversationRef,
        message: MessageRef,
        text: String,
    ) -> Result<Sent, MessageError> {
        compose::check_text(&text, self.text_limit)?;
        let (numbers, session, viewer) = (self.numbers.clone(), by.clone(), self.viewer(by));
        let window_ms = self.window_ms();
        let window = self.withdraw;
        let (target, redaction) = self
            .store
            .read(move |read| {
                let room = place::find(read, &numbers, &session, &at)?;
                let target = target(read, room, &viewer, &message)?;
                if target.row.sender != session.user {
                    return Err(MessageError::NotSender);
                }
                let redaction = target.row.redacted_by.ok_or(MessageError::NotWithdrawn)?;
                let redaction = events::by_nid(read, redaction)?;
                // What others withdrew is not the sender's to bring back.
                if redaction.sender != session.user {
                    return Err(MessageError::Role);
                }
                if viewer.now_ms - redaction.received_ts > window_ms {
                    return Err(MessageError::TooLate(window));
                }
                Ok((target, redaction.nid))
            })
            .await?;
        let Target { room, row, number } = target;
        let mut content = compose::text(text);
        content.insert(RESTORES.into(), row.event_id.as_str().into());
        // Two calls at once restore once.
        let transaction = transaction(by, &room, "restore", format!("{number}-{}", redaction.0));
        let appended = self.append(by, &room, content, Some(transaction)).await?;
        let number = self
            .store
            .read_short::<_, MessageError, _>(move |read| Ok(message_numbers::of_event(read, appended.nid)?))
            .await?;
        Ok(Sent { room, number, event_id: appended.event_id })
    }

    fn window_ms(&self) -> i64 {
        i64::try_from(self.withdraw.as_millis()).unwrap_or(i64::MAX)
    }
}

fn target(read: &dyn Read, room: Arc<RoomKey>, viewer: &Viewer, name: &MessageRef) -> Result<Target, MessageError> {
    let member = members::of(read, viewer.user, room.nid)?;
    if member.is_none_or(|member| member.membership != Membership::Join) {
        return Err(PlaceError::NotMember.into());
    }
    let row = visible(read, &room, viewer, name)?;
    let number = message_numbers::of_event(read, row.nid)?;
    Ok(Target { room, row, number })
}

/// Whether somebody acts on the message by their role: owners and admins of groups, whom no window binds.
///
/// `Role` if theirs does not suffice.
fn is_staff(read: &dyn Read, target: &Target, user: UserNid) -> Result<bool, MessageError> {
    if direct::peer(read, target.room.nid, user)?.is_some() {
        return Ok(false);
    }
    let Some(role) = roles::role(read, &target.room, user)?.filter(|role| *role >= Role::Admin) else {
        return Ok(false);
    };
    if target.row.sender == user {
        return Ok(true);
    }
    let sender = roles::role(read, &target.room, target.row.sender)?;
    if roles::may_withdraw(role, sender) { Ok(true) } else { Err(MessageError::Role) }
}
