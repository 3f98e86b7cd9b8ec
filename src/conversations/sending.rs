//! Sending and editing messages.
//!
//! A message into a room that is there costs one look-up more than Matrix's own send: which room it is. That reads a few rows,
//! none of them cached beyond its snapshot, so that nothing goes stale.

use std::{sync::Arc, time::Duration};

use ruma::{CanonicalJsonObject, OwnedEventId};

use super::{
    compose::{self, ComposeError, NewMessage},
    direct::{DirectRooms, OpenError},
    history,
    place::{self, ConversationRef, PlaceError},
};
use crate::{
    accounts::Session,
    clock::Clock,
    numbers::{self, MessageRef, Numbers, User, UserRef},
    rooms::{
        access::{OpenRoom, ReadError},
        append::{Appended, Transaction},
        client_event::{Shape, Viewer},
        message_kind as kind,
        power::Power,
        send::{SendError, Sending},
    },
    store::{
        Read, Store, StoreError, events, events::EventRow, ids::RoomKey, members, members::Membership, message_numbers,
    },
};

/// Characters of a `client_msg_id` at most.
const MAX_CLIENT_MSG_ID: usize = 255;

/// The type of messages.
pub(super) const MESSAGE: &str = "m.room.message";

/// Why something was not done with a message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// No conversation of the user's is named.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// There is no direct room, and none was made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The message can't be sent as it is.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// `client_msg_id` is empty or too long.
    #[error("client_msg_id has 1 to {MAX_CLIENT_MSG_ID} characters")]
    ClientId,
    /// The conversation has no such message, or the user may not see it.
    #[error("no such message in this conversation")]
    NoMessage,
    /// Only the sender may.
    #[error("this message is another's")]
    NotSender,
    /// The message is no text.
    #[error("only texts are edited")]
    NoText,
    /// The user may not mention everybody.
    #[error("you may not mention everybody here")]
    MayNotMentionAll,
    /// Too late.
    #[error("this can be done for {} seconds alone", .0.as_secs())]
    TooLate(Duration),
    /// The message was withdrawn.
    #[error("this message was withdrawn already")]
    Withdrawn,
    /// The message was not withdrawn.
    #[error("this message is not withdrawn")]
    NotWithdrawn,
    /// The user's role does not suffice.
    #[error("your role does not suffice to withdraw this message")]
    Role,
    /// The event is refused.
    #[error(transparent)]
    Send(SendError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SendError> for MessageError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Store(error) => Self::Store(error),
            SendError::UnknownRoom => PlaceError::NoConversation.into(),
            SendError::UnknownEvent => Self::NoMessage,
            other => Self::Send(other),
        }
    }
}

impl From<ReadError> for MessageError {
    fn from(error: ReadError) -> Self {
        match error {
            // Lists of members alone wait for them.
            ReadError::NoPart | ReadError::MembersMissing => PlaceError::NotMember.into(),
            ReadError::NotFound(_) => Self::NoMessage,
            ReadError::Store(error) => Self::Store(error),
        }
    }
}

/// A message that is durable.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where it is.
    pub room: Arc<RoomKey>,
    /// Its number.
    pub number: i64,
    /// Its event's id.
    pub event_id: OwnedEventId,
}

/// Sends, edits, withdraws and restores messages.
pub struct Messages {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) numbers: Arc<Numbers>,
    pub(super) sending: Arc<Sending>,
    pub(super) direct: DirectRooms,
    pub(super) text_limit: usize,
    pub(super) withdraw: Duration,
}

impl Messages {
    /// Texts have `text_limit` characters at most; they are withdrawn within `withdraw` of their sending.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        numbers: Arc<Numbers>,
        sending: Arc<Sending>,
        direct: DirectRooms,
        (text_limit, withdraw): (usize, Duration),
    ) -> Self {
        Self { store, clock, numbers, sending, direct, text_limit, withdraw }
    }

    /// Sends a message to somebody; answers once it is durable. The room of the two is made if need be. A repeated
    /// `client_id` of the same device gets the first one's message.
    ///
    /// # Errors
    /// [`MessageError`].
    pub async fn send_to(
        &self,
        by: &Session,
        to: UserRef,
        new: Draftable,
        client_id: Option<String>,
    ) -> Result<Sent, MessageError> {
        let new = self.checked(new, client_id.as_deref())?;
        let room = self.room_with(by, to, &new.message.text).await?;
        self.send(by, room, new, client_id).await
    }

    /// Sends a message into a conversation, as [`Self::send_to`].
    ///
    /// # Errors
    /// [`MessageError`].
    pub async fn send_into(
        &self,
        by: &Session,
        to: ConversationRef,
        new: Draftable,
        client_id: Option<String>,
    ) -> Result<Sent, MessageError> {
        let new = self.checked(new, client_id.as_deref())?;
        let room = to.room(&self.store, &self.numbers, by).await?;
        self.send(by, room, new, client_id).await
    }

    /// Puts another text in the place of a text of the user's own.
    ///
    /// # Errors
    /// [`MessageError`].
    pub async fn edit(
        &self,
        by: &Session,
        at: ConversationRef,
        message: MessageRef,
        text: String,
    ) -> Result<Sent, MessageError> {
        compose::check_text(&text, self.text_limit)?;
        let (numbers, session, viewer) = (self.numbers.clone(), by.clone(), self.viewer(by));
        let (room, row, number) = self
            .store
            .read(move |read| {
                let room = place::find(read, &numbers, &session, &at)?;
                let row = visible(read, &room, &viewer, &message)?;
                if row.redacted_by.is_some() {
                    return Err(MessageError::Withdrawn);
                }
                if row.sender != session.user {
                    return Err(MessageError::NotSender);
                }
                if !is_text(&events::json(read, row.nid)?) {
                    return Err(MessageError::NoText);
                }
                let number = message_numbers::of_event(read, row.nid)?;
                Ok((room, row, number))
            })
            .await?;
        let content = compose::edit(&row.event_id, text);
        let appended = self.append(by, &room, content, None).await?;
        Ok(Sent { room, number, event_id: appended.event_id })
    }

    /// The room of the user and another, open for a message of this text.
    async fn room_with(&self, by: &Session, to: UserRef, text: &str) -> Result<Arc<RoomKey>, MessageError> {
        if !self.direct.friends_only() {
            let (numbers, session, name) = (self.numbers.clone(), by.clone(), to.clone());
            let known = self.store.read_short::<_, StoreError, _>(move |read| {
                let Some(peer) = numbers::known_user(read, numbers.server_name(), &name)? else { return Ok(None) };
                super::direct::joined_by_both(read, session.user, peer.nid)
            });
            if let Some(room) = known.await? {
                return Ok(room);
            }
        }
        let peer: User = self.numbers.user(&to).await?.ok_or(PlaceError::NoUser)?;
        Ok(self.direct.open(by, &peer, text).await?)
    }

    fn checked(&self, new: Draftable, client_id: Option<&str>) -> Result<Draftable, MessageError> {
        if client_id.is_some_and(|id| id.is_empty() || id.chars().count() > MAX_CLIENT_MSG_ID) {
            return Err(MessageError::ClientId);
        }
        // What needs no look-up is judged at once: a fault in it is told before a room is made.
        match new.message.kind {
            kind::TEXT => compose::check_text(&new.message.text, self.text_limit)?,
            _ => drop(compose::content(new.message.clone(), self.text_limit)?),
        }
        Ok(new)
    }

    async fn send(
        &self,
        by: &Session,
        room: Arc<RoomKey>,
        new: Draftable,
        client_id: Option<String>,
    ) -> Result<Sent, MessageError> {
        let Draftable { mut message, at, quotes } = new;
        if !at.is_empty() || message.at_all || quotes.is_some() {
            let (numbers, viewer, key) = (self.numbers.clone(), self.viewer(by), room.clone());
            let all = message.at_all;
            (message.at, message.quotes) = self
                .store
                .read(move |read| {
                    let mut users = Vec::with_capacity(at.len());
                    for name in &at {
                        let user = numbers::known_user(read, numbers.server_name(), name)?;
                        users.push(user.ok_or(PlaceError::NoUser)?.user_id);
                    }
                    if all {
                        let power = Power::of_room(read, &key)?;
                        if power.of(&viewer.user_id) < power.to_notify_room() {
                            return Err(MessageError::MayNotMentionAll);
                        }
                    }
                    let quoted = match &quotes {
                        Some(quoted) => Some(visible(read, &key, &viewer, quoted)?.event_id),
                        None => None,
                    };
                    Ok((users, quoted))
                })
                .await?;
        }
        let content = compose::content(message, self.text_limit)?;
        let transaction = client_id.map(|id| transaction(by, &room, "message", id));
        let appended = self.append(by, &room, content, transaction).await?;
        Ok(Sent { room, number: appended.nid.0, event_id: appended.event_id })
    }

    /// Appends a message; where that is refused, says whether the user is in the room at all.
    pub(super) async fn append(
        &self,
        by: &Session,
        room: &Arc<RoomKey>,
        content: CanonicalJsonObject,
        transaction: Option<Transaction>,
    ) -> Result<Appended, MessageError> {
        match self.sending.message(by, room, MESSAGE, content, transaction).await {
            Err(SendError::Forbidden(reason)) => {
                let (user, nid) = (by.user, room.nid);
                let member =
                    self.store.read_short::<_, StoreError, _>(move |read| members::of(read, user, nid)).await?;
                match member.is_some_and(|member| member.membership == Membership::Join) {
                    true => Err(SendError::Forbidden(reason).into()),
                    false => Err(PlaceError::NotMember.into()),
                }
            }
            appended => Ok(appended?),
        }
    }

    pub(super) fn viewer(&self, by: &Session) -> Viewer {
        history::viewer(by, self.clock.now_ms())
    }
}

/// A message with what it names, as a client names it.
#[derive(Clone, Debug, Default)]
pub struct Draftable {
    /// What needs no look-up; whom it mentions by id and what it quotes are filled in.
    pub message: NewMessage,
    /// Whom it mentions.
    pub at: Vec<UserRef>,
    /// What it quotes.
    pub quotes: Option<MessageRef>,
}

/// A message of the room that the viewer may see, withdrawn or not.
pub(super) fn visible(
    read: &dyn Read,
    room: &RoomKey,
    viewer: &Viewer,
    name: &MessageRef,
) -> Result<EventRow, MessageError> {
    let mut open = OpenRoom::open(read, &room.room_id, Shape::Client, viewer)?;
    let event = numbers::message(read, room.nid, name)?.ok_or(MessageError::NoMessage)?;
    let row = events::by_nid(read, event)?;
    let message = row.state_key.is_none() && row.is(events::flag::COUNTABLE);
    if !message || !open.renderer.allows(&row)? {
        return Err(MessageError::NoMessage);
    }
    Ok(row)
}

/// Whether an event's body is that of a text that an edit may replace.
fn is_text(json: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Event {
        #[serde(rename = "type")]
        kind: String,
        content: Content,
    }
    #[derive(serde::Deserialize)]
    struct Content {
        msgtype: String,
    }
    serde_json::from_str::<Event>(json).is_ok_and(|event| {
        event.kind == MESSAGE && matches!(event.content.msgtype.as_str(), "m.text" | "m.notice" | "m.emote")
    })
}

/// What makes a repeated call the same: the device, the conversation, what is done and the client's own id for it.
pub(super) fn transaction(by: &Session, room: &RoomKey, what: &str, client_id: String) -> Transaction {
    let mut hash = blake3::Hasher::new();
    // A path of Matrix's has no such first part, so that the two APIs' ids never meet.
    for part in ["linkim", what, room.room_id.as_str(), &client_id] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    Transaction { device: by.device, key, txn_id: client_id }
}
