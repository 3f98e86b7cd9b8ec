//! LinkIM's own client API, at the root of the client listeners: the paths of the old LinkIM, and what it lacked.
//!
//! Conventions (spec/decisions/0014-linkim-api.md): who asks is said by the access token, and what the request says of it must
//! agree; success is [`reply`], failure [`refusal`]; things are named as [`crate::numbers`] says; lists are paged.

mod account_code;
mod address;
mod blacklist;
mod contact;
mod contacts_error;
mod conversation_settings;
mod conversations;
pub mod docs;
pub mod errcode;
pub mod extract;
mod friends;
mod getinfo;
mod group_call;
mod group_edit;
mod group_members;
mod group_notice;
mod group_requests;
mod group_roles;
mod groups;
mod history;
mod labels;
mod login;
mod logout;
mod media;
mod message_status;
mod messages;
mod password;
mod person;
mod place;
mod profile;
pub mod refusal;
mod register;
pub mod reply;
mod search;
mod sessions;
pub mod state;
pub(super) mod time;
mod user_search;
mod withdraw;
mod ws;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use self::state::LinkImState;

/// The document's frame; the handlers add their paths and types.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "LinkIM",
        version = env!("CARGO_PKG_VERSION"),
        description = "LinkIM's own client API. Accounts, tokens, rooms and messages are those of Matrix's.\n\n\
            Success is status 200 with `code` 0. Failure has another status and `{\"code\": 1, \"error\": \"…\", \"errcode\": n}`.",
        license(name = "MIT", identifier = "MIT"),
    ),
    servers((url = "/", description = "The server that this document is from.")),
)]
struct Frame;

/// All routes with their descriptions.
pub fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::with_openapi(Frame::openapi())
        .merge(account_code::routes())
        .merge(getinfo::routes())
        .merge(friends::routes())
        .merge(labels::routes())
        .merge(blacklist::routes())
        .merge(user_search::routes())
        .merge(messages::routes())
        .merge(message_status::routes())
        .merge(history::routes())
        .merge(withdraw::routes())
        .merge(conversations::routes())
        .merge(conversation_settings::routes())
        .merge(search::routes())
        .merge(media::routes())
        .merge(groups::routes())
        .merge(group_members::routes())
        .merge(login::routes())
        .merge(logout::routes())
        .merge(password::routes())
        .merge(profile::routes())
        .merge(register::routes())
        .merge(sessions::routes())
        .merge(ws::routes())
        .merge(group_edit::routes())
        .merge(group_roles::routes())
        .merge(group_requests::routes())
        .merge(group_notice::routes())
}
