//! `PUT /account/profile`, `/account/nickname`, `/account/signature`, `/account/phone`, `/account/email`, and the settings.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    address::Fields,
    extract::{ActiveCaller, Caller, Input, is_caller},
    refusal::{Failure, Refusal},
    reply::{Done, Reply},
    state::LinkImState,
};
use crate::{
    accounts::{
        AccountData, AccountDataError, AddError, FieldName, FieldRefused, Limited, ProfileError, Profiles, Rate,
        RateLimits, Session, ThirdPartyIds, UserSettings,
    },
    numbers::UserRef,
    store::{Store, StoreError},
};

/// Longest signature, in characters.
const MAX_SIGNATURE: usize = 500;

/// Longest address of an avatar, in bytes.
const MAX_URL: usize = 1000;

/// The profile field of a signature.
pub(super) const SIGNATURE: &str = "org.linkim.signature";

/// The profile field of an avatar that is no `mxc://` address.
pub(super) const AVATAR_URL: &str = "org.linkim.avatar_url";

/// The ways in which a change fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("profileUrl is an mxc://, https:// or http:// address of at most {MAX_URL} bytes, or empty")]
    Avatar,
    #[error("nickname is empty")]
    NoNickname,
    #[error("signature is longer than {MAX_SIGNATURE} characters")]
    SignatureTooLong,
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Address(#[from] AddError),
    #[error(transparent)]
    Settings(#[from] AccountDataError),
    #[error(transparent)]
    Limited(#[from] Limited),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Avatar | Error::NoNickname | Error::SignatureTooLong => Self::argument(text),
            Error::Profile(ProfileError::Store(error)) => error.into(),
            Error::Profile(_) => Self::argument(text),
            Error::Address(error) => error.into(),
            Error::Settings(AccountDataError::Store(error)) => error.into(),
            Error::Settings(_) => Self::argument(text),
            Error::Limited(limited) => limited.into(),
        }
    }
}

impl From<FieldRefused> for Error {
    fn from(refused: FieldRefused) -> Self {
        Self::Profile(refused.into())
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new()
        .routes(routes!(avatar))
        .routes(routes!(nickname))
        .routes(routes!(signature))
        .routes(routes!(phone))
        .routes(routes!(email))
        .routes(routes!(settings, set_settings))
}

/// An avatar.
#[derive(Deserialize, ToSchema)]
struct AvatarRequest {
    /// The user; may be left out.
    #[serde(rename = "userID")]
    user_id: Option<UserRef>,
    /// Where the avatar is: an uploaded file (`mxc://`), or any web address; empty: there is none any more.
    #[serde(rename = "profileUrl")]
    #[schema(
        max_length = 1000,
        pattern = r"^(mxc://([A-Za-z0-9]([A-Za-z0-9-]{0,28}[A-Za-z0-9])?\.){0,7}[A-Za-z]{1,30}(:[0-9]{1,4})?/[A-Za-z0-9_-]{1,255}|https?://([A-Za-z0-9]([A-Za-z0-9-]{0,28}[A-Za-z0-9])?\.){0,7}[A-Za-z]{1,30}(:[0-9]{1,4})?(/[!-~]*)?)?$"
    )]
    profile_url: String,
}

/// Sets the avatar. Matrix clients see it only if it is an uploaded file (`mxc://`).
#[utoipa::path(put, path = "/account/profile", tag = "account", request_body = AvatarRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn avatar(
    ActiveCaller(session): ActiveCaller,
    State(profiles): State<Arc<Profiles>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<AvatarRequest>,
) -> Result<Done, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    let url = request.profile_url.trim();
    let web = url.starts_with("https://") || url.starts_with("http://");
    if url.len() > MAX_URL || (web && url::Url::parse(url).is_err()) {
        return Err(Error::Avatar.into());
    }
    limits.check(Rate::Profile, session.user)?;
    // Whichever is set, the other goes; empty, both do.
    put(&profiles, &session, if web { AVATAR_URL } else { "avatar_url" }, url).await.map_err(|error| match error {
        Error::Profile(ProfileError::Field(_)) => Error::Avatar,
        other => other,
    })?;
    if url.is_empty() {
        put(&profiles, &session, AVATAR_URL, "").await?;
    }
    Ok(Done::new("profile updated"))
}

/// A name shown.
#[derive(Deserialize, ToSchema)]
struct NicknameRequest {
    /// The user; may be left out.
    #[serde(rename = "userID")]
    user_id: Option<UserRef>,
    /// The name, at most 256 characters.
    #[schema(min_length = 1, max_length = 256, pattern = r"\S")]
    nickname: String,
}

/// Sets the name shown.
#[utoipa::path(put, path = "/account/nickname", tag = "account", request_body = NicknameRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn nickname(
    ActiveCaller(session): ActiveCaller,
    State(profiles): State<Arc<Profiles>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<NicknameRequest>,
) -> Result<Done, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    if request.nickname.trim().is_empty() {
        return Err(Error::NoNickname.into());
    }
    limits.check(Rate::Profile, session.user)?;
    put(&profiles, &session, "displayname", &request.nickname).await?;
    Ok(Done::new("nickname updated"))
}

/// A signature.
#[derive(Deserialize, ToSchema)]
struct SignatureRequest {
    /// The user; may be left out.
    #[serde(rename = "userID")]
    user_id: Option<UserRef>,
    /// The text, at most 500 characters; empty: there is none any more.
    #[schema(max_length = 500)]
    signature: String,
}

/// Sets the signature, or clears it.
#[utoipa::path(put, path = "/account/signature", tag = "account", request_body = SignatureRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn signature(
    ActiveCaller(session): ActiveCaller,
    State(profiles): State<Arc<Profiles>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<SignatureRequest>,
) -> Result<Done, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    if request.signature.chars().count() > MAX_SIGNATURE {
        return Err(Error::SignatureTooLong.into());
    }
    limits.check(Rate::Profile, session.user)?;
    put(&profiles, &session, SIGNATURE, &request.signature).await?;
    Ok(Done::new("signature updated"))
}

/// Sets a field of the profile; empty: deletes it.
async fn put(profiles: &Profiles, session: &Session, field: &str, value: &str) -> Result<(), Error> {
    let field = FieldName::parse(field)?;
    if value.is_empty() {
        return Ok(profiles.delete(session.user, field).await.map_err(ProfileError::from)?);
    }
    Ok(profiles.set(session.user, field, &json!(value)).await?)
}

/// A new phone number.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PhoneRequest {
    /// The user; may be left out.
    #[serde(rename = "userID")]
    user_id: Option<UserRef>,
    /// The country code.
    #[schema(example = "+86")]
    area_code: String,
    /// The phone number inside the country.
    #[schema(example = "13800138000")]
    phone_number: String,
    /// The code that was sent to the new number with `usedFor` 4.
    verify_code: String,
}

/// Makes a phone number the account's; the one before is free afterwards.
#[utoipa::path(put, path = "/account/phone", tag = "account", request_body = PhoneRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn phone(
    ActiveCaller(session): ActiveCaller,
    State(addresses): State<Arc<ThirdPartyIds>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<PhoneRequest>,
) -> Result<Done, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    let (area_code, phone_number) = (Some(request.area_code.as_str()), Some(request.phone_number.as_str()));
    let phone = Fields { area_code, phone_number, email: None }.required()?;
    limits.check(Rate::Settings, session.user)?;
    addresses.replace(&session, phone, request.verify_code).await.map_err(Error::from)?;
    Ok(Done::new("phone updated"))
}

/// A new e-mail address.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EmailRequest {
    /// The user; may be left out.
    #[serde(rename = "userID")]
    user_id: Option<UserRef>,
    /// The e-mail address.
    email: String,
    /// The code that was sent to the new address with `usedFor` 4.
    verify_code: String,
}

/// Makes an e-mail address the account's; the one before is free afterwards.
#[utoipa::path(put, path = "/account/email", tag = "account", request_body = EmailRequest, security(("token" = [])),
    responses((status = 200, body = Done), (status = "4XX", body = Failure)))]
async fn email(
    ActiveCaller(session): ActiveCaller,
    State(addresses): State<Arc<ThirdPartyIds>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<EmailRequest>,
) -> Result<Done, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    let email = Fields { area_code: None, phone_number: None, email: Some(&request.email) }.required()?;
    limits.check(Rate::Settings, session.user)?;
    addresses.replace(&session, email, request.verify_code).await.map_err(Error::from)?;
    Ok(Done::new("email updated"))
}

/// What the user lets others do.
#[derive(Serialize, ToSchema)]
struct Settings {
    /// Whether who knows the phone number finds the user by it.
    find_by_phone: bool,
    /// Whether who knows the e-mail address finds the user by it.
    find_by_email: bool,
    /// Whether friends see phone number and e-mail address.
    friends_see_addresses: bool,
    /// Whether people who are no friends may send a friend request.
    strangers_may_add: bool,
}

impl From<UserSettings> for Settings {
    fn from(settings: UserSettings) -> Self {
        let UserSettings { find_by_phone, find_by_email, friends_see_addresses, strangers_may_add } = settings;
        Self { find_by_phone, find_by_email, friends_see_addresses, strangers_may_add }
    }
}

/// What the user lets others do.
#[utoipa::path(get, path = "/account/settings", tag = "account", security(("token" = [])),
    responses((status = 200, body = Reply<Settings>), (status = "4XX", body = Failure)))]
async fn settings(Caller(session): Caller, State(store): State<Store>) -> Result<Reply<Settings>, Refusal> {
    let user = session.user;
    let found = store.read::<_, StoreError, _>(move |read| UserSettings::of(read, user)).await?;
    Ok(Reply::new("load ok", found.into()))
}

/// Changes of what the user lets others do; what is left out stays.
#[derive(Deserialize, ToSchema)]
struct SettingsRequest {
    /// Whether who knows the phone number finds the user by it.
    find_by_phone: Option<bool>,
    /// Whether who knows the e-mail address finds the user by it.
    find_by_email: Option<bool>,
    /// Whether friends see phone number and e-mail address.
    friends_see_addresses: Option<bool>,
    /// Whether people who are no friends may send a friend request.
    strangers_may_add: Option<bool>,
}

/// Changes what the user lets others do. Matrix clients see it as account data of the type `org.linkim.settings`.
#[utoipa::path(put, path = "/account/settings", tag = "account", request_body = SettingsRequest, security(("token" = [])),
    responses((status = 200, body = Reply<Settings>), (status = "4XX", body = Failure)))]
async fn set_settings(
    ActiveCaller(session): ActiveCaller,
    State(store): State<Store>,
    State(account_data): State<Arc<AccountData>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<SettingsRequest>,
) -> Result<Reply<Settings>, Refusal> {
    limits.check(Rate::Settings, session.user)?;
    let user = session.user;
    let changed = store
        .write::<_, AccountDataError, _>(move |tx| {
            let old = UserSettings::of(tx, user)?;
            let new = UserSettings {
                find_by_phone: request.find_by_phone.unwrap_or(old.find_by_phone),
                find_by_email: request.find_by_email.unwrap_or(old.find_by_email),
                friends_see_addresses: request.friends_see_addresses.unwrap_or(old.friends_see_addresses),
                strangers_may_add: request.strangers_may_add.unwrap_or(old.strangers_may_add),
            };
            let content = json!(new).to_string();
            account_data.put(tx, user, None, UserSettings::TYPE, &content)?;
            Ok(new)
        })
        .await
        .map_err(Error::from)?;
    Ok(Reply::new("settings updated", changed.into()))
}
