//! Ephemeral data units that we send, and who says which are owed.

use std::borrow::Cow;

use ruma::OwnedServerName;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::store::{Read, StoreError, ids::RoomNid};

/// An ephemeral data unit: something for another server that is no event.
#[derive(Clone, Debug, Serialize)]
pub struct Edu {
    /// Its type: `m.typing`, ….
    pub edu_type: Cow<'static, str>,
    /// Its content, a JSON object.
    pub content: Box<RawValue>,
}

impl Edu {
    /// An EDU of this type.
    ///
    /// # Errors
    /// If the content is no JSON.
    pub fn new(edu_type: &'static str, content: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { edu_type: edu_type.into(), content: serde_json::value::to_raw_value(content)? })
    }
}

/// Another server, as a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number in `servers`.
    pub nid: i64,
    /// Its name.
    pub name: OwnedServerName,
}

/// EDUs that are owed by position, as events are: device lists and signing keys. They are derived again after a failure, so
/// what is answered for a range may change only in that things move to later positions.
///
/// Whoever writes something that becomes owed notes it in [`super::Notes`] with its position (`keys_changed`, or `room_at` for a
/// room whose servers it concerns), after the commit, in a hook of its transaction: then no watermark passes it.
pub trait OwedEdus: Send + Sync + 'static {
    /// The first `limit` EDUs owed to a server with a position in `(after, up_to]`, in ascending order of position.
    ///
    /// # Errors
    /// The store's.
    fn owed(
        &self,
        read: &dyn Read,
        destination: &Peer,
        after: i64,
        up_to: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Edu)>, StoreError>;

    /// Rooms whose servers are owed EDUs with positions above `after`: asked at the start, and when notes were lost.
    ///
    /// # Errors
    /// The store's.
    fn rooms_after(&self, read: &dyn Read, after: i64) -> Result<Vec<RoomNid>, StoreError>;
}
