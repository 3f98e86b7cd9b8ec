//! `PUT /_matrix/federation/v1/send/{txnId}`: what another server sends.
//!
//! Source: Server-Server API, "Transactions".

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
    routing::put,
};
use bytes::Bytes;
use ruma::OwnedServerName;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{authentication::SignedBytes, state::FederationState};
use crate::{
    api::error::ApiError,
    peers::{
        budgets::{Budgets, RetryAfterMs},
        inbox::{Inbox, Transaction, TransactionError, edus::MAX_EDUS},
    },
};

/// Events in a transaction at most («Must not include more than 50 PDUs»).
const MAX_PDUS: usize = 50;

/// Bytes of a transaction id at most.
const MAX_TXN_ID: usize = 255;

/// Why a transaction is refused as a whole.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the body is no transaction: {0}")]
    Malformed(String),
    #[error("a transaction has at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs")]
    TooMany,
    #[error("the transaction id is longer than {MAX_TXN_ID} bytes")]
    TxnId,
    #[error("the transaction says that it comes from {0}")]
    Origin(OwnedServerName),
    #[error(transparent)]
    Budget(#[from] RetryAfterMs),
    #[error(transparent)]
    Inbox(#[from] TransactionError),
}

impl From<SendError> for ApiError {
    fn from(error: SendError) -> Self {
        use SendError as E;
        let text = error.to_string();
        match error {
            E::Malformed(_) | E::TooMany => Self::bad_request("M_BAD_JSON", text),
            E::TxnId => Self::invalid_param(text),
            E::Origin(_) => Self::forbidden(text),
            E::Budget(RetryAfterMs(retry_after_ms)) | E::Inbox(TransactionError::Full { retry_after_ms }) => {
                Self::limit_exceeded(retry_after_ms)
            }
            E::Inbox(TransactionError::Store(error)) => error.into(),
        }
    }
}

/// The routes, from the version on.
pub(super) fn routes() -> Router<FederationState> {
    Router::new().route("/send/{txnId}", put(send))
}

#[derive(Deserialize)]
struct Body<'a> {
    origin: OwnedServerName,
    #[serde(borrow)]
    pdus: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    edus: Vec<&'a RawValue>,
}

async fn send(
    State(inbox): State<Arc<Inbox>>,
    State(budgets): State<Arc<Budgets>>,
    Path(txn_id): Path<String>,
    signed: SignedBytes,
) -> Result<Response, ApiError> {
    let SignedBytes { origin, body } = signed;
    budgets.transactions(&origin).map_err(SendError::from)?;
    if txn_id.len() > MAX_TXN_ID {
        return Err(SendError::TxnId.into());
    }
    let transaction = read(&origin, &body)?;
    drop(body);
    let answer = inbox.transaction(&origin, &txn_id, transaction).await.map_err(SendError::from)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
}

fn read(origin: &OwnedServerName, body: &Bytes) -> Result<Transaction, SendError> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| SendError::Malformed(error.to_string()))?;
    if body.origin != *origin {
        return Err(SendError::Origin(body.origin));
    }
    if body.pdus.len() > MAX_PDUS || body.edus.len() > MAX_EDUS {
        return Err(SendError::TooMany);
    }
    let owned = |items: Vec<&RawValue>| items.into_iter().map(ToOwned::to_owned).collect();
    Ok(Transaction { pdus: owned(body.pdus), edus: owned(body.edus) })
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use serde_json::{Value, json};

    use super::*;

    fn reads(body: &Value) -> Result<Transaction, ApiError> {
        Ok(read(&server_name!("b.example").to_owned(), &Bytes::from(body.to_string()))?)
    }

    #[test]
    fn the_limits_are_the_specs() {
        let body = |pdus: usize, edus: usize| json!({ "origin": "b.example", "origin_server_ts": 1, "pdus": vec![json!({}); pdus], "edus": vec![json!({}); edus] });
        assert_eq!(reads(&body(50, 100)).unwrap().pdus.len(), 50);
        assert_eq!(reads(&body(51, 0)).unwrap_err().status(), 400);
        assert_eq!(reads(&body(0, 101)).unwrap_err().status(), 400);
    }

    #[test]
    fn the_origin_is_who_signed_and_edus_may_be_left_out() {
        assert!(reads(&json!({ "origin": "b.example", "pdus": [7] })).is_ok(), "a malformed event costs itself alone");
        assert_eq!(reads(&json!({ "origin": "c.example", "pdus": [] })).unwrap_err().status(), 403);
        assert_eq!(reads(&json!({ "origin": "b.example" })).unwrap_err().status(), 400);
        assert_eq!(reads(&json!({ "pdus": [] })).unwrap_err().status(), 400);
    }
}
