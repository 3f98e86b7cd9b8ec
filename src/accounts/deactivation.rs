//! The end of an account.
//!
//! Source: Client-Server API, `POST /account/deactivate`.

use std::sync::Arc;

use super::{DeactivationWatcher, endings::EndReason, sessions::Sessions};
use crate::{
    clock::Clock,
    store::{
        Store, StoreError, account_data, accounts,
        device_keys::{self, Usage},
        filters,
        ids::UserNid,
        key_backups, presence, profiles, third_party_ids,
    },
};

/// Ends accounts.
pub struct Deactivation {
    store: Store,
    clock: Arc<dyn Clock>,
    sessions: Arc<Sessions>,
    watcher: Arc<dyn DeactivationWatcher>,
}

impl Deactivation {
    /// `watcher` takes the user out of the rooms.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        sessions: Arc<Sessions>,
        watcher: Arc<dyn DeactivationWatcher>,
    ) -> Self {
        Self { store, clock, sessions, watcher }
    }

    /// Deactivates an account for good: its sessions end, its password and keys are forgotten, its
    /// phone numbers and e-mail addresses are free for others, its id is never given out again. With
    /// `erase` its profile, account data and filters go too, and who joins a room later gets its events redacted.
    pub async fn deactivate(&self, user: UserNid, erase: bool) -> Result<(), StoreError> {
        let (sessions, watcher) = (self.sessions.clone(), self.watcher.clone());
        let now = self.clock.now_ms();
        self.store
            .write(move |tx| {
                accounts::deactivate(tx, user, now, erase)?;
                sessions.end_all(tx, user, None, EndReason::ByServer)?;
                third_party_ids::delete_of_user(tx, user)?;
                for usage in Usage::ALL {
                    device_keys::delete_cross_signing(tx, user, usage)?;
                }
                key_backups::delete_of_user(tx, user)?;
                presence::put_status(tx, user, None)?;
                if erase {
                    profiles::delete_of_user(tx, user)?;
                    account_data::delete_of_user(tx, user)?;
                    filters::delete_of_user(tx, user)?;
                }
                tx.after_commit(move || watcher.deactivated(user));
                Ok(())
            })
            .await
    }
}
