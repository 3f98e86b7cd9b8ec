//! Sessions: how one starts, how a token proves it, how it is refreshed, how it ends.
//!
//! Source: Client-Server API, "Using access tokens", "Soft logout", "Account locking".

mod new_device;
mod openid;
mod refresh;

use std::sync::Arc;

use ruma::{OwnedDeviceId, OwnedUserId, UserId};

pub(super) use self::new_device::check_device_name;
pub use self::{
    new_device::{DeviceRefused, NewDevice},
    refresh::RefreshError,
};

use super::{
    DeviceWatcher,
    endings::{EndReason, Ended},
    last_seen::LastSeen,
    platforms::{MAX_OF_PLATFORM, Platform},
    session::Session,
    token_cache::{Entry, TokenCache},
    token_keys::TokenKeys,
};
use crate::{
    clock::Clock,
    config::MultiDevicePolicy,
    random::Random,
    store::{
        Store, StoreError, WriteTx, accounts, device_keys, devices,
        ids::{DeviceNid, UserNid},
        tokens::{self, AccessToken, TokenKind},
    },
};

/// How long an access token is valid whose client asked for a refresh token, in milliseconds. Others do not expire.
const ACCESS_TOKEN_MS: i64 = 60 * 60 * 1000;

/// Ends of sessions that whoever follows them may be behind; beyond, it is told that it missed some.
const ENDED: usize = 4096;

/// Why a token does not prove anything.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// It was never valid, or its session has ended (401 `M_UNKNOWN_TOKEN`).
    #[error("Unrecognised access token")]
    Unknown,
    /// Somebody else ended its session, or its user from elsewhere (401 `M_UNKNOWN_TOKEN`).
    #[error(transparent)]
    Ended(EndReason),
    /// It has expired; the session is still there (401 `M_UNKNOWN_TOKEN` with `soft_logout`).
    #[error("The access token has expired")]
    Expired,
    /// The account is locked (401 `M_USER_LOCKED` with `soft_logout`).
    #[error("This account has been locked")]
    Locked,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tokens as the client gets them.
#[derive(Clone, Debug)]
pub struct IssuedTokens {
    /// The device that they belong to.
    pub device_id: OwnedDeviceId,
    /// The access token.
    pub access_token: String,
    /// The refresh token, if one was asked for.
    pub refresh_token: Option<String>,
    /// How long the access token is valid, in milliseconds; none: until it is revoked.
    pub expires_in_ms: Option<i64>,
}

/// Whose session starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder<'a> {
    pub(super) user: UserNid,
    pub(super) user_id: &'a UserId,
    pub(super) guest: bool,
    pub(super) admin: bool,
    pub(super) suspended: bool,
}

/// The sessions of this server's accounts.
pub struct Sessions {
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    keys: TokenKeys,
    cache: Arc<TokenCache>,
    last_seen: Arc<LastSeen>,
    watcher: Arc<dyn DeviceWatcher>,
    policy: MultiDevicePolicy,
    ended: tokio::sync::broadcast::Sender<Ended>,
}

impl Sessions {
    /// Loads the keys of this database, or makes them. `watcher` is told of devices that end or are renamed.
    pub async fn load(
        store: Store,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        last_seen: Arc<LastSeen>,
        watcher: Arc<dyn DeviceWatcher>,
    ) -> Result<Self, StoreError> {
        let keys = TokenKeys::load(&store, random.bytes32()).await?;
        let cache = Arc::new(TokenCache::default());
        let (ended, _) = tokio::sync::broadcast::channel(ENDED);
        Ok(Self { store, clock, random, keys, cache, last_seen, watcher, policy: MultiDevicePolicy::KeepAll, ended })
    }

    /// Logins end older sessions as `policy` says.
    #[must_use]
    pub fn with_policy(self, policy: MultiDevicePolicy) -> Self {
        Self { policy, ..self }
    }

    /// Each session that ends from now on, right after the commit that ended it. Whoever falls 4,096 behind is told that some
    /// are missing, and asks [`Self::still_stands`].
    pub fn endings(&self) -> tokio::sync::broadcast::Receiver<Ended> {
        self.ended.subscribe()
    }

    /// Whose access token this is. Costs no database access once the token is known.
    pub async fn authenticate(&self, token: &str) -> Result<Session, AuthenticateError> {
        let entry = self.entry(token).await?;
        if entry.locked {
            return Err(AuthenticateError::Locked);
        }
        self.admit(&entry).await
    }

    /// As [`Self::authenticate`], also for a locked account: it may still log out.
    pub async fn authenticate_locked(&self, token: &str) -> Result<Session, AuthenticateError> {
        let entry = self.entry(token).await?;
        self.admit(&entry).await
    }

    /// Notes that a session was used now.
    pub fn note_use(&self, session: &Session, ip: Option<std::net::IpAddr>, user_agent: Option<&str>) {
        self.last_seen.note(session.device, self.clock.now_ms(), ip, user_agent);
    }

    /// Whether a session that was authenticated a while ago still stands: before an answer that was waited for goes out. It
    /// stands as long as its device does, whichever token the device has by now.
    ///
    /// # Errors
    /// `Unknown` if it logged itself out meanwhile, `Ended` if something else ended it, `Locked`, or the store's.
    pub async fn still_stands(&self, session: &Session) -> Result<(), AuthenticateError> {
        let locked = match self.cache.get(session.token) {
            Some(entry) => entry.locked,
            None => {
                let (device, token) = (session.device, session.token);
                self.store
                    .read::<_, AuthenticateError, _>(move |read| match devices::locked(read, device)? {
                        Some(locked) => Ok(locked),
                        None => Err(gone(tokens::ended(read, token, None)?)?),
                    })
                    .await?
            }
        };
        if locked { Err(AuthenticateError::Locked) } else { Ok(()) }
    }

    async fn entry(&self, token: &str) -> Result<Arc<Entry>, AuthenticateError> {
        let claims = self.keys.verify(token, TokenKind::Access).ok_or(AuthenticateError::Unknown)?;
        let entry = match self.cache.get(claims.nid) {
            Some(entry) => entry,
            None => {
                let changes = self.cache.changes();
                let (nid, ts) = (claims.nid, claims.ts);
                let found = self
                    .store
                    .read::<_, AuthenticateError, _>(move |read| match tokens::access(read, nid)? {
                        Some(found) => Ok(found),
                        None => Err(gone(tokens::ended(read, nid, Some(ts))?)?),
                    })
                    .await?;
                let entry = Arc::new(entry_of(found)?);
                self.cache.fill(nid, entry.clone(), changes);
                entry
            }
        };
        if entry.created_ts != claims.ts {
            return Err(AuthenticateError::Unknown);
        }
        Ok(entry)
    }

    async fn admit(&self, entry: &Arc<Entry>) -> Result<Session, AuthenticateError> {
        if entry.expires_ts.is_some_and(|expires| expires <= self.clock.now_ms()) {
            return Err(AuthenticateError::Expired);
        }
        if !entry.is_used() {
            self.first_use(entry.clone()).await?;
        }
        Ok(entry.session.clone())
    }

    /// The first use of a pair ends the pair that it replaced.
    async fn first_use(&self, entry: Arc<Entry>) -> Result<(), StoreError> {
        let cache = self.cache.clone();
        self.store
            .write(move |tx| {
                let ended = tokens::first_use(tx, entry.session.device, entry.session.token)?;
                tx.after_commit(move || {
                    cache.forget(&ended);
                    entry.set_used();
                });
                Ok(())
            })
            .await
    }

    /// Whether a user's device can have the id that the client wishes.
    pub(super) fn check_device(
        &self,
        tx: &WriteTx<'_>,
        user: UserNid,
        device: &NewDevice,
    ) -> Result<Option<DeviceRefused>, StoreError> {
        let Some(id) = &device.device_id else { return Ok(None) };
        let taken = device_keys::is_cross_signing_key(tx, user, id.as_str())?;
        Ok(taken.then_some(DeviceRefused::CrossSigningKey))
    }

    /// Starts a session on a device, made if the holder has none of that id; older tokens of the device end.
    pub(super) fn start(
        &self,
        tx: &WriteTx<'_>,
        holder: Holder<'_>,
        device: &NewDevice,
    ) -> Result<IssuedTokens, StoreError> {
        let now = self.clock.now_ms();
        let device_id = match &device.device_id {
            Some(id) => id.clone(),
            None => self.random.letters(10).to_ascii_uppercase().into(),
        };
        let known = match &device.device_id {
            Some(id) => devices::get(tx, holder.user, id.as_str())?,
            None => None,
        };
        let nid = match known {
            Some(known) => {
                self.revoke_cached(tx, tokens::delete_of_device(tx, known.nid)?);
                devices::set_platform(tx, known.nid, device.platform.number())?;
                known.nid
            }
            None => {
                let (name, platform) = (device.display_name.as_deref(), device.platform.number());
                devices::insert(tx, holder.user, device_id.as_str(), name, platform, now)?
            }
        };
        self.give_way(tx, holder.user, nid, device.platform)?;
        let expires = device.refresh_token.then_some(now + ACCESS_TOKEN_MS);
        let session = Session {
            user: holder.user,
            user_id: holder.user_id.to_owned(),
            device: nid,
            device_id: device_id.clone(),
            token: 0,
            guest: holder.guest,
            admin: holder.admin,
            suspended: holder.suspended,
        };
        let pair = self.issue(tx, session, now, expires, true)?;
        Ok(pair.issued(device_id, expires.map(|_| ACCESS_TOKEN_MS)))
    }

    /// Ends the older sessions that the new one on `device` takes the place of.
    fn give_way(
        &self,
        tx: &WriteTx<'_>,
        user: UserNid,
        device: DeviceNid,
        platform: Platform,
    ) -> Result<(), StoreError> {
        if platform == Platform::NONE {
            return Ok(());
        }
        let others = devices::of_user(tx, user)?.into_iter().filter(|other| other.nid != device);
        let mut same = Vec::new();
        for other in others {
            let on = Platform::stored(other.platform);
            if platform.ends(on, self.policy) {
                self.end(tx, other.nid, Some(EndReason::LoggedInElsewhere))?;
            } else if on == platform {
                same.push(other.nid);
            }
        }
        // The oldest first, as the store answers them; the new one counts, too.
        let many = (same.len() + 1).saturating_sub(MAX_OF_PLATFORM);
        for device in same.into_iter().take(many) {
            self.end(tx, device, Some(EndReason::LoggedInElsewhere))?;
        }
        Ok(())
    }

    /// Forgets tokens once this transaction is committed.
    fn revoke_cached(&self, tx: &WriteTx<'_>, tokens: Vec<i64>) {
        if tokens.is_empty() {
            return;
        }
        let cache = self.cache.clone();
        tx.after_commit(move || cache.forget(&tokens));
    }

    /// Ends the session of a device: its tokens die with the commit, and the device goes with its keys. The device hears
    /// `reason`, if there is one, as the answer to what it asks next.
    pub(super) fn end(&self, tx: &WriteTx<'_>, device: DeviceNid, reason: Option<EndReason>) -> Result<(), StoreError> {
        if let Some(reason) = reason {
            tokens::note_ended(tx, device, reason.number(), self.clock.now_ms())?;
        }
        self.revoke_cached(tx, tokens::delete_of_device(tx, device)?);
        if let Some(user) = devices::user(tx, device)? {
            let ended = self.ended.clone();
            tx.after_commit(move || {
                // Nobody follows, perhaps.
                let _ = ended.send(Ended { user, device, reason });
            });
        }
        if let Some((user, device_id)) = device_keys::owner(tx, device)?
            && device_keys::delete(tx, user, &device_id)?
        {
            self.watcher.device_changed(tx, user, &device_id)?;
        }
        devices::delete(tx, device)
    }

    /// Tells that a device has another name, if it is one that others see.
    pub(super) fn renamed(&self, tx: &WriteTx<'_>, user: UserNid, device_id: &str) -> Result<(), StoreError> {
        match device_keys::get(tx, user, device_id)? {
            Some(_) => self.watcher.device_changed(tx, user, device_id),
            None => Ok(()),
        }
    }

    /// Ends all sessions of a user but the one of device `except`.
    pub(super) fn end_all(
        &self,
        tx: &WriteTx<'_>,
        user: UserNid,
        except: Option<DeviceNid>,
        reason: EndReason,
    ) -> Result<(), StoreError> {
        for device in devices::of_user(tx, user)? {
            if Some(device.nid) != except {
                self.end(tx, device.nid, Some(reason))?;
            }
        }
        Ok(())
    }

    /// Makes every request of a user's sessions look at the account again, once this transaction is committed: it was locked or
    /// suspended, or is another kind of account now.
    pub(super) fn account_changed(&self, tx: &WriteTx<'_>, user: UserNid) -> Result<(), StoreError> {
        self.revoke_cached(tx, tokens::of_user(tx, user)?);
        Ok(())
    }

    /// Ends a session (`POST /logout`).
    pub async fn logout(self: &Arc<Self>, session: &Session) -> Result<(), StoreError> {
        let (this, device) = (self.clone(), session.device);
        self.store.write(move |tx| this.end(tx, device, None)).await
    }

    /// Ends all sessions of a user (`POST /logout/all`).
    pub async fn logout_all(self: &Arc<Self>, session: &Session) -> Result<(), StoreError> {
        let (this, user, device) = (self.clone(), session.user, session.device);
        self.store
            .write(move |tx| {
                this.end_all(tx, user, Some(device), EndReason::Revoked)?;
                this.end(tx, device, None)
            })
            .await
    }

    /// Locks or unlocks an account (Client-Server API, "Account locking"): its tokens stay, but prove nothing until it is unlocked.
    pub async fn set_locked(self: &Arc<Self>, user: UserNid, locked: bool) -> Result<(), StoreError> {
        let this = self.clone();
        self.store
            .write(move |tx| {
                accounts::set_locked(tx, user, locked)?;
                this.account_changed(tx, user)
            })
            .await
    }
}

/// What is told for a token whose row is gone.
fn gone(reason: Option<i64>) -> Result<AuthenticateError, StoreError> {
    Ok(match reason {
        Some(number) => AuthenticateError::Ended(EndReason::from_number(number)?),
        None => AuthenticateError::Unknown,
    })
}

fn entry_of(found: AccessToken) -> Result<Entry, StoreError> {
    let user_id = OwnedUserId::try_from(found.user_id).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let token = found.token;
    let session = Session {
        user: token.user,
        user_id,
        device: token.device,
        device_id: found.device_id.into(),
        token: token.nid,
        guest: found.guest,
        admin: found.admin,
        suspended: found.suspended,
    };
    Ok(Entry::new(session, token.created_ts, token.expires_ts).with_locked(found.locked).with_used(token.used))
}
