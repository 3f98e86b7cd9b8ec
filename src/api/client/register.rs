//! `POST /register`, `GET /register/available`, and the validity of a registration token.

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::state::ClientState;
use crate::{
    accounts::{
        AuthData, AuthenticateError, DeviceRefused, IssuedTokens, Limited, Medium, NameRefused, NewAccount, NewDevice,
        Operation, Rate, RateLimits, Registered, Registration, RegistrationError, TokenRequestError, UiaError,
    },
    api::{
        client_ip::ClientIp,
        error::ApiError,
        extract::{Json, Query},
    },
    store::StoreError,
};

/// The ways in which a registration fails.
#[derive(Debug, thiserror::Error)]
enum RegisterError {
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    #[error(transparent)]
    Uia(#[from] UiaError),
    #[error(transparent)]
    Address(#[from] TokenRequestError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Device(#[from] DeviceRefused),
    #[error(transparent)]
    Guest(#[from] AuthenticateError),
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error("The kind of account is neither `user` nor `guest`")]
    UnknownKind,
    #[error("The request has no password")]
    NoPassword,
    #[error("{0:?}")]
    Body(ApiError),
}

impl From<ApiError> for RegisterError {
    fn from(error: ApiError) -> Self {
        Self::Body(error)
    }
}

impl IntoResponse for RegisterError {
    fn into_response(self) -> Response {
        let text = self.to_string();
        match self {
            Self::Registration(error) => ApiError::from(error),
            Self::Uia(error) => return error.into_response(),
            Self::Address(error) => error.into(),
            Self::Store(error) => error.into(),
            Self::Device(_) | Self::UnknownKind => ApiError::invalid_param(text),
            Self::Guest(error) => error.into(),
            Self::Limited(limited) => limited.into(),
            Self::NoPassword => ApiError::bad_request("M_MISSING_PARAM", text),
            Self::Body(error) => error,
        }
        .into_response()
    }
}

impl From<RegistrationError> for ApiError {
    fn from(error: RegistrationError) -> Self {
        let text = error.to_string();
        match error {
            RegistrationError::Disabled | RegistrationError::NotThatGuest => ApiError::forbidden(text),
            RegistrationError::InUse => ApiError::bad_request("M_USER_IN_USE", text),
            RegistrationError::Name(NameRefused::Grammar | NameRefused::TooLong) => {
                ApiError::bad_request("M_INVALID_USERNAME", text)
            }
            RegistrationError::Name(NameRefused::Reserved) => ApiError::bad_request("M_USER_IN_USE", text),
            RegistrationError::Displayname(_) => ApiError::invalid_param(text),
            RegistrationError::Password(refused) => refused.into(),
            RegistrationError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/register", post(register)).route("/register/available", get(available))
}

/// The route under `/_matrix/client/v1`.
pub(super) fn routes_v1() -> Router<ClientState> {
    Router::new().route("/register/m.login.registration_token/validity", get(validity))
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    auth: Option<AuthData>,
    username: Option<String>,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    inhibit_login: bool,
    #[serde(default)]
    refresh_token: bool,
    guest_access_token: Option<String>,
}

/// What a guest may say of itself; everything else is ignored.
#[derive(Deserialize)]
struct GuestBody {
    initial_device_display_name: Option<String>,
}

/// The answer of a registration, and with other names around it of a login.
#[derive(Serialize)]
pub(crate) struct Account {
    user_id: String,
    /// Deprecated; old clients read it.
    home_server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    well_known: Option<Value>,
}

impl Account {
    /// The answer for a user, with the tokens of the session that began.
    pub(crate) fn new(user_id: &ruma::UserId, tokens: Option<IssuedTokens>) -> Self {
        let mut account = Self {
            user_id: user_id.to_string(),
            home_server: user_id.server_name().to_string(),
            access_token: None,
            refresh_token: None,
            expires_in_ms: None,
            device_id: None,
            well_known: None,
        };
        if let Some(tokens) = tokens {
            account.access_token = Some(tokens.access_token);
            account.refresh_token = tokens.refresh_token;
            account.expires_in_ms = tokens.expires_in_ms;
            account.device_id = Some(tokens.device_id.to_string());
        }
        account
    }

    /// The same with the client's configuration.
    pub(crate) fn with_well_known(self, well_known: Option<Value>) -> Self {
        Self { well_known, ..self }
    }
}

/// `POST /register`
async fn register(
    State(state): State<ClientState>,
    ClientIp(ip): ClientIp,
    Query(Kind { kind }): Query<Kind>,
    request: Request,
) -> Result<Json<Account>, RegisterError> {
    let registered = match kind.as_deref() {
        None | Some("user") => {
            let Json(body) = Json::<Body>::from_request(request, &()).await?;
            register_person(&state, ip, body).await?
        }
        Some("guest") => {
            let Json(body) = Json::<GuestBody>::from_request(request, &()).await?;
            limit(&state.limits, Rate::Registration, ip)?;
            state.registration.guest(body.initial_device_display_name).await?
        }
        Some(_) => return Err(RegisterError::UnknownKind),
    };
    Ok(Json(Account::new(&registered.user_id, registered.tokens)))
}

async fn register_person(
    state: &ClientState,
    ip: Option<std::net::IpAddr>,
    body: Body,
) -> Result<Registered, RegisterError> {
    let reaches = |medium| state.token_requests.reaches(medium);
    let flows = state.registration.flows_with(reaches(Medium::Email), reaches(Medium::Msisdn)).await?;
    if flows.is_empty() {
        return Err(RegistrationError::Disabled.into());
    }
    limit(&state.limits, Rate::Registration, ip)?;
    let device = NewDevice::new(body.device_id, body.initial_device_display_name, body.refresh_token)?;
    let device = (!body.inhibit_login).then_some(device);
    // A guest who upgrades asks for the name that it has.
    let guest = match &body.guest_access_token {
        Some(token) => Some(state.sessions.authenticate(token).await?),
        None => None,
    };
    let user_id = match (&guest, &body.username) {
        (Some(_), Some(username)) => state.names.user_id(username).map_err(RegistrationError::Name)?,
        (Some(_), None) => return Err(RegistrationError::NotThatGuest.into()),
        (None, username) => state.registration.choose(username.as_deref()).await?,
    };
    let proved = state.uia.authorise(Operation::Register, None, flows, body.auth).await?;
    let password = body.password.ok_or(RegisterError::NoPassword)?;
    let registered = match guest {
        Some(guest) => state.registration.upgrade_guest(guest, user_id, password, device).await?,
        None => {
            let account = NewAccount::person(user_id, password, device);
            state.registration.register(account).await?
        }
    };
    if let Some(proved) = proved {
        state.token_requests.bind(registered.user, proved).await?;
    }
    Ok(registered)
}

/// Takes one of the limit of an address; a connection without an address is local and not limited.
pub(crate) fn limit(limits: &RateLimits, rate: Rate, ip: Option<std::net::IpAddr>) -> Result<(), Limited> {
    ip.map_or(Ok(()), |ip| limits.check(rate, ip))
}

#[derive(Deserialize)]
struct Username {
    username: String,
}

/// `GET /register/available`
async fn available(
    State(registration): State<Arc<Registration>>,
    State(limits): State<Arc<RateLimits>>,
    ClientIp(ip): ClientIp,
    Query(Username { username }): Query<Username>,
) -> Result<Json<Value>, RegisterError> {
    limit(&limits, Rate::NameLookup, ip)?;
    registration.choose(Some(&username)).await?;
    Ok(Json(json!({ "available": true })))
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

/// `GET /register/m.login.registration_token/validity`
async fn validity(
    State(registration): State<Arc<Registration>>,
    State(limits): State<Arc<RateLimits>>,
    ClientIp(ip): ClientIp,
    Query(Token { token }): Query<Token>,
) -> Result<Json<Value>, RegisterError> {
    if registration.flows().await?.is_empty() {
        return Err(RegistrationError::Disabled.into());
    }
    limit(&limits, Rate::NameLookup, ip)?;
    Ok(Json(json!({ "valid": registration.token_is_valid(&token).await? })))
}
