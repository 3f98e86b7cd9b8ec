//! `/keys/upload`, `/keys/query`, `/keys/claim`, `/keys/changes`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{authentication::SessionOrGuest, state::ClientState};
use crate::{
    accounts::{AuthenticateError, Rate, RateLimits},
    api::{
        error::ApiError,
        extract::{Json, Query},
    },
    crypto::{Claimed, Failures, KeyUpload, KeyUploads, UploadError, UserKeys, Viewed, Wanted},
    sync::v3::V3,
};

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let text = error.to_string();
        match error {
            UploadError::Malformed(_) => Self::bad_request("M_BAD_JSON", text),
            UploadError::Exists(_) => Self::invalid_param(text),
            UploadError::TooMany => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", text),
            UploadError::Ended => AuthenticateError::Unknown.into(),
            UploadError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/keys/upload", post(upload))
        // Clients of before 2018 name the device in the path.
        .route("/keys/upload/{device_id}", post(upload))
        .route("/keys/query", post(query))
        .route("/keys/claim", post(claim))
        .route("/keys/changes", get(changes))
}

#[derive(Deserialize)]
struct UploadBody {
    device_keys: Option<CanonicalJsonObject>,
    one_time_keys: Option<BTreeMap<String, CanonicalJsonValue>>,
    /// Under its older name (MSC2732), too.
    #[serde(alias = "org.matrix.msc2732.fallback_keys")]
    fallback_keys: Option<BTreeMap<String, CanonicalJsonValue>>,
}

/// `POST /keys/upload`
async fn upload(
    SessionOrGuest(session): SessionOrGuest,
    State(uploads): State<Arc<KeyUploads>>,
    State(limits): State<Arc<RateLimits>>,
    Json(body): Json<UploadBody>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Keys, session.user)?;
    let upload = KeyUpload {
        device_keys: body.device_keys,
        one_time_keys: body.one_time_keys.unwrap_or_default(),
        fallback_keys: body.fallback_keys.unwrap_or_default(),
    };
    let counts = uploads.upload(&session, upload).await?;
    Ok(Json(json!({ "one_time_key_counts": counts })))
}

#[derive(Deserialize)]
struct QueryBody {
    device_keys: BTreeMap<OwnedUserId, Vec<String>>,
    /// In milliseconds.
    timeout: Option<u64>,
}

/// Splits what is asked into this server's users and others'.
fn split<T>(
    state: &ClientState,
    asked: BTreeMap<OwnedUserId, T>,
) -> (BTreeMap<OwnedUserId, T>, BTreeMap<OwnedUserId, T>) {
    asked.into_iter().partition(|(user, _)| user.server_name() == state.server_name())
}

/// Servers that did not answer, as the answer names them.
fn failed(failures: Failures) -> BTreeMap<OwnedServerName, Value> {
    let error = |error: String| json!({ "errcode": "M_UNKNOWN", "error": error });
    failures.into_iter().map(|(server, text)| (server, error(text))).collect()
}

/// Keys of several users as they are answered.
#[derive(Default, Serialize)]
pub(crate) struct QueryAnswer {
    device_keys: BTreeMap<OwnedUserId, BTreeMap<String, CanonicalJsonObject>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    master_keys: BTreeMap<OwnedUserId, CanonicalJsonObject>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    self_signing_keys: BTreeMap<OwnedUserId, CanonicalJsonObject>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_signing_keys: BTreeMap<OwnedUserId, CanonicalJsonObject>,
}

impl QueryAnswer {
    /// Sorts the keys of users by what they are for.
    pub(crate) fn of(users: BTreeMap<OwnedUserId, UserKeys>) -> Self {
        let mut out = Self::default();
        for (user, keys) in users {
            out.master_keys.extend(keys.master.map(|key| (user.clone(), key)));
            out.self_signing_keys.extend(keys.self_signing.map(|key| (user.clone(), key)));
            out.user_signing_keys.extend(keys.user_signing.map(|key| (user.clone(), key)));
            out.device_keys.insert(user, keys.devices);
        }
        out
    }
}

#[derive(Serialize)]
struct QueryAnswerWithFailures {
    failures: BTreeMap<OwnedServerName, Value>,
    #[serde(flatten)]
    keys: QueryAnswer,
}

/// `POST /keys/query`
async fn query(
    SessionOrGuest(session): SessionOrGuest,
    State(state): State<ClientState>,
    Json(body): Json<QueryBody>,
) -> Result<Json<QueryAnswerWithFailures>, ApiError> {
    state.limits.check(Rate::Keys, session.user)?;
    let (ours, others) = split(&state, body.device_keys);
    let mut keys = state.key_queries.local(Viewed::By(session.user), ours).await?;
    let mut failures = Failures::new();
    if !others.is_empty() {
        let timeout = body.timeout.map(Duration::from_millis);
        let (remote, failed) = state.remote_keys.query(session.user, others, timeout).await?;
        keys.extend(remote);
        failures = failed;
    }
    Ok(Json(QueryAnswerWithFailures { failures: failed(failures), keys: QueryAnswer::of(keys) }))
}

#[derive(Deserialize)]
struct ClaimBody {
    one_time_keys: Wanted,
    /// In milliseconds.
    timeout: Option<u64>,
}

#[derive(Serialize)]
struct ClaimAnswer {
    failures: BTreeMap<OwnedServerName, Value>,
    one_time_keys: Claimed,
}

/// `POST /keys/claim`
async fn claim(
    SessionOrGuest(session): SessionOrGuest,
    State(state): State<ClientState>,
    Json(body): Json<ClaimBody>,
) -> Result<Json<ClaimAnswer>, ApiError> {
    state.limits.check(Rate::Keys, session.user)?;
    let (ours, others) = split(&state, body.one_time_keys);
    let mut claimed = state.key_claims.local(ours).await?;
    let mut failures = Failures::new();
    if !others.is_empty() {
        let (remote, failed) = state.remote_keys.claim(others, body.timeout.map(Duration::from_millis)).await;
        claimed.extend(remote);
        failures = failed;
    }
    Ok(Json(ClaimAnswer { failures: failed(failures), one_time_keys: claimed }))
}

#[derive(Deserialize)]
struct ChangesParams {
    from: String,
    /// Checked, and without effect: a change after it is told of early, which does no harm.
    to: String,
}

/// `GET /keys/changes`
async fn changes(
    SessionOrGuest(session): SessionOrGuest,
    State(v3): State<Arc<V3>>,
    Query(params): Query<ChangesParams>,
) -> Result<Json<Value>, ApiError> {
    let lists = v3.key_changes(&session, &params.from, &params.to).await?;
    Ok(Json(json!({ "changed": lists.changed, "left": lists.left })))
}
