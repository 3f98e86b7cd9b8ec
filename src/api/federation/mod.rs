//! The Matrix server-server API: what other servers ask of this one. One file per endpoint or small family.

pub mod authentication;
mod keys;
mod media;
pub mod state;
mod version;

use axum::Router;

use self::state::FederationState;

/// All routes, from the root.
pub fn routes() -> Router<FederationState> {
    Router::new().nest("/_matrix/federation/v1", v1()).merge(keys::routes()).merge(version::routes())
}

fn v1() -> Router<FederationState> {
    Router::new().merge(media::routes())
}
