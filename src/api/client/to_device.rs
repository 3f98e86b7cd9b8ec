//! `PUT /sendToDevice/{eventType}/{txnId}`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::put};
use ruma::{CanonicalJsonObject, OwnedUserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{authentication::ActiveOrGuest, state::ClientState};
use crate::{
    accounts::{AuthenticateError, Rate, RateLimits},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    crypto::{ToDevice, ToDeviceError},
};

/// Bytes of a transaction id at most.
const MAX_TXN_ID_BYTES: usize = 255;

/// The ways in which a request is wrong before its messages are looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the transaction id has more than {MAX_TXN_ID_BYTES} bytes")]
    LongTransaction,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::LongTransaction => Self::invalid_param(error.to_string()),
        }
    }
}

impl From<ToDeviceError> for ApiError {
    fn from(error: ToDeviceError) -> Self {
        let text = error.to_string();
        match error {
            ToDeviceError::TypeTooLong => Self::invalid_param(text),
            ToDeviceError::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", text),
            ToDeviceError::Ended => AuthenticateError::Unknown.into(),
            ToDeviceError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/sendToDevice/{event_type}/{txn_id}", put(send))
}

#[derive(Deserialize)]
struct Body {
    messages: BTreeMap<OwnedUserId, BTreeMap<String, CanonicalJsonObject>>,
}

/// `PUT /sendToDevice/{eventType}/{txnId}`
async fn send(
    ActiveOrGuest(session): ActiveOrGuest,
    State(to_device): State<Arc<ToDevice>>,
    State(limits): State<Arc<RateLimits>>,
    Path((kind, txn_id)): Path<(String, String)>,
    Json(body): Json<Body>,
) -> Result<Json<Value>, ApiError> {
    if txn_id.len() > MAX_TXN_ID_BYTES {
        return Err(Error::LongTransaction.into());
    }
    limits.check(Rate::ToDevice, session.user)?;
    to_device.send(&session, kind, &txn_id, body.messages).await?;
    Ok(Json(json!({})))
}
