//! `POST /account/login`.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    address::{Fields, SessionData, device, given, platform},
    extract::Input,
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    accounts::{AddressLogin, ByCodeError, Limited, Login, LoginError, Rate, RateLimits, UserNames},
    api::{client::register::limit, client_ip::ClientIp},
    numbers::{Numbers, UserRef},
    store::StoreError,
};

/// The ways in which it fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("neither areaCode and phoneNumber, nor email, nor account")]
    Nobody,
    #[error("neither password nor verifyCode")]
    NoProof,
    #[error("a code is sent to a phone number or an e-mail address: name that")]
    CodeForName,
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Code(#[from] ByCodeError),
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Nobody | Error::NoProof | Error::CodeForName => Self::argument(text),
            Error::Login(error) => error.into(),
            Error::Code(error) => error.into(),
            Error::Limited(limited) => limited.into(),
            Error::Store(error) => error.into(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(start))
}

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LoginRequest)]
struct Request {
    /// The country code; with `phoneNumber`.
    #[schema(example = "+86")]
    area_code: Option<String>,
    /// The phone number inside the country. This, `email` or `account` must be there; the first of them counts.
    #[schema(example = "13800138000")]
    phone_number: Option<String>,
    /// The e-mail address.
    email: Option<String>,
    /// The name of the account, or Matrix's user id.
    account: Option<String>,
    /// The password. This or `verifyCode` must be there.
    password: Option<String>,
    /// The code that was sent to the phone number or e-mail address with `usedFor` 3; without a password it counts.
    verify_code: Option<String>,
    /// The platform, 1 to 11: which sessions this one takes the place of is told by it.
    #[schema(minimum = 1, maximum = 11)]
    platform: Option<i64>,
    /// The device's id; one is made up if there is none.
    #[serde(rename = "deviceID")]
    device_id: Option<String>,
}

/// The session that started.
#[derive(Serialize, ToSchema)]
struct Started {
    /// The session.
    data: SessionData,
}

/// Starts a session. Other sessions of the user may end by it, as the server's policy says; they are then told so.
#[utoipa::path(post, path = "/account/login", tag = "account", request_body = Request, security(()),
    responses((status = 200, body = Reply<Started>), (status = "4XX", body = Failure)))]
async fn start(
    State(login): State<Arc<Login>>,
    State(by_address): State<Arc<AddressLogin>>,
    State(names): State<Arc<UserNames>>,
    State(numbers): State<Arc<Numbers>>,
    State(limits): State<Arc<RateLimits>>,
    ClientIp(ip): ClientIp,
    Input(request): Input<Request>,
) -> Result<Reply<Started>, Refusal> {
    let platform = platform(request.platform)?;
    let device = device(platform, request.device_id.clone())?;
    let fields = Fields {
        area_code: request.area_code.as_deref(),
        phone_number: request.phone_number.as_deref(),
        email: request.email.as_deref(),
    };
    let (address, account) = (fields.one()?, given(request.account.as_deref()));
    if address.is_none() && account.is_none() {
        return Err(Error::Nobody.into());
    }
    let (password, code) = (given(request.password.as_deref()), given(request.verify_code.as_deref()));
    limit(&limits, Rate::Login, ip)?;
    let (user_id, tokens) = match (address, password, code) {
        (Some(address), Some(password), _) => by_address.with_password(&address, password.to_owned(), device).await?,
        (Some(address), None, Some(code)) => {
            limit(&limits, Rate::CodeTry, ip)?;
            by_address.with_code(address, code.to_owned(), device).await?
        }
        (None, Some(password), _) => {
            let user_id = account.and_then(|name| names.named(name));
            login.with_password(user_id, password.to_owned(), device).await?
        }
        (None, None, Some(_)) => return Err(Error::CodeForName.into()),
        (_, None, None) => return Err(Error::NoProof.into()),
    };
    let user = numbers.user(&UserRef::Id(user_id)).await?.ok_or(LoginError::WrongCredentials)?;
    Ok(Reply::new("login success", Started { data: SessionData::new(user.nid, &user.user_id, tokens, platform) }))
}
