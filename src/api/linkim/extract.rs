//! What LinkIM's handlers take from a request.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRef, FromRequest, FromRequestParts, Request},
    http::{Method, StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{errcode, refusal::Refusal};
use crate::{
    accounts::{Session, Sessions},
    api::{
        client::authentication::{Active, MaybeSession, SessionToEnd, access_token},
        error::ApiError,
        extract::{Path, Query, body_error, parse_json},
    },
    numbers::UserRef,
};

/// 2^63: the whole numbers between it and its negative are an `i64`.
const WHOLE: f64 = 9_223_372_036_854_775_808.0;

/// What a request says: its JSON body; for GET and DELETE without a body, its query. Old LinkIM clients send a body with GET.
///
/// In a query every value is a string, so numbers are read from it; in a body a number is a number, but where the field's
/// type takes both.
#[derive(Debug)]
pub struct Input<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        let asks = matches!(parts.method, Method::GET | Method::DELETE);
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await.map_err(body_error)?;
        if asks && bytes.trim_ascii().is_empty() {
            return Ok(Self(Query::from_request_parts(&mut parts, state).await?.0));
        }
        Ok(Self(read(&bytes)?))
    }
}

/// A body as JSON. `7.0` is the number 7 to JSON and to JSON Schema, and some clients write it so; serde takes it for no integer.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let error = match parse_json(bytes) {
        Ok(input) => return Ok(input),
        Err(error) => error,
    };
    let mut body = Value::Object(parse_json::<Map<String, Value>>(bytes)?);
    if whole(&mut body) { serde_json::from_value(body).map_err(|_| error) } else { Err(error) }
}

/// Makes integers of the numbers without a fraction; whether there was one that was not written as such.
fn whole(value: &mut Value) -> bool {
    let mut changed = false;
    match value {
        Value::Array(items) => {
            for item in items {
                changed |= whole(item);
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut() {
                changed |= whole(field);
            }
        }
        Value::Number(number) if number.is_f64() => {
            if let Some(exact) = number.as_f64().filter(|exact| exact.fract() == 0.0 && exact.abs() < WHOLE) {
                *value = Value::from(exact as i64);
                changed = true;
            }
        }
        _ => {}
    }
    changed
}

/// What the query of a request says, beside its body.
#[derive(Debug)]
pub struct QueryInput<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryInput<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Query(input) = Query::from_request_parts(parts, state).await?;
        Ok(Self(input))
    }
}

/// Who asks: anybody but guests. A suspended account may read.
#[derive(Clone, Debug)]
pub struct Caller(pub Session);

/// Who asks for a change: as [`Caller`], and not suspended.
#[derive(Clone, Debug)]
pub struct ActiveCaller(pub Session);

impl<S: Sync> FromRequestParts<S> for Caller
where
    Arc<Sessions>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        Ok(Self(Session::from_request_parts(parts, state).await?))
    }
}

impl<S: Sync> FromRequestParts<S> for ActiveCaller
where
    Arc<Sessions>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Active(session) = Active::from_request_parts(parts, state).await?;
        Ok(Self(session))
    }
}

/// What a request may say in its JSON body; no body counts as an empty object.
#[derive(Debug)]
pub struct OptionalInput<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalInput<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state).await.map_err(body_error)?;
        let bytes = if bytes.trim_ascii().is_empty() { Bytes::from_static(b"{}") } else { bytes };
        Ok(Self(read(&bytes)?))
    }
}

/// What the path of a request says.
#[derive(Debug)]
pub struct PathInput<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathInput<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(input) = Path::from_request_parts(parts, state).await?;
        Ok(Self(input))
    }
}

/// Who asks, where nobody must say: none without a token. A token that is there must be valid, and no guest's.
#[derive(Clone, Debug)]
pub struct MaybeCaller(pub Option<Session>);

impl<S: Sync> FromRequestParts<S> for MaybeCaller
where
    Arc<Sessions>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let MaybeSession(session) = MaybeSession::from_request_parts(parts, state).await?;
        Ok(Self(session))
    }
}

/// Who asks to end the session, a locked account included; and the token.
#[derive(Clone, Debug)]
pub struct LeavingCaller {
    /// Whose session it is.
    pub session: Session,
    /// The token.
    pub token: String,
}

impl<S: Sync> FromRequestParts<S> for LeavingCaller
where
    Arc<Sessions>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let SessionToEnd(session) = SessionToEnd::from_request_parts(parts, state).await?;
        Ok(Self { session, token: access_token(parts).unwrap_or_default() })
    }
}

/// Holds that the user whom a request names as its sender, if it names one, is the one whose token it carries.
///
/// # Errors
/// 403: it is another.
pub fn is_caller(session: &Session, named: Option<&UserRef>) -> Result<(), Refusal> {
    let same = match named {
        None => true,
        Some(UserRef::Number(number)) => *number == session.user.0,
        Some(UserRef::Id(user_id)) => *user_id == session.user_id,
    };
    if same {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, errcode::NO_PERMISSION, "the token is another user's"))
}

/// Entries of a page where the request does not say how many.
pub const PAGE_SIZE: usize = 20;

/// Entries of a page at most; who asks for more gets this many.
pub const MAX_PAGE_SIZE: usize = 200;

/// The size of a page.
///
/// # Errors
/// 400: less than one entry is asked for.
pub fn page_size(wanted: Option<i64>) -> Result<usize, Refusal> {
    match wanted {
        None => Ok(PAGE_SIZE),
        Some(wanted) => match usize::try_from(wanted) {
            Ok(0) | Err(_) => Err(Refusal::argument("page_size is less than 1")),
            Ok(wanted) => Ok(wanted.min(MAX_PAGE_SIZE)),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Asked {
        number: i64,
        #[serde(default)]
        names: Vec<UserRef>,
    }

    fn asked(text: &str) -> Option<Asked> {
        read(text.as_bytes()).ok()
    }

    /// JSON Schema, 6.1.1: a number with a zero fractional part is an integer.
    #[test]
    fn a_whole_number_may_be_written_with_a_fraction() {
        assert_eq!(asked(r#"{"number": 7.0}"#), asked(r#"{"number": 7}"#));
        let names = vec![UserRef::Number(3), UserRef::Number(40)];
        assert_eq!(asked(r#"{"number": -1e2, "names": [3.0, "40"]}"#), Some(Asked { number: -100, names }));
        for other in
            [r#"{"number": 7.5}"#, r#"{"number": 1e19}"#, r#"{"number": "7.0"}"#, r#"{"number": 7.0}}"#, "[7.0]", "7.0"]
        {
            assert_eq!(asked(other), None, "{other}");
        }
    }
}
