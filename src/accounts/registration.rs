//! New accounts: who may have one, and the one transaction that makes it.
//!
//! Source: Client-Server API, `POST /register`, "Guest Access", "Token-authenticated registration".

use std::sync::Arc;

use ruma::{OwnedUserId, push::Ruleset};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::{
    invitation_codes::InvitationCodes,
    passwords::{PasswordRefused, Passwords},
    profile_fields::{FieldName, FieldRefused},
    session::Session,
    sessions::{Holder, IssuedTokens, NewDevice, Sessions},
    uia::{Flows, Stage},
    user_names::{NameRefused, UserNames},
};
use crate::{
    clock::Clock,
    config,
    random::Random,
    store::{
        Store, StoreError, WriteTx, account_data,
        accounts::{self, AccountKind},
        ids::{self, UserNid},
        profiles,
    },
};

/// Why an account is not made.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// Nobody may register, or no guest may.
    #[error("Registration is disabled")]
    Disabled,
    /// The name is taken (`M_USER_IN_USE`).
    #[error("Desired user ID is already taken")]
    InUse,
    /// The name cannot be had.
    #[error(transparent)]
    Name(#[from] NameRefused),
    /// The password cannot be had.
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    /// The display name cannot be had.
    #[error(transparent)]
    Displayname(#[from] FieldRefused),
    /// The account to be upgraded is not a guest of that name.
    #[error("The guest access token does not belong to this user name")]
    NotThatGuest,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An account to be made.
#[derive(Debug)]
pub struct NewAccount {
    /// Its id, of this server.
    pub user_id: OwnedUserId,
    /// What kind of account it is.
    pub kind: AccountKind,
    /// Its password; none: nobody can log in with one.
    pub password: Option<String>,
    /// Whether it is an administrator.
    pub admin: bool,
    /// Its display name, if it begins with one.
    pub displayname: Option<String>,
    /// The device that its first session starts on; none: no session.
    pub device: Option<NewDevice>,
}

impl NewAccount {
    /// A person's account with a password.
    pub fn person(user_id: OwnedUserId, password: String, device: Option<NewDevice>) -> Self {
        Self { user_id, kind: AccountKind::Person, password: Some(password), admin: false, displayname: None, device }
    }
}

/// An account that was made.
#[derive(Debug)]
pub struct Registered {
    /// Its id.
    pub user_id: OwnedUserId,
    /// Its number.
    pub user: UserNid,
    /// Its first session's tokens, if one was started.
    pub tokens: Option<IssuedTokens>,
}

/// Makes accounts.
pub struct Registration {
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    passwords: Arc<Passwords>,
    sessions: Arc<Sessions>,
    names: Arc<UserNames>,
    policy: config::Registration,
    invitations: Option<Arc<InvitationCodes>>,
    invitation_required: bool,
}

/// The flows of `POST /register` without an invitation, with and without proof of an address.
const OPEN: [Flows; 4] = [
    &[&[Stage::Dummy]],
    &[&[Stage::Dummy], &[Stage::EmailIdentity]],
    &[&[Stage::Dummy], &[Stage::Msisdn]],
    &[&[Stage::Dummy], &[Stage::EmailIdentity], &[Stage::Msisdn]],
];

impl Registration {
    /// `policy` says who may register.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        passwords: Arc<Passwords>,
        sessions: Arc<Sessions>,
        names: Arc<UserNames>,
        policy: config::Registration,
    ) -> Self {
        Self { store, clock, random, passwords, sessions, names, policy, invitations: None, invitation_required: false }
    }

    /// Also those may register who have one of these codes; with `required` only they, and who has a configured token.
    #[must_use]
    pub fn inviting(self, invitations: Arc<InvitationCodes>, required: bool) -> Self {
        Self { invitations: Some(invitations), invitation_required: required, ..self }
    }

    /// Whether who registers needs a token or an invitation code.
    pub fn asks_for_invitation(&self) -> bool {
        !self.policy.open || self.invitation_required
    }

    /// The flows by which people register themselves without proof of an address; empty: they cannot.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn flows(&self) -> Result<Flows, StoreError> {
        self.flows_with(false, false).await
    }

    /// The flows by which people register themselves, where they can prove an e-mail address or a phone number by the way.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn flows_with(&self, email: bool, msisdn: bool) -> Result<Flows, StoreError> {
        if !self.asks_for_invitation() {
            return Ok(OPEN[usize::from(email) + 2 * usize::from(msisdn)]);
        }
        let invited = match &self.invitations {
            _ if !self.policy.tokens.is_empty() => true,
            Some(invitations) => invitations.any().await?,
            None => false,
        };
        Ok(if invited { &[&[Stage::RegistrationToken]] } else { &[] })
    }

    /// Whether this is one of the configured registration tokens. Takes the same time for each wrong one of equal length.
    pub fn is_configured_token(&self, token: &str) -> bool {
        let same = |known: &config::Secret| known.expose().as_bytes().ct_eq(token.as_bytes()).unwrap_u8();
        self.policy.tokens.iter().map(same).fold(0, |any, one| any | one) == 1
    }

    /// Whether somebody could register with this token now: a configured one, or an invitation code with uses left.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn token_is_valid(&self, token: &str) -> Result<bool, StoreError> {
        if self.is_configured_token(token) {
            return Ok(true);
        }
        match &self.invitations {
            Some(invitations) => Ok(invitations.uses_left(token).await?.is_some_and(|left| left > 0)),
            None => Ok(false),
        }
    }

    /// Uses a token once, if it is one that has a number of uses. Answers whether it was valid.
    pub(super) async fn spend_token(&self, token: &str) -> Result<bool, StoreError> {
        if self.is_configured_token(token) {
            return Ok(true);
        }
        match &self.invitations {
            Some(invitations) => invitations.spend(token).await,
            None => Ok(false),
        }
    }

    /// The id for a wished name, or a generated one, as people register themselves. A name in use is refused.
    pub async fn choose(&self, username: Option<&str>) -> Result<OwnedUserId, RegistrationError> {
        let Some(username) = username else {
            return Ok(self.names.generated("", &*self.random)?);
        };
        let user_id = self.names.self_chosen(username)?;
        let wanted = user_id.clone();
        let taken = self
            .store
            .read::<_, StoreError, _>(move |read| match ids::user_nid(read, &wanted)? {
                Some(user) => accounts::exists(read, user),
                None => Ok(false),
            })
            .await?;
        if taken {
            return Err(RegistrationError::InUse);
        }
        Ok(user_id)
    }

    /// Makes a guest's account and session.
    pub async fn guest(&self, device_name: Option<String>) -> Result<Registered, RegistrationError> {
        if !self.policy.guests {
            return Err(RegistrationError::Disabled);
        }
        let device = NewDevice::new(None, device_name, false).unwrap_or_default();
        self.register(NewAccount {
            user_id: self.names.generated("guest-", &*self.random)?,
            kind: AccountKind::Guest,
            password: None,
            admin: false,
            displayname: None,
            device: Some(device),
        })
        .await
    }

    /// Makes an account: the account, its default push rules, its device and tokens, all or nothing.
    pub async fn register(&self, account: NewAccount) -> Result<Registered, RegistrationError> {
        let prepared = self.prepare(account).await?;
        self.store.write(move |tx| prepared.insert(tx)).await
    }

    /// Checks an account and hashes its password: what is done before the transaction that makes it.
    pub(super) async fn prepare(&self, account: NewAccount) -> Result<Prepared, RegistrationError> {
        let displayname = match &account.displayname {
            Some(name) => FieldName::parse("displayname")?.accept(&json!(name))?,
            None => None,
        };
        let hash = match &account.password {
            Some(password) => {
                Passwords::check(password)?;
                Some(self.passwords.hash(password.clone()).await?)
            }
            None => None,
        };
        let rules = json!({ "global": Ruleset::server_default(&account.user_id) }).to_string();
        let (sessions, now) = (self.sessions.clone(), self.clock.now_ms());
        Ok(Prepared { sessions, account, hash, displayname, rules, now })
    }

    /// Makes a person of a guest, who keeps the id and the sessions, and starts a new session.
    pub async fn upgrade_guest(
        &self,
        guest: Session,
        user_id: OwnedUserId,
        password: String,
        device: Option<NewDevice>,
    ) -> Result<Registered, RegistrationError> {
        if !guest.guest || guest.user_id != user_id {
            return Err(RegistrationError::NotThatGuest);
        }
        Passwords::check(&password)?;
        let hash = self.passwords.hash(password).await?;
        let sessions = self.sessions.clone();
        self.store
            .write(move |tx| {
                if !accounts::upgrade_guest(tx, guest.user, &hash)? {
                    return Err(RegistrationError::NotThatGuest);
                }
                sessions.account_changed(tx, guest.user)?;
                let holder = Holder {
                    user: guest.user,
                    user_id: &user_id,
                    guest: false,
                    admin: guest.admin,
                    suspended: accounts::get(tx, guest.user)?.is_some_and(|account| account.suspended),
                };
                let tokens = match &device {
                    Some(device) => Some(sessions.start(tx, holder, device)?),
                    None => None,
                };
                Ok(Registered { user: guest.user, user_id, tokens })
            })
            .await
    }
}

/// An account that is ready to be made.
pub(super) struct Prepared {
    sessions: Arc<Sessions>,
    account: NewAccount,
    hash: Option<String>,
    displayname: Option<String>,
    rules: String,
    now: i64,
}

impl Prepared {
    /// Makes it. `InUse` if somebody was faster.
    pub(super) fn insert(self, tx: &WriteTx<'_>) -> Result<Registered, RegistrationError> {
        let Self { sessions, account, hash, displayname, rules, now } = self;
        let user = ids::intern_user(tx, &account.user_id)?;
        if accounts::exists(tx, user)? {
            return Err(RegistrationError::InUse);
        }
        accounts::insert(tx, user, account.kind, hash.as_deref(), account.admin, now)?;
        account_data::insert(tx, user, None, "m.push_rules", &rules, tx.next_position())?;
        if let Some(name) = &displayname {
            profiles::set(tx, user, "displayname", name, tx.next_position())?;
        }
        let holder = Holder {
            user,
            user_id: &account.user_id,
            guest: account.kind == AccountKind::Guest,
            admin: account.admin,
            suspended: false,
        };
        let tokens = match &account.device {
            Some(device) => Some(sessions.start(tx, holder, device)?),
            None => None,
        };
        Ok(Registered { user, user_id: account.user_id, tokens })
    }
}
