//! How clients are shown an event.
//!
//! Source: Client-Server API, "Room event format" (`ClientEvent`, `ClientEventWithoutRoomID`) and "Stripped state"; room
//! version 11, "Moving the `redacts` property". One borrowed pass over the stored JSON; its parts are copied as they are.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use linkim_federation::{Pdu, redact, rules};
use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ignored_users, relations, visibility::Visibility};
use crate::store::{
    Read, StoreError, event_pages,
    event_pages::EventPage,
    events,
    events::EventRow,
    ids::{DeviceNid, RoomKey, UserNid},
    members::Membership,
    state,
};

/// Which fields an event is shown with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Without `room_id`, as in /sync.
    Client,
    /// With `room_id`.
    ClientWithRoom,
    /// All that servers exchange, with our `unsigned`: `event_format: federation` of a filter.
    Federation,
}

/// Who looks, from where, and when.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The user.
    pub user: UserNid,
    /// The user's id.
    pub user_id: OwnedUserId,
    /// The device; it alone is told the transaction ids of what it sent.
    pub device: Option<DeviceNid>,
    /// Now, in milliseconds: `age` is counted from here.
    pub now_ms: i64,
}

/// `sender`, `type`, `state_key` and `content` of a state event: what `invite_state` and `knock_state` show.
///
/// # Errors
/// [`StoreError`].
pub fn stripped(read: &dyn Read, row: &EventRow) -> Result<Box<RawValue>, StoreError> {
    let json = events::json(read, row.nid)?;
    let fields = Fields::read(&json)?;
    let mut out = String::with_capacity(fields.content.get().len() + 200);
    out.push_str("{\"content\":");
    out.push_str(fields.content.get());
    out.push_str(",\"sender\":");
    out.push_str(fields.sender.get());
    if let Some(state_key) = fields.state_key {
        out.push_str(",\"state_key\":");
        out.push_str(state_key.get());
    }
    out.push_str(",\"type\":");
    out.push_str(fields.kind.get());
    out.push('}');
    raw(out)
}

/// What of a stored event goes to clients, borrowed.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow)]
    origin_server_ts: &'a RawValue,
    #[serde(borrow)]
    sender: &'a RawValue,
    #[serde(borrow, default)]
    state_key: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: &'a RawValue,
    #[serde(borrow, default)]
    redacts: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    fn read(json: &'a str) -> Result<Self, StoreError> {
        serde_json::from_str(json).map_err(damaged)
    }
}

fn damaged(error: serde_json::Error) -> StoreError {
    StoreError::Damaged(format!("an event's body: {error}"))
}

fn raw(json: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(json).map_err(damaged)
}

/// Appends a JSON string.
pub(super) fn push_json(out: &mut String, text: &str) {
    // Writing a str as JSON cannot fail: there is nothing to convert.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// How much goes into `unsigned`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// An event of a timeline: everything.
    Timeline,
    /// Part of a list of state: neither bundled relations nor what the event replaced, which would cost look-ups for each
    /// member of a large room, and which says nothing about a state.
    State,
    /// The newest event of a thread, in its root's summary: no thread of its own.
    Thread,
    /// Shown inside another event: no relations, so that nothing goes round in circles.
    Inner,
}

/// Shows events of one room to one viewer, within one snapshot.
pub struct Renderer<'a> {
    pub(super) read: &'a dyn Read,
    pub(super) viewer: &'a Viewer,
    room: Arc<RoomKey>,
    shape: Shape,
    visibility: Option<Visibility>,
    ignored: Option<Arc<HashSet<UserNid>>>,
}

impl<'a> Renderer<'a> {
    /// Reads nothing yet.
    pub fn new(read: &'a dyn Read, room: Arc<RoomKey>, shape: Shape, viewer: &'a Viewer) -> Self {
        Self { read, viewer, room, shape, visibility: None, ignored: None }
    }

    /// Whether the viewer may see the event.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn allows(&mut self, event: &EventRow) -> Result<bool, StoreError> {
        let read = self.read;
        self.visibility()?.allows(read, event)
    }

    /// What the viewer may see in the room.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn visibility(&mut self) -> Result<&mut Visibility, StoreError> {
        let visibility = match self.visibility.take() {
            Some(known) => known,
            None => Visibility::new(self.read, &self.room, self.viewer.user)?,
        };
        Ok(self.visibility.insert(visibility))
    }

    /// Spares the look-up of whom the viewer ignores, where it was done for another room.
    pub fn ignoring(&mut self, ignored: Arc<HashSet<UserNid>>) {
        self.ignored = Some(ignored);
    }

    /// Whom the viewer ignores.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ignored(&mut self) -> Result<Arc<HashSet<UserNid>>, StoreError> {
        if let Some(known) = &self.ignored {
            return Ok(known.clone());
        }
        let ignored = Arc::new(ignored_users::of(self.read, self.viewer.user)?);
        self.ignored = Some(ignored.clone());
        Ok(ignored)
    }

    /// Appends the event, as part of a timeline.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn event(&mut self, event: &EventPage, out: &mut String) -> Result<(), StoreError> {
        self.write(event, Depth::Timeline, out)
    }

    /// Appends the event, as part of a list of state: without bundled relations, `prev_content` and `replaces_state`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn state_event(&mut self, event: &EventPage, out: &mut String) -> Result<(), StoreError> {
        self.write(event, Depth::State, out)
    }

    /// Appends the content of the event alone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn content(&mut self, event: &EventPage, out: &mut String) -> Result<(), StoreError> {
        let json = self.shown(event)?;
        out.push_str(Fields::read(&json)?.content.get());
        Ok(())
    }

    /// Appends the event, to stand inside another one.
    pub(super) fn inner(&mut self, event: &EventPage, out: &mut String) -> Result<(), StoreError> {
        self.write(event, Depth::Inner, out)
    }

    /// Appends the event, as the newest one of a thread.
    pub(super) fn thread_event(&mut self, event: &EventPage, out: &mut String) -> Result<(), StoreError> {
        self.write(event, Depth::Thread, out)
    }

    /// Appends the event in its redacted form, as part of a timeline: that of somebody whom the viewer ignores, where it
    /// can't be left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn redacted(&mut self, event: &EventPage, out: &mut String) -> Result<(), StoreError> {
        let json = self.redacted_json(event)?;
        self.write_json(event, &json, Depth::Timeline, out)
    }

    fn write(&mut self, event: &EventPage, depth: Depth, out: &mut String) -> Result<(), StoreError> {
        let json = self.shown(event)?;
        self.write_json(event, &json, depth, out)
    }

    fn write_json(&mut self, event: &EventPage, json: &str, depth: Depth, out: &mut String) -> Result<(), StoreError> {
        match self.shape {
            Shape::Federation => {
                let open = json.strip_suffix('}').unwrap_or(json);
                out.push_str(open);
                out.push(',');
            }
            Shape::Client | Shape::ClientWithRoom => self.fields(event, json, out)?,
        }
        out.push_str("\"unsigned\":");
        self.unsigned(event, json, depth, out)?;
        out.push('}');
        Ok(())
    }

    /// The body to show: of an erased user, only the redacted form to those who were not in the room at the event
    /// (Client-Server API, `erase` of account deactivation).
    fn shown<'e>(&mut self, event: &'e EventPage) -> Result<Cow<'e, str>, StoreError> {
        let read = self.read;
        if !event.erased || self.visibility()?.membership(read, &event.row)? == Membership::Join {
            return Ok(Cow::Borrowed(&event.json));
        }
        self.redacted_json(event).map(Cow::Owned)
    }

    fn redacted_json(&self, event: &EventPage) -> Result<String, StoreError> {
        let broken = |what: String| StoreError::Damaged(format!("event {}: {what}", event.row.nid.0));
        let rules = rules(&self.room.version).ok_or_else(|| broken("unknown room version".into()))?;
        let pdu = Pdu::from_trusted(event.row.event_id.clone(), event.json.clone(), false)
            .map_err(|error| broken(error.to_string()))?;
        Ok(redact(&pdu, rules).json().to_owned())
    }

    /// Everything but `unsigned`, in canonical order as far as it goes, with a comma behind it.
    fn fields(&self, event: &EventPage, json: &str, out: &mut String) -> Result<(), StoreError> {
        let fields = Fields::read(json)?;
        let redaction = match &*event.row.kind {
            "m.room.redaction" => Some(self.redaction(&fields)?),
            _ => None,
        };
        out.push_str("{\"content\":");
        match &redaction {
            Some(redaction) => out.push_str(&redaction.content),
            None => out.push_str(fields.content.get()),
        }
        out.push_str(",\"event_id\":");
        push_json(out, event.row.event_id.as_str());
        out.push_str(",\"origin_server_ts\":");
        out.push_str(fields.origin_server_ts.get());
        if let Some(redacts) = redaction.as_ref().and_then(|redaction| redaction.redacts) {
            out.push_str(",\"redacts\":");
            out.push_str(redacts.get());
        }
        if self.shape == Shape::ClientWithRoom {
            out.push_str(",\"room_id\":");
            push_json(out, self.room.room_id.as_str());
        }
        out.push_str(",\"sender\":");
        out.push_str(fields.sender.get());
        if let Some(state_key) = fields.state_key {
            out.push_str(",\"state_key\":");
            out.push_str(state_key.get());
        }
        out.push_str(",\"type\":");
        out.push_str(fields.kind.get());
        out.push(',');
        Ok(())
    }

    /// A redaction names its target at the top level and in the content, whatever the room version: the place that the
    /// version wants is believed, the other one is a copy of it.
    fn redaction<'f>(&self, fields: &Fields<'f>) -> Result<Redaction<'f>, StoreError> {
        let mut content: BTreeMap<String, &RawValue> = serde_json::from_str(fields.content.get()).map_err(damaged)?;
        let in_content = rules(&self.room.version).is_some_and(|rules| rules.redaction.content_field_redacts);
        if in_content {
            let redacts = content.get("redacts").copied();
            return Ok(Redaction { redacts, content: Cow::Borrowed(fields.content.get()) });
        }
        match fields.redacts {
            Some(redacts) => content.insert("redacts".into(), redacts),
            None => content.remove("redacts"),
        };
        let content = serde_json::to_string(&content).map_err(damaged)?;
        Ok(Redaction { redacts: fields.redacts, content: Cow::Owned(content) })
    }

    fn unsigned(&mut self, event: &EventPage, json: &str, depth: Depth, out: &mut String) -> Result<(), StoreError> {
        let row = &event.row;
        // Writing to a String cannot fail.
        let _ = write!(out, "{{\"age\":{}", self.viewer.now_ms.saturating_sub(row.origin_ts));
        if matches!(depth, Depth::Timeline | Depth::Thread)
            && let Some(visibility) = &mut self.visibility
        {
            let _ = write!(out, ",\"membership\":\"{}\"", visibility.membership(self.read, row)?.as_str());
        }
        if let Some((device, txn_id)) = &row.transaction
            && self.viewer.device == Some(*device)
        {
            out.push_str(",\"transaction_id\":");
            push_json(out, txn_id);
        }
        if depth == Depth::Inner {
            out.push('}');
            return Ok(());
        }
        if let Some(by) = row.redacted_by {
            out.push_str(",\"redacted_because\":");
            self.inner(&event_pages::by_nid(self.read, by)?, out)?;
        }
        match (depth, row.state_key) {
            (Depth::Timeline | Depth::Thread, Some(_)) => self.replaced(row, out)?,
            (Depth::Timeline | Depth::Thread, None) if event.related => {
                relations::bundle(self, event, json, depth == Depth::Timeline, out)?;
            }
            _ => {}
        }
        out.push('}');
        Ok(())
    }

    /// What a state event replaced. Whoever sees the event has the state before it as the state of their room, so
    /// `prev_content` needs no judgement of its own.
    fn replaced(&mut self, row: &EventRow, out: &mut String) -> Result<(), StoreError> {
        let (Some(before), Some(key)) = (row.before, row.state_key) else { return Ok(()) };
        let Some(previous) = state::value(self.read, before, key)? else { return Ok(()) };
        let previous = event_pages::by_nid(self.read, previous)?;
        let json = self.shown(&previous)?;
        let fields = Fields::read(&json)?;
        out.push_str(",\"prev_content\":");
        out.push_str(fields.content.get());
        out.push_str(",\"prev_sender\":");
        out.push_str(fields.sender.get());
        out.push_str(",\"replaces_state\":");
        push_json(out, previous.row.event_id.as_str());
        Ok(())
    }
}

struct Redaction<'f> {
    redacts: Option<&'f RawValue>,
    content: Cow<'f, str>,
}

#[cfg(test)]
#[path = "client_event_tests.rs"]
mod tests;
