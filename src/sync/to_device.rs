//! The stream of messages to the viewer's device.
//!
//! A message is deleted once the device comes with a token from behind it, never before: an answer that was lost is given again.
//!
//! Source: Client-Server API, "Send-to-Device messaging".

use super::body::{Events, push_string};
use crate::store::{Read, StoreError, ids::DeviceNid, to_device};

/// Messages in an answer at most (as the spec recommends); the next answer has those that follow, at once.
const LIMIT: usize = 100;

/// What waits for a device.
#[derive(Debug, Default)]
pub(super) struct ToDevice {
    /// The messages, oldest first.
    pub(super) events: Events,
    /// More wait behind this place.
    pub(super) more_after: Option<i64>,
    /// Messages up to this place are still there, and the device has them.
    pub(super) acknowledged: Option<i64>,
}

impl ToDevice {
    /// Reads what came after `since`, or all that waits.
    pub(super) fn read(read: &dyn Read, device: DeviceNid, since: Option<i64>) -> Result<Self, StoreError> {
        let mut out = Self::default();
        if let Some(since) = since
            && to_device::any_up_to(read, device, since)?
        {
            out.acknowledged = Some(since);
        }
        let mut messages = to_device::after(read, device, since.unwrap_or(0), LIMIT + 1)?;
        if messages.len() > LIMIT {
            messages.truncate(LIMIT);
            out.more_after = messages.last().map(|message| message.position);
        }
        for message in messages {
            out.events.push(None, |out| {
                out.push_str("{\"content\":");
                out.push_str(&message.content);
                out.push_str(",\"sender\":");
                push_string(out, &message.sender);
                out.push_str(",\"type\":");
                push_string(out, &message.kind);
                out.push('}');
                Ok(())
            })?;
        }
        Ok(out)
    }
}
