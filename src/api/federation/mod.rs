//! The Matrix server-server API: what other servers ask of this one. One file per endpoint or small family.

pub mod authentication;
mod keys;
pub mod state;
mod version;

use axum::Router;

use self::state::FederationState;

/// All routes, from the root.
pub fn routes() -> Router<FederationState> {
    Router::new().merge(keys::routes()).merge(version::routes())
}
