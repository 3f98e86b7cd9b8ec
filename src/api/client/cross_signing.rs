//! `POST /keys/device_signing/upload` and `POST /keys/signatures/upload`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::state::ClientState;
use crate::{
    accounts::{AuthData, Limited, Operation, PASSWORD_FLOWS, Rate, RateLimits, Session, UiaError},
    api::{error::ApiError, extract::Json},
    crypto::{CrossSigningError, CrossSigningUpload, Refusal, Signatures},
};

/// The ways in which an upload of cross-signing keys fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Keys(#[from] CrossSigningError),
    #[error(transparent)]
    Uia(#[from] UiaError),
    #[error(transparent)]
    Limited(#[from] Limited),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Keys(error) => ApiError::from(error).into_response(),
            Self::Uia(error) => error.into_response(),
            Self::Limited(limited) => ApiError::from(limited).into_response(),
        }
    }
}

impl From<CrossSigningError> for ApiError {
    fn from(error: CrossSigningError) -> Self {
        let text = error.to_string();
        match error {
            CrossSigningError::Malformed(_) => Self::invalid_param(text),
            CrossSigningError::Signature(_) => Self::bad_request("M_INVALID_SIGNATURE", text),
            CrossSigningError::NoMaster => Self::bad_request("M_MISSING_PARAM", text),
            CrossSigningError::InUse | CrossSigningError::Unauthorised => Self::forbidden(text),
            CrossSigningError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/keys/device_signing/upload", post(upload))
        .route("/keys/signatures/upload", post(upload_signatures))
}

#[derive(Deserialize)]
struct UploadBody {
    auth: Option<AuthData>,
    master_key: Option<CanonicalJsonObject>,
    self_signing_key: Option<CanonicalJsonObject>,
    user_signing_key: Option<CanonicalJsonObject>,
}

/// `POST /keys/device_signing/upload`
async fn upload(
    session: Session,
    State(state): State<ClientState>,
    Json(body): Json<UploadBody>,
) -> Result<Json<Value>, Error> {
    state.limits.check(Rate::Settings, session.user)?;
    let keys = CrossSigningUpload {
        master: body.master_key,
        self_signing: body.self_signing_key,
        user_signing: body.user_signing_key,
    };
    // The first keys, and the same once more, need no authentication (since version 1.11).
    let authorised = state.cross_signing.needs_authentication(&session, &keys).await?;
    if authorised {
        state.uia.authorise(Operation::CrossSigning, Some(&session), PASSWORD_FLOWS, body.auth).await?;
    }
    state.cross_signing.upload(&session, &keys, authorised).await?;
    Ok(Json(json!({})))
}

/// `POST /keys/signatures/upload`
async fn upload_signatures(
    session: Session,
    State(signatures): State<Arc<Signatures>>,
    State(limits): State<Arc<RateLimits>>,
    Json(body): Json<BTreeMap<OwnedUserId, BTreeMap<String, CanonicalJsonValue>>>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Keys, session.user)?;
    let mut failures = Map::new();
    for (user, keys) in signatures.upload(&session, body).await? {
        let keys = keys.into_iter().map(|(name, refusal)| (name, failure(refusal))).collect::<Map<_, _>>();
        failures.insert(user.to_string(), keys.into());
    }
    Ok(Json(json!({ "failures": failures })))
}

fn failure(refusal: Refusal) -> Value {
    let errcode = match refusal {
        Refusal::NotFound => "M_NOT_FOUND",
        Refusal::Differs => "M_INVALID_PARAM",
        Refusal::Signature => "M_INVALID_SIGNATURE",
    };
    json!({ "errcode": errcode, "error": refusal.to_string() })
}
