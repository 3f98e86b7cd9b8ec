//! Searching in the messages of a user's conversations.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{
    history,
    message::{self, Message},
    people::{People, Person},
    place::{self, ConversationRef, PlaceError},
};
use crate::{
    accounts::Session,
    clock::Clock,
    numbers::Numbers,
    rooms::{
        client_event::{Renderer, Shape},
        ignored_users,
    },
    search::{self, Outcome, Words},
    store::{
        Read, Store, StoreError,
        ids::{self, RoomKey},
        members,
        members::Membership,
    },
};

/// Searches.
pub struct MessageSearch {
    store: Store,
    clock: Arc<dyn Clock>,
    numbers: Arc<Numbers>,
}

impl MessageSearch {
    /// In this store.
    pub fn new(store: Store, clock: Arc<dyn Clock>, numbers: Arc<Numbers>) -> Self {
        Self { store, clock, numbers }
    }

    /// Looks for words in the user's conversations, or in one of them, before a position; at most so many messages. `show` makes
    /// of each, with its room and its sender, what the caller wants.
    ///
    /// # Errors
    /// [`PlaceError`]: the one conversation is none of theirs.
    pub async fn search<T: Send + 'static>(
        &self,
        by: &Session,
        words: Words,
        only: Option<ConversationRef>,
        (before, limit): (i64, usize),
        show: impl Fn(&dyn Read, &RoomKey, Message, &Person) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Outcome<T>, PlaceError> {
        let (numbers, by) = (self.numbers.clone(), by.clone());
        let viewer = history::viewer(&by, self.clock.now_ms());
        self.store
            .read(move |read| {
                let only = match only {
                    Some(only) => Some(place::find(read, &numbers, &by, &only)?.nid),
                    None => None,
                };
                if let Some(only) = only
                    && members::of(read, by.user, only)?.is_none_or(|member| member.membership != Membership::Join)
                {
                    return Err(PlaceError::NotMember);
                }
                let ignored = Arc::new(ignored_users::of(read, by.user)?);
                let mut rooms = HashMap::new();
                let wanted = |room| only.is_none_or(|only| only == room);
                let found = search::search(read, by.user, &words, (before, limit), wanted, |candidate| {
                    let (room, renderer, people) = match rooms.entry(candidate.room) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(place) => {
                            let room = ids::room_by_nid(read, candidate.room)?;
                            let mut renderer = Renderer::new(read, room.clone(), Shape::Client, &viewer);
                            renderer.ignoring(ignored.clone());
                            let people = People::new(read, numbers.server_name(), room.nid);
                            place.insert((room, renderer, people))
                        }
                    };
                    let message = message::at(read, room.nid, renderer, candidate.event)?;
                    // An edit may have taken the words away.
                    match message.filter(|message| words.are_in(&message.body)) {
                        Some(message) => {
                            let sender = people.get(message.sender)?;
                            show(read, room, message, &sender).map(Some)
                        }
                        None => Ok(None),
                    }
                })?;
                Ok(found)
            })
            .await
    }
}
