//! `POST /login/get_token`.

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::ClientState;
use crate::{
    accounts::{AuthData, Limited, Operation, PASSWORD_FLOWS, Rate, Session, UiaError},
    api::{
        error::ApiError,
        extract::{Json, OptionalJson},
    },
};

/// The ways in which no token is given.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Uia(#[from] UiaError),
    #[error(transparent)]
    Limited(#[from] Limited),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Uia(error) => error.into_response(),
            Self::Limited(limited) => ApiError::from(limited).into_response(),
        }
    }
}

/// The route under `/_matrix/client/v1`.
pub(super) fn routes_v1() -> Router<ClientState> {
    Router::new().route("/login/get_token", post(get_token))
}

#[derive(Deserialize)]
struct Body {
    auth: Option<AuthData>,
}

/// `POST /login/get_token`: the password is asked for each time.
async fn get_token(
    State(state): State<ClientState>,
    session: Session,
    OptionalJson(body): OptionalJson<Body>,
) -> Result<Json<Value>, Error> {
    state.uia.authorise(Operation::LoginToken, Some(&session), PASSWORD_FLOWS, body.auth).await?;
    state.limits.check(Rate::LoginToken, session.user)?;
    let (login_token, expires_in_ms) = state.login_tokens.issue(&session);
    Ok(Json(json!({ "login_token": login_token, "expires_in_ms": expires_in_ms })))
}
