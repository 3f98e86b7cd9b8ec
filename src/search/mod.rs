//! Searching in messages: of the rooms that somebody is in, unencrypted, as far as they may see them.
//!
//! Messages are looked through where they stand, the newest of all rooms first, so that nothing is written for it when a message
//! is sent and nothing can be found that is gone. One call looks through a bounded number of them and says where to go on.
//! A message matches if its text has each of the words somewhere, capitals or not; so Chinese needs no splitting into words.
//!
//! Source: Client-Server API, "Server Side Search".

use std::collections::{BinaryHeap, VecDeque};

use serde::Deserialize;

use crate::store::{
    Read, StoreError, conversations, ids,
    ids::{EventNid, RoomNid, UserNid},
    messages,
};

/// Characters of a search at most.
pub const MAX_TERM: usize = 512;

/// Words of a search at most.
const MAX_WORDS: usize = 16;

/// Messages looked through in one call at most: about 40 ms.
const MAX_LOOKED_AT: usize = 20_000;

/// Messages read by one statement.
const ROWS: usize = 64;

/// Why nothing is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTerm {
    /// There is no word in it.
    #[error("there is nothing to search for")]
    Empty,
    /// It is too long.
    #[error("a search has at most {MAX_TERM} characters and {MAX_WORDS} words")]
    TooLong,
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    /// The words of a text, with spaces between them.
    ///
    /// # Errors
    /// [`BadTerm`].
    pub fn of(term: &str) -> Result<Self, BadTerm> {
        let words: Vec<String> = term.split_whitespace().map(str::to_lowercase).collect();
        match (words.is_empty(), term.chars().count() > MAX_TERM || words.len() > MAX_WORDS) {
            (true, _) => Err(BadTerm::Empty),
            (_, true) => Err(BadTerm::TooLong),
            _ => Ok(Self(words)),
        }
    }

    /// The words, in small letters.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Whether a text has them all.
    pub fn are_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.0.iter().all(|word| text.contains(word))
    }
}

/// A message that has the words. Whether the user may see it is not asked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its room.
    pub room: RoomNid,
    /// The message.
    pub event: EventNid,
    /// Its place in the order of arrival.
    pub position: i64,
}

/// What one call found.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What was taken, newest first.
    pub found: Vec<T>,
    /// The position to go on before; none: everything was looked through.
    pub next: Option<i64>,
}

/// A room that is being looked through, ordered by the place of its next message.
struct Room {
    /// Place of the next message, or one that it can't be above.
    next: i64,
    nid: RoomNid,
    read: VecDeque<(EventNid, i64, String)>,
}

impl PartialEq for Room {
    fn eq(&self, other: &Self) -> bool {
        (self.next, self.nid) == (other.next, other.nid)
    }
}

impl Eq for Room {}

impl PartialOrd for Room {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Room {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.next, self.nid).cmp(&(other.next, other.nid))
    }
}

/// Looks for words in the messages of the rooms that a user is joined to, those that `wanted` lets through, before a position.
/// `take` makes of a message what the caller wants, or refuses it; at most `limit` are taken.
///
/// # Errors
/// [`StoreError`].
pub fn search<T>(
    read: &dyn Read,
    user: UserNid,
    words: &Words,
    (before, limit): (i64, usize),
    wanted: impl Fn(RoomNid) -> bool,
    mut take: impl FnMut(Candidate) -> Result<Option<T>, StoreError>,
) -> Result<Outcome<T>, StoreError> {
    let mut out = Outcome { found: Vec::new(), next: None };
    let Some(message) = ids::type_nid(read, "m.room.message")? else { return Ok(out) };
    let joined = conversations::joined(read, user)?.into_iter().filter(|room| wanted(room.room));
    let mut rooms: BinaryHeap<Room> = joined
        .map(|room| Room {
            next: room.message_position.min(before.saturating_sub(1)),
            nid: room.room,
            read: VecDeque::new(),
        })
        .collect();
    let mut looked_at = 0;
    while let Some(mut room) = rooms.pop() {
        if out.found.len() == limit || looked_at >= MAX_LOOKED_AT {
            out.next = Some(room.next.saturating_add(1));
            break;
        }
        if let Some((event, position, json)) = room.read.pop_front() {
            if words.are_in(&body_of(&json))
                && let Some(found) = take(Candidate { room: room.nid, event, position })?
            {
                out.found.push(found);
            }
            room.next = room.read.front().map_or(position - 1, |(_, position, _)| *position);
            rooms.push(room);
            continue;
        }
        room.read = messages::bodies_before(read, room.nid, message, room.next.saturating_add(1), ROWS)?.into();
        looked_at += room.read.len();
        if let Some((_, position, _)) = room.read.front() {
            room.next = *position;
            rooms.push(room);
        }
    }
    Ok(out)
}

fn body_of(json: &str) -> String {
    #[derive(Deserialize)]
    struct Event {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        body: String,
    }
    serde_json::from_str::<Event>(json).map(|event| event.content.body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_must_be_there_in_any_case() {
        let words = Words::of("  Tea  ROOM ").unwrap();
        assert!(words.are_in("the Tearoom"));
        assert!(!words.are_in("tea"));
        assert!(Words::of("会议").unwrap().are_in("明天的会议室"));
    }

    #[test]
    fn a_term_is_bounded() {
        assert_eq!(Words::of(" \t"), Err(BadTerm::Empty));
        assert_eq!(Words::of(&"会".repeat(MAX_TERM + 1)), Err(BadTerm::TooLong));
        assert!(Words::of(&"会".repeat(MAX_TERM)).is_ok());
        assert_eq!(Words::of(&"a ".repeat(MAX_WORDS + 1)), Err(BadTerm::TooLong));
    }
}
