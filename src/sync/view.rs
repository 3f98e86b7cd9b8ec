//! What one answer of /sync is made from: one snapshot, one viewer, one filter.

use std::{cell::OnceCell, collections::HashSet, sync::Arc};

use super::filter::{EventFormat, Filter};
use crate::{
    rooms::{
        client_event::{Renderer, Shape, Viewer},
        ignored_users,
        typing::Typing,
    },
    store::{
        Read, StoreError,
        ids::{RoomKey, UserNid},
    },
};

/// The view that one answer shows. Everything in it is read from one snapshot, except typing, which is in memory.
pub(super) struct View<'a> {
    pub(super) read: &'a dyn Read,
    pub(super) viewer: &'a Viewer,
    pub(super) filter: &'a Filter,
    pub(super) typing: &'a Typing,
    /// The client has everything up to this position; None: nothing, or nothing that could be relied on.
    pub(super) since: Option<i64>,
    /// What the client has may never have been: it must not join its timelines to these.
    pub(super) lost: bool,
    /// The client has typing up to this change.
    pub(super) typing_since: i64,
    /// `full_state`.
    pub(super) full_state: bool,
    /// The name under which the state at the end of the timeline is wanted, in place of `state`.
    pub(super) state_after: Option<&'static str>,
    ignored: OnceCell<HashSet<UserNid>>,
}

impl<'a> View<'a> {
    /// A view whose client has nothing.
    pub(super) fn new(read: &'a dyn Read, viewer: &'a Viewer, filter: &'a Filter, typing: &'a Typing) -> Self {
        Self {
            read,
            viewer,
            filter,
            typing,
            since: None,
            lost: false,
            typing_since: 0,
            full_state: false,
            state_after: None,
            ignored: OnceCell::new(),
        }
    }

    /// Whom the viewer ignores.
    pub(super) fn ignored(&self) -> Result<&HashSet<UserNid>, StoreError> {
        if let Some(known) = self.ignored.get() {
            return Ok(known);
        }
        let ignored = ignored_users::of(self.read, self.viewer.user)?;
        Ok(self.ignored.get_or_init(|| ignored))
    }

    /// Shows events of a room.
    pub(super) fn renderer(&self, room: &Arc<RoomKey>) -> Renderer<'a> {
        let shape = match self.filter.event_format {
            EventFormat::Client => Shape::Client,
            EventFormat::Federation => Shape::Federation,
        };
        Renderer::new(self.read, room.clone(), shape, self.viewer)
    }
}
