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
    accounts::{
        DeviceRefused, IssuedTokens, Limited, LoginError, Medium, NewDevice, PasswordRefused, Rate, ThirdPartyId,
        UserIdentifier,
    },
    api::{client_ip::ClientIp, error::ApiError, extract::Json, well_known},
};

/// The ways in which a login fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("Bad login type.")]
    UnknownType,
    #[error("Bad login identifier type.")]
    UnknownIdentifierType,
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
    /// Deprecated in favour of `identifier`.
    address: Option<String>,
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
    let named = named(&body)?;
    let password = body.password.take().ok_or(Error::Missing("password"))?;
    let device = body.device()?;
    Ok(match named {
        Named::User(user) => state.login.with_password(state.names.named(&user), password, device).await?,
        Named::Address(Some(address)) => state.address_login.with_password(&address, password, device).await?,
        // What can be no address is nobody's, and takes as long.
        Named::Address(None) => state.login.with_password(None, password, device).await?,
    })
}

async fn with_token(state: &ClientState, mut body: Body) -> Result<(OwnedUserId, IssuedTokens), Error> {
    let token = body.token.take().ok_or(Error::Missing("token"))?;
    // Before the token is used up.
    let device = body.device()?;
    Ok(state.login.with_grant(state.login_tokens.take(&token), device).await?)
}

/// Whom a login names.
enum Named {
    /// By localpart or user id.
    User(String),
    /// By an address; none: by what can be none.
    Address(Option<ThirdPartyId>),
}

fn named(body: &Body) -> Result<Named, Error> {
    let Some(identifier) = &body.identifier else {
        if let Some(medium) = &body.medium {
            let address = body.address.as_deref().ok_or(Error::Missing("address"))?;
            let medium = Medium::parse(medium);
            return Ok(Named::Address(medium.and_then(|medium| ThirdPartyId::parse(medium, address))));
        }
        return body.user.clone().map(Named::User).ok_or(Error::Missing("identifier"));
    };
    match identifier.kind.as_deref() {
        Some("m.id.user") => identifier.user.clone().map(Named::User).ok_or(Error::Missing("identifier.user")),
        Some("m.id.thirdparty" | "m.id.phone") => {
            identifier.third_party_id().map(Named::Address).map_err(Error::Missing)
        }
        Some(_) => Err(Error::UnknownIdentifierType),
        None => Err(Error::Missing("identifier.type")),
    }
}
