//! `GET` and `POST /login`.

use axum::{Router, extract::State, http::StatusCode, routing::get};
use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    register::{Account, limit},
    state::ClientState,
};
use crate::{
    accounts::{DeviceRefused, IssuedTokens, Limited, LoginError, NewDevice, PasswordRefused, Rate, UserIdentifier},
    api::{client_ip::ClientIp, error::ApiError, extract::Json, well_known},
};

/// The ways in which a login fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("Bad login type.")]
    UnknownType,
    #[error("Bad login identifier type.")]
    UnknownIdentifierType,
    #[error("No user of this server has this identifier")]
    UnknownThirdPartyIdentifier,
    #[error("The request has no {0}")]
    Missing(&'static str),
    #[error(transparent)]
    Device(#[from] DeviceRefused),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Limited(#[from] Limited),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::UnknownType | Error::UnknownIdentifierType => Self::bad_request("M_UNKNOWN", text),
            Error::UnknownThirdPartyIdentifier => Self::forbidden(text),
            Error::Missing(_) => Self::bad_request("M_MISSING_PARAM", text),
            Error::Device(_) => Self::invalid_param(text),
            Error::Login(error) => error.into(),
            Error::Limited(limited) => limited.into(),
        }
    }
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        let text = error.to_string();
        match error {
            LoginError::WrongCredentials | LoginError::WrongToken => Self::forbidden(text),
            LoginError::Deactivated => Self::new(StatusCode::FORBIDDEN, "M_USER_DEACTIVATED", text),
            LoginError::Locked => Self::new(StatusCode::UNAUTHORIZED, "M_USER_LOCKED", text).with("soft_logout", true),
            LoginError::Device(_) => Self::invalid_param(text),
            LoginError::Limited(limited) => limited.into(),
            LoginError::Password(refused) => refused.into(),
            LoginError::Store(error) => error.into(),
        }
    }
}

impl From<Limited> for ApiError {
    fn from(limited: Limited) -> Self {
        Self::limit_exceeded(limited.retry_after_ms)
    }
}

impl From<PasswordRefused> for ApiError {
    fn from(refused: PasswordRefused) -> Self {
        let text = refused.to_string();
        match refused {
            PasswordRefused::Empty => Self::bad_request("M_WEAK_PASSWORD", text),
            PasswordRefused::TooLong => Self::invalid_param(text),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/login", get(flows).post(login))
}

/// `GET /login`
async fn flows() -> Json<Value> {
    Json(json!({ "flows": [
        { "type": "m.login.password" },
        { "type": "m.login.token", "get_login_token": true },
    ] }))
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    identifier: Option<UserIdentifier>,
    /// Deprecated in favour of `identifier`.
    user: Option<String>,
    /// Deprecated in favour of `identifier`.
    medium: Option<String>,
    password: Option<String>,
    token: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    refresh_token: bool,
}

impl Body {
    fn device(self) -> Result<NewDevice, DeviceRefused> {
        NewDevice::new(self.device_id, self.initial_device_display_name, self.refresh_token)
    }
}

/// `POST /login`
async fn login(
    State(state): State<ClientState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<Body>,
) -> Result<Json<Account>, ApiError> {
    limit(&state.limits, Rate::Login, ip)?;
    let (user_id, tokens) = match body.kind.as_str() {
        "m.login.password" => with_password(&state, body).await?,
        "m.login.token" => with_token(&state, body).await?,
        _ => return Err(Error::UnknownType.into()),
    };
    let well_known = well_known::client_information(&state.config);
    Ok(Json(Account::new(&user_id, Some(tokens)).with_well_known(well_known)))
}

async fn with_password(state: &ClientState, mut body: Body) -> Result<(OwnedUserId, IssuedTokens), Error> {
    let user = named(&body)?.to_owned();
    let password = body.password.take().ok_or(Error::Missing("password"))?;
    let user_id = state.names.named(&user);
    Ok(state.login.with_password(user_id, password, body.device()?).await?)
}

async fn with_token(state: &ClientState, mut body: Body) -> Result<(OwnedUserId, IssuedTokens), Error> {
    let token = body.token.take().ok_or(Error::Missing("token"))?;
    // Before the token is used up.
    let device = body.device()?;
    Ok(state.login.with_grant(state.login_tokens.take(&token), device).await?)
}

/// The localpart or user id that a login names.
fn named(body: &Body) -> Result<&str, Error> {
    let Some(identifier) = &body.identifier else {
        if body.medium.is_some() {
            return Err(Error::UnknownThirdPartyIdentifier);
        }
        return body.user.as_deref().ok_or(Error::Missing("identifier"));
    };
    match identifier.kind.as_deref() {
        Some("m.id.user") => identifier.user.as_deref().ok_or(Error::Missing("identifier.user")),
        Some("m.id.thirdparty" | "m.id.phone") => Err(Error::UnknownThirdPartyIdentifier),
        Some(_) => Err(Error::UnknownIdentifierType),
        None => Err(Error::Missing("identifier.type")),
    }
}
