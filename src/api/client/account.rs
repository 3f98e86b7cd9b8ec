//! `/account/…`: who am I, password, deactivation, third-party identifiers.

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
    accounts::{
        AuthData, Limited, LoginError, Operation, PASSWORD_FLOWS, PasswordRefused, Passwords, Rate, Session, UiaError,
    },
    api::{error::ApiError, extract::Json},
    store::StoreError,
};

/// The ways in which a change of the account fails.
#[derive(Debug, thiserror::Error)]
enum AccountError {
    #[error(transparent)]
    Uia(#[from] UiaError),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntoResponse for AccountError {
    fn into_response(self) -> Response {
        match self {
            Self::Uia(error) => return error.into_response(),
            Self::Login(error) => ApiError::from(error),
            Self::Password(refused) => refused.into(),
            Self::Limited(limited) => limited.into(),
            Self::Store(error) => error.into(),
        }
        .into_response()
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/account/whoami", get(whoami))
        .route("/account/password", post(password))
        .route("/account/deactivate", post(deactivate))
        .route("/account/3pid", get(third_party_identifiers))
}

/// `GET /account/whoami`
async fn whoami(SessionOrGuest(session): SessionOrGuest) -> Json<Value> {
    let mut body = Map::new();
    body.insert("user_id".into(), session.user_id.as_str().into());
    body.insert("device_id".into(), session.device_id.as_str().into());
    if session.guest {
        body.insert("is_guest".into(), true.into());
    }
    Json(body.into())
}

#[derive(Deserialize)]
struct PasswordBody {
    auth: Option<AuthData>,
    new_password: String,
    #[serde(default = "yes")]
    logout_devices: bool,
}

fn yes() -> bool {
    true
}

/// `POST /account/password`
async fn password(
    State(state): State<ClientState>,
    session: Session,
    Json(body): Json<PasswordBody>,
) -> Result<Json<Value>, AccountError> {
    state.limits.check(Rate::Settings, session.user)?;
    Passwords::check(&body.new_password)?;
    let operation = Operation::ChangePassword;
    state.uia.authorise(operation, Some(&session), PASSWORD_FLOWS, body.auth).await?;
    state.login.change_password(&session, body.new_password, body.logout_devices).await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct DeactivateBody {
    auth: Option<AuthData>,
    #[serde(default)]
    erase: bool,
}

/// `POST /account/deactivate`
async fn deactivate(
    State(state): State<ClientState>,
    session: Session,
    Json(body): Json<DeactivateBody>,
) -> Result<Json<Value>, AccountError> {
    let operation = Operation::Deactivate;
    state.uia.authorise(operation, Some(&session), PASSWORD_FLOWS, body.auth).await?;
    state.deactivation.deactivate(session.user, body.erase).await?;
    // We never bind an identifier at an identity server, so there is none to unbind.
    Ok(Json(json!({ "id_server_unbind_result": "success" })))
}

/// `GET /account/3pid`: this server keeps no third-party identifiers.
async fn third_party_identifiers(_: Session) -> Json<Value> {
    Json(json!({ "threepids": [] }))
}
