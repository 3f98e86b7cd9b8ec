//! Accounts of this server: users, devices, tokens, login flows, profiles, account data.

mod account_data;
mod acknowledged;
mod address_login;
mod codes;
mod deactivation;
mod delivery;
mod devices;
mod endings;
mod filters;
mod invitation_codes;
mod last_seen;
mod login;
mod login_tokens;
mod passwords;
mod phone_numbers;
mod platforms;
mod profile_fields;
mod profiles;
mod push_rules;
mod rate_limits;
mod registration;
mod restrictions;
mod session;
mod sessions;
mod shared_secret;
mod sign_up;
mod tags;
mod third_party_ids;
mod token_cache;
mod token_keys;
mod token_requests;
mod turn;
mod uia;
mod user_names;
mod user_settings;

#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    account_data::{AccountData, AccountDataError},
    acknowledged::{Acknowledged, keep_acknowledged},
    address_login::{AddressLogin, ByCodeError},
    codes::{CheckError, CodeRefused, Codes, Purpose, SendError},
    deactivation::Deactivation,
    delivery::{Delivery, MailError},
    devices::{Devices, Seen},
    endings::{EndReason, Ended},
    filters::{FilterError, Filters},
    invitation_codes::InvitationCodes,
    last_seen::{LastSeen, keep_last_seen},
    login::{Login, LoginError},
    login_tokens::{Grant, LoginTokens},
    passwords::{PasswordRefused, Passwords},
    platforms::Platform,
    profile_fields::{FieldName, FieldRefused},
    profiles::{ProfileError, Profiles},
    push_rules::{PushRuleError, PushRules},
    rate_limits::{LimitKey, Limited, RATES, Rate, RateLimits},
    registration::{NewAccount, Registered, Registration, RegistrationError},
    restrictions::{Restriction, RestrictionError, Restrictions},
    session::Session,
    sessions::{AuthenticateError, DeviceRefused, IssuedTokens, NewDevice, RefreshError, Sessions},
    shared_secret::{SharedSecret, SharedSecretError, SharedSecretRequest},
    sign_up::{SignUp, SignUpError, SignUpRequest},
    tags::{TagError, Tags},
    third_party_ids::{AddError, Medium, ThirdPartyId, ThirdPartyIds, split_phone},
    token_requests::{Proved, ThreepidCreds, TokenRequest, TokenRequestError, TokenRequests},
    turn::{TurnAccess, TurnServer},
    uia::{AuthData, Challenge, Flows, Operation, PASSWORD_FLOWS, Stage, Uia, UiaError, UserIdentifier},
    user_names::{NameRefused, SERVICE_PREFIX, UserNames},
    user_settings::UserSettings,
};

use crate::store::{StoreError, WriteTx, ids::UserNid};

/// Whoever holds long polls: is told that a user's clients have something new to hear of.
pub trait Wake: Send + Sync + 'static {
    /// Called on the writer thread right after the commit: note it and return.
    fn wake_user(&self, user: UserNid);
}

/// Whoever remembers whom users ignore.
pub trait IgnoreWatcher: Send + Sync + 'static {
    /// Called on the writer thread right after the commit in which somebody changed whom they ignore, at this position.
    fn ignored_changed(&self, position: i64);
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
