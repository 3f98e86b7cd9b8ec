//! Who sends a request: extractors that answer only once its signature holds.
//!
//! Source: Server-Server API, "Request Authentication".

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{FromRef, FromRequest, OriginalUri, Request},
    http::{StatusCode, Uri, header, request::Parts},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use linkim_federation::{
    CanonicalError, PublicKeyMap,
    x_matrix::{RequestAuthentication, SignedRequest, XMatrixError},
};
use ruma::OwnedServerName;
use serde::de::DeserializeOwned;

use crate::{
    api::{
        error::ApiError,
        extract::{MAX_BODY_BYTES, parse_json},
    },
    config::Config,
    peers::{
        heard_from::HeardFrom,
        keys::{KeyError, RemoteKeys},
    },
};

/// Largest body of [`SignedBytes`]: 50 events of 64 KiB, 100 EDUs, and what escapes and `unsigned` add.
pub const MAX_TRANSACTION_BYTES: usize = 10 * 1024 * 1024;

/// How long a body may take to come. A transaction of 10 MiB then needs 1.5 Mbit/s.
const BODY_TIME: Duration = Duration::from_secs(60);

/// Bodies above this are hashed off the async threads.
const LARGE: usize = 64 * 1024;

/// A signed request with a JSON object as its body, of 1 MiB at most, nested to 100 levels at most.
#[derive(Debug)]
pub struct Signed<T> {
    /// Who sent it.
    pub origin: OwnedServerName,
    /// The body.
    pub body: T,
}

/// A signed request with the bytes of a JSON object, of 10 MiB at most. They may hold numbers, and nest as deeply, as events
/// may not: one such event must not fail the others.
#[derive(Debug)]
pub struct SignedBytes {
    /// Who sent it.
    pub origin: OwnedServerName,
    /// The body.
    pub body: Bytes,
}

/// A signed request whose body says nothing.
#[derive(Debug)]
pub struct SignedEmpty {
    /// Who sent it.
    pub origin: OwnedServerName,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthenticationError {
    #[error(transparent)]
    XMatrix(#[from] XMatrixError),
    #[error("This server does not talk to {0}")]
    Denied(OwnedServerName),
    #[error("The body is too large")]
    TooLarge,
    #[error("The body did not come in time")]
    Slow,
    #[error("The body could not be read")]
    Broken,
    #[error("The body is missing")]
    NoBody,
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("verifying the signature failed")]
    Panicked,
}

impl From<AuthenticationError> for ApiError {
    fn from(error: AuthenticationError) -> Self {
        use AuthenticationError as E;
        let text = error.to_string();
        let unauthorized = |text| Self::new(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", text);
        match error {
            E::XMatrix(XMatrixError::Content(reason)) => match reason {
                CanonicalError::Utf8 | CanonicalError::Syntax(_) | CanonicalError::NotAnObject => {
                    Self::bad_request("M_NOT_JSON", text)
                }
                _ => Self::bad_request("M_BAD_JSON", text),
            },
            E::XMatrix(_) | E::Keys(KeyError::NoKey(_) | KeyError::Refused(_)) => unauthorized(text),
            E::Denied(_) => Self::forbidden(text),
            E::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", text),
            E::Slow => Self::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", text),
            E::Broken => Self::bad_request("M_UNKNOWN", text),
            E::NoBody => Self::bad_request("M_NOT_JSON", text),
            E::Keys(KeyError::Store(error)) => error.into(),
            E::Panicked => Self::internal(text),
        }
    }
}

impl<S, T> FromRequest<S> for Signed<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (origin, body) = Arc::<Authenticator>::from_ref(state).authenticate(request, MAX_BODY_BYTES).await?;
        if body.is_empty() {
            return Err(AuthenticationError::NoBody.into());
        }
        Ok(Self { origin, body: parse_json(&body)? })
    }
}

impl<S: Send + Sync> FromRequest<S> for SignedBytes
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (origin, body) = Arc::<Authenticator>::from_ref(state).authenticate(request, MAX_TRANSACTION_BYTES).await?;
        if body.is_empty() {
            return Err(AuthenticationError::NoBody.into());
        }
        Ok(Self { origin, body })
    }
}

impl<S: Send + Sync> FromRequest<S> for SignedEmpty
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Arc::<Authenticator>::from_ref(state)
            .authenticate(request, MAX_BODY_BYTES)
            .await
            .map(|(origin, _)| Self { origin })
            .map_err(ApiError::from)
    }
}

/// Says whose request one is.
pub struct Authenticator {
    config: Arc<Config>,
    keys: Arc<RemoteKeys>,
    heard_from: Arc<dyn HeardFrom>,
}

impl Authenticator {
    /// Verifies with these keys, and tells whom it heard from.
    pub fn new(config: Arc<Config>, keys: Arc<RemoteKeys>, heard_from: Arc<dyn HeardFrom>) -> Self {
        Self { config, keys, heard_from }
    }

    /// Whose request it is, and its body. What costs nothing is checked first: nothing is read for a server that is denied,
    /// no key is fetched for a body that is none.
    async fn authenticate(
        &self,
        request: Request,
        limit: usize,
    ) -> Result<(OwnedServerName, Bytes), AuthenticationError> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers.get_all(header::AUTHORIZATION);
        let claimed = RequestAuthentication::from_headers(headers.iter().map(axum::http::HeaderValue::as_bytes))?;
        let own_name = &self.config.server_name;
        claimed.check_destination(own_name)?;
        if !self.config.federation.permits(claimed.origin()) {
            return Err(AuthenticationError::Denied(claimed.origin().to_owned()));
        }
        let body = read_body(body, declared_length(&parts), limit, BODY_TIME).await?;
        let request = ToVerify { claimed, method: parts.method.to_string(), uri: signed_uri(&parts), body };
        request.check_body()?;
        let key_ids: Vec<String> = request.claimed.key_ids().map(str::to_owned).collect();
        let keys = self.keys.for_request(request.claimed.origin(), &key_ids).await?;
        let request = request.verify(own_name.to_owned(), keys).await?;
        let origin = request.claimed.origin().to_owned();
        self.heard_from.heard_from(&origin);
        Ok((origin, request.body))
    }
}

/// The path and query as they stood in the request line: in a nested router the request's own begin later.
fn signed_uri(parts: &Parts) -> String {
    let uri: &Uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    uri.path_and_query().map_or_else(|| "/".to_owned(), |uri| uri.as_str().to_owned())
}

fn declared_length(parts: &Parts) -> Option<usize> {
    parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body of `limit` bytes at most, which must be whole after `time`.
pub(super) async fn read_body(
    mut body: Body,
    declared: Option<usize>,
    limit: usize,
    time: Duration,
) -> Result<Bytes, AuthenticationError> {
    if declared.is_some_and(|length| length > limit) {
        return Err(AuthenticationError::TooLarge);
    }
    let reading = async {
        // What is announced is not yet there: memory is taken as it comes.
        let mut out = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| AuthenticationError::Broken)?;
            let Ok(data) = frame.into_data() else { continue };
            if out.len() + data.len() > limit {
                return Err(AuthenticationError::TooLarge);
            }
            out.extend_from_slice(&data);
        }
        Ok(out.freeze())
    };
    tokio::time::timeout(time, reading).await.map_err(|_| AuthenticationError::Slow)?
}

/// A request and who says to have sent it.
struct ToVerify {
    claimed: RequestAuthentication,
    method: String,
    uri: String,
    body: Bytes,
}

impl ToVerify {
    /// Refuses at a glance a body that is no object, before anybody is asked for keys.
    fn check_body(&self) -> Result<(), AuthenticationError> {
        match self.body.trim_ascii_start().first() {
            None if self.body.is_empty() => Ok(()),
            Some(b'{') => Ok(()),
            _ => Err(XMatrixError::Content(CanonicalError::NotAnObject).into()),
        }
    }

    async fn verify(self, own_name: OwnedServerName, keys: PublicKeyMap) -> Result<Self, AuthenticationError> {
        let large = self.body.len() > LARGE;
        let verify = move || {
            let content = (!self.body.is_empty()).then_some(&*self.body);
            let request = SignedRequest { method: &self.method, uri: &self.uri, content };
            self.claimed.verify(&request, &own_name, &keys)?;
            Ok(self)
        };
        if large {
            tokio::task::spawn_blocking(verify).await.map_err(|_| AuthenticationError::Panicked)?
        } else {
            verify()
        }
    }
}

#[cfg(test)]
mod tests;
