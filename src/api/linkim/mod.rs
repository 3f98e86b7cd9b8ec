//! LinkIM's own client API, at the root of the client listeners: the paths of the old LinkIM, and what it lacked.
//!
//! Conventions (spec/decisions/0014-linkim-api.md): who asks is said by the access token, and what the request says of it must
//! agree; success is [`reply`], failure [`refusal`]; things are named as [`crate::numbers`] says; lists are paged.

mod contacts_error;
pub mod docs;
pub mod errcode;
pub mod extract;
mod getinfo;
mod group_edit;
mod group_members;
mod group_notice;
mod group_requests;
mod group_roles;
mod groups;
pub mod refusal;
pub mod reply;
pub mod state;

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
        .merge(groups::routes())
        .merge(group_members::routes())
        .merge(group_edit::routes())
        .merge(group_roles::routes())
        .merge(group_requests::routes())
        .merge(group_notice::routes())
}
