//! The server's own user, who makes the groups.
//!
//! Room version 12 gives a room's creator power that no level limits and that cannot be passed on, so no person may be it: a
//! group's owner could never be replaced. The creator is a user whom nobody logs in as; what members may do is decided here
//! and then done in its name. It is hidden where people are counted and shown.

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};

use crate::{
    accounts::{SERVICE_PREFIX, Session},
    store::{
        Store, StoreError, accounts,
        accounts::AccountKind,
        groups, ids,
        ids::{DeviceNid, UserNid},
        profiles,
    },
};

/// Names that are tried, should somebody have an account with the first from before.
const NAMES: usize = 100;

/// The server's own user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUser {
    /// Its number.
    pub user: UserNid,
    /// Its id: `@_linkim:` and the server's name.
    pub user_id: OwnedUserId,
}

impl ServiceUser {
    /// The one of this database, made at the first start.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ensure(store: &Store, server_name: &OwnedServerName, now_ms: i64) -> Result<Self, StoreError> {
        let server_name = server_name.clone();
        store
            .write(move |tx| {
                if let Some(user) = groups::service_user(tx)? {
                    return Ok(Self { user, user_id: ids::user_id(tx, user)? });
                }
                for number in 0..NAMES {
                    let user_id = name(&server_name, number)?;
                    let user = ids::intern_user(tx, &user_id)?;
                    if accounts::exists(tx, user)? {
                        continue;
                    }
                    accounts::insert(tx, user, AccountKind::Service, None, false, now_ms)?;
                    profiles::set(tx, user, "displayname", "\"LinkIM\"", tx.next_position())?;
                    return Ok(Self { user, user_id });
                }
                Err(StoreError::Engine(format!("no name is left for the server's own user: {SERVICE_PREFIX}")))
            })
            .await
    }

    /// This user, as one who asks for something.
    pub(super) fn session(&self) -> Session {
        Session {
            user: self.user,
            user_id: self.user_id.clone(),
            device: DeviceNid(0),
            device_id: "".into(),
            token: 0,
            guest: false,
            admin: false,
            suspended: false,
        }
    }
}

fn name(server_name: &ServerName, number: usize) -> Result<OwnedUserId, StoreError> {
    let localpart = match number {
        0 => SERVICE_PREFIX.to_owned(),
        number => format!("{SERVICE_PREFIX}.{number}"),
    };
    UserId::parse(format!("@{localpart}:{server_name}")).map_err(|error| StoreError::Engine(error.to_string()))
}
