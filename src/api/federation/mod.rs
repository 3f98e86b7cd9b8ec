//! The Matrix server-server API: what other servers ask of this one. One file per endpoint or small family.

pub mod authentication;
mod backfill;
mod event;
mod hierarchy;
mod hosting_error;
mod invite;
mod keys;
mod make_membership;
mod media;
mod openid;
mod public_rooms;
mod query;
mod room_state;
mod send;
mod send_join;
mod send_membership;
mod serving;
pub mod state;
mod third_party_invite;
mod user_keys;
mod version;

use axum::Router;

use self::state::FederationState;

/// All routes, from the root.
pub fn routes() -> Router<FederationState> {
    Router::new()
        .nest("/_matrix/federation/v1", v1())
        .merge(invite::routes())
        .merge(keys::routes())
        .merge(make_membership::routes())
        .merge(send_join::routes())
        .merge(send_membership::routes())
        .merge(third_party_invite::routes())
        .merge(version::routes())
}

fn v1() -> Router<FederationState> {
    Router::new()
        .merge(backfill::routes())
        .merge(event::routes())
        .merge(hierarchy::routes())
        .merge(media::routes())
        .merge(openid::routes())
        .merge(public_rooms::routes())
        .merge(query::routes())
        .merge(room_state::routes())
        .merge(send::routes())
        .merge(user_keys::routes())
}
