//! Pairs of an access token and a refresh token, and the exchange of one for the next.
//!
//! Source: Client-Server API, "Refreshing access tokens".

use std::sync::Arc;

use ruma::OwnedDeviceId;

use super::{ACCESS_TOKEN_MS, IssuedTokens, Sessions, entry_of};
use crate::{
    accounts::{session::Session, token_cache::Entry},
    store::{
        StoreError, WriteTx,
        tokens::{self, Token, TokenKind},
    },
};

/// Why no new tokens are given for a refresh token.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// It was never valid, was replaced by one that is in use, or its session has ended.
    #[error("Unrecognised refresh token")]
    Unknown,
    /// The account is locked.
    #[error("This account has been locked")]
    Locked,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A signed pair.
pub(super) struct Pair {
    access: i64,
    access_token: String,
    refresh_token: Option<String>,
}

impl Pair {
    pub(super) fn issued(self, device_id: OwnedDeviceId, expires_in_ms: Option<i64>) -> IssuedTokens {
        IssuedTokens { device_id, access_token: self.access_token, refresh_token: self.refresh_token, expires_in_ms }
    }
}

impl Sessions {
    /// Makes an access token, and with `expires` also a refresh token.
    pub(super) fn issue(
        &self,
        tx: &WriteTx<'_>,
        mut session: Session,
        now: i64,
        expires: Option<i64>,
        used: bool,
    ) -> Result<Pair, StoreError> {
        let (user, device) = (session.user, session.device);
        let access = tokens::insert(tx, user, device, TokenKind::Access, now, expires, used)?;
        let refresh_token = match expires {
            None => None,
            Some(_) => {
                let kind = TokenKind::Refresh;
                let refresh = tokens::insert(tx, user, device, kind, now, None, used)?;
                tokens::pair(tx, access, refresh)?;
                Some(self.keys.sign(refresh, kind, now, None)?)
            }
        };
        session.token = access;
        let entry = Arc::new(Entry::new(session, now, expires).with_used(used));
        let cache = self.cache.clone();
        tx.after_commit(move || cache.put(access, entry));
        Ok(Pair { access, access_token: self.keys.sign(access, TokenKind::Access, now, expires)?, refresh_token })
    }

    /// Exchanges a refresh token for a new pair. The old pair stays valid until the new one is first used; until then the same
    /// new pair is answered again, so that a client that lost the answer, or asked twice at once, is not locked out.
    pub async fn refresh(self: &Arc<Self>, token: &str) -> Result<IssuedTokens, RefreshError> {
        let claims = self.keys.verify(token, TokenKind::Refresh).ok_or(RefreshError::Unknown)?;
        let this = self.clone();
        self.store
            .write(move |tx| {
                let old = tokens::get(tx, claims.nid, TokenKind::Refresh)?
                    .filter(|old| old.created_ts == claims.ts)
                    .ok_or(RefreshError::Unknown)?;
                this.refresh_row(tx, &old)
            })
            .await
    }

    fn refresh_row(&self, tx: &WriteTx<'_>, old: &Token) -> Result<IssuedTokens, RefreshError> {
        let old_access = old.pair.ok_or(RefreshError::Unknown)?;
        let holder = tokens::access(tx, old_access)?.ok_or(RefreshError::Unknown)?;
        if holder.locked {
            return Err(RefreshError::Locked);
        }
        if !old.used {
            self.revoke_cached(tx, tokens::first_use(tx, old.device, old_access)?);
        }
        let session = entry_of(holder)?.session;
        let device_id = session.device_id.clone();
        let now = self.clock.now_ms();
        let expires = now + ACCESS_TOKEN_MS;
        let pair = match old.replaced_by {
            Some(next) => self.issue_again(tx, next, expires)?,
            None => {
                let pair = self.issue(tx, session, now, Some(expires), false)?;
                tokens::replace(tx, old.device, old.nid, pair.access)?;
                pair
            }
        };
        Ok(pair.issued(device_id, Some(ACCESS_TOKEN_MS)))
    }

    /// The pair of the access token `access`, valid for its whole time from now on.
    fn issue_again(&self, tx: &WriteTx<'_>, access: i64, expires: i64) -> Result<Pair, RefreshError> {
        let row = tokens::get(tx, access, TokenKind::Access)?.ok_or(RefreshError::Unknown)?;
        let refresh = match row.pair {
            Some(pair) => tokens::get(tx, pair, TokenKind::Refresh)?,
            None => None,
        };
        let refresh = refresh.ok_or(RefreshError::Unknown)?;
        tokens::set_expiry(tx, access, expires)?;
        self.revoke_cached(tx, vec![access]);
        let (access_kind, refresh_kind) = (TokenKind::Access, TokenKind::Refresh);
        Ok(Pair {
            access,
            access_token: self.keys.sign(access, access_kind, row.created_ts, Some(expires))?,
            refresh_token: Some(self.keys.sign(refresh.nid, refresh_kind, refresh.created_ts, None)?),
        })
    }
}
