//! `GET /rooms/{roomId}/messages`.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use axum::{Router, extract::State, routing::get};
use ruma::RoomId;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    authentication::SessionOrGuest,
    reading::{self, BadParam, Dir, InRoom, RawJson},
    state::ClientState,
};
use crate::{
    accounts::Session,
    api::{
        error::ApiError,
        extract::{Path, Query},
    },
    peers::backfill::{Backfill, Filled},
    rooms::{
        access::ReadError,
        reading::Reading,
        timeline::{self, Asked, Direction, Page},
    },
};

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
enum MessagesError {
    #[error(transparent)]
    Param(#[from] BadParam),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<MessagesError> for ApiError {
    fn from(error: MessagesError) -> Self {
        match error {
            MessagesError::Param(error) => error.into(),
            MessagesError::Read(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/v3`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/rooms/{room_id}/messages", get(messages))
}

#[derive(Deserialize)]
struct Params {
    from: Option<String>,
    to: Option<String>,
    dir: Dir,
    limit: Option<i64>,
    filter: Option<String>,
}

/// `GET /rooms/{roomId}/messages`
async fn messages(
    State(rooms): State<Arc<Reading>>,
    State(backfill): State<Arc<Backfill>>,
    SessionOrGuest(session): SessionOrGuest,
    Path(path): Path<InRoom>,
    Query(params): Query<Params>,
) -> Result<RawJson, ApiError> {
    let filter = reading::filter(params.filter.as_deref())?;
    let asked = asked(&params, filter)?;
    let page = page(&rooms, &backfill, &session, &path.room_id, asked).await?;
    Ok(RawJson(answer(&page, params.from.as_deref())))
}

/// Gaps that are filled for one page at most.
const MAX_FILLS: usize = 3;

/// How long a client waits for gaps to be filled, all together.
const PATIENCE: Duration = Duration::from_secs(12);

/// A page. Where it comes to a gap in what is here, other servers are asked for what is missing. If that can't be had now,
/// the page ends at the gap, and the next one, which begins there, tries once more before it goes on behind it.
async fn page(
    rooms: &Reading,
    backfill: &Arc<Backfill>,
    session: &Session,
    room_id: &RoomId,
    asked: Asked,
) -> Result<Page, ApiError> {
    let read = |asked: Asked| rooms.open(session, room_id, move |open| Ok(timeline::page(open, &asked)?));
    let until = Instant::now() + PATIENCE;
    let mut fills = 0;
    loop {
        let mut page = read(asked.clone()).await?;
        let Some(gap) = &page.gap else { return Ok(page) };
        let filled = match fills < MAX_FILLS && Instant::now() < until {
            true => backfill.fill(room_id, gap).await?,
            false => Filled::NotNow,
        };
        match filled {
            Filled::Progress => fills += 1,
            Filled::Nowhere => return Ok(page),
            Filled::NotNow if gap.before_page => {
                // Backwards there may be nothing behind the gap yet: so that the client may come back.
                if asked.direction == Direction::Backwards {
                    page.end = page.end.or(Some(page.start));
                }
                return Ok(page);
            }
            Filled::NotNow => return Ok(read(Asked { pause: Some(gap.at), ..asked }).await?),
        }
    }
}

fn asked(params: &Params, filter: crate::rooms::event_filter::RoomEventFilter) -> Result<Asked, MessagesError> {
    Ok(Asked {
        from: reading::token("from", params.from.as_deref())?,
        to: reading::token("to", params.to.as_deref())?,
        direction: params.dir.into(),
        limit: reading::limit(params.limit, Some(&filter), 0)?,
        filter,
        pause: None,
    })
}

/// The page as JSON. `start` is what the client gave, if it gave one; tokens hold nothing that JSON escapes.
fn answer(page: &Page, from: Option<&str>) -> String {
    let mut body = String::with_capacity(page.chunk.len() + page.state.as_ref().map_or(0, String::len) + 128);
    body.push_str("{\"chunk\":");
    body.push_str(&page.chunk);
    // Writing to a String cannot fail.
    let _ = match from.filter(|from| !from.is_empty()) {
        Some(from) => write!(body, ",\"start\":\"{from}\""),
        None => write!(body, ",\"start\":\"{}\"", page.start),
    };
    if let Some(end) = &page.end {
        let _ = write!(body, ",\"end\":\"{end}\"");
    }
    if let Some(state) = &page.state {
        body.push_str(",\"state\":");
        body.push_str(state);
    }
    body.push('}');
    body
}
