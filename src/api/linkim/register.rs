//! `POST /account/register`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    address::{Fields, SessionData, device, given, platform},
    errcode,
    extract::Input,
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    accounts::{Limited, Rate, RateLimits, SignUp, SignUpError, SignUpRequest},
    api::{client::register::limit, client_ip::ClientIp},
};

/// The ways in which it fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("password and confirmPassword differ")]
    PasswordsDiffer,
    #[error("an email beside a phoneNumber needs emailVerifyCode; or add it later by PUT /account/email")]
    NoEmailCode,
    #[error(transparent)]
    SignUp(#[from] SignUpError),
    #[error(transparent)]
    Limited(#[from] Limited),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::PasswordsDiffer | Error::NoEmailCode => Self::argument(text),
            Error::Limited(limited) => limited.into(),
            Error::SignUp(SignUpError::Registration(error)) => error.into(),
            Error::SignUp(SignUpError::Code(refused)) => refused.into(),
            Error::SignUp(SignUpError::Address(error)) => error.into(),
            Error::SignUp(SignUpError::InvitationRequired | SignUpError::InvitationUnknown) => {
                Self::new(StatusCode::FORBIDDEN, errcode::INVITATION_UNKNOWN, text)
            }
            Error::SignUp(SignUpError::InvitationUsed) => {
                Self::new(StatusCode::FORBIDDEN, errcode::INVITATION_USED, text)
            }
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(register))
}

/// Who wants an account.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RegisterRequest)]
struct Request {
    /// The code that was sent to the phone number, or where there is none to the e-mail address, with `usedFor` 1.
    #[schema(example = "123456")]
    verify_code: String,
    /// The code that was sent to the e-mail address, where there is a phone number, too.
    email_verify_code: Option<String>,
    /// The platform, 1 to 11.
    #[schema(minimum = 1, maximum = 11)]
    platform: Option<i64>,
    /// Whether the answer shall have a token.
    #[serde(default)]
    auto_login: bool,
    /// The device's id, where a token is wanted; one is made up if there is none.
    #[serde(rename = "deviceID")]
    device_id: Option<String>,
    /// The account.
    user: NewUser,
}

/// The account that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewUser {
    /// The country code; with `phoneNumber`.
    #[schema(example = "+86")]
    area_code: Option<String>,
    /// The phone number inside the country. This or `email` must be there.
    #[schema(example = "13800138000")]
    phone_number: Option<String>,
    /// The e-mail address.
    email: Option<String>,
    /// The name of the account, which becomes part of the user's id; one is made up if there is none.
    account: Option<String>,
    /// The name shown; `momo` if there is none.
    nickname: Option<String>,
    /// The password.
    #[schema(min_length = 1)]
    password: String,
    /// The password again.
    confirm_password: Option<String>,
    /// An invitation code, where the server asks for one.
    invitation_code: Option<String>,
}

/// The account that was made.
#[derive(Serialize, ToSchema)]
struct Registered {
    /// The user's number.
    #[serde(rename = "userID")]
    user_id: i64,
    /// The user's id.
    matrix_id: String,
    /// The session, where `autoLogin` asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<SessionData>,
}

/// Makes an account.
#[utoipa::path(post, path = "/account/register", tag = "account", request_body = Request, security(()),
    responses((status = 200, body = Reply<Registered>), (status = "4XX", body = Failure)))]
async fn register(
    State(sign_up): State<Arc<SignUp>>,
    State(limits): State<Arc<RateLimits>>,
    ClientIp(ip): ClientIp,
    Input(request): Input<Request>,
) -> Result<Reply<Registered>, Refusal> {
    let platform = platform(request.platform)?;
    let wanted = sign_up_request(request, platform)?;
    limit(&limits, Rate::Registration, ip)?;
    let made = sign_up.register(wanted).await.map_err(Error::from)?;
    let data = made.tokens.map(|tokens| SessionData::new(made.user, &made.user_id, tokens, platform));
    let registered = Registered { user_id: made.user.0, matrix_id: made.user_id.to_string(), data };
    Ok(Reply::new("register success", registered))
}

fn sign_up_request(request: Request, platform: crate::accounts::Platform) -> Result<SignUpRequest, Refusal> {
    let Request { verify_code, email_verify_code, auto_login, device_id, user, .. } = request;
    let fields = Fields {
        area_code: user.area_code.as_deref(),
        phone_number: user.phone_number.as_deref(),
        email: user.email.as_deref(),
    };
    let addresses = match (fields.phone()?, fields.email()?) {
        (Some(phone), Some(email)) => {
            let code = email_verify_code.filter(|code| !code.is_empty()).ok_or(Error::NoEmailCode)?;
            vec![(phone, verify_code), (email, code)]
        }
        (Some(one), None) | (None, Some(one)) => vec![(one, verify_code)],
        (None, None) => return Err(Refusal::argument("neither areaCode and phoneNumber nor email")),
    };
    if given(user.confirm_password.as_deref()).is_some_and(|again| again != user.password) {
        return Err(Error::PasswordsDiffer.into());
    }
    let text = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    Ok(SignUpRequest {
        addresses,
        account: text(user.account),
        nickname: text(user.nickname),
        password: user.password,
        invitation: text(user.invitation_code),
        device: if auto_login { Some(device(platform, device_id)?) } else { None },
    })
}
