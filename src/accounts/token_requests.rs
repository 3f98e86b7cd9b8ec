//! Matrix's way to prove an address: a session that the client asks a token for, and that is valid once the token was handed in.
//! The tokens are the verification codes that LinkIM's API has, too.
//!
//! Source: Client-Server API, `POST …/requestToken`; Identity Service API, `POST /validate/email/submitToken`.

use std::sync::Arc;

use super::{
    codes::{CodeRefused, Codes, Purpose, SendError},
    third_party_ids::{self, AddError, Medium, ThirdPartyId, user_of},
};
use crate::{
    clock::Clock,
    random::Random,
    store::{
        Read, Store, StoreError,
        ids::UserNid,
        verification::{self, SessionRow},
    },
};

/// Longest client secret, in characters.
const MAX_SECRET: usize = 255;

/// How long a session is remembered, and how long what it proved is good, in milliseconds.
const SESSION_MS: i64 = 24 * 3_600 * 1_000;
const PROVED_MS: i64 = 3_600 * 1_000;

/// A client's wish for a token.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// What the address is to be proved for.
    pub purpose: Purpose,
    /// The address.
    pub to: ThirdPartyId,
    /// What the client made up, and has to repeat.
    pub client_secret: String,
    /// A token is sent again only if this is greater than before.
    pub send_attempt: i64,
}

/// Why there is no session, or it is not valid.
#[derive(Debug, thiserror::Error)]
pub enum TokenRequestError {
    /// The client secret has other characters than `0-9a-zA-Z.=_-`, or more than 255, or none.
    #[error("A client_secret has 1 to {MAX_SECRET} of the characters 0-9 a-z A-Z . = _ -")]
    Secret,
    /// Another account has the address (`M_THREEPID_IN_USE`).
    #[error("The address is already in use")]
    InUse,
    /// There is no such session, or the client secret is another.
    #[error("There is no such validation session")]
    NoSession,
    /// The session's address is not proved yet, or that was long ago (`M_THREEPID_AUTH_FAILED`).
    #[error("The address was not proved")]
    NotProved,
    /// The token is not right.
    #[error(transparent)]
    Code(#[from] CodeRefused),
    /// The token was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The address cannot be added.
    #[error(transparent)]
    Add(#[from] AddError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a client repeats of a session.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct ThreepidCreds {
    /// The session's id.
    pub sid: String,
    /// The client secret that it was asked with.
    pub client_secret: String,
}

/// An address that a session proved.
#[derive(Clone, Debug)]
pub struct Proved {
    /// The session, to be forgotten once this was used.
    pub sid: String,
    /// The address.
    pub address: ThirdPartyId,
    /// When it was proved, in milliseconds.
    pub validated_ts: i64,
}

/// The sessions.
pub struct TokenRequests {
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    codes: Arc<Codes>,
}

impl TokenRequests {
    /// Tokens are made and checked by `codes`.
    pub fn new(store: Store, clock: Arc<dyn Clock>, random: Arc<dyn Random>, codes: Arc<Codes>) -> Self {
        Self { store, clock, random, codes }
    }

    /// Whether tokens can be sent to such addresses.
    pub fn reaches(&self, medium: Medium) -> bool {
        self.codes.reaches(medium)
    }

    /// Sends a token, unless this attempt was answered before, and gives the session's id.
    ///
    /// # Errors
    /// [`TokenRequestError`]
    pub async fn request(&self, request: TokenRequest) -> Result<String, TokenRequestError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".=_-".contains(&byte);
        let secret = &request.client_secret;
        if !(1..=MAX_SECRET).contains(&secret.len()) || !secret.bytes().all(fits) {
            return Err(TokenRequestError::Secret);
        }
        let (wanted, since) = (request.clone(), self.clock.now_ms() - SESSION_MS);
        let known = self
            .store
            .read::<_, TokenRequestError, _>(move |read| {
                let TokenRequest { purpose, to, client_secret, .. } = &wanted;
                if matches!(purpose, Purpose::Register | Purpose::Change) && user_of(read, to)?.is_some() {
                    return Err(TokenRequestError::InUse);
                }
                let (number, medium) = (purpose.number(), to.medium().name());
                let known = verification::session_for(read, number, medium, to.address(), client_secret)?;
                Ok(known.filter(|known| known.created_ts > since))
            })
            .await?;
        if let Some(known) = &known
            && request.send_attempt <= known.send_attempt
        {
            return Ok(known.sid.clone());
        }
        self.codes.send(request.purpose, &request.to).await?;
        let sid = known.map_or_else(|| self.random.letters(24), |known| known.sid);
        let row = SessionRow {
            sid: sid.clone(),
            client_secret: request.client_secret,
            purpose: request.purpose.number(),
            medium: request.to.medium().name().to_owned(),
            address: request.to.address().to_owned(),
            send_attempt: request.send_attempt,
            created_ts: self.clock.now_ms(),
            validated_ts: None,
        };
        self.store.write::<_, StoreError, _>(move |tx| verification::put_session(tx, &row)).await?;
        Ok(sid)
    }

    /// Hands a token in.
    ///
    /// # Errors
    /// [`TokenRequestError`]
    pub async fn submit(&self, medium: Medium, creds: ThreepidCreds, token: String) -> Result<(), TokenRequestError> {
        let (codes, now) = (self.codes.clone(), self.clock.now_ms());
        self.store
            .write::<_, TokenRequestError, _>(move |tx| {
                let (row, purpose, address) = session(tx, &creds, now)?;
                if address.medium() != medium {
                    return Err(TokenRequestError::NoSession);
                }
                if row.validated_ts.is_some() {
                    return Ok(Ok(()));
                }
                // A wrong one must be counted: so it is no error of the transaction.
                if let Err(refused) = codes.take(tx, purpose, &address, &token)? {
                    return Ok(Err(refused));
                }
                verification::validate_session(tx, &row.sid, now)?;
                Ok(Ok(()))
            })
            .await?
            .map_err(TokenRequestError::Code)
    }

    /// What a session proved, for what it was asked for.
    ///
    /// # Errors
    /// `NoSession`, `NotProved`, or the store's.
    pub async fn proved(&self, creds: ThreepidCreds, wanted: Purpose) -> Result<Proved, TokenRequestError> {
        let now = self.clock.now_ms();
        self.store.read::<_, TokenRequestError, _>(move |read| proved(read, &creds, wanted, now)).await
    }

    /// Gives a user the address that a session proved ([`Purpose::Change`]); the session is used up.
    ///
    /// # Errors
    /// [`TokenRequestError`]
    pub async fn add(&self, user: UserNid, creds: ThreepidCreds) -> Result<(), TokenRequestError> {
        let now = self.clock.now_ms();
        self.store
            .write::<_, TokenRequestError, _>(move |tx| {
                let proved = proved(tx, &creds, Purpose::Change, now)?;
                third_party_ids::add(tx, user, &proved.address, proved.validated_ts, now)?;
                Ok(verification::delete_session(tx, &proved.sid)?)
            })
            .await
    }

    /// Gives a user who just registered the address that they proved by the way; the session is used up.
    ///
    /// # Errors
    /// `Add` if another account got it meanwhile, or the store's.
    pub async fn bind(&self, user: UserNid, proved: Proved) -> Result<(), TokenRequestError> {
        let now = self.clock.now_ms();
        self.store
            .write::<_, TokenRequestError, _>(move |tx| {
                third_party_ids::add(tx, user, &proved.address, proved.validated_ts, now)?;
                Ok(verification::delete_session(tx, &proved.sid)?)
            })
            .await
    }

    /// Forgets a session: what it proved was used.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn forget(&self, proved: Proved) -> Result<(), StoreError> {
        self.store.write::<_, StoreError, _>(move |tx| verification::delete_session(tx, &proved.sid)).await
    }

    /// The account that has a proved address.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn owner(&self, proved: &Proved) -> Result<Option<UserNid>, StoreError> {
        let address = proved.address.clone();
        self.store.read::<_, StoreError, _>(move |read| user_of(read, &address)).await
    }
}

fn session(
    read: &dyn Read,
    creds: &ThreepidCreds,
    now: i64,
) -> Result<(SessionRow, Purpose, ThirdPartyId), TokenRequestError> {
    let row = verification::session(read, &creds.sid)?
        .filter(|row| row.client_secret == creds.client_secret && row.created_ts + SESSION_MS > now)
        .ok_or(TokenRequestError::NoSession)?;
    let purpose = Purpose::from_number(row.purpose);
    let address = Medium::parse(&row.medium).and_then(|medium| ThirdPartyId::parse(medium, &row.address));
    match (purpose, address) {
        (Some(purpose), Some(address)) => Ok((row, purpose, address)),
        _ => Err(StoreError::Damaged("a validation session".into()).into()),
    }
}

fn proved(read: &dyn Read, creds: &ThreepidCreds, wanted: Purpose, now: i64) -> Result<Proved, TokenRequestError> {
    let (row, purpose, address) = session(read, creds, now)?;
    let fresh = row.validated_ts.filter(|at| purpose == wanted && at + PROVED_MS > now);
    let validated_ts = fresh.ok_or(TokenRequestError::NotProved)?;
    Ok(Proved { sid: row.sid, address, validated_ts })
}
