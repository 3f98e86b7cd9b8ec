//! Phone numbers, e-mail addresses and platforms as LinkIM's requests have them, and how what goes wrong with accounts and
//! codes looks in LinkIM's API.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{errcode, refusal::Refusal};
use crate::{
    accounts::{
        AddError, ByCodeError, CheckError, CodeRefused, IssuedTokens, LoginError, Medium, NewDevice, PasswordRefused,
        Platform, RegistrationError, SendError, ThirdPartyId,
    },
    store::ids::UserNid,
};

/// What a request says of an address: a phone number in two fields, or an e-mail address. Empty texts count as absent, as
/// old clients send them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) area_code: Option<&'a str>,
    pub(super) phone_number: Option<&'a str>,
    pub(super) email: Option<&'a str>,
}

/// A text that is there and not empty.
pub(super) fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

impl Fields<'_> {
    /// The phone number, if there is one.
    pub(super) fn phone(self) -> Result<Option<ThirdPartyId>, Refusal> {
        let Some(number) = given(self.phone_number) else { return Ok(None) };
        let area = given(self.area_code).ok_or_else(|| Refusal::argument("phoneNumber without areaCode"))?;
        let wrong = || Refusal::argument("areaCode and phoneNumber are no phone number");
        ThirdPartyId::phone(area, number).map(Some).ok_or_else(wrong)
    }

    /// The e-mail address, if there is one.
    pub(super) fn email(self) -> Result<Option<ThirdPartyId>, Refusal> {
        let Some(email) = given(self.email) else { return Ok(None) };
        ThirdPartyId::email(email).map(Some).ok_or_else(|| Refusal::argument("email is no e-mail address"))
    }

    /// The phone number, or where there is none the e-mail address.
    pub(super) fn one(self) -> Result<Option<ThirdPartyId>, Refusal> {
        Ok(match self.phone()? {
            Some(phone) => Some(phone),
            None => self.email()?,
        })
    }

    /// As [`Self::one`], where there must be one.
    pub(super) fn required(self) -> Result<ThirdPartyId, Refusal> {
        self.one()?.ok_or_else(|| Refusal::argument("neither areaCode and phoneNumber nor email"))
    }
}

/// The platform that a request names; none: it names none.
pub(super) fn platform(number: Option<i64>) -> Result<Platform, Refusal> {
    match number {
        None => Ok(Platform::NONE),
        Some(number) => {
            Platform::from_number(number).ok_or_else(|| Refusal::argument("platform is a number from 1 to 11"))
        }
    }
}

/// The device that a session is to start on.
pub(super) fn device(platform: Platform, device_id: Option<String>) -> Result<NewDevice, Refusal> {
    let device_id = device_id.filter(|id| !id.is_empty());
    let device = NewDevice::new(device_id, None, false).map_err(|refused| Refusal::argument(refused.to_string()))?;
    Ok(device.on(platform))
}

/// A session that started.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionData {
    /// The user's number.
    #[serde(rename = "userID")]
    user_id: i64,
    /// The same as a string.
    #[serde(rename = "userID_str")]
    user_id_str: String,
    /// The user's id.
    matrix_id: String,
    /// The token, for this API and for Matrix's.
    #[serde(rename = "imToken")]
    im_token: String,
    /// The platform that the request named; 0: none.
    #[serde(rename = "platformID")]
    platform_id: i64,
    /// The device's id.
    device_id: String,
}

impl SessionData {
    /// Of these tokens.
    pub(super) fn new(user: UserNid, user_id: &ruma::UserId, tokens: IssuedTokens, platform: Platform) -> Self {
        Self {
            user_id: user.0,
            user_id_str: user.0.to_string(),
            matrix_id: user_id.to_string(),
            im_token: tokens.access_token,
            platform_id: platform.number(),
            device_id: tokens.device_id.to_string(),
        }
    }
}

impl From<CodeRefused> for Refusal {
    fn from(refused: CodeRefused) -> Self {
        let errcode = match refused {
            CodeRefused::Mismatch => errcode::CODE_MISMATCH,
            CodeRefused::Expired => errcode::CODE_EXPIRED,
            CodeRefused::TooManyTries => errcode::CODE_TRIES,
            CodeRefused::Used => errcode::CODE_USED,
        };
        Self::new(StatusCode::BAD_REQUEST, errcode, refused.to_string())
    }
}

impl From<CheckError> for Refusal {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Refused(refused) => refused.into(),
            CheckError::Store(error) => error.into(),
        }
    }
}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        let text = error.to_string();
        match error {
            SendError::NoWay(_) => Self::forbidden(text),
            SendError::TooOften(limited) => limited.into(),
            SendError::Unreachable => Self::new(StatusCode::SERVICE_UNAVAILABLE, errcode::INTERNAL, text),
            SendError::Refused => Self::argument(text),
            SendError::Store(error) => error.into(),
        }
    }
}

impl From<AddError> for Refusal {
    fn from(error: AddError) -> Self {
        let text = error.to_string();
        match error {
            AddError::Taken(Medium::Email) => Self::conflict(errcode::EMAIL_TAKEN, text),
            AddError::Taken(Medium::Msisdn) => Self::conflict(errcode::PHONE_TAKEN, text),
            AddError::TooMany => Self::conflict(errcode::ARGUMENT, text),
            AddError::Code(refused) => refused.into(),
            AddError::Store(error) => error.into(),
        }
    }
}

impl From<PasswordRefused> for Refusal {
    fn from(refused: PasswordRefused) -> Self {
        Self::argument(refused.to_string())
    }
}

impl From<LoginError> for Refusal {
    fn from(error: LoginError) -> Self {
        let text = error.to_string();
        match error {
            LoginError::WrongCredentials | LoginError::WrongToken => {
                Self::new(StatusCode::UNAUTHORIZED, errcode::WRONG_PASSWORD, text)
            }
            LoginError::Deactivated | LoginError::Locked => {
                Self::new(StatusCode::FORBIDDEN, errcode::FORBIDDEN_ACCOUNT, text)
            }
            LoginError::Device(_) => Self::argument(text),
            LoginError::Limited(limited) => limited.into(),
            LoginError::Password(refused) => refused.into(),
            LoginError::Store(error) => error.into(),
        }
    }
}

impl From<ByCodeError> for Refusal {
    fn from(error: ByCodeError) -> Self {
        let text = error.to_string();
        match error {
            ByCodeError::Code(refused) => refused.into(),
            ByCodeError::NotYours => Self::forbidden(text),
            ByCodeError::Login(error) => error.into(),
        }
    }
}

impl From<RegistrationError> for Refusal {
    fn from(error: RegistrationError) -> Self {
        let text = error.to_string();
        match error {
            RegistrationError::Disabled | RegistrationError::NotThatGuest => Self::forbidden(text),
            RegistrationError::InUse => Self::conflict(errcode::ACCOUNT_TAKEN, text),
            RegistrationError::Name(_) | RegistrationError::Displayname(_) => Self::argument(text),
            RegistrationError::Password(refused) => refused.into(),
            RegistrationError::Store(error) => error.into(),
        }
    }
}
