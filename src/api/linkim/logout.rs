//! `POST /account/logout`.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{LeavingCaller, OptionalInput, is_caller},
    refusal::{Failure, Refusal},
    reply::Done,
    state::LinkImState,
};
use crate::{accounts::Sessions, numbers::UserRef, store::StoreError};

/// The ways in which it fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("token is another than the one that the request is sent with")]
    OtherToken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::OtherToken => Self::forbidden(error.to_string()),
            Error::Store(error) => error.into(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(logout))
}

/// Whose session ends: all of it may be left out.
#[derive(Deserialize, ToSchema)]
#[schema(as = LogoutRequest)]
struct Request {
    /// The user.
    #[serde(rename = "userID")]
    user_id: Option<UserRef>,
    /// The token that the request is sent with.
    token: Option<String>,
}

/// Ends the session.
#[utoipa::path(post, path = "/account/logout", tag = "account", request_body = Request, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn logout(
    LeavingCaller { session, token }: LeavingCaller,
    State(sessions): State<Arc<Sessions>>,
    OptionalInput(request): OptionalInput<Request>,
) -> Result<Done, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    if request.token.is_some_and(|named| named != token) {
        return Err(Error::OtherToken.into());
    }
    sessions.logout(&session).await.map_err(Error::from)?;
    Ok(Done::new("logout success"))
}
