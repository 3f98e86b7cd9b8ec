//! The published room directory: which rooms stand in it, and a page of them.
//!
//! Source: Client-Server API, "Published room directory".

use std::sync::Arc;

use ruma::{OwnedServerName, RoomId, ServerName};

use super::{
    aliases::may_name,
    summary::{PublishedRoom, Summaries, Summary},
};
use crate::{
    accounts::Session,
    store::{Read, Store, StoreError, ids, rooms, rooms::ListedRoom},
};

/// Rooms in a page at most, and where the client names no number.
const MAX_PAGE: usize = 500;
const DEFAULT_PAGE: usize = 100;

/// Rooms looked at for one page at most: a rare search term ends a page early, with a token to go on.
const MAX_LOOKED_AT: usize = 5000;

/// Why the directory does not answer.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// No such room here.
    #[error("no such room")]
    UnknownRoom,
    /// The user may not.
    #[error("you may not publish this room")]
    Forbidden,
    /// The pagination token is not one of ours.
    #[error("since is not a token of this server")]
    BadToken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which rooms are asked for.
#[derive(Clone, Debug, Default)]
pub struct DirectoryQuery {
    /// How many.
    pub limit: Option<usize>,
    /// Where to go on.
    pub since: Option<String>,
    /// What must stand in the name, topic or canonical alias, whatever its case.
    pub search_term: Option<String>,
    /// Which room types; a `None` inside: rooms without one.
    pub room_types: Option<Vec<Option<String>>>,
}

/// A page of the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryPage {
    /// The rooms, those with most members first.
    pub chunk: Vec<PublishedRoom>,
    /// Where it goes on.
    pub next_batch: Option<String>,
    /// Where it goes back.
    pub prev_batch: Option<String>,
    /// How many rooms the directory has.
    pub total: usize,
}

/// A place in the directory's order: (members, room).
type Place = (i64, i64);

/// A token: the rooms after a place, or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    After(Place),
    Before(Place),
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let direction = parts.next()?;
        let place = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        match (direction, parts.next()) {
            ("n", None) => Some(Self::After(place)),
            ("p", None) => Some(Self::Before(place)),
            _ => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::After((joined, room)) => format!("n.{joined}.{room}"),
            Self::Before((joined, room)) => format!("p.{joined}.{room}"),
        }
    }
}

fn place(room: &ListedRoom) -> Place {
    (room.joined, room.room.0)
}

/// Whether `a` comes before `b`: more members first, then older rooms.
fn comes_before(a: Place, b: Place) -> bool {
    (-a.0, a.1) < (-b.0, b.1)
}

/// The directory.
pub struct Directory {
    store: Store,
    summaries: Arc<Summaries>,
    server_name: OwnedServerName,
}

impl Directory {
    /// Of the server of this name, with where summaries come from.
    pub fn new(store: Store, summaries: Arc<Summaries>, server_name: OwnedServerName) -> Self {
        Self { store, summaries, server_name }
    }

    /// Whose directory it is.
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// Whether a room stands in it.
    ///
    /// # Errors
    /// `UnknownRoom`, or the store's.
    pub async fn is_listed(&self, room: &RoomId) -> Result<bool, DirectoryError> {
        let room = room.to_owned();
        self.store
            .read(move |read| {
                let room = ids::room(read, &room)?.ok_or(DirectoryError::UnknownRoom)?;
                Ok(rooms::listed(read, room.nid)?)
            })
            .await
    }

    /// Puts a room in or takes it out: for members who may set its canonical alias, and administrators of this server.
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub async fn set_listed(&self, by: &Session, room: &RoomId, listed: bool) -> Result<(), DirectoryError> {
        let (by, room) = (by.clone(), room.to_owned());
        self.store
            .write(move |tx| {
                let room = ids::room(tx, &room)?.ok_or(DirectoryError::UnknownRoom)?;
                if !by.admin && !may_name(tx, &by, &room)? {
                    return Err(DirectoryError::Forbidden);
                }
                Ok(rooms::set_listed(tx, room.nid, listed)?)
            })
            .await
    }

    /// A page of it.
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub async fn page(&self, query: DirectoryQuery) -> Result<DirectoryPage, DirectoryError> {
        let token = match &query.since {
            None => None,
            Some(since) => Some(Token::parse(since).ok_or(DirectoryError::BadToken)?),
        };
        let summaries = self.summaries.clone();
        Ok(self.store.read(move |read| page(read, &summaries, &query, token)).await?)
    }
}

/// Rooms of a stretch of the directory that are asked for.
struct Scanned {
    found: Vec<(Place, PublishedRoom)>,
    /// The last room looked at.
    last: Option<Place>,
    /// Whether rooms were left that were not looked at.
    more: bool,
}

fn scan<'r>(
    read: &dyn Read,
    summaries: &Summaries,
    query: &DirectoryQuery,
    stretch: impl Iterator<Item = &'r ListedRoom>,
) -> Result<Scanned, StoreError> {
    let limit = query.limit.filter(|limit| *limit > 0).unwrap_or(DEFAULT_PAGE).min(MAX_PAGE);
    let term = query.search_term.as_deref().unwrap_or_default().to_lowercase();
    let mut scanned = Scanned { found: Vec::new(), last: None, more: false };
    for (looked_at, listed) in stretch.enumerate() {
        if scanned.found.len() == limit || looked_at == MAX_LOOKED_AT {
            scanned.more = true;
            break;
        }
        scanned.last = Some(place(listed));
        let room = ids::room_by_nid(read, listed.room)?;
        let summary = summaries.at(read, &room, listed.joined, listed.state_position)?;
        if matches(&summary, &term, query.room_types.as_deref()) {
            scanned.found.push((place(listed), summary.published.clone()));
        }
    }
    Ok(scanned)
}

fn page(
    read: &dyn Read,
    summaries: &Summaries,
    query: &DirectoryQuery,
    token: Option<Token>,
) -> Result<DirectoryPage, StoreError> {
    let all = rooms::directory(read)?;
    let (found, next, previous) = match token {
        None | Some(Token::After(_)) => {
            let start = match token {
                Some(Token::After(at)) => all.partition_point(|room| !comes_before(at, place(room))),
                _ => 0,
            };
            let scanned = scan(read, summaries, query, all[start..].iter())?;
            let first = scanned.found.first().map(|(place, _)| *place).filter(|_| start > 0);
            let next = scanned.last.filter(|_| scanned.more);
            (scanned.found, next.map(Token::After), first.map(Token::Before))
        }
        Some(Token::Before(at)) => {
            let end = all.partition_point(|room| comes_before(place(room), at));
            let mut scanned = scan(read, summaries, query, all[..end].iter().rev())?;
            scanned.found.reverse();
            // The page that we come back from begins at `at`.
            let last = scanned.found.last().map_or((at.0, at.1 - 1), |(place, _)| *place);
            let next = (end < all.len()).then_some(Token::After(last));
            let previous = scanned.last.filter(|_| scanned.more);
            (scanned.found, next, previous.map(Token::Before))
        }
    };
    Ok(DirectoryPage {
        chunk: found.into_iter().map(|(_, room)| room).collect(),
        next_batch: next.map(Token::text),
        prev_batch: previous.map(Token::text),
        total: all.len(),
    })
}

/// Whether a room is one that is asked for. `term` is lower case.
fn matches(summary: &Summary, term: &str, room_types: Option<&[Option<String>]>) -> bool {
    let room = &summary.published;
    if room_types.is_some_and(|wanted| !wanted.contains(&room.room_type)) {
        return false;
    }
    let texts = [&room.name, &room.topic, &room.canonical_alias];
    term.is_empty() || texts.into_iter().flatten().any(|text| text.to_lowercase().contains(term))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_and_others_are_refused() {
        for token in [Token::After((5, 17)), Token::Before((0, 1))] {
            assert_eq!(Token::parse(&token.text()), Some(token));
        }
        for text in ["", "n", "n.1", "n.1.x", "x.1.2", "n.1.2.3", "5", "n.99999999999999999999.1"] {
            assert_eq!(Token::parse(text), None, "{text}");
        }
    }
}
