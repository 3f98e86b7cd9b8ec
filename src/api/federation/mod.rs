//! The Matrix server-server API: what other servers ask of this one. One file per endpoint or small family.

pub mod state;

use axum::Router;

use self::state::FederationState;

/// All routes, from the root.
pub fn routes() -> Router<FederationState> {
    Router::new()
}
