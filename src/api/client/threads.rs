//! `GET /rooms/{roomId}/threads`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use serde::Deserialize;

use super::{
    reading::{self, BadParam, InRoom, RawJson},
    state::ClientState,
};
use crate::{
    accounts::Session,
    api::{
        error::ApiError,
        extract::{Path, Query},
    },
    rooms::{access::ReadError, page_token::PageToken, reading::Reading, threads},
};

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
enum ThreadsError {
    #[error(transparent)]
    Param(#[from] BadParam),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<ThreadsError> for ApiError {
    fn from(error: ThreadsError) -> Self {
        match error {
            ThreadsError::Param(error) => error.into(),
            ThreadsError::Read(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/v1`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/threads", get(list))
}

#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    include: Include,
    limit: Option<i64>,
    from: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Include {
    #[default]
    All,
    Participated,
}

/// `GET /rooms/{roomId}/threads`
async fn list(
    State(rooms): State<Arc<Reading>>,
    session: Session,
    Path(path): Path<InRoom>,
    Query(params): Query<Params>,
) -> Result<RawJson, ApiError> {
    Ok(RawJson(page(&rooms, &session, path, params).await?))
}

async fn page(rooms: &Reading, session: &Session, path: InRoom, params: Params) -> Result<String, ThreadsError> {
    let limit = reading::limit(params.limit, None, 1)?;
    // A place among the newest events of threads, which are in order of arrival.
    let before = match reading::token("from", params.from.as_deref())? {
        None => None,
        Some(PageToken::Sync(at)) => Some(at.saturating_add(1)),
        Some(PageToken::Topological { .. }) => return Err(BadParam::Token("from").into()),
    };
    let participated = params.include == Include::Participated;
    let (chunk, next) =
        rooms.open(session, &path.room_id, move |open| Ok(threads::page(open, participated, before, limit)?)).await?;
    Ok(match next {
        Some(next) => {
            let next = PageToken::Sync(next.saturating_sub(1));
            format!("{{\"chunk\":{chunk},\"next_batch\":\"{next}\"}}")
        }
        None => format!("{{\"chunk\":{chunk}}}"),
    })
}
