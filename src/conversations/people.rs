//! Who somebody is in a room: their profile, and what they are called there.

use std::{collections::HashMap, rc::Rc};

use ruma::{OwnedUserId, ServerName};
use serde::Deserialize;

use crate::{
    rooms::state,
    store::{
        Read, StoreError, ids,
        ids::{RoomNid, UserNid},
        profiles,
    },
};

/// A user as LinkIM's clients show them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The user's id; none only of nobody.
    pub user_id: Option<OwnedUserId>,
    /// The name in their profile; of a user of another server, the name in the room.
    pub nickname: String,
    /// Where their avatar is; empty if they have none.
    pub avatar: String,
    /// The name in the room.
    pub group_nickname: String,
}

/// The people of one room within one snapshot, each looked up once.
pub struct People<'a> {
    read: &'a dyn Read,
    server_name: &'a ServerName,
    room: RoomNid,
    known: HashMap<UserNid, Rc<Person>>,
}

#[derive(Default, Deserialize)]
struct Member {
    #[serde(default)]
    displayname: Option<String>,
    #[serde(default)]
    avatar_url: Option<String>,
}

impl<'a> People<'a> {
    /// Of a room; `server_name` is this server's.
    pub fn new(read: &'a dyn Read, server_name: &'a ServerName, room: RoomNid) -> Self {
        Self { read, server_name, room, known: HashMap::new() }
    }

    /// One of them, or somebody who was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn get(&mut self, user: UserNid) -> Result<Rc<Person>, StoreError> {
        if let Some(known) = self.known.get(&user) {
            return Ok(known.clone());
        }
        let user_id = ids::user_id(self.read, user)?;
        let member: Option<Member> = state::current_content(self.read, self.room, "m.room.member", user_id.as_str())?;
        let member = member.unwrap_or_default();
        let (mut nickname, mut avatar) = (None, None);
        if user_id.server_name() == self.server_name {
            let field = |name| -> Result<Option<String>, StoreError> {
                let value = profiles::get(self.read, user, name)?;
                Ok(value.and_then(|json| serde_json::from_str(&json).ok()))
            };
            (nickname, avatar) = (field("displayname")?, field("avatar_url")?);
        }
        let nickname = nickname.or_else(|| member.displayname.clone());
        let person = Rc::new(Person {
            nickname: nickname.unwrap_or_else(|| user_id.localpart().to_owned()),
            avatar: avatar.or(member.avatar_url).unwrap_or_default(),
            group_nickname: member.displayname.unwrap_or_default(),
            user_id: Some(user_id),
        });
        self.known.insert(user, person.clone());
        Ok(person)
    }
}
