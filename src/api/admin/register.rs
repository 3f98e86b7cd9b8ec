//! `/_synapse/admin/v1/register`: registration by the shared secret.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    accounts::{
        NewAccount, NewDevice, Registration, RegistrationError, SharedSecret, SharedSecretError, SharedSecretRequest,
    },
    api::{
        client::{register::Account, state::ClientState},
        error::ApiError,
        extract::Json,
    },
};

impl From<SharedSecretError> for ApiError {
    fn from(error: SharedSecretError) -> Self {
        let status = match error {
            SharedSecretError::Disabled | SharedSecretError::UnknownNonce => StatusCode::BAD_REQUEST,
            SharedSecretError::WrongMac => StatusCode::FORBIDDEN,
        };
        Self::new(status, "M_UNKNOWN", error.to_string())
    }
}

/// The route from the root.
pub fn routes() -> Router<ClientState> {
    Router::new().route("/_synapse/admin/v1/register", get(nonce).post(register))
}

/// `GET`: a nonce.
async fn nonce(State(shared_secret): State<Arc<SharedSecret>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "nonce": shared_secret.nonce()? })))
}

#[derive(Deserialize)]
struct Body {
    nonce: String,
    username: String,
    password: String,
    displayname: Option<String>,
    #[serde(default)]
    admin: bool,
    user_type: Option<String>,
    mac: String,
    #[serde(default)]
    inhibit_login: bool,
}

/// `POST`: an account.
async fn register(State(state): State<ClientState>, Json(body): Json<Body>) -> Result<Json<Account>, ApiError> {
    state.shared_secret.check(SharedSecretRequest {
        nonce: &body.nonce,
        username: &body.username,
        password: &body.password,
        admin: body.admin,
        user_type: body.user_type.as_deref(),
        mac: &body.mac,
    })?;
    let user_id = state.names.user_id(&body.username).map_err(RegistrationError::Name)?;
    let device = (!body.inhibit_login).then(NewDevice::default);
    let account = NewAccount {
        admin: body.admin,
        displayname: body.displayname,
        ..NewAccount::person(user_id, body.password, device)
    };
    let registration: &Registration = &state.registration;
    let registered = registration.register(account).await?;
    Ok(Json(Account::new(&registered.user_id, registered.tokens)))
}
