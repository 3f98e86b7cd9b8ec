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

use super::{authentication::SignedBytes, state::FederationState};
use crate::{
    api::error::ApiError,
    peers::{
        budgets::{Budgets, RetryAfterMs},
        inbox::{Inbox, Transaction, TransactionError, WireError},
    },
};

/// Bytes of a transaction id at most.
const MAX_TXN_ID: usize = 255;

/// Why a transaction is refused as a whole.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the transaction id is longer than {MAX_TXN_ID} bytes")]
    TxnId,
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
            E::Wire(WireError::Malformed(_) | WireError::TooMany) => Self::bad_request("M_BAD_JSON", text),
            E::Wire(WireError::Origin(_)) => Self::forbidden(text),
            E::TxnId => Self::invalid_param(text),
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
    let transaction = Transaction::read(&origin, &body).map_err(SendError::from)?;
    drop(body);
    let answer = inbox.transaction(&origin, &txn_id, transaction).await.map_err(SendError::from)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
}
