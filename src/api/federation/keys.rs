//! `/_matrix/key/v2`: this server's keys, and as a notary those of others.
//!
//! Source: Server-Server API, "Retrieving server keys".

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use linkim_federation::server_keys::{KeyQuery, KeyQueryError, MAX_QUERY_LENGTH};
use ruma::OwnedServerName;
use serde::Deserialize;

use super::{authentication::read_body, state::FederationState};
use crate::{
    api::{
        client_ip::ClientIp,
        error::ApiError,
        extract::{Path, Query},
    },
    peers::{
        budgets::{Budgets, RetryAfterMs},
        keys::{Notary, OwnKeys},
    },
    store::StoreError,
};

/// How long the body of a query may take to come.
const BODY_TIME: Duration = Duration::from_secs(15);

/// The routes, from the root. None of them asks for a signature: they are what signatures are verified with.
pub(super) fn routes() -> Router<FederationState> {
    Router::new()
        .route("/_matrix/key/v2/server", get(server))
        // Deprecated; the key's identifier never changed the answer.
        .route("/_matrix/key/v2/server/", get(server))
        .route("/_matrix/key/v2/server/{key_id}", get(server))
        .route("/_matrix/key/v2/query", post(query))
        .route("/_matrix/key/v2/query/{server_name}", get(query_one))
        .route("/_matrix/key/v2/query/{server_name}/{key_id}", get(query_one_key))
}

/// Why a query is not answered.
#[derive(Debug, thiserror::Error)]
enum NotaryFailure {
    #[error(transparent)]
    Query(#[from] KeyQueryError),
    #[error(transparent)]
    TooMany(#[from] RetryAfterMs),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NotaryFailure> for ApiError {
    fn from(failure: NotaryFailure) -> Self {
        let text = failure.to_string();
        match failure {
            NotaryFailure::Query(KeyQueryError::Json(_)) => Self::bad_request("M_NOT_JSON", text),
            NotaryFailure::Query(KeyQueryError::TooLong | KeyQueryError::TooManyServers) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", text)
            }
            NotaryFailure::Query(_) => Self::bad_request("M_BAD_JSON", text),
            NotaryFailure::TooMany(RetryAfterMs(ms)) => Self::limit_exceeded(ms),
            NotaryFailure::Store(error) => error.into(),
        }
    }
}

/// `GET /_matrix/key/v2/server`
async fn server(State(keys): State<Arc<OwnKeys>>) -> Response {
    json(keys.document().json().to_owned())
}

/// `POST /_matrix/key/v2/query`
async fn query(
    State(notary): State<Arc<Notary>>,
    State(budgets): State<Arc<Budgets>>,
    ClientIp(address): ClientIp,
    body: Body,
) -> Result<Response, ApiError> {
    let body = read_body(body, None, MAX_QUERY_LENGTH, BODY_TIME).await?;
    let query = KeyQuery::parse(&body).map_err(NotaryFailure::from)?;
    answer(&notary, &query, &budgets, address).await
}

/// The query of [`query_one`].
#[derive(Debug, Deserialize)]
struct Minimum {
    minimum_valid_until_ts: Option<u64>,
}

/// `GET /_matrix/key/v2/query/{serverName}`
async fn query_one(
    State(notary): State<Arc<Notary>>,
    State(budgets): State<Arc<Budgets>>,
    ClientIp(address): ClientIp,
    Path(server): Path<OwnedServerName>,
    Query(minimum): Query<Minimum>,
) -> Result<Response, ApiError> {
    // In a query a minimum belongs to a key; an identifier that is none stands for any.
    let keys = BTreeMap::from([(String::new(), minimum.minimum_valid_until_ts)]);
    answer(&notary, &KeyQuery { server_keys: BTreeMap::from([(server, keys)]) }, &budgets, address).await
}

/// `GET /_matrix/key/v2/query/{serverName}/{keyId}`, as servers from before Matrix 1.6 ask.
async fn query_one_key(
    State(notary): State<Arc<Notary>>,
    State(budgets): State<Arc<Budgets>>,
    ClientIp(address): ClientIp,
    Path((server, key_id)): Path<(OwnedServerName, String)>,
    Query(minimum): Query<Minimum>,
) -> Result<Response, ApiError> {
    let keys = BTreeMap::from([(key_id, minimum.minimum_valid_until_ts)]);
    answer(&notary, &KeyQuery { server_keys: BTreeMap::from([(server, keys)]) }, &budgets, address).await
}

/// Beyond the budget for requests of ours we answer with what we have.
async fn answer(
    notary: &Notary,
    query: &KeyQuery,
    budgets: &Budgets,
    address: Option<IpAddr>,
) -> Result<Response, ApiError> {
    budgets.signed_documents(address, query.server_keys.len()).map_err(NotaryFailure::from)?;
    let body = notary.answer(query, || budgets.notary(address).is_ok()).await.map_err(NotaryFailure::from)?;
    Ok(json(body))
}

fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests;
