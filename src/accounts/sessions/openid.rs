//! OpenID tokens: proofs for third parties of who a session's user is.
//!
//! Source: Client-Server API, "OpenID".

use std::sync::Arc;

use ruma::OwnedUserId;

use super::{AuthenticateError, Sessions};
use crate::{
    accounts::session::Session,
    store::{
        StoreError, accounts, devices, ids,
        tokens::{self, TokenKind},
    },
};

/// How long an OpenID token is valid, in milliseconds.
const OPENID_MS: i64 = 60 * 60 * 1000;

/// OpenID tokens of a device at once at most; the oldest go.
const MAX_OPENID: i64 = 10;

impl Sessions {
    /// A token that proves to a third party who this session's user is, and how many seconds it is valid. It ends with the
    /// session.
    pub async fn openid_token(self: &Arc<Self>, session: &Session) -> Result<(String, i64), AuthenticateError> {
        let (this, user, device) = (self.clone(), session.user, session.device);
        let now = self.clock.now_ms();
        self.store
            .write(move |tx| {
                // It may have ended since the request was let in.
                if !devices::of_user(tx, user)?.iter().any(|found| found.nid == device) {
                    return Err(AuthenticateError::Unknown);
                }
                tokens::trim_openid(tx, device, now, MAX_OPENID - 1)?;
                let (kind, expires) = (TokenKind::OpenId, now + OPENID_MS);
                let nid = tokens::insert(tx, user, device, kind, now, Some(expires), true)?;
                Ok((this.keys.sign(nid, kind, now, Some(expires))?, OPENID_MS / 1_000))
            })
            .await
    }

    /// Whose OpenID token this is (Server-Server API, `GET /openid/userinfo`); none if it is not valid, or not any more.
    pub async fn openid_user(&self, token: &str) -> Result<Option<OwnedUserId>, StoreError> {
        let Some(claims) = self.keys.verify(token, TokenKind::OpenId) else { return Ok(None) };
        let now = self.clock.now_ms();
        self.store
            .read(move |read| {
                let found = tokens::get(read, claims.nid, TokenKind::OpenId)?
                    .filter(|token| token.created_ts == claims.ts)
                    .filter(|token| token.expires_ts.is_some_and(|expires| expires > now));
                let Some(token) = found else { return Ok(None) };
                if accounts::get(read, token.user)?.is_none_or(|account| account.locked) {
                    return Ok(None);
                }
                ids::user_id(read, token.user).map(Some)
            })
            .await
    }
}
