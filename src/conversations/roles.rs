//! stub
use crate::{
    rooms::power::{Level, Power},
    store::{Read, StoreError, ids, ids::{RoomKey, UserNid}},
};
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role { Member, Admin, Owner }
pub(super) fn role(read: &dyn Read, room: &RoomKey, user: UserNid) -> Result<Option<Role>, StoreError> {
    let power = Power::of_room(read, room)?.of(&ids::user_id(read, user)?);
    Ok(Some(if power >= Level::Number(100) { Role::Owner } else if power >= Level::Number(50) { Role::Admin } else { Role::Member }))
}
pub(super) fn may_withdraw(caller: Role, sender: Option<Role>) -> bool {
    caller >= Role::Admin && caller > sender.unwrap_or(Role::Member)
}
