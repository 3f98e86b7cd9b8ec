//! `PUT /account/password`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    address::{Fields, given},
    errcode,
    extract::{Input, MaybeCaller, is_caller},
    refusal::{Failure, Refusal},
    reply::Done,
    state::LinkImState,
};
use crate::{
    accounts::{AddressLogin, ByCodeError, Limited, Login, LoginError, Rate, RateLimits},
    api::{client::register::limit, client_ip::ClientIp},
    numbers::{Numbers, UserRef},
    store::StoreError,
};

/// The ways in which it fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("neither verifyCode nor oldPassword")]
    NoProof,
    #[error("newPassword and confirmPassword differ")]
    PasswordsDiffer,
    #[error("who gives oldPassword must be logged in")]
    NoToken,
    #[error(transparent)]
    Code(#[from] ByCodeError),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoProof | Error::PasswordsDiffer => Self::argument(text),
            Error::NoToken => Self::new(StatusCode::UNAUTHORIZED, errcode::TOKEN_MISSING, text),
            Error::Code(error) => error.into(),
            // The token is right: 401 would send the client to its login.
            Error::Login(LoginError::WrongCredentials) => {
                Self::new(StatusCode::FORBIDDEN, errcode::WRONG_PASSWORD, "oldPassword is wrong")
            }
            Error::Login(error) => error.into(),
            Error::Limited(limited) => limited.into(),
            Error::Store(error) => error.into(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(password))
}

/// A new password, and the proof that one may set it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PasswordRequest)]
struct Request {
    /// The user; may be left out.
    user_id: Option<UserRef>,
    /// The country code; with `phoneNumber`.
    #[schema(example = "+86")]
    area_code: Option<String>,
    /// The account's phone number inside the country; or `email`, with `verifyCode`.
    #[schema(example = "13800138000")]
    phone_number: Option<String>,
    /// The account's e-mail address.
    email: Option<String>,
    /// The code that was sent to the phone number or e-mail address with `usedFor` 2.
    verify_code: Option<String>,
    /// The old password, in place of a code; with a token alone.
    old_password: Option<String>,
    /// The new password.
    #[schema(min_length = 1)]
    new_password: String,
    /// The new password again; may be left out.
    confirm_password: Option<String>,
}

/// Sets a password: of the token's user, with the old one or a code; or, without a token, of the account whose address the code
/// was sent to. All other sessions of the account end.
#[utoipa::path(put, path = "/account/password", tag = "account", request_body = Request, security((), ("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn password(
    MaybeCaller(caller): MaybeCaller,
    State(login): State<Arc<Login>>,
    State(by_address): State<Arc<AddressLogin>>,
    State(numbers): State<Arc<Numbers>>,
    State(limits): State<Arc<RateLimits>>,
    ClientIp(ip): ClientIp,
    Input(request): Input<Request>,
) -> Result<Done, Refusal> {
    if let Some(session) = &caller {
        is_caller(session, request.user_id.as_ref())?;
    }
    if given(request.confirm_password.as_deref()).is_some_and(|again| again != request.new_password) {
        return Err(Error::PasswordsDiffer.into());
    }
    limit(&limits, Rate::CodeTry, ip)?;
    let Some(code) = given(request.verify_code.as_deref()) else {
        let old = given(request.old_password.as_deref()).ok_or(Error::NoProof)?;
        let session = caller.ok_or(Error::NoToken)?;
        let changed = login.replace_password(&session, old.to_owned(), request.new_password.clone()).await;
        changed.map_err(Error::from)?;
        return Ok(Done::new("update success"));
    };
    let fields = Fields {
        area_code: request.area_code.as_deref(),
        phone_number: request.phone_number.as_deref(),
        email: request.email.as_deref(),
    };
    let address = fields.required()?;
    let named = match &request.user_id {
        // Whether there is such a user is not told before the code is right.
        Some(user) => Some(numbers.user(user).await?.map_or(crate::store::ids::UserNid(-1), |user| user.nid)),
        None => None,
    };
    let (code, password) = (code.to_owned(), request.new_password.clone());
    by_address.reset_password(address, code, password, caller.as_ref(), named).await.map_err(Error::from)?;
    Ok(Done::new("update success"))
}
