//! `/devices`, `/devices/{deviceId}`, `/delete_devices`.

use std::{collections::HashSet, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{authentication::SessionOrGuest, state::ClientState};
use crate::{
    accounts::{AuthData, DeviceRefused, Devices, Limited, Operation, PASSWORD_FLOWS, Rate, Seen, Session, UiaError},
    api::{
        error::ApiError,
        extract::{Json, OptionalJson, Path},
    },
    store::StoreError,
};

/// The ways in which a request about devices fails.
#[derive(Debug, thiserror::Error)]
enum DeviceError {
    #[error("You have no such device")]
    NotFound,
    #[error(transparent)]
    Refused(#[from] DeviceRefused),
    #[error(transparent)]
    Uia(#[from] UiaError),
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntoResponse for DeviceError {
    fn into_response(self) -> Response {
        let text = self.to_string();
        match self {
            Self::NotFound => ApiError::not_found(text),
            Self::Refused(_) => ApiError::invalid_param(text),
            Self::Uia(error) => return error.into_response(),
            Self::Limited(limited) => limited.into(),
            Self::Store(error) => error.into(),
        }
        .into_response()
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/devices", get(list))
        .route("/devices/{device_id}", get(one).put(rename).delete(delete))
        .route("/delete_devices", post(delete_many))
}

fn device(seen: Seen) -> Value {
    let mut body = Map::new();
    body.insert("device_id".into(), seen.device_id.into());
    if let Some(name) = seen.display_name {
        body.insert("display_name".into(), name.into());
    }
    if let Some(ip) = seen.last_seen_ip {
        body.insert("last_seen_ip".into(), ip.into());
    }
    body.insert("last_seen_ts".into(), seen.last_seen_ts.into());
    body.into()
}

/// `GET /devices`
async fn list(
    State(devices): State<Arc<Devices>>,
    SessionOrGuest(session): SessionOrGuest,
) -> Result<Json<Value>, DeviceError> {
    let found = devices.list(session.user).await?;
    let devices: Vec<Value> = found.into_iter().map(device).collect();
    Ok(Json(json!({ "devices": devices })))
}

/// `GET /devices/{deviceId}`
async fn one(
    State(devices): State<Arc<Devices>>,
    SessionOrGuest(session): SessionOrGuest,
    Path(device_id): Path<String>,
) -> Result<Json<Value>, DeviceError> {
    let found = devices.get(session.user, device_id).await?;
    found.map(device).map(Json).ok_or(DeviceError::NotFound)
}

#[derive(Deserialize)]
struct RenameBody {
    display_name: Option<String>,
}

/// `PUT /devices/{deviceId}`
async fn rename(
    State(state): State<ClientState>,
    SessionOrGuest(session): SessionOrGuest,
    Path(device_id): Path<String>,
    Json(body): Json<RenameBody>,
) -> Result<Json<Value>, DeviceError> {
    state.limits.check(Rate::Settings, session.user)?;
    let known = match body.display_name {
        Some(name) => {
            Devices::check_name(&name)?;
            state.devices.rename(session.user, device_id, name).await?
        }
        None => state.devices.get(session.user, device_id).await?.is_some(),
    };
    if !known {
        return Err(DeviceError::NotFound);
    }
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct DeleteBody {
    auth: Option<AuthData>,
}

/// `DELETE /devices/{deviceId}`
async fn delete(
    State(state): State<ClientState>,
    session: Session,
    Path(device_id): Path<String>,
    OptionalJson(body): OptionalJson<DeleteBody>,
) -> Result<Json<Value>, DeviceError> {
    delete_devices(&state, &session, HashSet::from([device_id]), body.auth).await
}

#[derive(Deserialize)]
struct DeleteManyBody {
    auth: Option<AuthData>,
    devices: HashSet<String>,
}

/// `POST /delete_devices`
async fn delete_many(
    State(state): State<ClientState>,
    session: Session,
    Json(body): Json<DeleteManyBody>,
) -> Result<Json<Value>, DeviceError> {
    delete_devices(&state, &session, body.devices, body.auth).await
}

async fn delete_devices(
    state: &ClientState,
    session: &Session,
    device_ids: HashSet<String>,
    auth: Option<AuthData>,
) -> Result<Json<Value>, DeviceError> {
    let operation = Operation::DeleteDevices;
    state.uia.authorise(operation, Some(session), PASSWORD_FLOWS, auth).await?;
    state.devices.delete(session.user, device_ids).await?;
    Ok(Json(json!({})))
}
