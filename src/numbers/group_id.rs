//! Group ids: UUIDs that hold a room's number.
//!
//! A UUID of version 8 (RFC 9562): 60 bits of a keyed hash of the number, then, behind the variant, 6 bits more of it, then the
//! number in 56 bits under a mask that the hash gives. One that was not made here has the wrong hash.

use std::fmt;

use uuid::Uuid;

use crate::store::ids::RoomNid;

/// The id of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(pub Uuid);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// What seals and opens group ids: a secret of this database (`meta`: `group_id_key`).
#[derive(Clone)]
pub struct GroupIdKey([u8; 32]);

/// Bits of a room's number that a UUID has place for.
const NUMBER: u64 = (1 << 56) - 1;

impl GroupIdKey {
    /// With this secret.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The id of the group that is this room.
    pub fn id(&self, room: RoomNid) -> GroupId {
        let number = room.0 as u64 & NUMBER;
        let hash = self.hash(b'n', number);
        let head = hash[0] & !(0xf << 12) | (8 << 12);
        let tail = (0b10 << 62) | (hash[1] & (0x3f << 56)) | (number ^ self.mask(head));
        GroupId(Uuid::from_u64_pair(head, tail))
    }

    /// The room of an id; none for an id that was not made with this key.
    pub fn room(&self, id: GroupId) -> Option<RoomNid> {
        let (head, tail) = id.0.as_u64_pair();
        let room = RoomNid(((tail & NUMBER) ^ self.mask(head)) as i64);
        (self.id(room) == id).then_some(room)
    }

    fn mask(&self, head: u64) -> u64 {
        self.hash(b'm', head)[0] & NUMBER
    }

    fn hash(&self, purpose: u8, of: u64) -> [u64; 2] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[purpose]).update(&of.to_be_bytes());
        let mut words = [0; 2];
        for (word, bytes) in words.iter_mut().zip(hasher.finalize().as_bytes().chunks_exact(8)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_8() {
        let id = GroupIdKey::new([7; 32]).id(RoomNid(1));
        assert_eq!(id.0.get_version_num(), 8);
        assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(id.to_string().len(), 36);
    }

    #[test]
    fn what_another_database_made_is_unknown() {
        let id = GroupIdKey::new([7; 32]).id(RoomNid(1));
        assert_eq!(GroupIdKey::new([8; 32]).room(id), None);
        assert_eq!(GroupIdKey::new([7; 32]).room(GroupId(Uuid::nil())), None);
    }

    proptest! {
        #[test]
        fn each_room_has_its_own(one in 0i64..1 << 53, other in 0i64..1 << 53, bit in 0u32..128) {
            let key = GroupIdKey::new([7; 32]);
            let id = key.id(RoomNid(one));
            prop_assert_eq!(key.room(id), Some(RoomNid(one)));
            prop_assert_eq!(key.id(RoomNid(other)) == id, one == other);
            let forged = GroupId(Uuid::from_u128(id.0.as_u128() ^ (1 << bit)));
            prop_assert_eq!(key.room(forged), None);
        }
    }
}
