//! `POST /account/code/send`, `POST /account/code/verify`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    address::Fields,
    errcode,
    extract::{Input, MaybeCaller},
    refusal::{Failure, Refusal},
    reply::Done,
    state::LinkImState,
};
use crate::{
    accounts::{CheckError, Codes, Limited, Purpose, Rate, RateLimits, SendError},
    api::{client::register::limit, client_ip::ClientIp},
};

/// The ways in which a request about codes fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("usedFor is 1 (register), 2 (reset the password), 3 (log in) or 4 (change phone number or e-mail address)")]
    NoPurpose,
    #[error("who changes a phone number or e-mail address must be logged in")]
    NoToken,
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Check(#[from] CheckError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoPurpose => Self::argument(text),
            Error::NoToken => Self::new(StatusCode::UNAUTHORIZED, errcode::TOKEN_MISSING, text),
            Error::Limited(limited) => limited.into(),
            Error::Send(error) => error.into(),
            Error::Check(error) => error.into(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(send)).routes(routes!(verify))
}

/// Where a code is to be sent, and for what.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SendCodeRequest)]
struct SendRequest {
    /// The country code, with or without a plus; with `phoneNumber`.
    #[schema(example = "+86")]
    area_code: Option<String>,
    /// The phone number inside the country. This or `email` must be there; with both, this counts.
    #[schema(example = "13800138000")]
    phone_number: Option<String>,
    /// The e-mail address.
    email: Option<String>,
    /// 1: to register. 2: to reset the password. 3: to log in. 4: to make the address one's own, which takes a token.
    #[schema(minimum = 1, maximum = 4)]
    used_for: i64,
}

/// Sends a code of six digits, good for 300 seconds, for one use and five tries. To an address one is sent every 60 seconds at
/// most, and ten in 24 hours.
///
/// To log in or to reset a password a code is sent only if an account has the address; the answer does not say so.
#[utoipa::path(post, path = "/account/code/send", tag = "account", request_body = SendRequest, security((), ("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure), (status = 503, body = Failure)))]
async fn send(
    State(codes): State<Arc<Codes>>,
    State(limits): State<Arc<RateLimits>>,
    ClientIp(ip): ClientIp,
    MaybeCaller(caller): MaybeCaller,
    Input(request): Input<SendRequest>,
) -> Result<Done, Refusal> {
    let purpose = Purpose::from_number(request.used_for).ok_or(Error::NoPurpose)?;
    let SendRequest { area_code, phone_number, email, .. } = &request;
    let fields =
        Fields { area_code: area_code.as_deref(), phone_number: phone_number.as_deref(), email: email.as_deref() };
    let to = fields.required()?;
    if purpose == Purpose::Change && caller.is_none() {
        return Err(Error::NoToken.into());
    }
    limit(&limits, Rate::CodeSend, ip)?;
    codes.send(purpose, &to).await?;
    Ok(Done::new("code sent"))
}

/// A code, and where it was sent.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifyCodeRequest)]
struct VerifyRequest {
    /// The country code; with `phoneNumber`.
    #[schema(example = "+86")]
    area_code: Option<String>,
    /// The phone number inside the country. This or `email` must be there; with both, this counts.
    #[schema(example = "13800138000")]
    phone_number: Option<String>,
    /// The e-mail address.
    email: Option<String>,
    /// As in `/account/code/send`.
    #[schema(minimum = 1, maximum = 4)]
    used_for: i64,
    /// The code.
    #[schema(example = "123456")]
    verify_code: String,
}

/// Says whether a code is right, once. What it is for may still be done with it once.
#[utoipa::path(post, path = "/account/code/verify", tag = "account", request_body = VerifyRequest, security(()),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn verify(
    State(codes): State<Arc<Codes>>,
    State(limits): State<Arc<RateLimits>>,
    ClientIp(ip): ClientIp,
    Input(request): Input<VerifyRequest>,
) -> Result<Done, Refusal> {
    let purpose = Purpose::from_number(request.used_for).ok_or(Error::NoPurpose)?;
    let VerifyRequest { area_code, phone_number, email, verify_code, .. } = request;
    let fields =
        Fields { area_code: area_code.as_deref(), phone_number: phone_number.as_deref(), email: email.as_deref() };
    let of = fields.required()?;
    limit(&limits, Rate::CodeTry, ip)?;
    codes.check(purpose, of, verify_code).await?;
    Ok(Done::new("code verified"))
}
