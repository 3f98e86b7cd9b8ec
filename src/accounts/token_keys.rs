//! What an access or refresh token looks like: a JWT that names a row of `tokens`.
//!
//! The signature only keeps guessed tokens away from the database; whether a token is valid is what its row says. So the time in
//! it is for the client's eyes, and is not judged here.

use std::collections::HashMap;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::store::{self, Read, Store, StoreError, tokens::TokenKind};

/// The kid of the key that a new database signs with. A key is the row `token_key.<kid>` of `meta`; the row with the greatest
/// number signs, all of them verify: a key is rotated by adding a row.
const FIRST_KID: &str = "1";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The number of its row.
    pub(super) nid: i64,
    /// `TokenKind::number`.
    pub(super) kind: i64,
    /// When the row was made, in milliseconds: after a restored backup a number may be given out a second time.
    pub(super) ts: i64,
    /// When it stops being valid, in seconds (RFC 7519, section 4.1.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exp: Option<i64>,
}

/// The keys that tokens are signed with.
pub(super) struct TokenKeys {
    header: Header,
    signing: EncodingKey,
    verifying: HashMap<String, DecodingKey>,
    validation: Validation,
}

impl TokenKeys {
    /// Loads the keys of this database; makes the first one of `random`.
    pub(super) async fn load(store: &Store, random: [u8; 32]) -> Result<Self, StoreError> {
        let secrets = store
            .write::<_, StoreError, _>(move |tx| {
                store::secret(tx, &format!("token_key.{FIRST_KID}"), random)?;
                let read: &dyn Read = tx;
                read.all("SELECT name, value FROM meta WHERE name LIKE 'token_key.%'", &[], |row| {
                    let kid = row.text(0)?.strip_prefix("token_key.").unwrap_or_default().to_owned();
                    Ok((kid, row.get::<Vec<u8>>(1)?))
                })
            })
            .await?;
        let newest = secrets.iter().max_by_key(|(kid, _)| kid.parse::<u64>().unwrap_or(0));
        let Some((kid, secret)) = newest else {
            return Err(StoreError::Damaged("there is no token key".into()));
        };
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Ok(Self {
            header: Header { kid: Some(kid.clone()), ..Header::new(Algorithm::HS256) },
            signing: EncodingKey::from_secret(secret),
            verifying: secrets.iter().map(|(kid, secret)| (kid.clone(), DecodingKey::from_secret(secret))).collect(),
            validation,
        })
    }

    /// The token of a row.
    pub(super) fn sign(
        &self,
        nid: i64,
        kind: TokenKind,
        created_ts: i64,
        expires_ts: Option<i64>,
    ) -> Result<String, StoreError> {
        let claims = Claims { nid, kind: kind.number(), ts: created_ts, exp: expires_ts.map(|ts| ts / 1000) };
        jsonwebtoken::encode(&self.header, &claims, &self.signing)
            .map_err(|error| StoreError::Damaged(format!("a token cannot be signed: {error}")))
    }

    /// What a token says, if we signed it as one of `kind`.
    pub(super) fn verify(&self, token: &str, kind: TokenKind) -> Option<Claims> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let key = self.verifying.get(header.kid.as_deref()?)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok()?.claims;
        (claims.kind == kind.number()).then_some(claims)
    }
}
