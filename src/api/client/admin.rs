//! `/admin/suspend/{userId}`, `/admin/lock/{userId}`, `/admin/whois/{userId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::state::ClientState;
use crate::{
    accounts::{Devices, Restriction, RestrictionError, Restrictions, Session},
    api::{
        error::ApiError,
        extract::{Json, Path},
    },
    presence::Presence,
};

/// The ways in which a look at somebody's sessions fails.
#[derive(Debug, thiserror::Error)]
enum WhoisError {
    #[error("Only an administrator may look at another user's sessions")]
    NotYours,
    #[error("User not found")]
    Unknown,
}

impl From<WhoisError> for ApiError {
    fn from(error: WhoisError) -> Self {
        let text = error.to_string();
        match error {
            WhoisError::NotYours => Self::forbidden(text),
            WhoisError::Unknown => Self::not_found(text),
        }
    }
}

impl From<RestrictionError> for ApiError {
    fn from(error: RestrictionError) -> Self {
        let text = error.to_string();
        match error {
            RestrictionError::NotAdministrator | RestrictionError::Own | RestrictionError::OtherAdministrator => {
                Self::forbidden(text)
            }
            RestrictionError::NotLocal => Self::invalid_param(text),
            RestrictionError::Unknown => Self::not_found(text),
            RestrictionError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/v1`.
pub(super) fn routes_v1() -> Router<ClientState> {
    Router::new()
        .route("/admin/suspend/{user_id}", get(get_suspend).put(put_suspend))
        .route("/admin/lock/{user_id}", get(get_lock).put(put_lock))
}

/// The route under `/_matrix/client/v3`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/admin/whois/{user_id}", get(whois))
}

#[derive(Deserialize)]
struct Suspend {
    suspended: bool,
}

#[derive(Deserialize)]
struct Lock {
    locked: bool,
}

/// `GET /v1/admin/suspend/{userId}`
async fn get_suspend(
    session: Session,
    State(restrictions): State<Arc<Restrictions>>,
    Path(user_id): Path<OwnedUserId>,
) -> Result<Json<Value>, ApiError> {
    let suspended = restrictions.get(&session, &user_id, Restriction::Suspension).await?;
    Ok(Json(json!({ "suspended": suspended })))
}

/// `PUT /v1/admin/suspend/{userId}`
async fn put_suspend(
    session: Session,
    State(restrictions): State<Arc<Restrictions>>,
    Path(user_id): Path<OwnedUserId>,
    Json(body): Json<Suspend>,
) -> Result<Json<Value>, ApiError> {
    restrictions.set(&session, &user_id, Restriction::Suspension, body.suspended).await?;
    tracing::info!(by = %session.user_id, user = %user_id, suspended = body.suspended, "an administrator changed a suspension");
    Ok(Json(json!({ "suspended": body.suspended })))
}

/// `GET /v1/admin/lock/{userId}`
async fn get_lock(
    session: Session,
    State(restrictions): State<Arc<Restrictions>>,
    Path(user_id): Path<OwnedUserId>,
) -> Result<Json<Value>, ApiError> {
    let locked = restrictions.get(&session, &user_id, Restriction::Lock).await?;
    Ok(Json(json!({ "locked": locked })))
}

/// `PUT /v1/admin/lock/{userId}`
async fn put_lock(
    session: Session,
    State(restrictions): State<Arc<Restrictions>>,
    State(presence): State<Arc<Presence>>,
    Path(user_id): Path<OwnedUserId>,
    Json(body): Json<Lock>,
) -> Result<Json<Value>, ApiError> {
    restrictions.set(&session, &user_id, Restriction::Lock, body.locked).await?;
    tracing::info!(by = %session.user_id, user = %user_id, locked = body.locked, "an administrator changed a lock");
    presence.account_changed(user_id).await?;
    Ok(Json(json!({ "locked": body.locked })))
}

/// `GET /v3/admin/whois/{userId}`: one's own, and for administrators everybody's.
async fn whois(
    session: Session,
    State(devices): State<Arc<Devices>>,
    Path(user_id): Path<OwnedUserId>,
) -> Result<Json<Value>, ApiError> {
    if !session.admin && session.user_id != user_id {
        return Err(WhoisError::NotYours.into());
    }
    let seen = devices.of_account(user_id.clone()).await?.ok_or(WhoisError::Unknown)?;
    let shown: Map<String, Value> = seen
        .into_iter()
        .map(|device| {
            let mut connection = Map::new();
            connection.insert("last_seen".into(), device.last_seen_ts.into());
            if let Some(ip) = device.last_seen_ip {
                connection.insert("ip".into(), ip.into());
            }
            if let Some(user_agent) = device.user_agent {
                connection.insert("user_agent".into(), user_agent.into());
            }
            // One session a device, of which the newest access alone is kept.
            (device.device_id, json!({ "sessions": [{ "connections": [connection] }] }))
        })
        .collect();
    Ok(Json(json!({ "user_id": user_id, "devices": shown })))
}
