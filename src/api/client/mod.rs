//! The Matrix client-server API.

mod account;
mod account_data;
mod admin;
mod aliases;
mod append_error;
pub mod authentication;
mod capabilities;
mod context;
mod create_room;
mod cross_signing;
mod devices;
mod directory;
mod event;
mod filter;
mod joined_members;
mod joined_rooms;
pub(crate) mod keys;
mod login;
mod login_token;
mod logout;
mod media;
mod members;
mod membership;
mod messages;
mod openid;
mod presence;
mod profile;
mod pushrules;
mod read_markers;
mod reading;
mod receipts;
mod refresh;
pub(crate) mod register;
mod relations;
mod report;
mod request_token;
mod room_keys;
mod room_summary;
mod search;
mod send;
pub mod state;
mod state_get;
mod sync;
mod tags;
mod third_party;
mod third_party_ids;
mod threads;
mod timestamp_to_event;
mod to_device;
mod typing;
mod uia;
mod upgrade;
mod user_directory;
mod versions;
mod voip;

#[cfg(test)]
mod tests;

use axum::Router;

use self::state::ClientState;

/// All routes, from the root. Those of `v3` also under `r0`, as old clients call them.
pub fn routes() -> Router<ClientState> {
    Router::new()
        .nest("/_matrix/client", versions::routes())
        .nest("/_matrix/client/v1", v1())
        .nest("/_matrix/client/v3", v3())
        .nest("/_matrix/client/r0", v3())
        .nest("/_matrix/client/unstable", room_summary::unstable_routes())
        .nest("/_matrix/media", media::routes())
        .merge(request_token::submit_routes())
        .merge(super::well_known::routes())
        .merge(super::admin::register::routes())
}

fn v1() -> Router<ClientState> {
    Router::new()
        .merge(admin::routes_v1())
        .merge(login_token::routes_v1())
        .merge(media::routes_v1())
        .merge(register::routes_v1())
        .merge(relations::routes())
        .merge(room_summary::v1_routes())
        .merge(threads::routes())
        .merge(timestamp_to_event::routes())
}

fn v3() -> Router<ClientState> {
    Router::new()
        .merge(account::routes())
        .merge(account_data::routes())
        .merge(admin::routes())
        .merge(aliases::routes())
        .merge(capabilities::routes())
        .merge(context::routes())
        .merge(create_room::routes())
        .merge(cross_signing::routes())
        .merge(devices::routes())
        .merge(directory::routes())
        .merge(event::routes())
        .merge(filter::routes())
        .merge(joined_members::routes())
        .merge(joined_rooms::routes())
        .merge(keys::routes())
        .merge(login::routes())
        .merge(logout::routes())
        .merge(members::routes())
        .merge(membership::routes())
        .merge(messages::routes())
        .merge(openid::routes())
        .merge(presence::routes())
        .merge(profile::routes())
        .merge(pushrules::routes())
        .merge(read_markers::routes())
        .merge(receipts::routes())
        .merge(refresh::routes())
        .merge(register::routes())
        .merge(report::routes())
        .merge(request_token::routes())
        .merge(room_keys::routes())
        .merge(send::routes())
        .merge(state_get::routes())
        .merge(sync::routes())
        .merge(tags::routes())
        .merge(search::routes())
        .merge(third_party::routes())
        .merge(third_party_ids::routes())
        .merge(to_device::routes())
        .merge(typing::routes())
        .merge(upgrade::routes())
        .merge(user_directory::routes())
        .merge(voip::routes())
}
