//! `GET /account/getinfo`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    errcode,
    extract::{Caller, Input},
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    numbers::{Numbers, UserRef},
    store::{Store, StoreError, profiles},
};

/// The ways in which it fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no such user")]
    NoUser,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoUser => Self::new(StatusCode::NOT_FOUND, errcode::USER_NOT_FOUND, text),
            Error::Store(error) => error.into(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(getinfo))
}

/// Whose profile is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Request {
    /// The user.
    #[serde(rename = "userID")]
    user_id: UserRef,
}

/// A profile.
#[derive(Serialize, ToSchema)]
struct Info {
    /// The user's number.
    #[serde(rename = "userID")]
    user_id: i64,
    /// The user's id.
    matrix_id: String,
    /// The name shown; empty if there is none.
    nickname: String,
    /// Where the avatar is: `mxc://` or, set by LinkIM clients, any address; empty if there is none.
    avatar_url: String,
}

/// What a user shows of themselves.
#[utoipa::path(get, path = "/account/getinfo", tag = "account", params(Request), security(("token" = [])),
    responses((status = 200, body = Reply<Info>), (status = "4XX", body = Failure)))]
async fn getinfo(
    _: Caller,
    State(numbers): State<Arc<Numbers>>,
    State(store): State<Store>,
    Input(request): Input<Request>,
) -> Result<Reply<Info>, Refusal> {
    let user = numbers.user(&request.user_id).await?.ok_or(Error::NoUser)?;
    let text = |value: Option<String>| value.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    let (nickname, avatar_url) = store
        .read::<_, StoreError, _>(move |read| {
            Ok((profiles::get(read, user.nid, "displayname")?, profiles::get(read, user.nid, "avatar_url")?))
        })
        .await?;
    Ok(Reply::new(
        "load ok",
        Info {
            user_id: user.nid.0,
            matrix_id: user.user_id.to_string(),
            nickname: text(nickname),
            avatar_url: text(avatar_url),
        },
    ))
}
