//! `GET /message/search`.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{Caller, Input, is_caller, page_size},
    history::MessageInfo,
    place::Named,
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    accounts::{Rate, RateLimits},
    conversations::MessageSearch,
    numbers::{GroupRef, ThreadRef, UserRef},
    search::{BadTerm, Words},
    store::{Read, StoreError},
};

/// The ways in which the question is wrong.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Term(#[from] BadTerm),
    #[error("cursor is not one that an earlier answer gave")]
    Cursor,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Term(_) | Error::Cursor => Self::argument(error.to_string()),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(search))
}

/// What is looked for, and where.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Request {
    /// Who asks; the token's user.
    user_id: Option<UserRef>,
    /// Words, each of which the message has somewhere: 512 characters and 16 words at most.
    #[param(max_length = 512, pattern = r"^\s*(\S+\s+){0,15}\S+\s*$")]
    keyword: String,
    /// In this conversation alone.
    thread_id: Option<ThreadRef>,
    /// In this group alone.
    group_id: Option<GroupRef>,
    /// In the conversation with this user alone.
    the_other_person_id: Option<UserRef>,
    /// Where the page begins: `next_cursor` of the page before.
    #[param(pattern = r"^[1-9][0-9]{0,17}$")]
    cursor: Option<String>,
    /// Messages at most: 1 to 200, 20 if left out.
    #[param(minimum = 1)]
    page_size: Option<i64>,
}

/// A message that was found.
#[derive(Serialize, ToSchema)]
struct FoundMessage {
    /// The conversation's number.
    thread_id: i64,
    /// The same as a string.
    thread_id_str: String,
    /// The conversation's room.
    room_id: String,
    /// The message.
    #[serde(flatten)]
    message: MessageInfo,
}

/// What was found, newest first.
#[derive(Serialize, ToSchema)]
struct FoundPage {
    /// The messages. There may be fewer than asked for, or none, before everything was looked through.
    detail: Vec<FoundMessage>,
    /// Whether there is more to look through.
    has_more: bool,
    /// `cursor` of the next page; null if there is none.
    next_cursor: Option<String>,
}

/// Looks for words in the messages of the caller's conversations, newest first; encrypted ones can't be searched.
#[utoipa::path(get, path = "/message/search", tag = "message", params(Request), security(("token" = [])),
    responses((status = 200, body = Reply<FoundPage>), (status = "4XX", body = Failure)))]
async fn search(
    Caller(session): Caller,
    State(search): State<Arc<MessageSearch>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<Request>,
) -> Result<Reply<FoundPage>, Refusal> {
    is_caller(&session, request.user_id.as_ref())?;
    let size = page_size(request.page_size)?;
    let words = Words::of(&request.keyword).map_err(Error::Term)?;
    let before = match request.cursor {
        None => i64::MAX,
        Some(cursor) => cursor.parse().ok().filter(|at| *at > 0).ok_or(Error::Cursor)?,
    };
    limits.check(Rate::Search, session.user)?;
    let named = Named::new(request.thread_id, request.group_id, request.the_other_person_id);
    let only = if named.is_nothing() { None } else { Some(named.one()?) };
    let show = |_: &dyn Read, room: &crate::store::ids::RoomKey, message, person: &_| -> Result<_, StoreError> {
        Ok(FoundMessage {
            thread_id: room.nid.0,
            thread_id_str: room.nid.0.to_string(),
            room_id: room.room_id.to_string(),
            message: MessageInfo::new(message, person),
        })
    };
    let found = search.search(&session, words, only, (before, size), show).await?;
    Ok(Reply::new(
        "search ok",
        FoundPage {
            detail: found.found,
            has_more: found.next.is_some(),
            next_cursor: found.next.map(|next| next.to_string()),
        },
    ))
}
