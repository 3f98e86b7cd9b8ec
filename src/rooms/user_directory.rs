//! Finding people.
//!
//! Source: Client-Server API, "User Directory".

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::{state, summary::is_world_readable};
use crate::{
    accounts::Session,
    store::{
        Read, Store, StoreError,
        ids::{RoomNid, UserNid},
        members::{self, Membership},
        profiles, user_directory,
    },
};

/// Users in an answer, where the client names no number, and at most.
const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 50;

/// Matching users whose visibility is looked at, the best first; a longer list is cut.
const MAX_MATCHES: usize = 1_000;

/// Somebody who was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// The user's id.
    pub user_id: String,
    /// The display name.
    pub display_name: Option<String>,
    /// The avatar.
    pub avatar_url: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The users, the best matches first.
    pub users: Vec<FoundUser>,
    /// Whether there are more.
    pub limited: bool,
}

/// How well somebody matches; the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Whole,
    Beginning,
    Word,
    Within,
}

/// Searches the users that somebody may know of.
pub struct UserDirectory {
    store: Store,
}

impl UserDirectory {
    /// Of this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The users whose id or display name has `term` in it, in whatever case, and who are in a room with the asker or in a
    /// public one.
    pub async fn search(&self, by: &Session, term: &str, limit: Option<u64>) -> Result<Found, StoreError> {
        let limit = limit.map_or(DEFAULT_LIMIT, |limit| usize::try_from(limit).unwrap_or(MAX_LIMIT)).min(MAX_LIMIT);
        let (asker, term) = (by.user, term.to_lowercase());
        self.store.read(move |read| search(read, asker, &term, limit)).await
    }
}

struct Match {
    rank: Rank,
    user: UserNid,
    user_id: String,
    display_name: Option<String>,
}

fn search(read: &dyn Read, asker: UserNid, term: &str, limit: usize) -> Result<Found, StoreError> {
    let mut matches = Vec::new();
    user_directory::each(read, &mut |user, user_id, name| {
        let display_name = name.and_then(|json| serde_json::from_str::<String>(&json).ok());
        if let Some(rank) = rank(term, &user_id, display_name.as_deref()) {
            matches.push(Match { rank, user, user_id, display_name });
        }
        Ok(())
    })?;
    matches.sort_by(|one, other| (one.rank, &one.user_id).cmp(&(other.rank, &other.user_id)));
    let mut found = Found { users: Vec::new(), limited: matches.len() > MAX_MATCHES };
    let mut sight = Sight::of(read, asker)?;
    for matched in matches.into_iter().take(MAX_MATCHES) {
        let Some(room) = sight.room_with(matched.user)? else { continue };
        if found.users.len() == limit {
            found.limited = true;
            break;
        }
        found.users.push(shown(read, matched, room)?);
    }
    Ok(found)
}

fn rank(term: &str, user_id: &str, display_name: Option<&str>) -> Option<Rank> {
    let user_id = user_id.to_lowercase();
    let localpart = user_id.trim_start_matches('@').split(':').next().unwrap_or_default();
    // A whole id is meant where it begins as one; else the server's name would be found in everybody's.
    let id = if term.starts_with('@') { &user_id } else { localpart };
    let name = display_name.map(str::to_lowercase);
    let of_name = name.as_deref().and_then(|name| rank_in(term, name));
    rank_in(term, id).into_iter().chain(of_name).min()
}

fn rank_in(term: &str, text: &str) -> Option<Rank> {
    let at = text.find(term)?;
    Some(match at {
        0 if text.len() == term.len() => Rank::Whole,
        0 => Rank::Beginning,
        _ => {
            let word = |at: usize| text[..at].chars().next_back().is_some_and(|before| !before.is_alphanumeric());
            let any = text.match_indices(term).any(|(at, _)| word(at));
            if any { Rank::Word } else { Rank::Within }
        }
    })
}

/// Whom the asker may know of.
struct Sight<'r> {
    read: &'r dyn Read,
    asker: UserNid,
    rooms: HashSet<RoomNid>,
    public: HashMap<RoomNid, bool>,
}

impl<'r> Sight<'r> {
    fn of(read: &'r dyn Read, asker: UserNid) -> Result<Self, StoreError> {
        let rooms = joined(read, asker)?.collect();
        Ok(Self { read, asker, rooms, public: HashMap::new() })
    }

    /// A room by which the asker may know of a user: a common one, or a public one; for the asker none is needed.
    fn room_with(&mut self, user: UserNid) -> Result<Option<Option<RoomNid>>, StoreError> {
        let mut public = None;
        for room in joined(self.read, user)? {
            if self.rooms.contains(&room) {
                return Ok(Some(Some(room)));
            }
            if public.is_none() && self.is_public(room)? {
                public = Some(room);
            }
        }
        Ok(if user == self.asker { Some(public) } else { public.map(Some) })
    }

    fn is_public(&mut self, room: RoomNid) -> Result<bool, StoreError> {
        if let Some(known) = self.public.get(&room) {
            return Ok(*known);
        }
        #[derive(Deserialize)]
        struct JoinRules {
            join_rule: String,
        }
        let rules: Option<JoinRules> = state::current_content(self.read, room, "m.room.join_rules", "")?;
        let open = rules.is_some_and(|rules| rules.join_rule == "public");
        let public = open || is_world_readable(self.read, room)?;
        self.public.insert(room, public);
        Ok(public)
    }
}

fn joined(read: &dyn Read, user: UserNid) -> Result<impl Iterator<Item = RoomNid> + use<>, StoreError> {
    let rows = members::of_user(read, user)?;
    Ok(rows.into_iter().filter(|row| row.membership == Membership::Join).map(|row| row.room))
}

/// What is shown of somebody: the profile, and of other servers' users what they say in the room.
fn shown(read: &dyn Read, matched: Match, room: Option<RoomNid>) -> Result<FoundUser, StoreError> {
    #[derive(Default, Deserialize)]
    struct Member {
        displayname: Option<String>,
        avatar_url: Option<String>,
    }
    let avatar = profiles::get(read, matched.user, "avatar_url")?;
    let mut user = FoundUser {
        user_id: matched.user_id,
        display_name: matched.display_name,
        avatar_url: avatar.and_then(|json| serde_json::from_str(&json).ok()),
    };
    let ours = crate::store::accounts::exists(read, matched.user)?;
    if let Some(room) = room.filter(|_| !ours) {
        let member: Member = state::current_content(read, room, "m.room.member", &user.user_id)?.unwrap_or_default();
        (user.display_name, user.avatar_url) = (member.displayname, member.avatar_url);
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_match_ranks_first() {
        let ranked = |term: &str| rank(term, "@anna.berg:b.example", Some("Änne von Berg"));
        assert_eq!(ranked("anna.berg"), Some(Rank::Whole));
        assert_eq!(ranked("@anna.berg:b.example"), Some(Rank::Whole));
        assert_eq!(ranked("anna"), Some(Rank::Beginning));
        assert_eq!(ranked("änne"), Some(Rank::Beginning));
        assert_eq!(ranked("berg"), Some(Rank::Word));
        assert_eq!(ranked("nna"), Some(Rank::Within));
        assert_eq!(ranked("b.example"), None);
        assert_eq!(ranked("bob"), None);
    }
}
