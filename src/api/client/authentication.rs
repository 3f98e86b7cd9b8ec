//! Who is asking: extractors that turn an access token into a session.
//!
//! Source: Client-Server API, "Using access tokens", "Guest Access", "Account locking", "Account suspension".

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{StatusCode, header, request::Parts},
};

use crate::{
    accounts::{AuthenticateError, Session, Sessions},
    api::{client_ip::ClientIp, error::ApiError},
};

/// The session of a request that guests may make, too.
#[derive(Clone, Debug)]
pub struct SessionOrGuest(pub Session);

/// The session of a request that guests and locked accounts may make, too: to log out.
#[derive(Clone, Debug)]
pub struct SessionToEnd(pub Session);

/// The session of a request that guests may make, too, but suspended accounts may not.
#[derive(Clone, Debug)]
pub struct ActiveOrGuest(pub Session);

/// The session of a request that neither guests nor suspended accounts may make.
#[derive(Clone, Debug)]
pub struct Active(pub Session);

/// The session of a request that may have none; a token that is there must be valid, and no guest's.
#[derive(Clone, Debug)]
pub struct MaybeSession(pub Option<Session>);

/// The field of a 401 that says why somebody else ended the session.
pub const ENDED_FIELD: &str = "org.linkim.ended";

/// 401: no token was sent.
pub(super) fn missing_token() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "Missing access token")
}

impl From<AuthenticateError> for ApiError {
    fn from(error: AuthenticateError) -> Self {
        let unauthorized = |errcode| ApiError::new(StatusCode::UNAUTHORIZED, errcode, error.to_string());
        match error {
            AuthenticateError::Unknown => unauthorized("M_UNKNOWN_TOKEN").with("soft_logout", false),
            AuthenticateError::Ended(reason) => {
                unauthorized("M_UNKNOWN_TOKEN").with("soft_logout", false).with(ENDED_FIELD, reason.name())
            }
            AuthenticateError::Expired => unauthorized("M_UNKNOWN_TOKEN").with("soft_logout", true),
            AuthenticateError::Locked => unauthorized("M_USER_LOCKED").with("soft_logout", true),
            AuthenticateError::Store(error) => error.into(),
        }
    }
}

/// The access token of a request: its bearer token, or the query parameter that clients of older versions send. The scheme's
/// name is not case-sensitive (RFC 9110, section 11.1).
pub fn access_token(parts: &Parts) -> Option<String> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let token = token.trim();
        let bearer = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
        return bearer.then(|| token.to_owned());
    }
    let query = parts.uri.query()?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "access_token")
        .map(|(_, token)| token.into_owned())
}

/// Notes on the device that it was used.
fn note_use(sessions: &Sessions, session: &Session, parts: &Parts) {
    let ip = parts.extensions.get::<ClientIp>().and_then(|ip| ip.0);
    let user_agent = parts.headers.get(header::USER_AGENT);
    let user_agent = user_agent.and_then(|value| value.to_str().ok());
    sessions.note_use(session, ip, user_agent);
}

impl<S: Sync> FromRequestParts<S> for SessionOrGuest
where
    Arc<Sessions>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let sessions = Arc::<Sessions>::from_ref(state);
        let token = access_token(parts).ok_or_else(missing_token)?;
        let session = sessions.authenticate(&token).await?;
        note_use(&sessions, &session, parts);
        Ok(Self(session))
    }
}

/// The session of a request that guests may not make.
impl<S: Sync> FromRequestParts<S> for Session
where
    Arc<Sessions>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let SessionOrGuest(session) = SessionOrGuest::from_request_parts(parts, state).await?;
        if session.guest {
            return Err(guest_forbidden());
        }
        Ok(session)
    }
}

impl<S: Sync> FromRequestParts<S> for MaybeSession
where
    Arc<Sessions>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // A header that is no bearer token is a mistake, not nobody.
        if access_token(parts).is_none() && !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(Self(None));
        }
        Ok(Self(Some(Session::from_request_parts(parts, state).await?)))
    }
}

impl<S: Sync> FromRequestParts<S> for ActiveOrGuest
where
    Arc<Sessions>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let SessionOrGuest(session) = SessionOrGuest::from_request_parts(parts, state).await?;
        if session.suspended { Err(suspended()) } else { Ok(Self(session)) }
    }
}

impl<S: Sync> FromRequestParts<S> for Active
where
    Arc<Sessions>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let session = Session::from_request_parts(parts, state).await?;
        if session.suspended { Err(suspended()) } else { Ok(Self(session)) }
    }
}

impl<S: Sync> FromRequestParts<S> for SessionToEnd
where
    Arc<Sessions>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let sessions = Arc::<Sessions>::from_ref(state);
        let token = access_token(parts).ok_or_else(missing_token)?;
        Ok(Self(sessions.authenticate_locked(&token).await?))
    }
}

/// 403: suspended accounts may not do this.
pub fn suspended() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "M_USER_SUSPENDED", "You cannot perform this action while suspended.")
}

/// 403: guests may not do this.
pub fn guest_forbidden() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", "Guests may not do this")
}
