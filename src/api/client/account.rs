//! `/account/…`: who am I, password, deactivation.

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    authentication::{MaybeSession, SessionOrGuest, missing_token},
    register::limit,
    state::ClientState,
};
use crate::{
    accounts::{
        AuthData, Limited, LoginError, Operation, PASSWORD_FLOWS, PasswordRefused, Passwords, Rate, Session, UiaError,
    },
    api::{client_ip::ClientIp, error::ApiError, extract::Json},
    store::StoreError,
};

/// The ways in which a change of the account fails.
#[derive(Debug, thiserror::Error)]
enum AccountError {
    #[error(transparent)]
    Uia(#[from] UiaError),
    #[error("Missing access token")]
    NoToken,
    #[error("No account has this address")]
    NoAccount,
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
        let text = self.to_string();
        match self {
            Self::Uia(error) => return error.into_response(),
            Self::NoToken => missing_token(),
            Self::NoAccount => ApiError::new(StatusCode::FORBIDDEN, "M_THREEPID_AUTH_FAILED", text),
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
    MaybeSession(session): MaybeSession,
    ClientIp(ip): ClientIp,
    Json(body): Json<PasswordBody>,
) -> Result<Json<Value>, AccountError> {
    Passwords::check(&body.new_password)?;
    let operation = Operation::ChangePassword;
    let Some(session) = session else {
        if state.uia.password_flows(false).is_empty() {
            return Err(AccountError::NoToken);
        }
        limit(&state.limits, Rate::CodeTry, ip)?;
        return forgotten_password(&state, body).await;
    };
    state.limits.check(Rate::Settings, session.user)?;
    let proved = state.uia.authorise(operation, Some(&session), state.uia.password_flows(true), body.auth).await?;
    state.login.change_password(&session, body.new_password, body.logout_devices).await?;
    if let Some(proved) = proved {
        state.token_requests.forget(proved).await?;
    }
    Ok(Json(json!({})))
}

/// Sets the password of whoever has the address that was proved.
async fn forgotten_password(state: &ClientState, body: PasswordBody) -> Result<Json<Value>, AccountError> {
    let (operation, flows) = (Operation::ChangePassword, state.uia.password_flows(false));
    let proved = state.uia.authorise(operation, None, flows, body.auth).await?;
    let proved = proved.ok_or(AccountError::NoAccount)?;
    let user = state.token_requests.owner(&proved).await?.ok_or(AccountError::NoAccount)?;
    state.login.set_password(user, body.new_password, body.logout_devices).await?;
    state.token_requests.forget(proved).await?;
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
