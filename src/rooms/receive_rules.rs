//! What the product does not take from users of other servers, beyond the authorisation rules.
//!
//! Such an event is soft-failed: it stays in the room's graph, so that all servers agree on it, but clients here do not see it and it
//! has no effect here. So a rule may say it of message events alone: state on which servers disagree would be resolved again and
//! again.

use linkim_federation::Pdu;

use crate::store::{Read, StoreError, ids::RoomKey};

/// A rule about what users of other servers send.
pub trait ReceiveRule: Send + Sync {
    /// Whether the rule may have something to say in this room. Asked for each batch of events, so it reads no database.
    fn concerns(&self, room: &RoomKey) -> bool;

    /// Whether an event must be judged by itself: after all before it are part of the room, and before what follows it is judged.
    fn stands_apart(&self, pdu: &Pdu) -> bool;

    /// Why an event is not taken, by the room's current state, if it is not.
    ///
    /// # Errors
    /// [`StoreError`].
    fn check(&self, read: &dyn Read, room: &RoomKey, pdu: &Pdu) -> Result<Option<String>, StoreError>;
}
