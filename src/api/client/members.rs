//! `GET /rooms/{roomId}/members`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use serde::Deserialize;

use super::{
    authentication::SessionOrGuest,
    reading::{self, BadParam, InRoom, RawJson},
    state::ClientState,
};
use crate::{
    api::{
        error::ApiError,
        extract::{Path, Query},
    },
    peers::joining::Filling,
    rooms::{access::ReadError, reading::Reading, state_view, state_view::Members},
    store::members::Membership,
};

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
enum MembersError {
    #[error(transparent)]
    Param(#[from] BadParam),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<MembersError> for ApiError {
    fn from(error: MembersError) -> Self {
        match error {
            MembersError::Param(error) => error.into(),
            MembersError::Read(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/v3`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/members", get(members))
}

#[derive(Deserialize)]
struct Params {
    at: Option<String>,
    membership: Option<Wanted>,
    not_membership: Option<Wanted>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Join,
    Invite,
    Knock,
    Leave,
    Ban,
}

impl From<Wanted> for Membership {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Join => Self::Join,
            Wanted::Invite => Self::Invite,
            Wanted::Knock => Self::Knock,
            Wanted::Leave => Self::Leave,
            Wanted::Ban => Self::Ban,
        }
    }
}

/// `GET /rooms/{roomId}/members`
async fn members(
    State(rooms): State<Arc<Reading>>,
    State(filling): State<Arc<Filling>>,
    SessionOrGuest(session): SessionOrGuest,
    Path(path): Path<InRoom>,
    Query(params): Query<Params>,
) -> Result<RawJson, ApiError> {
    let at = reading::token("at", params.at.as_deref()).map_err(MembersError::from)?;
    let asked = Members {
        membership: params.membership.map(Membership::from),
        not_membership: params.not_membership.map(Membership::from),
    };
    let chunk = reading::with_members((&rooms, &filling), &session, &path.room_id, move |open| {
        open.needs_members()?;
        Ok(state_view::members(open, asked, at)?)
    });
    let chunk = chunk.await.map_err(MembersError::from)?;
    Ok(RawJson(format!("{{\"chunk\":{chunk}}}")))
}
