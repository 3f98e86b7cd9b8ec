//! What is shown of a person in lists.

use serde::Deserialize;

use super::Addresses;
use crate::{
    rooms::{shown_profile::shown_profile, state},
    store::{
        Read, StoreError, accounts, direct_rooms, ids,
        ids::{RoomNid, UserNid},
        profiles,
    },
};

/// A person as lists show them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The user's number.
    pub number: i64,
    /// The user's id.
    pub user_id: String,
    /// The name shown; empty if there is none.
    pub nickname: String,
    /// Where the avatar is; empty if there is none.
    pub avatar_url: String,
    /// What the user says of themselves; empty for users of other servers.
    pub signature: String,
    /// The e-mail address, where its owner lets the asker see it.
    pub email: String,
    /// The country code of the phone number, such as `+86`; as the number.
    pub area: String,
    /// The phone number without the country code, where its owner lets the asker see it.
    pub phone: String,
}

/// The profile field of the signature.
const SIGNATURE: &str = "org.linkim.signature";

/// A person, as `asker` may see them. What is known of users of other servers is what they say in the direct room, or in the
/// invitation to it.
///
/// # Errors
/// [`StoreError`].
pub fn person(read: &dyn Read, asker: UserNid, user: UserNid) -> Result<Person, StoreError> {
    let user_id = ids::user_id(read, user)?;
    let mut person = Person { number: user.0, user_id: user_id.to_string(), ..Person::default() };
    if accounts::exists(read, user)? {
        let shown = shown_profile(read, user, true)?;
        (person.nickname, person.avatar_url) =
            (shown.displayname.unwrap_or_default(), shown.avatar_url.unwrap_or_default());
        let signature = profiles::get(read, user, SIGNATURE)?.and_then(|json| serde_json::from_str(&json).ok());
        person.signature = signature.unwrap_or_default();
        let Addresses { email, area, phone } = Addresses::seen_by(read, asker, user)?;
        (person.email, person.area, person.phone) = (email, area, phone);
        return Ok(person);
    }
    if let Some(room) = direct_rooms::between(read, asker, user)? {
        (person.nickname, person.avatar_url) = said_in(read, room, user_id.as_str(), asker)?;
    }
    Ok(person)
}

#[derive(Default, Deserialize)]
struct Member {
    #[serde(default)]
    displayname: Option<String>,
    #[serde(default)]
    avatar_url: Option<String>,
}

/// Name and avatar of a user of another server in a room, which we may know of by an invitation alone.
fn said_in(read: &dyn Read, room: RoomNid, user_id: &str, asker: UserNid) -> Result<(String, String), StoreError> {
    let member: Option<Member> = state::current_content(read, room, "m.room.member", user_id)?;
    let member = match member {
        Some(member) => member,
        None => told(read, room, user_id, asker)?.unwrap_or_default(),
    };
    Ok((member.displayname.unwrap_or_default(), member.avatar_url.unwrap_or_default()))
}

fn told(read: &dyn Read, room: RoomNid, user_id: &str, asker: UserNid) -> Result<Option<Member>, StoreError> {
    #[derive(Deserialize)]
    struct Stripped {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        state_key: Option<String>,
        content: serde_json::Value,
    }
    let Some(stripped) = crate::store::stripped_state::get(read, asker, room)? else { return Ok(None) };
    let events: Vec<Stripped> = serde_json::from_str(&stripped).unwrap_or_default();
    let own = |event: &Stripped| event.kind == "m.room.member" && event.state_key.as_deref() == Some(user_id);
    let own = events.into_iter().find(own);
    Ok(own.and_then(|event| serde_json::from_value(event.content).ok()))
}
