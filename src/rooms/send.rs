//! Sending: messages, state, redactions.
//!
//! Source: Client-Server API, "Sending events to a room", "Redactions", "Avoiding duplicate annotations".

use std::sync::Arc;

use linkim_federation::rules;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, OwnedServerName, RoomId, UserId};

use super::{
    append::{Along, AppendError, Appended, Appenders, LocalEvent, Transaction},
    checks::{self, ContentError},
    content::string,
    guests,
    membership::{Membership, MembershipError},
    power::Power,
    send_rules::{Refused, SendRule, Wanted},
    state,
};
use crate::{
    accounts::Session,
    store::{Read, Store, StoreError, annotations, events, ids, ids::RoomKey},
};

/// Bytes of an event's type and of its state key at most.
const MAX_NAME_BYTES: usize = 255;

/// Why an event was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No such room here.
    #[error("no such room")]
    UnknownRoom,
    /// The type or the state key has more than 255 bytes.
    #[error("the type or the state key has more than {MAX_NAME_BYTES} bytes")]
    NameTooLong,
    /// What is to be redacted is not an event of this room.
    #[error("no such event in this room")]
    UnknownEvent,
    /// The user may not.
    #[error("{0}")]
    Forbidden(String),
    /// The user is suspended, and the event to be redacted is another's.
    #[error("a suspended user can redact their own events alone")]
    Suspended,
    /// The user has annotated the event in this way already.
    #[error("you have annotated this event so already")]
    DuplicateAnnotation,
    /// A rule of the product refuses it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The content is refused.
    #[error(transparent)]
    Content(ContentError),
    /// A membership did not change.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The event could not be appended.
    #[error(transparent)]
    Append(AppendError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AppendError> for SendError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Denied(reason) => Self::Forbidden(reason),
            AppendError::Store(error) => Self::Store(error),
            other => Self::Append(other),
        }
    }
}

impl From<ContentError> for SendError {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::Store(error) => Self::Store(error),
            other => Self::Content(other),
        }
    }
}

/// Sends events of local users.
pub struct Sending {
    store: Store,
    appenders: Arc<Appenders>,
    membership: Arc<Membership>,
    server_name: OwnedServerName,
    rules: Vec<Arc<dyn SendRule>>,
}

impl Sending {
    /// For the server of this name.
    pub fn new(
        store: Store,
        appenders: Arc<Appenders>,
        membership: Arc<Membership>,
        server_name: OwnedServerName,
    ) -> Self {
        Self { store, appenders, membership, server_name, rules: Vec::new() }
    }

    /// From now on with these rules.
    #[must_use]
    pub fn with_rules(mut self, rules: Vec<Arc<dyn SendRule>>) -> Self {
        self.rules = rules;
        self
    }

    /// Sends a message-like event; answers its id once it is durable. A repeated transaction gets the first one's id.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(
        &self,
        by: &Session,
        room: &RoomId,
        kind: &str,
        mut content: CanonicalJsonObject,
        transaction: Transaction,
    ) -> Result<OwnedEventId, SendError> {
        check_name(kind)?;
        if kind == "m.room.redaction" {
            let target = match content.remove("redacts") {
                Some(CanonicalJsonValue::String(target)) => EventId::parse(target).ok(),
                _ => None,
            };
            let target = target.ok_or_else(|| ContentError::Shape("redacts is not an event id".into()))?;
            return self.redact(by, room, &target, content, transaction).await;
        }
        if let Some((target, key)) = annotation(&content)
            && let Some(earlier) = self.check_annotation(by, kind, target, key, &transaction).await?
        {
            return Ok(earlier);
        }
        let room = self.room(room).await?;
        Ok(self.message(by, &room, kind, content, Some(transaction)).await?.event_id)
    }

    /// Sends a message-like event that is neither a redaction nor an annotation; answers once it is durable. Without a
    /// transaction, a repeated call sends again.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn message(
        &self,
        by: &Session,
        room: &Arc<RoomKey>,
        kind: &str,
        content: CanonicalJsonObject,
        transaction: Option<Transaction>,
    ) -> Result<Appended, SendError> {
        let content = self.check_rules(by, room, kind, None, content, None).await?;
        let mut event = LocalEvent::message(by.user_id.clone(), kind, content);
        event.transaction = transaction;
        self.append_one(room, event, None).await
    }

    /// Redacts an event; answers the redaction's id once it is durable. `content` is the redaction's, `redacts` left out.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn redact(
        &self,
        by: &Session,
        room: &RoomId,
        target: &EventId,
        content: CanonicalJsonObject,
        transaction: Transaction,
    ) -> Result<OwnedEventId, SendError> {
        let (session, room, redacts) = (by.clone(), room.to_owned(), target.to_owned());
        let (device, key) = (transaction.device, transaction.key);
        let decided = self
            .store
            .read(move |read| {
                if let Some(earlier) = events::of_transaction(read, device, &key)? {
                    return Ok(Err(earlier));
                }
                let room = ids::room(read, &room)?.ok_or(SendError::UnknownRoom)?;
                check_redaction(read, &session, &room, &redacts)?;
                Ok::<_, SendError>(Ok(room))
            })
            .await?;
        let room = match decided {
            Ok(room) => room,
            Err(earlier) => return Ok(earlier),
        };
        let content = self.check_rules(by, &room, "m.room.redaction", None, content, Some(target)).await?;
        let mut event = LocalEvent::message(by.user_id.clone(), "m.room.redaction", content);
        event.redacts = Some(target.to_owned());
        event.transaction = Some(transaction);
        Ok(self.append_one(&room, event, None).await?.event_id)
    }

    /// Sets state; answers the event's id once it is durable: of the event that is there, where it says the same already.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn put_state(
        &self,
        by: &Session,
        room: &RoomId,
        kind: &str,
        state_key: &str,
        content: CanonicalJsonObject,
    ) -> Result<OwnedEventId, SendError> {
        check_name(kind)?;
        check_name(state_key)?;
        match (kind, state_key) {
            ("m.room.create", _) => {
                return Err(SendError::Forbidden("a room is created once".into()));
            }
            ("m.room.member", user) => return Ok(self.membership.put(by, room, user, content).await?.event_id),
            ("m.room.canonical_alias", "") => self.check_canonical_alias(room, &content).await?,
            ("m.room.power_levels", "") => {
                let room = self.room(room).await?;
                if let Some(rules) = rules(&room.version) {
                    checks::power_levels(&content, rules)?;
                }
            }
            _ => {}
        }
        let shuts_guests_out = kind == "m.room.guest_access"
            && state_key.is_empty()
            && string(&content, "guest_access") != Some("can_join");
        let room = self.room(room).await?;
        let content = self.check_rules(by, &room, kind, Some(state_key), content, None).await?;
        let event = LocalEvent::state(by.user_id.clone(), kind, state_key, content);
        let event_id = self.append_one(&room, event, None).await?.event_id;
        if shuts_guests_out {
            guests::evict(&self.store, &self.appenders, room.nid).await;
        }
        Ok(event_id)
    }

    /// Asks the rules that concern the room; gives the content back.
    async fn check_rules(
        &self,
        by: &Session,
        room: &Arc<RoomKey>,
        kind: &str,
        state_key: Option<&str>,
        content: CanonicalJsonObject,
        redacts: Option<&EventId>,
    ) -> Result<CanonicalJsonObject, SendError> {
        let rules: Vec<_> = self.rules.iter().filter(|rule| rule.concerns(room)).cloned().collect();
        if rules.is_empty() {
            return Ok(content);
        }
        let (by, room, kind) = (by.clone(), room.clone(), kind.to_owned());
        let (state_key, redacts) = (state_key.map(str::to_owned), redacts.map(ToOwned::to_owned));
        self.store
            .read_short(move |read| {
                let wanted = Wanted {
                    kind: &kind,
                    state_key: state_key.as_deref(),
                    content: &content,
                    redacts: redacts.as_deref(),
                };
                for rule in rules {
                    if let Some(refused) = rule.check(read, &by, &room, wanted)? {
                        return Err(refused.into());
                    }
                }
                Ok(content)
            })
            .await
    }

    async fn append_one(&self, room: &RoomKey, event: LocalEvent, along: Option<Along>) -> Result<Appended, SendError> {
        let appended = self.appenders.append(room.nid, vec![event], along).await?;
        let appended = appended.into_iter().next();
        appended.ok_or_else(|| SendError::Store(StoreError::Engine("an append of one event answered none".into())))
    }

    /// The room, without a snapshot where it was met before.
    async fn room(&self, room: &RoomId) -> Result<Arc<RoomKey>, SendError> {
        if let Some(room) = self.store.ids().cached_room(room) {
            return Ok(room);
        }
        let room = room.to_owned();
        self.store.read_short(move |read| ids::room(read, &room)?.ok_or(SendError::UnknownRoom)).await
    }

    async fn check_canonical_alias(&self, room: &RoomId, content: &CanonicalJsonObject) -> Result<(), SendError> {
        let (room, content, server_name) = (room.to_owned(), content.clone(), self.server_name.clone());
        self.store
            .read(move |read| {
                let room = ids::room(read, &room)?.ok_or(SendError::UnknownRoom)?;
                let before = state::current_content(read, room.nid, "m.room.canonical_alias", "")?;
                Ok(checks::canonical_alias(read, room.nid, &server_name, before.as_ref(), &content)?)
            })
            .await
    }

    /// Refuses a second annotation with the same key; answers the event that this transaction made before, if it did.
    async fn check_annotation(
        &self,
        by: &Session,
        kind: &str,
        target: &EventId,
        key: &str,
        transaction: &Transaction,
    ) -> Result<Option<OwnedEventId>, SendError> {
        let (sender, kind, target, key) = (by.user, kind.to_owned(), target.to_owned(), key.to_owned());
        let (device, transaction) = (transaction.device, transaction.key);
        self.store
            .read(move |read| {
                if let Some(earlier) = events::of_transaction(read, device, &transaction)? {
                    return Ok(Some(earlier));
                }
                let read: &dyn Read = read;
                let Some(relation) = ids::type_nid(read, "m.annotation")? else { return Ok(None) };
                for nid in annotations::of_sender(read, &target, relation, sender)? {
                    let pdu = state::load_pdu(read, nid)?;
                    let content: CanonicalJsonObject = serde_json::from_str(pdu.content().get()).unwrap_or_default();
                    let same = annotation(&content).is_some_and(|(_, other)| other == key);
                    if same && pdu.event_type().to_string() == kind {
                        return Err(SendError::DuplicateAnnotation);
                    }
                }
                Ok(None)
            })
            .await
    }
}

fn check_name(name: &str) -> Result<(), SendError> {
    if name.len() > MAX_NAME_BYTES { Err(SendError::NameTooLong) } else { Ok(()) }
}

/// The target and the key of an annotation.
fn annotation(content: &CanonicalJsonObject) -> Option<(&EventId, &str)> {
    let Some(CanonicalJsonValue::Object(relation)) = content.get("m.relates_to") else { return None };
    if string(relation, "rel_type") != Some("m.annotation") {
        return None;
    }
    let target = <&EventId>::try_from(string(relation, "event_id")?).ok()?;
    Some((target, string(relation, "key")?))
}

/// Whether the user may redact the event: it is theirs, they have the room's redact level, or they are an administrator of
/// this server and it was sent from here. Whether they may send redactions at all, the authorisation rules decide.
fn check_redaction(read: &dyn Read, by: &Session, room: &RoomKey, target: &EventId) -> Result<(), SendError> {
    let row = events::by_id(read, target)?.filter(|row| row.room == room.nid && !row.is(events::flag::HIDDEN));
    let row = row.ok_or(SendError::UnknownEvent)?;
    if &*row.kind == "m.room.create" {
        return Err(SendError::Forbidden("the create event cannot be redacted".into()));
    }
    if row.sender == by.user {
        return Ok(());
    }
    if by.suspended {
        return Err(SendError::Suspended);
    }
    let power = Power::of_room(read, room)?;
    if power.of(&by.user_id) >= power.to_redact() {
        return Ok(());
    }
    let sender = ids::user_id(read, row.sender)?;
    if by.admin && same_server(&sender, &by.user_id) {
        return Ok(());
    }
    Err(SendError::Forbidden("you do not have the power to redact others' events".into()))
}

fn same_server(one: &UserId, other: &UserId) -> bool {
    one.server_name() == other.server_name()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotations_are_recognised_by_their_whole_relation() {
        let content = |value| -> CanonicalJsonObject { serde_json::from_value(value).unwrap() };
        let of = |relation| {
            annotation(&content(json!({ "m.relates_to": relation }))).map(|(t, k)| (t.to_string(), k.to_owned()))
        };
        let whole = json!({ "rel_type": "m.annotation", "event_id": "$a:x", "key": "👍" });
        assert_eq!(of(whole), Some(("$a:x".into(), "👍".into())));
        for other in [
            json!({ "rel_type": "m.annotation", "event_id": "$a:x" }),
            json!({ "rel_type": "m.thread", "event_id": "$a:x", "key": "👍" }),
            json!({ "rel_type": "m.annotation", "event_id": "a", "key": "👍" }),
            json!("m.annotation"),
        ] {
            assert_eq!(of(other.clone()), None, "{other}");
        }
    }
}
