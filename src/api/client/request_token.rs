//! `…/requestToken` of registration, of a new password and of the account's addresses; and where the token is handed in.
//!
//! Source: Client-Server API, "Account registration and management"; Identity Service API, `POST /validate/email/submitToken`.

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    routing::post,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{register::limit, state::ClientState};
use crate::{
    accounts::{
        AddError, CodeRefused, Limited, Medium, Purpose, Rate, SendError, ThirdPartyId, ThreepidCreds, TokenRequest,
        TokenRequestError,
    },
    api::{client_ip::ClientIp, error::ApiError, extract::Json},
};

/// Where a token is handed in, less the medium.
const SUBMIT: &str = "/_linkim/validate";

/// The ways in which a request for a token fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("This is no e-mail address")]
    NoEmail,
    #[error("This is no phone number of that country")]
    NoPhone,
    #[error(transparent)]
    Request(#[from] TokenRequestError),
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error("There is no such medium")]
    NoMedium,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoEmail | Error::NoPhone => Self::invalid_param(text),
            Error::Request(error) => error.into(),
            Error::Limited(limited) => limited.into(),
            Error::NoMedium => Self::not_found(text),
        }
    }
}

impl From<TokenRequestError> for ApiError {
    fn from(error: TokenRequestError) -> Self {
        let text = error.to_string();
        match error {
            TokenRequestError::Secret => Self::invalid_param(text),
            TokenRequestError::InUse => Self::bad_request("M_THREEPID_IN_USE", text),
            TokenRequestError::NoSession => Self::new(StatusCode::NOT_FOUND, "M_NO_VALID_SESSION", text),
            TokenRequestError::NotProved => Self::new(StatusCode::FORBIDDEN, "M_THREEPID_AUTH_FAILED", text),
            TokenRequestError::Code(refused) => match refused {
                CodeRefused::Expired => Self::bad_request("M_SESSION_EXPIRED", text),
                CodeRefused::TooManyTries => Self::limit_exceeded(60_000),
                CodeRefused::Mismatch | CodeRefused::Used => Self::bad_request("M_TOKEN_INCORRECT", text),
            },
            TokenRequestError::Send(error) => match error {
                SendError::NoWay(_) => Self::bad_request("M_THREEPID_MEDIUM_NOT_SUPPORTED", text),
                SendError::TooOften(limited) => limited.into(),
                SendError::Unreachable => Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", text),
                SendError::Refused => Self::bad_request("M_THREEPID_DENIED", text),
                SendError::Store(error) => error.into(),
            },
            TokenRequestError::Add(AddError::Taken(_)) => Self::bad_request("M_THREEPID_IN_USE", text),
            TokenRequestError::Add(AddError::TooMany | AddError::Code(_)) => Self::invalid_param(text),
            TokenRequestError::Add(AddError::Store(error)) => error.into(),
            TokenRequestError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/register/email/requestToken", post(|s, i, h, b| email(Purpose::Register, s, i, h, b)))
        .route("/register/msisdn/requestToken", post(|s, i, h, b| msisdn(Purpose::Register, s, i, h, b)))
        .route("/account/password/email/requestToken", post(|s, i, h, b| email(Purpose::ResetPassword, s, i, h, b)))
        .route("/account/password/msisdn/requestToken", post(|s, i, h, b| msisdn(Purpose::ResetPassword, s, i, h, b)))
        .route("/account/3pid/email/requestToken", post(|s, i, h, b| email(Purpose::Change, s, i, h, b)))
        .route("/account/3pid/msisdn/requestToken", post(|s, i, h, b| msisdn(Purpose::Change, s, i, h, b)))
}

/// The route at the root, named in the answers as `submit_url`.
pub(super) fn submit_routes() -> Router<ClientState> {
    Router::new().route(&format!("{SUBMIT}/{{medium}}/submitToken"), post(submit))
}

#[derive(Deserialize)]
struct EmailBody {
    client_secret: String,
    email: String,
    send_attempt: i64,
}

#[derive(Deserialize)]
struct MsisdnBody {
    client_secret: String,
    country: String,
    phone_number: String,
    send_attempt: i64,
}

/// `POST …/email/requestToken`
async fn email(
    purpose: Purpose,
    State(state): State<ClientState>,
    ClientIp(ip): ClientIp,
    headers: HeaderMap,
    Json(body): Json<EmailBody>,
) -> Result<Json<Value>, ApiError> {
    limit(&state.limits, Rate::CodeSend, ip)?;
    let to = ThirdPartyId::email(&body.email).ok_or(Error::NoEmail)?;
    let EmailBody { client_secret, send_attempt, .. } = body;
    request(&state, &headers, TokenRequest { purpose, to, client_secret, send_attempt }).await
}

/// `POST …/msisdn/requestToken`
async fn msisdn(
    purpose: Purpose,
    State(state): State<ClientState>,
    ClientIp(ip): ClientIp,
    headers: HeaderMap,
    Json(body): Json<MsisdnBody>,
) -> Result<Json<Value>, ApiError> {
    limit(&state.limits, Rate::CodeSend, ip)?;
    let to = ThirdPartyId::phone_in(&body.country, &body.phone_number).ok_or(Error::NoPhone)?;
    let MsisdnBody { client_secret, send_attempt, .. } = body;
    request(&state, &headers, TokenRequest { purpose, to, client_secret, send_attempt }).await
}

async fn request(state: &ClientState, headers: &HeaderMap, request: TokenRequest) -> Result<Json<Value>, ApiError> {
    let (medium, digits) = (request.to.medium(), request.to.address().to_owned());
    let sid = state.token_requests.request(request).await?;
    let mut answer = Map::new();
    answer.insert("sid".into(), sid.into());
    if let Some(base) = base_url(state, headers) {
        answer.insert("submit_url".into(), format!("{base}{SUBMIT}/{}/submitToken", medium.name()).into());
    }
    if medium == Medium::Msisdn {
        answer.insert("msisdn".into(), digits.clone().into());
        answer.insert("intl_fmt".into(), format!("+{digits}").into());
        answer.insert("success".into(), true.into());
    }
    Ok(Json(answer.into()))
}

/// Where the client reaches us: as configured, else as it just did, over plain HTTP.
fn base_url(state: &ClientState, headers: &HeaderMap) -> Option<String> {
    if let Some(url) = state.config.client_base_url() {
        return Some(url.as_str().to_owned());
    }
    let host = headers.get(header::HOST)?.to_str().ok()?;
    Some(format!("http://{host}"))
}

#[derive(Deserialize)]
struct SubmitBody {
    #[serde(flatten)]
    creds: ThreepidCreds,
    token: String,
}

/// `POST {submit_url}`
async fn submit(
    State(state): State<ClientState>,
    ClientIp(ip): ClientIp,
    Path(medium): Path<String>,
    Json(body): Json<SubmitBody>,
) -> Result<Json<Value>, ApiError> {
    limit(&state.limits, Rate::CodeTry, ip)?;
    let medium = Medium::parse(&medium).ok_or(Error::NoMedium)?;
    state.token_requests.submit(medium, body.creds, body.token).await?;
    Ok(Json(json!({ "success": true })))
}
