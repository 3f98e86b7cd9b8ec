//! LinkIM's own client API, at the root of the client listeners: the paths of the old LinkIM, and what it lacked.
//!
//! Conventions (spec/decisions/0014-linkim-api.md): who asks is said by the access token, and what the request says of it must
//! agree; success is [`reply`], failure [`refusal`]; things are named as [`crate::numbers`] says; lists are paged.

mod contacts_error;
mod conversation_settings;
mod conversations;
pub mod docs;
pub mod errcode;
pub mod extract;
mod getinfo;
mod group_members;
mod groups;
mod history;
mod media;
mod messages;
mod place;
pub mod refusal;
pub mod reply;
mod search;
pub mod state;
mod time;
mod withdraw;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use self::state::LinkImState;

/// The document's frame; the handlers add their paths and types.
#[derive(OpenApi)]
#[openapi(info(title = "LinkIM", description = "LinkIM's own client API.", license(name = "MIT")))]
struct Frame;

/// All routes with their descriptions.
pub fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::with_openapi(Frame::openapi())
        .merge(getinfo::routes())
        .merge(messages::routes())
        .merge(history::routes())
        .merge(withdraw::routes())
        .merge(conversations::routes())
        .merge(conversation_settings::routes())
        .merge(search::routes())
        .merge(media::routes())
        .merge(groups::routes())
        .merge(group_members::routes())
}
