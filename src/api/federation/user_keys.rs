//! `POST /user/keys/query`, `POST /user/keys/claim`, `GET /user/devices/{userId}`: our users' keys for other servers.
//!
//! The spec lets every server ask. What an answer may have is bounded by what a request may name and by what our users may keep.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    authentication::{Signed, SignedEmpty},
    state::FederationState,
};
use crate::{
    api::{
        client::keys::QueryAnswer,
        error::ApiError,
        extract::{Json, Path},
    },
    crypto::{KeyClaims, KeyQueries, Viewed, Wanted},
    peers::budgets::{Budgets, RetryAfterMs},
    store::StoreError,
};

/// The ways in which a request for keys fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("There is no such user on this server")]
    UnknownUser,
    #[error(transparent)]
    Limited(#[from] RetryAfterMs),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownUser => Self::not_found(error.to_string()),
            Error::Limited(RetryAfterMs(ms)) => Self::limit_exceeded(ms),
            Error::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/federation/v1`.
pub(super) fn routes() -> Router<FederationState> {
    Router::new()
        .route("/user/keys/query", post(query))
        .route("/user/keys/claim", post(claim))
        .route("/user/devices/{user_id}", get(devices))
}

#[derive(Deserialize)]
struct QueryBody {
    device_keys: BTreeMap<OwnedUserId, Vec<String>>,
}

/// `POST /user/keys/query`
async fn query(
    State(queries): State<Arc<KeyQueries>>,
    State(budgets): State<Arc<Budgets>>,
    Signed { origin, body }: Signed<QueryBody>,
) -> Result<Json<QueryAnswer>, ApiError> {
    budgets.keys(&origin).map_err(Error::from)?;
    let keys = queries.local(Viewed::ByServer, body.device_keys).await?;
    Ok(Json(QueryAnswer::of(keys)))
}

#[derive(Deserialize)]
struct ClaimBody {
    one_time_keys: Wanted,
}

/// `POST /user/keys/claim`
async fn claim(
    State(claims): State<Arc<KeyClaims>>,
    State(budgets): State<Arc<Budgets>>,
    Signed { origin, body }: Signed<ClaimBody>,
) -> Result<Json<Value>, ApiError> {
    budgets.keys(&origin).map_err(Error::from)?;
    let claimed = claims.local(body.one_time_keys).await?;
    Ok(Json(json!({ "one_time_keys": claimed })))
}

#[derive(Serialize)]
struct Device {
    device_id: String,
    keys: CanonicalJsonObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_display_name: Option<CanonicalJsonValue>,
}

#[derive(Serialize)]
struct Devices {
    user_id: OwnedUserId,
    stream_id: i64,
    devices: Vec<Device>,
    #[serde(skip_serializing_if = "Option::is_none")]
    master_key: Option<CanonicalJsonObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_signing_key: Option<CanonicalJsonObject>,
}

/// `GET /user/devices/{userId}`
async fn devices(
    State(queries): State<Arc<KeyQueries>>,
    State(budgets): State<Arc<Budgets>>,
    Path(user_id): Path<OwnedUserId>,
    SignedEmpty { origin }: SignedEmpty,
) -> Result<Json<Devices>, ApiError> {
    budgets.keys(&origin).map_err(Error::from)?;
    let (stream_id, keys) = queries.whole_list(user_id.clone()).await?.ok_or(Error::UnknownUser)?;
    let devices = keys.devices.into_iter().map(|(device_id, mut keys)| {
        let unsigned = keys.remove("unsigned");
        let name = match unsigned {
            Some(CanonicalJsonValue::Object(mut unsigned)) => unsigned.remove("device_display_name"),
            _ => None,
        };
        Device { device_id, keys, device_display_name: name }
    });
    Ok(Json(Devices {
        user_id,
        stream_id,
        devices: devices.collect(),
        master_key: keys.master,
        self_signing_key: keys.self_signing,
    }))
}
