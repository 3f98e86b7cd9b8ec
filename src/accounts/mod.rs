//! Accounts of this server: users, devices, tokens, login flows, profiles, account data.

mod account_data;
mod deactivation;
mod devices;
mod filters;
mod last_seen;
mod login;
mod login_tokens;
mod passwords;
mod profile_fields;
mod profiles;
mod push_rules;
mod rate_limits;
mod registration;
mod restrictions;
mod session;
mod sessions;
mod shared_secret;
mod tags;
mod token_cache;
mod token_keys;
mod turn;
mod uia;
mod user_names;

#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    account_data::{AccountData, AccountDataError},
    deactivation::Deactivation,
    devices::{Devices, Seen},
    filters::{FilterError, Filters},
    last_seen::{LastSeen, keep_last_seen},
    login::{Login, LoginError},
    login_tokens::{Grant, LoginTokens},
    passwords::{PasswordRefused, Passwords},
    profile_fields::{FieldName, FieldRefused},
    profiles::{ProfileError, Profiles},
    push_rules::{PushRuleError, PushRules},
    rate_limits::{LimitKey, Limited, RATES, Rate, RateLimits},
    registration::{NewAccount, Registered, Registration, RegistrationError},
    restrictions::{Restriction, RestrictionError, Restrictions},
    session::Session,
    sessions::{AuthenticateError, DeviceRefused, IssuedTokens, NewDevice, RefreshError, Sessions},
    shared_secret::{SharedSecret, SharedSecretError, SharedSecretRequest},
    tags::{TagError, Tags},
    turn::{TurnAccess, TurnServer},
    uia::{AuthData, Challenge, Flows, Operation, PASSWORD_FLOWS, Stage, Uia, UiaError, UserIdentifier},
    user_names::{NameRefused, SERVICE_PREFIX, UserNames},
};

use crate::store::{StoreError, WriteTx, ids::UserNid};

/// Whoever holds long polls: is told that a user's clients have something new to hear of.
pub trait Wake: Send + Sync + 'static {
    /// Called on the writer thread right after the commit: note it and return.
    fn wake_user(&self, user: UserNid);
}

/// Whoever copies profiles elsewhere: into the member events of the user's rooms, to begin with (Client-Server API, "Events
/// on Change of Profile Information").
pub trait ProfileWatcher: Send + Sync + 'static {
    /// Called on the writer thread right after the commit that changed or removed `field`: queue it and return. What is read
    /// later may already be newer.
    fn profile_changed(&self, user: UserNid, field: &FieldName);
}

/// Whoever tells others of a user's devices: those who encrypt for them.
pub trait DeviceWatcher: Send + Sync + 'static {
    /// Called in the transaction that ends or renames a device that has identity keys.
    fn device_changed(&self, tx: &WriteTx<'_>, user: UserNid, device_id: &str) -> Result<(), StoreError>;
}

/// Whoever must act when an account ends: by leaving its rooms, to begin with.
pub trait DeactivationWatcher: Send + Sync + 'static {
    /// Called on the writer thread right after the commit that deactivated the account: queue it and return. A crash may come
    /// between the commit and the work, so resume at start from the accounts that are deactivated and still joined.
    fn deactivated(&self, user: UserNid);
}
