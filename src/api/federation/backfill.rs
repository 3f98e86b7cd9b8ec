//! `GET /backfill/{roomId}` and `POST /get_missing_events/{roomId}`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    routing::{get, post},
};
use ruma::{EventId, OwnedEventId};
use serde::Deserialize;

use super::{
    authentication::{Signed, SignedEmpty},
    serving::{InRoom, RawJson},
    state::FederationState,
};
use crate::{
    api::{error::ApiError, extract::Path},
    peers::serving::{Backfill, MAX_BACKFILL, MAX_MISSING, MissingEvents, Serving},
};

/// The ways in which a question is wrong.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("v is missing")]
    NoEvents,
    #[error("{0:?} is not an event id")]
    Event(String),
    #[error("limit is missing")]
    NoLimit,
    #[error("limit must be a number greater than zero")]
    Limit,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoEvents | Error::NoLimit => Self::bad_request("M_MISSING_PARAM", text),
            Error::Event(_) | Error::Limit => Self::invalid_param(text),
        }
    }
}

/// The routes under `/_matrix/federation/v1`.
pub(super) fn routes() -> Router<FederationState> {
    Router::new()
        .route("/backfill/{room_id}", get(backfill))
        .route("/get_missing_events/{room_id}", post(get_missing_events))
}

/// `GET /backfill/{roomId}`
async fn backfill(
    State(serving): State<Arc<Serving>>,
    Path(path): Path<InRoom>,
    RawQuery(query): RawQuery,
    SignedEmpty { origin }: SignedEmpty,
) -> Result<RawJson, ApiError> {
    let asked = asked(query.as_deref().unwrap_or_default())?;
    let pdus = serving.backfill(&origin, &path.room_id, asked).await?;
    Ok(RawJson(serving.transaction(&pdus)))
}

/// The query of `/backfill`: `v` as often as there are events.
fn asked(query: &str) -> Result<Backfill, Error> {
    let (mut from, mut limit) = (Vec::new(), None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "v" => from.push(EventId::parse(&*value).map_err(|_| Error::Event(value.into_owned()))?),
            "limit" => limit = Some(value.parse::<i64>().ok().filter(|limit| *limit > 0).ok_or(Error::Limit)?),
            _ => {}
        }
    }
    if from.is_empty() {
        return Err(Error::NoEvents);
    }
    let limit = limit.ok_or(Error::NoLimit)?;
    Ok(Backfill { from, limit: usize::try_from(limit).unwrap_or(MAX_BACKFILL) })
}

#[derive(Deserialize)]
struct Question {
    limit: Option<i64>,
    min_depth: Option<i64>,
    earliest_events: Vec<OwnedEventId>,
    latest_events: Vec<OwnedEventId>,
}

/// Events where the asker names no number.
const DEFAULT_MISSING: usize = 10;

/// `POST /get_missing_events/{roomId}`
async fn get_missing_events(
    State(serving): State<Arc<Serving>>,
    Path(path): Path<InRoom>,
    Signed { origin, body }: Signed<Question>,
) -> Result<RawJson, ApiError> {
    let limit = match body.limit {
        None => DEFAULT_MISSING,
        Some(limit) if limit <= 0 => return Err(Error::Limit.into()),
        Some(limit) => usize::try_from(limit).unwrap_or(MAX_MISSING),
    };
    let asked = MissingEvents {
        earliest: body.earliest_events,
        latest: body.latest_events,
        limit,
        min_depth: body.min_depth.unwrap_or(0),
    };
    let events = serving.missing_events(&origin, &path.room_id, asked).await?;
    Ok(RawJson(format!("{{\"events\":{events}}}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_names_events_and_a_number() {
        let good = asked("v=%24a:b.example&limit=5&v=%24c:b.example&x=1").unwrap();
        assert_eq!((good.from.len(), good.limit), (2, 5));
        for (query, expected) in [
            ("limit=5", "v is missing"),
            ("", "v is missing"),
            ("v=%24a:b.example", "limit is missing"),
            ("v=%24a:b.example&limit=0", "limit must be a number greater than zero"),
            ("v=%24a:b.example&limit=-3", "limit must be a number greater than zero"),
            ("v=%24a:b.example&limit=x", "limit must be a number greater than zero"),
            ("v=a&limit=3", "\"a\" is not an event id"),
        ] {
            assert_eq!(asked(query).unwrap_err().to_string(), expected, "{query}");
        }
    }
}
