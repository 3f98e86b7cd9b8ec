//! How a person looks in the lists of LinkIM's API.

use serde::Serialize;
use utoipa::ToSchema;

use crate::contacts::{FriendEntry, Person};

/// A person. The keys in capitals are the old LinkIM's.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PersonView {
    /// The user's number.
    #[serde(rename = "ID")]
    id: i64,
    /// The number as a string.
    #[serde(rename = "ID_str")]
    id_str: String,
    /// The user's id.
    matrix_id: String,
    /// The name shown; empty if there is none.
    #[serde(rename = "Nickname")]
    nickname: String,
    /// The e-mail address; empty where its owner does not show it.
    #[serde(rename = "Email")]
    email: String,
    /// The country code of the phone number; empty where its owner does not show it.
    #[serde(rename = "Area")]
    area: String,
    /// The phone number without the country code; empty where its owner does not show it.
    #[serde(rename = "Phone")]
    phone: String,
    /// Where the avatar is; empty if there is none.
    #[serde(rename = "AvatarUrl")]
    avatar_url: String,
    /// What the user says of themselves; empty if nothing.
    #[serde(rename = "Signature")]
    signature: String,
}

impl From<Person> for PersonView {
    fn from(person: Person) -> Self {
        let Person { number, user_id, nickname, avatar_url, signature, email, area, phone } = person;
        Self {
            id: number,
            id_str: number.to_string(),
            matrix_id: user_id,
            nickname,
            email,
            area,
            phone,
            avatar_url,
            signature,
        }
    }
}

/// A friend.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FriendView {
    #[serde(flatten)]
    person: PersonView,
    /// What the caller calls the friend; empty if nothing else.
    remark: String,
    /// The caller's labels that the friend has.
    labels: Vec<String>,
    /// Since when the two are friends, in milliseconds.
    friends_since_ts: i64,
    /// The conversation of the two; none if there is none.
    thread_id: Option<i64>,
    /// The conversation's number as a string.
    thread_id_str: Option<String>,
    /// The conversation's room.
    room_id: Option<String>,
}

impl From<FriendEntry> for FriendView {
    fn from(entry: FriendEntry) -> Self {
        let FriendEntry { person, remark, since, labels, room } = entry;
        Self {
            person: person.into(),
            remark,
            labels,
            friends_since_ts: since,
            thread_id: room.as_ref().map(|room| room.nid.0),
            thread_id_str: room.as_ref().map(|room| room.nid.0.to_string()),
            room_id: room.map(|room| room.room_id.to_string()),
        }
    }
}

/// A page of friends.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Friends {
    /// The friends, by their ids.
    pub(super) detail: Vec<FriendView>,
    /// Whether there are more: ask again with the last one's number as `cursor`.
    pub(super) has_more: bool,
}

/// A page of people.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct People {
    /// The people, by their ids.
    pub(super) detail: Vec<PersonView>,
    /// Whether there are more: ask again with the last one's number as `cursor`.
    pub(super) has_more: bool,
}
