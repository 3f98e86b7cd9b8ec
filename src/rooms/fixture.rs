//! A server without HTTP, for the tests of the services: a real store and real appenders.

use std::sync::Arc;

use linkim_federation::SigningKey;
use ruma::{CanonicalJsonObject, OwnedRoomId, OwnedServerName, RoomId, RoomVersionId, UserId, server_name};
use serde_json::Value;

use super::{
    aliases::Aliases,
    append::{Appenders, NoWake, Signer, Transaction},
    create::{CreateRequest, RoomCreation},
    directory::Directory,
    hierarchy::Hierarchy,
    membership::Membership,
    send::Sending,
    state,
    state_hash::StateHashKey,
    summary::Summaries,
    upgrade::Upgrades,
};
use crate::{
    accounts::Session,
    clock::SystemClock,
    params,
    random::OsRandom,
    store::{
        Store, StoreError, ids,
        ids::{DeviceNid, RoomNid},
        members, profiles, stripped_state,
    },
};

/// The server `a.example`.
pub(super) struct Fixture {
    pub(super) store: Store,
    pub(super) creation: Arc<RoomCreation>,
    pub(super) membership: Arc<Membership>,
    pub(super) sending: Sending,
    pub(super) aliases: Aliases,
    pub(super) directory: Directory,
    pub(super) summaries: Arc<Summaries>,
    pub(super) hierarchy: Hierarchy,
    pub(super) upgrades: Upgrades,
    _folder: tempfile::TempDir,
}

/// JSON as the content of an event.
pub(super) fn content(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).unwrap()
}

impl Fixture {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
        let name: OwnedServerName = server_name!("a.example").to_owned();
        let signer = Signer {
            server_name: name.clone(),
            key: SigningKey::generate([1; 32], "1").unwrap(),
            random: Arc::new(OsRandom),
        };
        let clock = Arc::new(SystemClock);
        let key = StateHashKey::new([2; 32]);
        let appenders = Arc::new(Appenders::new(store.clone(), clock.clone(), signer, key, Arc::new(NoWake)));
        let membership = Arc::new(Membership::new(store.clone(), appenders.clone(), name.clone()));
        let creation =
            RoomCreation::new(store.clone(), appenders.clone(), name.clone(), RoomVersionId::V12, clock.clone());
        let summaries = Arc::new(Summaries::new(store.clone()));
        Self {
            aliases: Aliases::new(store.clone(), appenders.clone(), name.clone(), clock.clone()),
            directory: Directory::new(store.clone(), summaries.clone(), name.clone()),
            hierarchy: Hierarchy::new(store.clone(), summaries.clone()),
            summaries,
            upgrades: Upgrades::new(store.clone(), appenders.clone()),
            sending: Sending::new(store.clone(), appenders.clone(), membership.clone(), name.clone()),
            creation: Arc::new(creation),
            membership,
            store,
            _folder: folder,
        }
    }

    /// An account with one device.
    pub(super) async fn user(&self, localpart: &str) -> Session {
        self.account(localpart, false).await
    }

    /// A guest with one device.
    pub(super) async fn guest(&self, localpart: &str) -> Session {
        self.account(localpart, true).await
    }

    async fn account(&self, localpart: &str, guest: bool) -> Session {
        let user_id = UserId::parse(format!("@{localpart}:a.example")).unwrap();
        let id = user_id.clone();
        let user = self
            .write(move |tx| {
                let user = ids::intern_user(tx, &id)?;
                tx.execute(
                    "INSERT INTO accounts (user, kind, created_ts) VALUES (?1, ?2, 0)",
                    params![user, i64::from(guest)],
                )?;
                Ok(user)
            })
            .await;
        Session {
            user,
            user_id,
            device: DeviceNid(user.0),
            device_id: "DEVICE".into(),
            token: user.0,
            guest,
            admin: false,
            suspended: false,
        }
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&crate::store::WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write::<_, StoreError, _>(write).await.unwrap()
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn crate::store::Read) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.read::<_, StoreError, _>(move |snapshot| read(snapshot)).await.unwrap()
    }

    pub(super) async fn set_profile(&self, user: &Session, field: &'static str, value: &'static str) {
        let user = user.user;
        let json = serde_json::to_string(value).unwrap();
        self.write(move |tx| profiles::set(tx, user, field, &json, tx.next_position())).await;
    }

    pub(super) async fn create(&self, by: &Session, request: CreateRequest) -> OwnedRoomId {
        self.creation.create(&by.user_id, request).await.unwrap()
    }

    pub(super) async fn nid(&self, room: &RoomId) -> RoomNid {
        let room = room.to_owned();
        self.read(move |read| Ok(ids::room(read, &room)?.unwrap().nid)).await
    }

    /// The content of a state event, `null` if there is none.
    pub(super) async fn state(&self, room: &RoomId, kind: &'static str, key: &str) -> Value {
        let (nid, key) = (self.nid(room).await, key.to_owned());
        self.read(move |read| state::current_content(read, nid, kind, &key)).await.unwrap_or_default()
    }

    pub(super) async fn membership_of(&self, room: &RoomId, user: &Session) -> Option<members::Membership> {
        let (nid, user) = (self.nid(room).await, user.user);
        self.read(move |read| Ok(members::of(read, user, nid)?.map(|member| member.membership))).await
    }

    /// The stripped state that a user is told.
    pub(super) async fn told(&self, room: &RoomId, user: &Session) -> Option<Vec<Value>> {
        let (nid, user) = (self.nid(room).await, user.user);
        let json = self.read(move |read| stripped_state::get(read, user, nid)).await;
        json.map(|json| serde_json::from_str(&json).unwrap())
    }
}

/// A transaction of the device that this one names.
pub(super) fn transaction(by: &Session, id: u8) -> Transaction {
    Transaction { device: by.device, key: [id; 16], txn_id: id.to_string() }
}
