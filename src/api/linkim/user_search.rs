//! `GET /users/search`.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{Caller, Input, page_size},
    person::PersonView,
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    accounts::{Rate, RateLimits},
    contacts::Contacts,
};

/// Characters of what is looked for at most.
const MAX_KEYWORD: usize = 255;

/// The ways in which it fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("keyword has 1 to {MAX_KEYWORD} characters")]
    Keyword,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Keyword => Self::argument(error.to_string()),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(search))
}

/// Who is looked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Search {
    /// A user's number or id, a phone number with its country code, an e-mail address, or a part of a name.
    #[param(pattern = r"\S", max_length = 255)]
    keyword: String,
    /// Users at most: 20 if left out, 50 at most.
    #[serde(default)]
    #[param(minimum = 1)]
    page_size: Option<i64>,
}

/// Who was found.
#[derive(Serialize, ToSchema)]
struct FoundPeople {
    /// The users, the best matches first.
    detail: Vec<PersonView>,
    /// Whether there are more, which a longer keyword finds.
    has_more: bool,
}

/// Finds users: by what names them exactly, where they let themselves be found by it, or by a part of their names among those
/// with whom the caller shares a room or who are in a public one.
#[utoipa::path(get, path = "/users/search", tag = "friends", params(Search), security(("token" = [])),
    responses((status = 200, body = Reply<FoundPeople>), (status = "4XX", body = Failure)))]
async fn search(
    Caller(session): Caller,
    State(contacts): State<Arc<Contacts>>,
    State(limits): State<Arc<RateLimits>>,
    Input(request): Input<Search>,
) -> Result<Reply<FoundPeople>, Refusal> {
    limits.check(Rate::Search, session.user)?;
    let keyword = request.keyword.trim();
    if keyword.is_empty() || keyword.chars().count() > MAX_KEYWORD {
        return Err(Error::Keyword.into());
    }
    let limit = page_size(request.page_size)?.min(50);
    let found = contacts.search(&session, keyword, limit).await?;
    let detail = found.people.into_iter().map(PersonView::from).collect();
    Ok(Reply::new("load ok", FoundPeople { detail, has_more: found.limited }))
}
