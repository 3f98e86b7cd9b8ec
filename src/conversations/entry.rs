//! One conversation as its owner's list shows it.

use std::{collections::HashSet, rc::Rc, sync::Arc};

use ruma::{OwnedRoomId, ServerName, push::Ruleset};
use serde::Deserialize;

use super::{
    direct, history,
    message::Message,
    people::{People, Person},
    receiving,
    settings::{DRAFT, Draft, MARKED_UNREAD, PINNED, TAGS},
};
use crate::{
    accounts::PushRules,
    rooms::{
        access::{OpenRoom, ReadError},
        client_event::{Shape, Viewer},
        ignored_users, state, unread,
    },
    store::{
        Read, StoreError, events, ids,
        ids::{RoomKey, RoomNid, UserNid},
        members, rooms, sync,
    },
};

/// Members after whom a group without a name is called, at most.
const NAMED_AFTER: usize = 3;

/// Members up to which those who came first are looked for: above it that would be a scan in each list.
const FEW: i64 = 500;

/// What is wanted of a conversation's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiving {
    /// Everything.
    Everything,
    /// Nothing: not counted, not pushed; the other one of a direct room can't send.
    Nothing,
    /// Messages without notifications.
    Quietly,
}

/// A conversation of a user.
#[derive(Debug)]
pub struct Conversation {
    /// Its room.
    pub room: Arc<RoomKey>,
    /// The other one, if it is one of two people.
    pub peer: Option<(UserNid, Rc<Person>)>,
    /// What the group is called; of two people, the other's name.
    pub name: String,
    /// The group's picture; empty if it has none.
    pub avatar: String,
    /// The newest message, with its sender.
    pub last: Option<(Message, Rc<Person>)>,
    /// Messages by others that are not read.
    pub unread: i64,
    /// Whether one of them mentions the user by id.
    pub mentioned: bool,
    /// Whether one of them mentions everybody.
    pub all_mentioned: bool,
    /// Whether the user marked it as unread.
    pub marked_unread: bool,
    /// Whether it stands before the others.
    pub pinned: bool,
    /// What the user wants of its messages.
    pub receiving: Receiving,
    /// A text that the user has begun.
    pub draft: Option<Draft>,
    /// When its newest message was sent or, without one, when the user joined; in milliseconds.
    pub updated_ms: i64,
}

/// What is the same for all conversations of a list.
pub(super) struct Owner<'a> {
    pub(super) read: &'a dyn Read,
    pub(super) viewer: &'a Viewer,
    pub(super) server_name: &'a ServerName,
    ignored: Arc<HashSet<UserNid>>,
    muted: HashSet<OwnedRoomId>,
}

impl<'a> Owner<'a> {
    pub(super) fn new(read: &'a dyn Read, viewer: &'a Viewer, server_name: &'a ServerName) -> Result<Self, StoreError> {
        let rules = PushRules::load(read, viewer.user, &viewer.user_id)?;
        Ok(Self {
            read,
            viewer,
            server_name,
            ignored: Arc::new(ignored_users::of(read, viewer.user)?),
            muted: muted_rooms(&rules),
        })
    }

    /// A conversation; none for a room that is no conversation, or of which the user is no member.
    pub(super) fn conversation(&self, room: RoomNid) -> Result<Option<Conversation>, StoreError> {
        let (read, user) = (self.read, self.viewer.user);
        let room = ids::room_by_nid(read, room)?;
        let Some(member) = members::of(read, user, room.nid)? else { return Ok(None) };
        if is_space(read, room.nid)? {
            return Ok(None);
        }
        let mut open = match OpenRoom::open(read, &room.room_id, Shape::Client, self.viewer) {
            Ok(open) => open,
            Err(ReadError::Store(error)) => return Err(error),
            Err(_) => return Ok(None),
        };
        open.renderer.ignoring(self.ignored.clone());
        let data = Data::read(read, user, room.nid)?;
        let receiving = match (data.recv_opt, self.muted.contains(&room.room_id)) {
            (1, _) => Receiving::Nothing,
            (_, true) => Receiving::Quietly,
            _ => Receiving::Everything,
        };
        let mut people = People::new(read, self.server_name, room.nid);
        let last = match history::newest(read, &mut open)? {
            Some(message) => {
                let sender = people.get(message.sender)?;
                Some((message, sender))
            }
            None => None,
        };
        let counts = match receiving {
            Receiving::Nothing => unread::RoomUnread::default(),
            _ => unread::of(read, &member, &self.ignored)?,
        };
        let updated_ms = match &last {
            Some((message, _)) => message.created_ms,
            None => events::by_nid(read, member.event)?.received_ts,
        };
        let peer = match direct::peer(read, room.nid, user)? {
            Some(peer) => Some((peer, people.get(peer)?)),
            None => None,
        };
        let (name, avatar) = match &peer {
            Some((_, person)) => (person.nickname.clone(), person.avatar.clone()),
            None => (self.group_name(&room, &mut people)?, group_avatar(read, room.nid)?),
        };
        Ok(Some(Conversation {
            peer,
            name,
            avatar,
            last,
            unread: counts.total().countable,
            mentioned: counts.mentions > 0,
            all_mentioned: counts.room_mentions > 0,
            marked_unread: data.marked_unread,
            pinned: data.pinned,
            receiving,
            draft: data.draft,
            updated_ms,
            room,
        }))
    }

    /// The group's name, else its alias, else the names of some members.
    fn group_name(&self, room: &RoomKey, people: &mut People<'_>) -> Result<String, StoreError> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(alias = "alias")]
            name: Option<String>,
        }
        let read = self.read;
        for kind in ["m.room.name", "m.room.canonical_alias"] {
            let named: Option<Named> = state::current_content(read, room.nid, kind, "")?;
            if let Some(name) = named.and_then(|named| named.name).filter(|name| !name.is_empty()) {
                return Ok(name);
            }
        }
        let head = rooms::head(read, room.nid)?;
        let user = self.viewer.user;
        let some = match head.joined + head.invited > FEW {
            true => sync::some_members(read, room.nid, user, NAMED_AFTER)?,
            false => sync::first_members(read, room.nid, user, NAMED_AFTER)?,
        };
        let some = some.into_iter().filter(|member| room.service != Some(*member));
        let names = some.map(|member| Ok(people.get(member)?.nickname.clone()));
        Ok(names.collect::<Result<Vec<_>, StoreError>>()?.join(", "))
    }
}

fn group_avatar(read: &dyn Read, room: RoomNid) -> Result<String, StoreError> {
    #[derive(Deserialize)]
    struct Avatar {
        url: String,
    }
    let avatar: Option<Avatar> = state::current_content(read, room, "m.room.avatar", "")?;
    Ok(avatar.map(|avatar| avatar.url).unwrap_or_default())
}

/// A space holds rooms, not messages.
fn is_space(read: &dyn Read, room: RoomNid) -> Result<bool, StoreError> {
    #[derive(Deserialize)]
    struct Create {
        #[serde(default, rename = "type")]
        kind: Option<String>,
    }
    let create: Option<Create> = state::current_content(read, room, "m.room.create", "")?;
    Ok(create.and_then(|create| create.kind).is_some_and(|kind| kind == "m.space"))
}

/// The rooms that rules of their own keep quiet: as LinkIM mutes them, and as Element does.
fn muted_rooms(rules: &Ruleset) -> HashSet<OwnedRoomId> {
    let quiet = |enabled: bool, actions: &[ruma::push::Action]| {
        enabled && !actions.iter().any(ruma::push::Action::should_notify)
    };
    let rooms = rules.room.iter().filter(|rule| quiet(rule.enabled, &rule.actions)).map(|rule| rule.rule_id.clone());
    let overriding = rules.override_.iter().filter(|rule| quiet(rule.enabled, &rule.actions));
    rooms.chain(overriding.filter_map(|rule| OwnedRoomId::try_from(rule.rule_id.as_str()).ok())).collect()
}

/// A user's account data of a room, as far as lists show it.
#[derive(Default)]
struct Data {
    pinned: bool,
    marked_unread: bool,
    recv_opt: i64,
    draft: Option<Draft>,
}

impl Data {
    fn read(read: &dyn Read, user: UserNid, room: RoomNid) -> Result<Self, StoreError> {
        let mut data = Self::default();
        for (kind, content) in sync::account_data_of_room(read, user, room)? {
            match kind.as_str() {
                TAGS => data.pinned = is_pinned(&content),
                MARKED_UNREAD => data.marked_unread = is_marked_unread(&content),
                DRAFT => data.draft = Draft::of_content(&content),
                receiving::TYPE => data.recv_opt = receiving::of_content(&content),
                _ => {}
            }
        }
        Ok(data)
    }
}

/// Whether an `m.tag` has the tag of pinned conversations.
pub(super) fn is_pinned(content: &str) -> bool {
    #[derive(Deserialize)]
    struct Tags {
        tags: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
    }
    serde_json::from_str::<Tags>(content).is_ok_and(|tags| tags.tags.contains_key(PINNED))
}

fn is_marked_unread(content: &str) -> bool {
    #[derive(Deserialize)]
    struct Marked {
        unread: bool,
    }
    serde_json::from_str::<Marked>(content).is_ok_and(|marked| marked.unread)
}
