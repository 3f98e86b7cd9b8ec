//! How people register with a phone number or an e-mail address, proved by a code.
//!
//! Who may: everybody where registration is open and `linkim.invitation_required` is off; else who has an invitation code
//! (spec/decisions/0015-accounts.md).

use std::sync::Arc;

use super::{
    codes::{CodeRefused, Codes, Purpose},
    invitation_codes::{self, InvitationCodes},
    registration::{NewAccount, Registered, Registration, RegistrationError},
    sessions::NewDevice,
    third_party_ids::{self, AddError, ThirdPartyId},
};
use crate::{
    clock::Clock,
    store::{Store, StoreError, accounts::AccountKind},
};

/// The name shown of those who give none, as the old LinkIM had it.
const NICKNAME: &str = "momo";

/// Who wants an account.
#[derive(Debug)]
pub struct SignUpRequest {
    /// The addresses, each with the code that was sent to it. At least one.
    pub addresses: Vec<(ThirdPartyId, String)>,
    /// The account's name, which becomes the localpart; none: one is made up, which says nothing of the address.
    pub account: Option<String>,
    /// The name shown.
    pub nickname: Option<String>,
    /// The password.
    pub password: String,
    /// An invitation code.
    pub invitation: Option<String>,
    /// The device of the first session, if one is to start.
    pub device: Option<NewDevice>,
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub enum SignUpError {
    /// As any account may be refused.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// A code is not right.
    #[error(transparent)]
    Code(#[from] CodeRefused),
    /// An address is another account's. This is told to those alone who proved that it is theirs.
    #[error(transparent)]
    Address(#[from] AddError),
    /// One must be invited, and there is no code.
    #[error("Registration asks for an invitation code")]
    InvitationRequired,
    /// There is no such invitation code.
    #[error("There is no such invitation code")]
    InvitationUnknown,
    /// The invitation code was used up.
    #[error("The invitation code was used already")]
    InvitationUsed,
}

impl From<StoreError> for SignUpError {
    fn from(error: StoreError) -> Self {
        Self::Registration(error.into())
    }
}

/// Makes accounts by address and code.
pub struct SignUp {
    store: Store,
    clock: Arc<dyn Clock>,
    codes: Arc<Codes>,
    registration: Arc<Registration>,
    invitations: Arc<InvitationCodes>,
}

impl SignUp {
    /// Accounts are made by `registration`, whose policy says who may.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        codes: Arc<Codes>,
        registration: Arc<Registration>,
        invitations: Arc<InvitationCodes>,
    ) -> Self {
        Self { store, clock, codes, registration, invitations }
    }

    /// Makes an account with its addresses, all or nothing. A wrong code is counted, whatever else is.
    ///
    /// # Errors
    /// [`SignUpError`]
    pub async fn register(&self, request: SignUpRequest) -> Result<Registered, SignUpError> {
        let invitation = self.invitation(request.invitation).await?;
        let account = NewAccount {
            user_id: self.registration.choose(request.account.as_deref()).await?,
            kind: AccountKind::Person,
            password: Some(request.password),
            admin: false,
            displayname: Some(request.nickname.unwrap_or_else(|| NICKNAME.to_owned())),
            device: request.device,
        };
        let prepared = self.registration.prepare(account).await?;
        let (codes, now, addresses) = (self.codes.clone(), self.clock.now_ms(), request.addresses);
        self.store
            .write::<_, SignUpError, _>(move |tx| {
                for (address, code) in &addresses {
                    // It must be counted: so it is no error of the transaction.
                    if let Err(refused) = codes.take(tx, Purpose::Register, address, code)? {
                        return Ok(Err(refused));
                    }
                }
                if let Some(code) = invitation {
                    match invitation_codes::take(tx, &code, now)? {
                        Some(true) => {}
                        Some(false) => return Err(SignUpError::InvitationUsed),
                        None => return Err(SignUpError::InvitationUnknown),
                    }
                }
                let registered = prepared.insert(tx)?;
                for (address, _) in &addresses {
                    third_party_ids::add(tx, registered.user, address, now, now)?;
                }
                Ok(Ok(registered))
            })
            .await?
            .map_err(SignUpError::Code)
    }

    /// The one-use code to be used up; none where it is not needed, or is one of the configured ones, which never are.
    async fn invitation(&self, code: Option<String>) -> Result<Option<String>, SignUpError> {
        if !self.registration.asks_for_invitation() {
            return Ok(None);
        }
        if self.registration.flows().await?.is_empty() {
            return Err(RegistrationError::Disabled.into());
        }
        let code = code.ok_or(SignUpError::InvitationRequired)?;
        if self.registration.is_configured_token(&code) {
            return Ok(None);
        }
        match self.invitations.uses_left(&code).await? {
            None => Err(SignUpError::InvitationUnknown),
            Some(..=0) => Err(SignUpError::InvitationUsed),
            Some(_) => Ok(Some(code)),
        }
    }
}
