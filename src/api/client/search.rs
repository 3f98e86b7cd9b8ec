//! `POST /search`.
//!
//! Source: Client-Server API, "Server Side Search".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{Router, extract::State, routing::post};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::state::ClientState;
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, Query},
    },
    rooms::{
        access::{OpenRoom, ReadError},
        event_filter::RoomEventFilter,
        reading::Reading,
        timeline,
    },
    search::{self, BadTerm, Words},
    store::{Read, StoreError, event_pages, ids},
};

/// Results on a page where the filter has no limit, and at most.
const LIMITS: (usize, usize) = (10, 100);

/// Events of a context before and after a result where the request does not say, and at most.
const CONTEXT: (i64, i64) = (5, 20);

/// The ways in which the question is wrong.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("search_categories has no room_events")]
    NoCategory,
    #[error(transparent)]
    Term(#[from] BadTerm),
    #[error("next_batch is not one that an earlier answer gave")]
    Batch,
    #[error("limits are no negative numbers")]
    Limit,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoCategory => Self::bad_request("M_MISSING_PARAM", text),
            Error::Term(_) | Error::Batch | Error::Limit => Self::invalid_param(text),
        }
    }
}

/// The routes under `/_matrix/client/v3`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new().route("/search", post(search_messages))
}

#[derive(Deserialize)]
struct Params {
    next_batch: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    search_categories: Categories,
}

#[derive(Deserialize)]
struct Categories {
    room_events: Option<RoomEvents>,
}

#[derive(Deserialize)]
struct RoomEvents {
    search_term: String,
    #[serde(default)]
    keys: Option<Vec<Key>>,
    #[serde(default)]
    filter: RoomEventFilter,
    #[serde(default)]
    event_context: Option<EventContext>,
    #[serde(default)]
    groupings: Groupings,
    /// One order serves both: all results rank the same.
    #[serde(default, rename = "order_by")]
    _order_by: Option<OrderBy>,
}

#[derive(Deserialize, PartialEq, Eq)]
enum Key {
    #[serde(rename = "content.body")]
    Body,
    #[serde(rename = "content.name")]
    Name,
    #[serde(rename = "content.topic")]
    Topic,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum OrderBy {
    Recent,
    Rank,
}

#[derive(Clone, Copy, Deserialize)]
struct EventContext {
    before_limit: Option<i64>,
    after_limit: Option<i64>,
}

#[derive(Default, Deserialize)]
struct Groupings {
    #[serde(default)]
    group_by: Vec<GroupBy>,
}

#[derive(Deserialize)]
struct GroupBy {
    key: Option<GroupKey>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
enum GroupKey {
    RoomId,
    Sender,
}

#[derive(Serialize)]
struct Answer {
    search_categories: AnswerCategories,
}

#[derive(Serialize)]
struct AnswerCategories {
    room_events: Results,
}

#[derive(Default, Serialize)]
struct Results {
    count: usize,
    highlights: Vec<String>,
    results: Vec<Found>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<&'static str, BTreeMap<String, Group>>,
}

#[derive(Serialize)]
struct Found {
    rank: f64,
    result: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Context>,
    #[serde(skip)]
    of: (OwnedRoomId, OwnedUserId, OwnedEventId),
}

#[derive(Serialize)]
struct Context {
    start: String,
    end: String,
    events_before: Box<RawValue>,
    events_after: Box<RawValue>,
}

#[derive(Default, Serialize)]
struct Group {
    results: Vec<OwnedEventId>,
    order: usize,
}

fn raw(json: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(json).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn bounded(wanted: Option<i64>) -> Result<usize, Error> {
    let (default, most) = CONTEXT;
    usize::try_from(wanted.unwrap_or(default).min(most)).map_err(|_| Error::Limit)
}

/// `POST /_matrix/client/v3/search`
async fn search_messages(
    session: Session,
    State(reading): State<Arc<Reading>>,
    State(limits): State<Arc<RateLimits>>,
    Query(params): Query<Params>,
    Json(request): Json<Request>,
) -> Result<Json<Answer>, ApiError> {
    let asked = request.search_categories.room_events.ok_or(Error::NoCategory)?;
    let words = Words::of(&asked.search_term).map_err(Error::Term)?;
    let before = match params.next_batch {
        None => i64::MAX,
        Some(batch) => batch.parse().ok().filter(|at| *at > 0).ok_or(Error::Batch)?,
    };
    let limit = match asked.filter.limit {
        None => LIMITS.0,
        Some(limit) => usize::try_from(limit).map_err(|_| Error::Limit)?.clamp(1, LIMITS.1),
    };
    let context = match asked.event_context {
        Some(context) => Some((bounded(context.before_limit)?, bounded(context.after_limit)?)),
        None => None,
    };
    limits.check(Rate::Search, session.user)?;
    let group_by: BTreeSet<GroupKey> = asked.groupings.group_by.iter().filter_map(|group| group.key).collect();
    let mut results = Results { highlights: words.words().to_vec(), ..Results::default() };
    // Names and topics are not looked through.
    if asked.keys.as_ref().is_none_or(|keys| keys.contains(&Key::Body)) {
        let filter = asked.filter;
        let found = reading.across(&session, move |read, viewer| {
            let allowed = |room| ids::room_by_nid(read, room).is_ok_and(|room| filter.allows_room(&room.room_id));
            search::search(read, viewer.user, &words, (before, limit), allowed, |candidate| {
                let room = ids::room_by_nid(read, candidate.room)?;
                match OpenRoom::open(read, &room.room_id, crate::rooms::client_event::Shape::ClientWithRoom, viewer) {
                    Ok(mut open) => found(read, &mut open, candidate, &filter, context),
                    Err(ReadError::Store(error)) => Err(error),
                    Err(_) => Ok(None),
                }
            })
        });
        let found = found.await?;
        results.next_batch = found.next.map(|next| next.to_string());
        results.results = found.found;
    }
    results.count = results.results.len();
    results.groups = groups(&results, &group_by);
    Ok(Json(Answer { search_categories: AnswerCategories { room_events: results } }))
}

/// A candidate as a result, if the viewer may see it and the filter lets it through.
fn found(
    read: &dyn Read,
    open: &mut OpenRoom<'_>,
    candidate: search::Candidate,
    filter: &RoomEventFilter,
    context: Option<(usize, usize)>,
) -> Result<Option<Found>, StoreError> {
    let page = event_pages::by_nid(read, candidate.event)?;
    let sender = ids::user_id(read, page.row.sender)?;
    if !filter.allows(&page.row.kind, &sender, &page.json)
        || page.erased
        || open.renderer.ignored()?.contains(&page.row.sender)
        || !open.renderer.allows(&page.row)?
    {
        return Ok(None);
    }
    let mut result = String::new();
    open.renderer.event(&page, &mut result)?;
    let context = match context {
        None => None,
        Some(around) => match timeline::around(open, &page.row.event_id, around, &RoomEventFilter::default()) {
            Ok(context) => Some(Context {
                start: context.start.to_string(),
                end: context.end.to_string(),
                events_before: raw(context.before)?,
                events_after: raw(context.after)?,
            }),
            Err(ReadError::Store(error)) => return Err(error),
            Err(_) => None,
        },
    };
    let of = (open.room.room_id.clone(), sender, page.row.event_id.clone());
    Ok(Some(Found { rank: 1.0, result: raw(result)?, context, of }))
}

fn groups(results: &Results, by: &BTreeSet<GroupKey>) -> BTreeMap<&'static str, BTreeMap<String, Group>> {
    let mut groups = BTreeMap::new();
    for key in by {
        let name = match key {
            GroupKey::RoomId => "room_id",
            GroupKey::Sender => "sender",
        };
        let mut of_key: BTreeMap<String, Group> = BTreeMap::new();
        for Found { of: (room, sender, event), .. } in &results.results {
            let value = if *key == GroupKey::RoomId { room.to_string() } else { sender.to_string() };
            let order = of_key.len();
            let group = of_key.entry(value).or_insert_with(|| Group { results: Vec::new(), order });
            group.results.push(event.clone());
        }
        groups.insert(name, of_key);
    }
    groups
}
