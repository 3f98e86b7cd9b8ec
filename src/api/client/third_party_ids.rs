//! `/account/3pid…`: the e-mail addresses and phone numbers of an account.

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{authentication::Active, state::ClientState};
use crate::{
    accounts::{
        AuthData, Limited, Medium, Operation, PASSWORD_FLOWS, Rate, Session, ThirdPartyId, ThreepidCreds,
        TokenRequestError, UiaError,
    },
    api::{error::ApiError, extract::Json},
    store::StoreError,
};

/// The ways in which a request about addresses fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("The address is of no known medium, or cannot be one")]
    NoAddress,
    #[error("This server binds addresses at no identity server")]
    NoIdentityServer,
    #[error("The request has no {0}")]
    Missing(&'static str),
    #[error(transparent)]
    Session(#[from] TokenRequestError),
    #[error(transparent)]
    Uia(#[from] UiaError),
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let text = self.to_string();
        match self {
            Self::NoAddress => ApiError::invalid_param(text),
            Self::NoIdentityServer => ApiError::new(StatusCode::FORBIDDEN, "M_SERVER_NOT_TRUSTED", text),
            Self::Missing(_) => ApiError::bad_request("M_MISSING_PARAM", text),
            Self::Session(error) => error.into(),
            Self::Uia(error) => return error.into_response(),
            Self::Limited(limited) => limited.into(),
            Self::Store(error) => error.into(),
        }
        .into_response()
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/account/3pid", get(list).post(add_deprecated))
        .route("/account/3pid/add", post(add))
        .route("/account/3pid/bind", post(bind))
        .route("/account/3pid/delete", post(delete))
        .route("/account/3pid/unbind", post(unbind))
}

/// `GET /account/3pid`
async fn list(State(state): State<ClientState>, session: Session) -> Result<Json<Value>, Error> {
    let found = state.third_party_ids.of_user(session.user).await?;
    let threepids: Vec<Value> = found
        .into_iter()
        .map(|row| {
            json!({
                "medium": row.medium,
                "address": row.address,
                "validated_at": row.validated_ts,
                "added_at": row.added_ts,
            })
        })
        .collect();
    Ok(Json(json!({ "threepids": threepids })))
}

#[derive(Deserialize)]
struct AddBody {
    auth: Option<AuthData>,
    #[serde(flatten)]
    creds: ThreepidCreds,
}

/// `POST /account/3pid/add`
async fn add(
    State(state): State<ClientState>,
    Active(session): Active,
    Json(body): Json<AddBody>,
) -> Result<Json<Value>, Error> {
    add_proved(&state, &session, body.auth, body.creds).await
}

#[derive(Deserialize)]
struct DeprecatedBody {
    auth: Option<AuthData>,
    #[serde(alias = "threePidCreds")]
    three_pid_creds: Option<ThreepidCreds>,
}

/// `POST /account/3pid`, deprecated: as `/add`, the password included, for who gets at a session must not be able to get at the
/// account by adding an address and resetting the password with it.
async fn add_deprecated(
    State(state): State<ClientState>,
    Active(session): Active,
    Json(body): Json<DeprecatedBody>,
) -> Result<Json<Value>, Error> {
    let creds = body.three_pid_creds.ok_or(Error::Missing("three_pid_creds"))?;
    add_proved(&state, &session, body.auth, creds).await
}

async fn add_proved(
    state: &ClientState,
    session: &Session,
    auth: Option<AuthData>,
    creds: ThreepidCreds,
) -> Result<Json<Value>, Error> {
    state.limits.check(Rate::Settings, session.user)?;
    state.uia.authorise(Operation::AddThirdPartyId, Some(session), PASSWORD_FLOWS, auth).await?;
    state.token_requests.add(session.user, creds).await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Named {
    medium: String,
    address: String,
}

impl Named {
    fn address(&self) -> Result<ThirdPartyId, Error> {
        let medium = Medium::parse(&self.medium).ok_or(Error::NoAddress)?;
        ThirdPartyId::parse(medium, &self.address).ok_or(Error::NoAddress)
    }
}

/// `POST /account/3pid/delete`
async fn delete(
    State(state): State<ClientState>,
    Active(session): Active,
    Json(body): Json<Named>,
) -> Result<Json<Value>, Error> {
    state.limits.check(Rate::Settings, session.user)?;
    // One that the user does not have is gone already.
    state.third_party_ids.delete(session.user, body.address()?).await?;
    // We never bind an address at an identity server.
    Ok(Json(json!({ "id_server_unbind_result": "no-support" })))
}

/// `POST /account/3pid/bind`
async fn bind(_: Session) -> Result<Json<Value>, Error> {
    Err(Error::NoIdentityServer)
}

/// `POST /account/3pid/unbind`
async fn unbind(_: Session, Json(body): Json<Named>) -> Result<Json<Value>, Error> {
    body.address()?;
    Ok(Json(json!({ "id_server_unbind_result": "no-support" })))
}
