//! `/room_keys/version` and `/room_keys/keys`: backups of room keys.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use ruma::UInt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};

use super::state::ClientState;
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, Path, Query},
    },
    crypto::{BackupError, KeyBackups, KeysOf, NewKey, Updated},
    store::key_backups::{Backup, RoomKey},
};

impl From<BackupError> for ApiError {
    fn from(error: BackupError) -> Self {
        let text = error.to_string();
        match error {
            BackupError::None | BackupError::UnknownVersion | BackupError::UnknownKey => Self::not_found(text),
            BackupError::WrongVersion(current) => Self::new(StatusCode::FORBIDDEN, "M_WRONG_ROOM_KEYS_VERSION", text)
                .with("current_version", current.to_string()),
            BackupError::Algorithm => Self::invalid_param(text),
            BackupError::TooLarge(_) | BackupError::Full => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", text)
            }
            BackupError::Store(error) => error.into(),
        }
    }
}

/// The ways in which a request is wrong before the backup is looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the version in the body is not the version in the path")]
    OtherVersion,
    #[error("session_data is not an object")]
    SessionData,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::OtherVersion => Self::invalid_param(text),
            Error::SessionData => Self::bad_request("M_BAD_JSON", text),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/room_keys/version", post(create).get(newest))
        .route("/room_keys/version/{version}", get(one).put(update).delete(delete))
        .route("/room_keys/keys", get(all_keys).put(put_all).delete(delete_all))
        .route("/room_keys/keys/{room_id}", get(room_keys).put(put_room).delete(delete_room))
        .route("/room_keys/keys/{room_id}/{session_id}", get(one_key).put(put_one).delete(delete_one))
}

#[derive(Deserialize)]
struct VersionBody {
    algorithm: String,
    auth_data: Map<String, Value>,
    version: Option<String>,
}

/// `POST /room_keys/version`
async fn create(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    State(limits): State<Arc<RateLimits>>,
    Json(body): Json<VersionBody>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Settings, session.user)?;
    let version = backups.create(session.user, body.algorithm, body.auth_data).await?;
    Ok(Json(json!({ "version": version.to_string() })))
}

#[derive(Serialize)]
struct Described {
    algorithm: String,
    auth_data: Box<RawValue>,
    count: i64,
    etag: String,
    version: String,
}

fn described(backup: Backup) -> Result<Json<Described>, ApiError> {
    Ok(Json(Described {
        algorithm: backup.algorithm,
        auth_data: RawValue::from_string(backup.auth_data).map_err(ApiError::internal)?,
        count: backup.count,
        etag: backup.etag.to_string(),
        version: backup.version.to_string(),
    }))
}

/// `GET /room_keys/version`
async fn newest(session: Session, State(backups): State<Arc<KeyBackups>>) -> Result<Json<Described>, ApiError> {
    described(backups.get(session.user, None).await?)
}

/// `GET /room_keys/version/{version}`
async fn one(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    Path(version): Path<String>,
) -> Result<Json<Described>, ApiError> {
    described(backups.get(session.user, Some(version)).await?)
}

/// `PUT /room_keys/version/{version}`
async fn update(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    State(limits): State<Arc<RateLimits>>,
    Path(version): Path<String>,
    Json(body): Json<VersionBody>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Settings, session.user)?;
    if body.version.is_some_and(|named| named != version) {
        return Err(Error::OtherVersion.into());
    }
    backups.update(session.user, version, body.algorithm, body.auth_data).await?;
    Ok(Json(json!({})))
}

/// `DELETE /room_keys/version/{version}`
async fn delete(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    Path(version): Path<String>,
) -> Result<Json<Value>, ApiError> {
    backups.delete(session.user, version).await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

/// A key as requests and answers have it.
#[derive(Deserialize, Serialize)]
struct KeyData {
    first_message_index: UInt,
    forwarded_count: UInt,
    is_verified: bool,
    session_data: Box<RawValue>,
}

impl KeyData {
    fn taken(self, room_id: String, session_id: String) -> Result<NewKey, Error> {
        let session_data = self.session_data.get();
        if !session_data.starts_with('{') {
            return Err(Error::SessionData);
        }
        let key = RoomKey {
            first_message_index: self.first_message_index.into(),
            forwarded_count: self.forwarded_count.into(),
            is_verified: self.is_verified,
            session_data: session_data.to_owned(),
        };
        Ok(NewKey { room_id, session_id, key })
    }

    fn of(key: RoomKey) -> Result<Self, ApiError> {
        Ok(Self {
            first_message_index: UInt::try_from(key.first_message_index).map_err(ApiError::internal)?,
            forwarded_count: UInt::try_from(key.forwarded_count).map_err(ApiError::internal)?,
            is_verified: key.is_verified,
            session_data: RawValue::from_string(key.session_data).map_err(ApiError::internal)?,
        })
    }
}

/// The keys of one room.
#[derive(Deserialize, Serialize)]
struct Sessions {
    sessions: BTreeMap<String, KeyData>,
}

/// The keys of several rooms.
#[derive(Deserialize, Serialize)]
struct Rooms {
    rooms: BTreeMap<String, Sessions>,
}

fn sessions(keys: BTreeMap<String, RoomKey>) -> Result<Sessions, ApiError> {
    let keys = keys.into_iter().map(|(session, key)| Ok((session, KeyData::of(key)?)));
    Ok(Sessions { sessions: keys.collect::<Result<_, ApiError>>()? })
}

fn updated(updated: Updated) -> Json<Value> {
    Json(json!({ "etag": updated.etag.to_string(), "count": updated.count }))
}

fn in_room(room_id: String) -> KeysOf {
    KeysOf { room: Some(room_id), session: None }
}

fn of_session(room_id: String, session_id: String) -> KeysOf {
    KeysOf { room: Some(room_id), session: Some(session_id) }
}

/// `GET /room_keys/keys`
async fn all_keys(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    Query(query): Query<Version>,
) -> Result<Json<Rooms>, ApiError> {
    let keys = backups.keys(session.user, query.version, KeysOf::default()).await?;
    let rooms = keys.into_iter().map(|(room, keys)| Ok((room, sessions(keys)?)));
    Ok(Json(Rooms { rooms: rooms.collect::<Result<_, ApiError>>()? }))
}

/// `GET /room_keys/keys/{roomId}`
async fn room_keys(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    Path(room_id): Path<String>,
    Query(query): Query<Version>,
) -> Result<Json<Sessions>, ApiError> {
    let keys = backups.keys(session.user, query.version, in_room(room_id)).await?;
    Ok(Json(sessions(keys.into_values().next().unwrap_or_default())?))
}

/// `GET /room_keys/keys/{roomId}/{sessionId}`
async fn one_key(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    Path((room_id, session_id)): Path<(String, String)>,
    Query(query): Query<Version>,
) -> Result<Json<KeyData>, ApiError> {
    let keys = backups.keys(session.user, query.version, of_session(room_id, session_id)).await?;
    let key = keys.into_values().flatten().map(|(_, key)| key).next().ok_or(BackupError::UnknownKey)?;
    Ok(Json(KeyData::of(key)?))
}

/// `PUT /room_keys/keys`
async fn put_all(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    State(limits): State<Arc<RateLimits>>,
    Query(query): Query<Version>,
    Json(body): Json<Rooms>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Keys, session.user)?;
    let mut keys = Vec::new();
    for (room_id, of_room) in body.rooms {
        for (session_id, key) in of_room.sessions {
            keys.push(key.taken(room_id.clone(), session_id)?);
        }
    }
    Ok(updated(backups.put_keys(session.user, query.version, keys).await?))
}

/// `PUT /room_keys/keys/{roomId}`
async fn put_room(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room_id): Path<String>,
    Query(query): Query<Version>,
    Json(body): Json<Sessions>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Keys, session.user)?;
    let keys = body.sessions.into_iter().map(|(session_id, key)| key.taken(room_id.clone(), session_id));
    let keys = keys.collect::<Result<_, _>>()?;
    Ok(updated(backups.put_keys(session.user, query.version, keys).await?))
}

/// `PUT /room_keys/keys/{roomId}/{sessionId}`
async fn put_one(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    State(limits): State<Arc<RateLimits>>,
    Path((room_id, session_id)): Path<(String, String)>,
    Query(query): Query<Version>,
    Json(body): Json<KeyData>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Keys, session.user)?;
    let keys = vec![body.taken(room_id, session_id)?];
    Ok(updated(backups.put_keys(session.user, query.version, keys).await?))
}

/// `DELETE /room_keys/keys`
async fn delete_all(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    Query(query): Query<Version>,
) -> Result<Json<Value>, ApiError> {
    Ok(updated(backups.delete_keys(session.user, query.version, KeysOf::default()).await?))
}

/// `DELETE /room_keys/keys/{roomId}`
async fn delete_room(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    Path(room_id): Path<String>,
    Query(query): Query<Version>,
) -> Result<Json<Value>, ApiError> {
    Ok(updated(backups.delete_keys(session.user, query.version, in_room(room_id)).await?))
}

/// `DELETE /room_keys/keys/{roomId}/{sessionId}`
async fn delete_one(
    session: Session,
    State(backups): State<Arc<KeyBackups>>,
    Path((room_id, session_id)): Path<(String, String)>,
    Query(query): Query<Version>,
) -> Result<Json<Value>, ApiError> {
    Ok(updated(backups.delete_keys(session.user, query.version, of_session(room_id, session_id)).await?))
}
