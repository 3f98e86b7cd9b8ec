//! The Matrix client-server API.

mod account;
mod account_data;
mod append_error;
pub mod authentication;
mod capabilities;
mod create_room;
mod devices;
mod filter;
mod login;
mod logout;
mod membership;
mod profile;
mod pushrules;
mod refresh;
pub(crate) mod register;
mod send;
pub mod state;
mod tags;
mod uia;
mod versions;

#[cfg(test)]
mod tests;

use axum::Router;

use self::state::ClientState;

/// All routes, from the root. Those of `v3` also under `r0`, as old clients call them.
pub fn routes() -> Router<ClientState> {
    Router::new()
        .nest("/_matrix/client", versions::routes())
        .nest("/_matrix/client/v1", register::routes_v1())
        .nest("/_matrix/client/v3", v3())
        .nest("/_matrix/client/r0", v3())
        .merge(super::well_known::routes())
        .merge(super::admin::register::routes())
}

fn v3() -> Router<ClientState> {
    Router::new()
        .merge(account::routes())
        .merge(account_data::routes())
        .merge(capabilities::routes())
        .merge(create_room::routes())
        .merge(devices::routes())
        .merge(filter::routes())
        .merge(login::routes())
        .merge(logout::routes())
        .merge(membership::routes())
        .merge(profile::routes())
        .merge(pushrules::routes())
        .merge(refresh::routes())
        .merge(register::routes())
        .merge(send::routes())
        .merge(tags::routes())
}
