//! How a request for authentication looks on the wire.
//!
//! Source: Client-Server API, "User-interactive API in the REST API".

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::{
    accounts::{Challenge, UiaError},
    api::{error::ApiError, extract::Json},
};

/// 401 with the flows, the session, and what was wrong with the last attempt.
fn challenge(challenge: Challenge) -> Response {
    let stages =
        |stages: &[crate::accounts::Stage]| -> Vec<&'static str> { stages.iter().map(|stage| stage.name()).collect() };
    let flows: Vec<Value> = challenge.flows.iter().map(|flow| json!({ "stages": stages(flow) })).collect();
    let mut body = Map::new();
    body.insert("flows".into(), flows.into());
    body.insert("params".into(), json!({}));
    body.insert("session".into(), challenge.session.into());
    if !challenge.completed.is_empty() {
        body.insert("completed".into(), stages(&challenge.completed).into());
    }
    if let Some((errcode, error)) = challenge.error {
        body.insert("errcode".into(), errcode.into());
        body.insert("error".into(), error.into());
    }
    (StatusCode::UNAUTHORIZED, Json(body)).into_response()
}

impl IntoResponse for UiaError {
    fn into_response(self) -> Response {
        match self {
            Self::Challenge(asked) => challenge(asked),
            Self::Missing(_) => ApiError::bad_request("M_MISSING_PARAM", self.to_string()).into_response(),
            Self::Limited(limited) => ApiError::from(limited).into_response(),
            Self::Store(error) => ApiError::from(error).into_response(),
        }
    }
}
