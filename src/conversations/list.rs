//! A user's conversations: pinned ones first, then the one with the newest message.
//!
//! Where a room stands in the list is one number of its row, which the write path keeps (`room_heads.message_position`). So a
//! page reads that of each of the user's rooms, and everything else of the rooms on it alone. What changed since a position is
//! found the same way. Each answer comes from one snapshot, whose position the next question begins at.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

use ruma::OwnedServerName;

use super::{
    entry::{Conversation, Owner, is_pinned},
    history,
    settings::{HIDDEN, TAGS, hidden_until},
};
use crate::{
    accounts::Session,
    clock::Clock,
    rooms::{client_event::Viewer, page_token::BadToken},
    store::{
        Read, Store, StoreError, conversations,
        conversations::Joined,
        ids,
        ids::{RoomKey, RoomNid},
        sync,
    },
    sync::token::{Since, SyncToken, place},
};

/// Changed and removed conversations of one answer at most; a client that has missed more begins anew.
const MAX_CHANGES: usize = 200;

/// Global account data that concerns every conversation.
const CONCERNS_ALL: [&str; 2] = ["m.push_rules", "m.ignored_user_list"];

/// The place of a conversation in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pinned: bool,
    activity: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", i64::from(self.pinned), self.activity)
    }
}

impl FromStr for Cursor {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let (pinned, activity) = match text.split_at_checked(2) {
            Some(("0-", activity)) => (false, activity),
            Some(("1-", activity)) => (true, activity),
            _ => return Err(BadToken),
        };
        let cursor = Self { pinned, activity: activity.parse().map_err(|_| BadToken)? };
        if cursor.activity >= 0 && cursor.to_string() == text { Ok(cursor) } else { Err(BadToken) }
    }
}

/// A page of a list.
#[derive(Debug)]
pub struct ListPage<T> {
    /// What the caller made of its conversations.
    pub entries: Vec<T>,
    /// Where the next page begins; none: there is none.
    pub next: Option<Cursor>,
    /// The position that the page shows.
    pub position: SyncToken,
}

/// What changed in a list since a position.
#[derive(Debug)]
pub enum Changes<T> {
    /// Only this.
    Some {
        /// Conversations that are new or changed, by their place in the list.
        changed: Vec<T>,
        /// Rooms that are no conversations of the user any more, or hidden.
        removed: Vec<Arc<RoomKey>>,
        /// The position that the answer shows.
        position: SyncToken,
    },
    /// Too much, or the position is of a past that is lost: the first page of the list as it is.
    All(ListPage<T>),
}

/// A place in a list with the room that has it.
struct Placed {
    cursor: Cursor,
    hidden: bool,
    row: Joined,
}

/// The lists of all users.
pub struct Conversations {
    store: Store,
    clock: Arc<dyn Clock>,
    server_name: OwnedServerName,
    /// The position at which this start began.
    started_at: i64,
}

impl Conversations {
    /// For the server of this name. To be made before anything is appended.
    pub fn new(store: Store, clock: Arc<dyn Clock>, server_name: OwnedServerName) -> Self {
        let started_at = store.position();
        Self { store, clock, server_name, started_at }
    }

    fn viewer(&self, session: &Session) -> Viewer {
        history::viewer(session, self.clock.now_ms())
    }

    /// A page of the user's list, behind `after` or from its beginning; `show` makes the answer's entries, in the same
    /// snapshot.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn page<T: Send + 'static>(
        &self,
        session: &Session,
        after: Option<Cursor>,
        size: usize,
        show: impl Fn(&dyn Read, Conversation) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<ListPage<T>, StoreError> {
        let (viewer, server_name, incarnation) =
            (self.viewer(session), self.server_name.clone(), self.store.incarnation());
        self.store
            .read(move |read| {
                let owner = Owner::new(read, &viewer, &server_name)?;
                page(&owner, &arranged(read, &viewer)?, after, size, incarnation, &show)
            })
            .await
    }

    /// What changed in the user's list since `since`, a position that an earlier answer gave. `size`: of the first page, where
    /// the list begins anew.
    ///
    /// # Errors
    /// `BadToken` in the outer result: it is no position of ours. [`StoreError`] in the inner one.
    pub async fn changes<T: Send + 'static>(
        &self,
        session: &Session,
        since: &str,
        size: usize,
        show: impl Fn(&dyn Read, Conversation) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Result<Changes<T>, StoreError>, BadToken> {
        let token: SyncToken = since.parse()?;
        let now = (self.store.position(), self.store.incarnation());
        let since = match place(token, now, self.started_at, self.store.restores()) {
            Since::Place { position, .. } => Some(position),
            Since::Nothing | Since::Lost => None,
        };
        let (viewer, server_name) = (self.viewer(session), self.server_name.clone());
        let read = self.store.read(move |read| {
            let owner = Owner::new(read, &viewer, &server_name)?;
            let list = arranged(read, &viewer)?;
            let some = match since {
                Some(since) => changes(&owner, &list, since, now.1, &show)?,
                None => None,
            };
            match some {
                Some(some) => Ok(some),
                None => Ok(Changes::All(page(&owner, &list, None, size, now.1, &show)?)),
            }
        });
        Ok(read.await)
    }
}

/// The user's rooms in the order of the list.
fn arranged(read: &dyn Read, viewer: &Viewer) -> Result<Vec<Placed>, StoreError> {
    let (mut pinned, mut hidden) = (HashSet::new(), HashMap::new());
    for (room, kind, content) in conversations::arranging_data(read, viewer.user)? {
        match kind.as_str() {
            TAGS if is_pinned(&content) => {
                pinned.insert(room);
            }
            HIDDEN => {
                hidden.extend(hidden_until(&content).map(|until| (room, until)));
            }
            _ => {}
        }
    }
    let mut list: Vec<Placed> = conversations::joined(read, viewer.user)?
        .into_iter()
        .map(|row| {
            let activity = row.message_position.max(row.since);
            Placed {
                cursor: Cursor { pinned: pinned.contains(&row.room), activity },
                hidden: hidden.get(&row.room).is_some_and(|until| activity <= *until),
                row,
            }
        })
        .collect();
    list.sort_unstable_by_key(|placed| std::cmp::Reverse(placed.cursor));
    Ok(list)
}

fn page<T>(
    owner: &Owner<'_>,
    list: &[Placed],
    after: Option<Cursor>,
    size: usize,
    incarnation: i64,
    show: &impl Fn(&dyn Read, Conversation) -> Result<T, StoreError>,
) -> Result<ListPage<T>, StoreError> {
    let start = after.map_or(0, |after| list.partition_point(|placed| placed.cursor >= after));
    let mut out = ListPage { entries: Vec::new(), next: None, position: token(owner.read, incarnation) };
    let mut last = None;
    for placed in list[start..].iter().filter(|placed| !placed.hidden) {
        if out.entries.len() == size {
            out.next = last;
            break;
        }
        if let Some(conversation) = owner.conversation(placed.row.room)? {
            out.entries.push(show(owner.read, conversation)?);
        }
        last = Some(placed.cursor);
    }
    Ok(out)
}

/// What changed since a position; none: too much.
fn changes<T>(
    owner: &Owner<'_>,
    list: &[Placed],
    since: i64,
    incarnation: i64,
    show: &impl Fn(&dyn Read, Conversation) -> Result<T, StoreError>,
) -> Result<Option<Changes<T>>, StoreError> {
    let (read, user) = (owner.read, owner.viewer.user);
    let mut rooms: HashSet<RoomNid> = conversations::receipts_since(read, user, since)?.into_iter().collect();
    for (room, kind, _) in sync::account_data(read, user, since)? {
        match room {
            Some(room) => {
                rooms.insert(room);
            }
            None if CONCERNS_ALL.contains(&kind.as_str()) => return Ok(None),
            None => {}
        }
    }
    let mut removed: HashSet<RoomNid> = conversations::left_since(read, user, since)?.into_iter().collect();
    let mut changed = Vec::new();
    for placed in list {
        let row = &placed.row;
        let newest = row.changed.max(row.last_position).max(row.state_position);
        if newest <= since && !rooms.contains(&row.room) {
            continue;
        }
        if changed.len() + removed.len() >= MAX_CHANGES {
            return Ok(None);
        }
        let shown = if placed.hidden { None } else { owner.conversation(row.room)? };
        match shown {
            Some(conversation) => changed.push(show(read, conversation)?),
            None => {
                removed.insert(row.room);
            }
        }
    }
    let removed = removed.into_iter().map(|room| ids::room_by_nid(read, room)).collect::<Result<_, _>>()?;
    Ok(Some(Changes::Some { changed, removed, position: token(read, incarnation) }))
}

fn token(read: &dyn Read, incarnation: i64) -> SyncToken {
    SyncToken { position: read.position(), incarnation, typing: 0, presence: 0, to_device: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_and_nothing_else_is_one() {
        for cursor in [Cursor { pinned: true, activity: 7 }, Cursor { pinned: false, activity: 0 }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "1", "1-", "2-7", "1-07", "1--7", "1-+7", "0-x", "é-7"] {
            assert_eq!(text.parse::<Cursor>(), Err(BadToken), "{text}");
        }
    }

    #[test]
    fn pinned_ones_come_first_and_then_the_newest() {
        let cursor = |pinned, activity| Cursor { pinned, activity };
        let mut list = vec![cursor(false, 9), cursor(true, 1), cursor(false, 3), cursor(true, 5)];
        list.sort_unstable_by_key(|cursor| std::cmp::Reverse(*cursor));
        assert_eq!(list, [cursor(true, 5), cursor(true, 1), cursor(false, 9), cursor(false, 3)]);
    }
}
